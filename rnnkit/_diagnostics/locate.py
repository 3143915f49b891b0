"""Where a leak first shows: the first module or function whose output has it, and why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.axes import followed_axis
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.causes import (
    Clean,
    Suspicion,
    clean_samples,
    clean_steps,
    confirm,
    later_steps,
    other_layout,
)
from rnnkit._diagnostics.events import Event, Step, record, record_steps
from rnnkit._diagnostics.experiment import PerturbedRun
from rnnkit._diagnostics.report import Line


@dataclass(frozen=True)
class Location:
    """A module, by its qualified name, and the rows of a message about it."""

    module: str
    rows: tuple[Line, ...]


#: Says whether a tensor shows the leak along an axis, before and after the change.
Shows = Callable[[Tensor, Tensor, int], bool]

#: What may be the cause, from what came out of a module and what went in, and the axis of that.
Suspect = Callable[[Event, Event, int | None], Suspicion | None]


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
    search = _Search(perturbed, fewer, batch.size, shows)
    return search.location(other_layout, clean_samples(changed))


def locate_step(perturbed: PerturbedRun, cut: int) -> Location:
    """Find where a step first depends on a later one."""
    batch, seq = perturbed.baseline.batch, perturbed.baseline.out_seq_dim or 0
    steps = batch.steps or 1

    def shows(before: Tensor, after: Tensor, axis: int) -> bool:
        return perturbed.differ_inside(before.narrow(axis, 0, cut), after.narrow(axis, 0, cut))

    search = _Search(perturbed, batch.cut(steps - 1, front=True), steps, shows)
    return search.location(lambda event, given, _: later_steps(event, given), clean_steps(cut, seq))


class _Search:
    """Three runs, event by event: as it is, changed, and with less, which shows the axes."""

    def __init__(self, perturbed: PerturbedRun, smaller: Batch, size: int, shows: Shows) -> None:
        self.perturbed, self.smaller, self.size, self.shows = perturbed, smaller, size, shows
        self.session = perturbed.baseline.session
        self.normal = record(self.session, perturbed.baseline.batch.tree())
        self.changed = record(self.session, perturbed.inputs)
        try:
            fewer = record(self.session, smaller.tree())
        except Exception:  # noqa: BLE001 - the axes are then told by their sizes
            fewer = []
        pairs = [*fewer] if _calls(fewer) == _calls(self.normal) else [None] * len(self.normal)
        self.axes = [
            self._axes(event.tensors, other.tensors if other else None)
            for event, other in zip(self.normal, pairs, strict=True)
        ]

    def _axes(self, tensors: list[Any], fewer: list[Any] | None) -> list[int | None]:
        if fewer is not None:
            return [followed_axis(full, one) for full, one in zip(tensors, fewer, strict=False)]
        return [_only_axis(tensor, self.size) for tensor in tensors]

    def location(self, suspect: Suspect, clean: Clean) -> Location:
        """Find the first event that shows the leak, and what is to be said of it."""
        if isinstance(self.session.model, torch.jit.ScriptModule):
            return Location("", (("first", "not found: no hooks can be put on a ScriptModule"),))
        if _calls(self.normal) != _calls(self.changed):
            row = ("first", "not found: the model calls other modules on other values")
            return Location("", (row,))
        pairs = zip(self.normal, self.changed, strict=True)
        for number, (before, after) in enumerate(pairs):
            if self._shown(before.tensors, after.tensors, self.axes[number]):
                return self._location(number, suspect, clean)
        last = next((event for event in reversed(self.normal) if event.kind == "output"), None)
        where = f"after {last.label}" if last else "outside of all modules"
        first = ("first", f"{where}, in what the model does with tensors itself")
        return Location("", (first, *self._function(len(self.normal))))

    def _shown(self, before: list[Any], after: list[Any], axes: Sequence[int | None]) -> bool:
        return any(
            axis is not None and one.shape == other.shape and self.shows(one, other, axis)
            for one, other, axis in zip(before, after, axes, strict=False)
        )

    def _location(self, number: int, suspect: Suspect, clean: Clean) -> Location:
        event, earlier = self.normal[number], self.normal[:number]
        call = sum((e.name, e.kind) == (event.name, event.kind) for e in earlier)
        kind = type(event.module).__name__
        rows: list[Line] = [("first", f"{event.label} ({kind}), {event.kind} of call {call}")]
        if event.kind == "input":
            last = next((e for e in reversed(earlier) if e.kind == "output"), None)
            source = f"the output of {last.label}" if last else "the model's input"
            rows.append(("cause", f"between {source} and the input of {event.label}"))
            return Location(event.name, (*rows, *self._function(number)))
        at, given = next(
            (k, e)
            for k, e in reversed(list(enumerate(earlier)))
            if e.name == event.name and e.kind == "input"
        )
        suspicion = suspect(event, given, next(iter(self.axes[at]), None))
        cause = confirm(self.perturbed, suspicion, self._layers(event, suspect), clean)
        if not cause and not isinstance(event.module, RNNBase):
            cause = self._function(number)
        return Location(event.name, (*rows, *cause))

    def _layers(self, event: Event, suspect: Suspect) -> list[list[str]]:
        """Return the layer alone, and all layers of which the same is suspected."""
        alike = {
            one.name: None
            for one, axes in zip(self.normal, self.axes, strict=True)
            if one.kind == "input"
            and isinstance(one.module, RNNBase)
            and suspect(one, one, next(iter(axes), None)) is not None
        }
        return [[event.name], list(alike)] if len(alike) > 1 else [[event.name]]

    def _function(self, number: int) -> list[Line]:
        """Name the first function before an event that gives what shows the leak."""
        baseline = self.perturbed.baseline
        inputs = (baseline.batch.tree(), self.perturbed.inputs, self.smaller.tree())
        try:
            normal, changed, fewer = (record_steps(self.session, one, number) for one in inputs)
        except Exception:  # noqa: BLE001 - a model may refuse to run under watch
            return []
        if not _names(normal) == _names(changed) == _names(fewer):
            return []
        for before, after, less in zip(normal, changed, fewer, strict=True):
            axes = self._axes(before.tensors, less.tensors)
            if self._shown(before.tensors, after.tensors, axes):
                return [("by", before.text), *([("at", before.place)] if before.place else [])]
        return []


def _calls(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.kind, event.name) for event in events]


def _names(steps: list[Step]) -> list[str]:
    return [step.name for step in steps]


def _only_axis(tensor: Any, size: int) -> int | None:
    shape = tuple(tensor.shape) if isinstance(tensor, Tensor) else ()
    return shape.index(size) if shape.count(size) == 1 else None
