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
from rnnkit._diagnostics.report import Line

#: What ``each_call`` does to the calls of a module.
Change = Mapping[str, Callable[..., Any]]


class Location(NamedTuple):
    """A module, by its qualified name, and the rows of a message about it."""

    module: str
    rows: list[Line]


class Cause(NamedTuple):
    """What is suspected: what a message says of it, and how a module runs without it."""

    what: str
    fix: str
    undo: Callable[[str, torch.nn.Module], Change]


def confirmed(
    cause: Cause | None, groups: Sequence[Sequence[str]], is_gone: Callable[[Watch], bool]
) -> list[Line]:
    """Return what a message says of a cause, if the leak is gone without it in some modules."""
    if cause is None or not any(is_gone(_undoing(cause, names)) for names in groups if names):
        return []
    return [("cause", cause.what), ("fix", cause.fix)]


def _undoing(cause: Cause, names: Sequence[str]) -> Watch:
    return lambda model: [
        hook
        for name in names
        for hook in each_call(name, **cause.undo(name, model.get_submodule(name)))(model)
    ]


def other_layout(given: Event, axis: int | None, loops: bool) -> Cause | None:
    """Suspect that a layer, or a loop over cells, reads the batch axis of its input as seq."""
    first, is_2d = getattr(given.module, "batch_first", None), given.tensors[0].dim() == 2
    seq = 1 if first else 0
    # What was packed has no axes of its own to be taken for each other.
    if axis is None or given.is_packed or not (loops or isinstance(first, bool)):
        return None
    turn: Any = lambda x: x.transpose(0, 1)  # noqa: E731
    back, what = turn, f"axis {axis} of its input"
    own = f"{given.class_name}(..., batch_first={not first})"
    fix = own if isinstance(first, bool) else "for x_t in input.unbind(1)"
    fix = f"{fix}, or input.transpose(0, 1)"
    if is_2d and isinstance(given.module, RNNBase):
        turn, back = (lambda x: x.unsqueeze(seq)), (lambda x: x.squeeze(seq))
        what = "axis 0 of its 2-D input"
        fix = f"input.unsqueeze({seq}) for one step, input.unsqueeze(-1) for a series"
    elif is_2d or axis != seq:
        return None

    def before(_: int, args: Any, kwargs: Any) -> Any:
        named = named_arguments(args, kwargs)
        shape, state = named["input"].shape, named.get("hx")
        parts = [part for part in pytree.tree_leaves(state) if isinstance(part, Tensor)]
        if all(part.shape[:2] == shape[:2] for part in parts):  # keys and values, too
            alike: Any = lambda x: turn(x) if x.shape[:2] == shape[:2] else x  # noqa: E731
            return pytree.tree_map_only(Tensor, alike, (args, kwargs))
        input = turn(named["input"])
        fits = all(part.shape[-2] == input.shape[1 - seq] for part in parts)
        return from_state((input,), {}, state if fits else None)

    change: Change = {"before": before, "after": lambda _, result: mapped(result, output=back)}
    what = f"{given.label} reads {what} as seq, but the batch is there"
    return Cause(what, fix, lambda *_: change)


def later_steps(given: Event, *_: Any) -> Cause | None:
    """Suspect that a layer reads the later steps: backward, or in the state that it is given."""
    module, label = given.module, given.label
    if getattr(module, "bidirectional", False):
        text = f"{label} is bidirectional: its backward direction has read the later steps"
        return Cause(text, f"{given.class_name}(..., bidirectional=False)", forward_only)
    if isinstance(module, RNNBase) and len(given.tensors) > 1:
        start: Change = {"before": lambda _, args, kwargs: from_state(args, kwargs, None)}
        fix = "start from zeros, or from a state that has read earlier steps only"
        return Cause(f"the state given to {label} has read the later steps", fix, lambda *_: start)
    return None


def forward_only(_: str, module: torch.nn.Module) -> Change:
    """Blank everything that a backward direction returned."""

    def blank(state: Tensor) -> Tensor:
        return state.masked_fill(rows_of(module, state) % 2 == 1, 0)

    states = {"h": blank, "c": blank} if isinstance(module, RNNBase) else {}
    half: Any = lambda data: data.masked_fill(is_backward(data), 0.0)  # noqa: E731
    return {"after": lambda _, result: mapped(result, output=half, **states)}
