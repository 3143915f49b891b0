"""Why a leak is there: each suspect is undone on copies, and named only if the leak is gone."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.events import Event
from rnnkit._diagnostics.experiment import PerturbedRun
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

#: What changes the calls of a module: its arguments before each, its result after; None: nothing.
Change = tuple[Callable[..., Any] | None, Callable[..., Any] | None]


class Cause(NamedTuple):
    """What is suspected: what a message says of it, and how a module runs without it."""

    rows: list[Line]
    undo: Callable[[str, torch.nn.Module], Change]

    def undone(self, names: Sequence[str]) -> Watch:
        """Return what undoes it in some modules of a copy."""

        def watch(model: torch.nn.Module) -> list[Any]:
            hooks: list[Any] = []
            for name in names:
                before, after = self.undo(name, model.get_submodule(name))
                start: Any = before and (lambda _, *given, before=before: before(*given))
                end: Any = after and (lambda _, result, after=after: after(result))
                changes = {k: v for k, v in (("before", start), ("after", end)) if v is not None}
                hooks += each_call(name, **changes)(model)
            return hooks

        return watch


def confirmed(
    cause: Cause | None, groups: Sequence[Sequence[str]], is_gone: Callable[[Watch], bool]
) -> list[Line]:
    """Return what a message says of a cause, if the leak is gone without it in some modules."""
    if cause is None or not any(is_gone(cause.undone(names)) for names in groups if names):
        return []
    return cause.rows


def without_leak(perturbed: PerturbedRun, clean: Clean) -> Callable[[Watch], bool]:
    """Return what says whether the judged outputs have no leak under hooks."""

    def is_gone(watch: Watch) -> bool:
        baseline, outputs = perturbed.baseline, perturbed.both(watch)
        judged = [
            clean(before, after, axis)
            for index, axis in baseline.judged()
            if outputs is not None and index < min(map(len, outputs))
            for before, after in [(outputs[0][index], outputs[1][index])]
            if isinstance(before, Tensor)
            and before.shape == baseline.normal[index].shape == after.shape
        ]
        return bool(judged) and all(judged)

    return is_gone


def other_layout(given: Event, axis: int | None, loops: bool) -> Cause | None:
    """Suspect that a layer, or a loop over cells, reads the batch axis of its input as seq."""
    module, label = given.module, given.label
    first = getattr(module, "batch_first", None)
    # What was packed has no axes of its own to be taken for each other.
    if axis is None or given.is_packed or not (loops or isinstance(first, bool)):
        return None
    seq, has_2d = 1 if first else 0, given.tensors[0].dim() == 2
    if has_2d and isinstance(module, RNNBase):
        text = f"{label} reads axis 0 of its 2-D input as seq, but the batch is there"
        fix = f"input.unsqueeze({seq}) for one step, input.unsqueeze(-1) for a series"
        added: Change = (
            lambda args, kwargs: _with_input(args, kwargs, lambda x: x.unsqueeze(seq), 1 - seq),
            lambda result: mapped(result, output=lambda output: output.squeeze(seq)),
        )
        return Cause([("cause", text), ("fix", fix)], lambda *_: added)
    if has_2d or axis != seq:
        return None
    own = f"{given.class_name}(..., batch_first={not first})"
    fix = own if isinstance(first, bool) else "for x_t in input.unbind(1)"
    text = f"{label} reads axis {axis} of its input as seq, but the batch is there"
    rows = [("cause", text), ("fix", f"{fix}, or input.transpose(0, 1)")]
    turn: Any = lambda x: x.transpose(0, 1)  # noqa: E731
    change: Change = (
        lambda args, kwargs: _with_input(args, kwargs, turn, 1 - seq),
        lambda result: mapped(result, output=turn),
    )
    return Cause(rows, lambda *_: change)


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
        fix = f"{given.class_name}(..., bidirectional=False)"
        return Cause(
            [("cause", text), ("fix", fix)], lambda _, module: (None, forward_only(module))
        )
    if isinstance(module, RNNBase) and len(given.tensors) > 1:
        text = f"the state given to {label} has read the later steps"
        fix = "start from zeros, or from a state that has read earlier steps only"
        start: Any = lambda args, kwargs: from_state(args, kwargs, None)  # noqa: E731
        return Cause([("cause", text), ("fix", fix)], lambda *_: (start, None))
    return None


def forward_only(module: torch.nn.Module) -> Callable[[Any], Any]:
    """Return what blanks everything that a backward direction returned."""

    def blank(state: Tensor) -> Tensor:
        return state.masked_fill(rows_of(module, state) % 2 == 1, 0)

    states = {"h": blank, "c": blank} if isinstance(module, RNNBase) else {}
    return lambda result: mapped(
        result, output=lambda data: data.masked_fill(is_backward(data), 0.0), **states
    )


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
