"""Where a leak first shows: the first module whose input or output has it, and why."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.axes import followed_axis
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.experiment import PerturbedRun
from rnnkit._diagnostics.isolation import Session
from rnnkit._diagnostics.outputs import leaves
from rnnkit._diagnostics.report import Line


@dataclass(frozen=True)
class Location:
    """A module, by its qualified name, and the rows of a message about it."""

    module: str
    rows: tuple[Line, ...]


@dataclass(frozen=True, eq=False)
class Event:
    """What went into a module's call, or came out of it."""

    kind: Literal["input", "output"]
    name: str
    module: torch.nn.Module
    tensors: list[Any]
    is_packed: bool

    @property
    def label(self) -> str:
        """What a message calls the module: the model itself has no name."""
        return self.name or "the model"


#: Says whether a tensor shows the leak along an axis, before and after the change.
Shows = Callable[[Tensor, Tensor, int], bool]

#: Says why, from what came out of a module and what went in, and where in that the batch lay.
Cause = Callable[[Event, Event, int | None], list[Line]]


def record(session: Session, inputs: Any) -> list[Event]:
    """Run the model and write down every call of its modules, in the order of time.

    The model itself is one of them if it is a layer.
    """
    events: list[Event] = []

    def watch(model: torch.nn.Module) -> list[Any]:
        hooks: list[Any] = []
        for name, module in model.named_modules():
            watched = not isinstance(module, torch.jit.ScriptModule)
            if watched and (name or isinstance(module, RNNBase)):
                hooks += [
                    module.register_forward_pre_hook(_before(events, name), with_kwargs=True),
                    module.register_forward_hook(_after(events, name)),
                ]
        return hooks

    session.run(inputs, watch=watch)
    return events


def _before(events: list[Event], name: str) -> Callable[..., None]:
    def hook(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        events.append(_event("input", name, module, (args, kwargs)))

    return hook


def _after(events: list[Event], name: str) -> Callable[..., None]:
    def hook(module: torch.nn.Module, args: Any, output: Any) -> None:  # noqa: ARG001
        events.append(_event("output", name, module, output))

    return hook


def _event(
    kind: Literal["input", "output"], name: str, module: torch.nn.Module, tree: Any
) -> Event:
    tensors = [leaf.clone() if isinstance(leaf, Tensor) else None for leaf in leaves(tree)]
    parts = pytree.tree_leaves(tree, is_leaf=lambda node: isinstance(node, PackedSequence))
    is_packed = any(isinstance(part, PackedSequence) for part in parts)
    return Event(kind, name, module, tensors, is_packed)


def reads_several_steps(event: Event) -> bool:
    """Say whether a recurrent layer was called with a sequence of two steps or more."""
    if event.kind == "output" or not isinstance(event.module, RNNBase):
        return False
    input = event.tensors[0]
    # What was packed is written down padded, steps first.
    first = not event.is_packed and event.module.batch_first and input.dim() == 3
    return bool(input.shape[1 if first else 0] > 1)


def locate_sample(perturbed: PerturbedRun, changed: int) -> Location:
    """Find where one sample first depends on another."""
    batch = perturbed.baseline.batch

    def shows(before: Tensor, after: Tensor, axis: int) -> bool:
        return any(
            perturbed.differ_inside(before.select(axis, k), after.select(axis, k))
            for k in range(batch.size)
            if k != changed
        )

    fewer = batch.samples(range(batch.size - 1))
    return _locate(perturbed, fewer, batch.size, shows, _cause_of_mixing)


def locate_step(perturbed: PerturbedRun, cut: int) -> Location:
    """Find where a step first depends on a later one."""
    batch = perturbed.baseline.batch
    steps = batch.steps or 1

    def shows(before: Tensor, after: Tensor, axis: int) -> bool:
        return perturbed.differ_inside(before.narrow(axis, 0, cut), after.narrow(axis, 0, cut))

    shorter = batch.cut(steps - 1, front=True)
    return _locate(perturbed, shorter, steps, shows, _cause_of_looking_ahead)


def _locate(
    perturbed: PerturbedRun, smaller: Batch, size: int, shows: Shows, cause: Cause
) -> Location:
    session = perturbed.baseline.session
    normal = record(session, perturbed.baseline.batch.tree())
    changed = record(session, perturbed.inputs)
    if isinstance(session.model, torch.jit.ScriptModule):
        return Location("", (("first", "not found: no hooks can be put on a ScriptModule"),))
    if _calls(normal) != _calls(changed):
        row = ("first", "not found: the model calls other modules on other values")
        return Location("", (row,))
    try:
        fewer = record(session, smaller.tree())
    except Exception:  # noqa: BLE001 - the axes are then told by their sizes
        fewer = []
    pairs = [*fewer] if _calls(fewer) == _calls(normal) else [None] * len(normal)
    axes = [_axes(event, pair, size) for event, pair in zip(normal, pairs, strict=True)]
    for number, (before, after) in enumerate(zip(normal, changed, strict=True)):
        for one, other, axis in zip(before.tensors, after.tensors, axes[number], strict=False):
            if axis is not None and one.shape == other.shape and shows(one, other, axis):
                return _location(normal, axes, number, cause)
    last = next((event for event in reversed(normal) if event.kind == "output"), None)
    where = f"after {last.label}" if last else "outside of all modules"
    rows = (
        ("first", f"{where}, in what the model does with tensors itself"),
        ("cause", "likely a view, reshape, index or sum over the wrong axis"),
    )
    return Location("", rows)


def _calls(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.kind, event.name) for event in events]


