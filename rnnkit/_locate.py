"""Where a leak first shows: the first module whose input or output has it, and why."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import RNNBase

from rnnkit._batches import Batch, followed_axis
from rnnkit._session import Session, leaves, same
from rnnkit._subject import Subject


@dataclass(frozen=True)
class Place:
    """A module, by its qualified name, and the lines of a message about it."""

    module: str
    lines: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Event:
    """What went into a module's call, or came out of it."""

    kind: Literal["input", "output"]
    name: str
    module: torch.nn.Module
    tensors: list[Any]


#: Says at which index of an axis a tensor shows the leak, comparing it before and after.
Shows = Callable[[Tensor, Tensor, int], bool]


def record(session: Session, inputs: Any) -> list[Event]:
    """Run the model and write down every call of its modules, in the order of time."""
    events: list[Event] = []

    def watch(model: torch.nn.Module) -> list[Any]:
        hooks: list[Any] = []
        for name, module in model.named_modules():
            if name:
                hooks += [
                    module.register_forward_pre_hook(_before(events, name), with_kwargs=True),
                    module.register_forward_hook(_after(events, name)),
                ]
        return hooks

    session.run(inputs, watch=watch)
    return events


def _before(events: list[Event], name: str) -> Callable[..., None]:
    def hook(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        events.append(Event("input", name, module, _copies((args, kwargs))))

    return hook


def _after(events: list[Event], name: str) -> Callable[..., None]:
    def hook(module: torch.nn.Module, args: Any, output: Any) -> None:  # noqa: ARG001
        events.append(Event("output", name, module, _copies(output)))

    return hook


def _copies(tree: Any) -> list[Any]:
    return [leaf.clone() if isinstance(leaf, Tensor) else None for leaf in leaves(tree)]


def locate_sample(subject: Subject, inputs: Any, changed: int) -> Place:
    """Find where one sample first depends on another."""
    batch = subject.batch

    def shows(before: Tensor, after: Tensor, axis: int) -> bool:
        return any(
            not same(before.select(axis, k), after.select(axis, k))
            for k in range(batch.size)
            if k != changed
        )

    fewer = batch.samples(range(batch.size - 1))
    return _locate(subject, inputs, fewer, batch.size, shows, _cause_of_mixing)


def locate_step(subject: Subject, inputs: Any, cut: int) -> Place:
    """Find where a step first depends on a later one."""
    batch = subject.batch
    steps = batch.steps or 1

    def shows(before: Tensor, after: Tensor, axis: int) -> bool:
        return not same(before.narrow(axis, 0, cut), after.narrow(axis, 0, cut))

    shorter = batch.cut(steps - 1, front=True)
    return _locate(subject, inputs, shorter, steps, shows, _cause_of_looking_ahead)


def _locate(
    subject: Subject,
    inputs: Any,
    smaller: Batch,
    size: int,
    shows: Shows,
    cause: Callable[[Event, Event | None, int | None], list[str]],
) -> Place:
    normal = record(subject.session, subject.batch.tree())
    changed = record(subject.session, inputs)
    try:
        fewer = record(subject.session, smaller.tree())
    except Exception:  # noqa: BLE001 - the axes are then told by their sizes
        fewer = []
    aligned = [(e.kind, e.name) for e in normal] == [(e.kind, e.name) for e in changed]
    if not aligned:
        return Place("", ("first     not found: the model calls other modules on other values",))
    if [(e.kind, e.name) for e in fewer] != [(e.kind, e.name) for e in normal]:
        fewer = []
    last: Event | None = None
    for number, (before, after) in enumerate(zip(normal, changed, strict=True)):
        axes = _axes(before, fewer[number] if fewer else None, size)
        for one, other, axis in zip(before.tensors, after.tensors, axes, strict=False):
            if axis is not None and one.shape == other.shape and shows(one, other, axis):
                return _place(before, last, normal, cause, fewer, size)
        if before.kind == "output":
            last = before
    after_what = f"after {last.name}" if last else "outside of all modules"
    line = f"first     {after_what}, in what the model does with tensors itself"
    return Place("", (line, "cause     likely a view, reshape, index or sum over the wrong axis"))


def _axes(event: Event, fewer: Event | None, size: int) -> list[int | None]:
    if fewer is not None:
        pairs = zip(event.tensors, fewer.tensors, strict=False)
        return [followed_axis(full, one) for full, one in pairs]
    return [_only_axis(tensor, size) for tensor in event.tensors]


def _only_axis(tensor: Any, size: int) -> int | None:
    shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else ()
    return shape.index(size) if shape.count(size) == 1 else None


def _place(
    event: Event,
    last: Event | None,
    events: list[Event],
    cause: Callable[[Event, Event | None, int | None], list[str]],
    fewer: list[Event],
    size: int,
) -> Place:
    kind = type(event.module).__name__
    number = events.index(event)
    call = sum(e.name == event.name and e.kind == event.kind for e in events[:number])
    lines = [f"first     {event.name} ({kind}), {event.kind} of call {call}"]
    if event.kind == "input":
        source = f"the output of {last.name}" if last else "the model's input"
        lines.append(f"cause     between {source} and the input of {event.name},")
        lines.append("          a view, reshape or index takes one axis for another")
        return Place(event.name, tuple(lines))
    given = next(e for e in reversed(events[:number]) if e.name == event.name and e.kind == "input")
    axis = _axes(given, fewer[events.index(given)] if fewer else None, size)[:1]
    return Place(event.name, tuple(lines + cause(event, given, axis[0] if axis else None)))


def _cause_of_mixing(event: Event, given: Event | None, axis: int | None) -> list[str]:
    module, name = event.module, event.name
    if given is None or not isinstance(module, RNNBase) or axis is None:
        return []
    rank = given.tensors[0].dim()
    if rank == 2:
        where = 1 if module.batch_first else 0
        return [
            f"cause     {name} reads axis 0 of its 2-D input as seq, but the batch lies there",
            f"fix       input.unsqueeze({where}) for one step, input.unsqueeze(-1) for a series",
        ]
    if axis == (1 if module.batch_first else 0):
        option = f"batch_first={not module.batch_first}"
        return [
            f"cause     {name} reads axis {axis} of its input as seq, but the batch lies there",
            f"fix       {type(module).__name__}(..., {option}), or input.transpose(0, 1)",
        ]
    return []


def _cause_of_looking_ahead(event: Event, given: Event | None, _: int | None) -> list[str]:
    module, name = event.module, event.name
    if getattr(module, "bidirectional", False):
        return [
            f"cause     {name} is bidirectional: its backward direction has read the later steps",
            f"fix       {type(module).__name__}(..., bidirectional=False)",
        ]
    if isinstance(module, RNNBase) and given is not None and len(given.tensors) > 1:
        return [f"cause     likely the state given to {name} has read the later steps"]
    return []
