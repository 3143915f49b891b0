"""Why a leak is there: each suspect is undone on copies, and named only if the leak is gone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.events import Event
from rnnkit._diagnostics.isolation import Watch
from rnnkit._diagnostics.module_calls import (
    each_call,
    from_state,
    is_backward,
    mapped,
    named_arguments,
    rows_of,
)
from rnnkit._diagnostics.outputs import same
from rnnkit._diagnostics.report import Line

#: Whether an output, without and with the change, has no leak, given its batch axis.
Clean = Callable[[Tensor, Tensor, int], bool]

#: What ``each_call`` does to the calls of a module.
Change = Mapping[str, Callable[..., Any]]


class Location(NamedTuple):
    """A module, by its qualified name, and the rows of a message about it."""

    module: str
    rows: list[Line]


class Cause(NamedTuple):
    """What is suspected: what a message says of it, and how a module runs without it."""

    rows: list[Line]
    undo: Callable[[str, torch.nn.Module], Change]

    def undone(self, names: Sequence[str]) -> Watch:
        """Return what undoes it in some modules of a copy."""
        return lambda model: [
            hook
            for name in names
            for hook in each_call(name, **self.undo(name, model.get_submodule(name)))(model)
        ]


def blame(what: str, fix: str, undo: Callable[[str, torch.nn.Module], Change]) -> Cause:
    """Return a cause with the rows of a message."""
    return Cause([("cause", what), ("fix", fix)], undo)


def confirmed(
    cause: Cause | None, groups: Sequence[Sequence[str]], is_gone: Callable[[Watch], bool]
) -> list[Line]:
    """Return what a message says of a cause, if the leak is gone without it in some modules."""
    if cause is None or not any(is_gone(cause.undone(names)) for names in groups if names):
        return []
    return cause.rows


def other_layout(given: Event, axis: int | None, loops: bool) -> Cause | None:
    """Suspect that a layer, or a loop over cells, reads the batch axis of its input as seq."""
    module, label = given.module, given.label
    first = getattr(module, "batch_first", None)
    # What was packed has no axes of its own to be taken for each other.
    if axis is None or given.is_packed or not (loops or isinstance(first, bool)):
        return None
    seq, is_2d = 1 if first else 0, given.tensors[0].dim() == 2
    own = f"{given.class_name}(..., batch_first={not first})"
    what = f"axis {axis} of its input"
    fix = own if isinstance(first, bool) else "for x_t in input.unbind(1)"
    fix = f"{fix}, or input.transpose(0, 1)"
    turn: Any = lambda x: x.transpose(0, 1)  # noqa: E731
    back = turn
    if is_2d and isinstance(module, RNNBase):
        what = "axis 0 of its 2-D input"
        fix = f"input.unsqueeze({seq}) for one step, input.unsqueeze(-1) for a series"
        turn, back = (lambda x: x.unsqueeze(seq)), (lambda x: x.squeeze(seq))
    elif is_2d or axis != seq:
        return None
    change: Change = {
        "before": lambda _, args, kwargs: _with_input(args, kwargs, turn, 1 - seq),
        "after": lambda _, result: mapped(result, output=back),
    }
    what = f"{label} reads {what} as seq, but the batch is there"
    return blame(what, fix, lambda *_: change)


def _with_input(args: Any, kwargs: Any, turn: Callable[[Tensor], Tensor], batch: int) -> Any:
    """Turn the input, and what has its axes; a state that does not fit it any more is left out."""
    named = named_arguments(args, kwargs)
    input, state = named["input"], named.get("hx")
    parts = [part for part in pytree.tree_leaves(state) if isinstance(part, Tensor)]
    if all(part.shape[:2] == input.shape[:2] for part in parts):  # keys and values, too
        alike: Any = lambda part: turn(part) if part.shape[:2] == input.shape[:2] else part  # noqa: E731
        return pytree.tree_map_only(Tensor, alike, (args, kwargs))
    turned = turn(input)
    fits = all(part.shape[-2] == turned.shape[batch] for part in parts)
    return from_state((turned,), {}, state if fits else None)


def later_steps(given: Event) -> Cause | None:
    """Suspect that a layer reads the later steps: backward, or in the state that it is given."""
    module, label = given.module, given.label
    if getattr(module, "bidirectional", False):
        text = f"{label} is bidirectional: its backward direction has read the later steps"
        return blame(text, f"{given.class_name}(..., bidirectional=False)", forward_only)
    if isinstance(module, RNNBase) and len(given.tensors) > 1:
        start: Change = {"before": lambda _, args, kwargs: from_state(args, kwargs, None)}
        fix = "start from zeros, or from a state that has read earlier steps only"
        return blame(f"the state given to {label} has read the later steps", fix, lambda *_: start)
    return None


def forward_only(_: str, module: torch.nn.Module) -> Change:
    """Blank everything that a backward direction returned."""

    def blank(state: Tensor) -> Tensor:
        return state.masked_fill(rows_of(module, state) % 2 == 1, 0)

    states = {"h": blank, "c": blank} if isinstance(module, RNNBase) else {}
    half: Any = lambda data: data.masked_fill(is_backward(data), 0.0)  # noqa: E731
    return {"after": lambda _, result: mapped(result, output=half, **states)}


def clean_samples(changed: int) -> Clean:
    """Return what says whether only one sample has changed."""

    def clean(before: Tensor, after: Tensor, axis: int) -> bool:
        samples = range(before.shape[axis])
        moved = [k for k in samples if not same(before.select(axis, k), after.select(axis, k))]
        return moved == [changed]

    return clean


def clean_steps(cut: int, seq: int) -> Clean:
    """Return what says whether only the steps from a cut on have changed."""

    def clean(before: Tensor, after: Tensor, _: int) -> bool:
        if before.dim() <= seq or before.shape[seq] <= cut:
            return True
        early, late = ((0, cut), (cut, before.shape[seq] - cut))
        return same(before.narrow(seq, *early), after.narrow(seq, *early)) and not same(
            before.narrow(seq, *late), after.narrow(seq, *late)
        )

    return clean