def _axes(event: Event, fewer: Event | None, size: int) -> list[int | None]:
    if fewer is not None:
        pairs = zip(event.tensors, fewer.tensors, strict=False)
        return [followed_axis(full, one) for full, one in pairs]
    return [_only_axis(tensor, size) for tensor in event.tensors]


def _only_axis(tensor: Any, size: int) -> int | None:
    shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else ()
    return shape.index(size) if shape.count(size) == 1 else None


def _location(
    events: list[Event], axes: list[list[int | None]], number: int, cause: Cause
) -> Location:
    event, earlier = events[number], events[:number]
    call = sum((e.name, e.kind) == (event.name, event.kind) for e in earlier)
    kind = type(event.module).__name__
    rows: list[Line] = [("first", f"{event.label} ({kind}), {event.kind} of call {call}")]
    if event.kind == "input":
        last = next((e for e in reversed(earlier) if e.kind == "output"), None)
        source = f"the output of {last.label}" if last else "the model's input"
        rows += [
            ("cause", f"between {source} and the input of {event.label},"),
            ("", "a view, reshape or index takes one axis for another"),
        ]
        return Location(event.name, tuple(rows))
    at, given = next(
        (k, e)
        for k, e in reversed(list(enumerate(earlier)))
        if e.name == event.name and e.kind == "input"
    )
    return Location(event.name, (*rows, *cause(event, given, next(iter(axes[at]), None))))


def _cause_of_mixing(event: Event, given: Event, axis: int | None) -> list[Line]:
    module = event.module
    # What was packed has no axes of its own to be taken for each other.
    if not isinstance(module, RNNBase) or axis is None or given.is_packed:
        return []
    if given.tensors[0].dim() == 2:
        where = 1 if module.batch_first else 0
        return [
            (
                "cause",
                f"{event.label} reads axis 0 of its 2-D input as seq, but the batch lies there",
            ),
            (
                "fix",
                f"input.unsqueeze({where}) for one step, input.unsqueeze(-1) for a series",
            ),
        ]
    if axis == (1 if module.batch_first else 0):
        option = f"batch_first={not module.batch_first}"
        return [
            (
                "cause",
                f"{event.label} reads axis {axis} of its input as seq, but the batch lies there",
            ),
            ("fix", f"{type(module).__name__}(..., {option}), or input.transpose(0, 1)"),
        ]
    return []


def _cause_of_looking_ahead(event: Event, given: Event, _: int | None) -> list[Line]:
    module = event.module
    if getattr(module, "bidirectional", False):
        read = "is bidirectional: its backward direction has read the later steps"
        return [
            ("cause", f"{event.label} {read}"),
            ("fix", f"{type(module).__name__}(..., bidirectional=False)"),
        ]
    if isinstance(module, RNNBase) and len(given.tensors) > 1:
        return [("cause", f"likely the state given to {event.label} has read the later steps")]
    return []
