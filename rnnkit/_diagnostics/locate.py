"""Where a leak first shows: the first module or function whose output has it, and why."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
from rnnkit._diagnostics.judge import near
from rnnkit._diagnostics.outputs import shape_of
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
        # Of a part of the samples it is not known which they are.
        return before.shape[axis] == batch.size and any(
            not near(perturbed.baseline, before.select(axis, k), after.select(axis, k))
            for k in range(batch.size)
            if k != changed
        )

    fewer = batch.samples(range(batch.size - 1))
    search = _Search(perturbed, fewer, batch.size, "samples", shows)
    return search.location(other_layout, clean_samples(changed))


def locate_step(perturbed: PerturbedRun, cut: int) -> Location:
    """Find where a step first depends on a later one."""
    batch, seq = perturbed.baseline.batch, perturbed.baseline.out_seq_dim or 0
    steps = batch.steps or 1

    def shows(before: Tensor, after: Tensor, axis: int) -> bool:
        whole = before.shape[axis] >= cut
        return whole and not near(
            perturbed.baseline, before.narrow(axis, 0, cut), after.narrow(axis, 0, cut)
        )

    shorter = batch.cut(steps - 1, front=True)
    search = _Search(perturbed, shorter, steps, "steps", shows)
    return search.location(lambda event, given, _: later_steps(event, given), clean_steps(cut, seq))


class _Axis(NamedTuple):
    """The axis of a tensor that follows what is left out, and how many rows of it each has."""

    dim: int
    each: int


class _Search:
    """Three runs, event by event: as it is, changed, and with less, which shows the axes."""

    def __init__(
        self, perturbed: PerturbedRun, smaller: Batch, size: int, unit: str, shows: Shows
    ) -> None:
        self.perturbed, self.smaller, self.size, self.shows = perturbed, smaller, size, shows
        self.unit = unit
        self.session = perturbed.baseline.session
        self.normal = perturbed.baseline.events
        self.changed = record(self.session, perturbed.inputs)
        try:
            fewer = record(self.session, smaller.tree())
        except Exception:  # noqa: BLE001 - the axes are then told by their sizes
            fewer = []
        before, after = Counter(_calls(self.normal)), Counter(_calls(fewer))
        # What is called in a loop over what was left out has no axis of that.
        self.repeated = [call[1] for call in before if fewer and before[call] != after[call]]
        queues = {call: [e.tensors for e in fewer if _call(e) == call] for call in before}
        self.axes = [
            [None] * len(event.tensors)
            if event.name in self.repeated
            else self._axes(event.tensors, queues[_call(event)].pop(0) if fewer else None)
            for event in self.normal
        ]

    def _axes(self, tensors: list[Any], fewer: list[Any] | None) -> list[_Axis | None]:
        if fewer is not None:
            pairs = zip(tensors, fewer, strict=False)
            return [self._axis(full, one) for full, one in pairs]
        known = (_only_axis(tensor, self.size) for tensor in tensors)
        return [None if axis is None else _Axis(axis, 1) for axis in known]

    def _axis(self, full: Any, fewer: Any) -> _Axis | None:
        """Return the axis that is shorter: by one, or by as many rows as each has on it."""
        shape = full.shape if isinstance(full, Tensor) else ()
        each = {1, *(length // self.size for length in shape if length % self.size == 0)}
        found = ((followed_axis(full, fewer, rows), rows) for rows in sorted(each - {0}))
        return next((_Axis(axis, rows) for axis, rows in found if axis is not None), None)

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
        at, function = self._function(range(len(self.normal) + 1))
        last = self._last_output(at)
        where = f"after {last.label}" if last else "outside of all modules"
        text = f"{where}, in what the model does with tensors itself"
        if self.repeated and not function:
            text = f"not found: {self.repeated[0]} is called in a loop over the {self.unit}"
        first = ("first", text)
        return Location("", (first, *function))

    def _shown(self, before: list[Any], after: list[Any], axes: Sequence[_Axis | None]) -> bool:
        return any(
            axis is not None and one.shape == other.shape and self._shows(one, other, axis)
            for one, other, axis in zip(before, after, axes, strict=False)
        )

    def _shows(self, before: Tensor, after: Tensor, axis: _Axis) -> bool:
        """Return whether a tensor shows the leak, in whichever order several rows of each are."""
        if axis.each == 1:
            return self.shows(before, after, axis.dim)
        orders = (
            (outer, self.size, axis.each // outer)
            for outer in range(1, axis.each + 1)
            if axis.each % outer == 0
        )
        front, back = before.shape[: axis.dim], before.shape[axis.dim + 1 :]
        return all(
            self.shows(
                before.reshape(*front, *sizes, *back),
                after.reshape(*front, *sizes, *back),
                axis.dim + 1,
            )
            for sizes in orders
        )

    def _location(self, number: int, suspect: Suspect, clean: Clean) -> Location:
        event, earlier = self.normal[number], self.normal[:number]
        call = sum((e.name, e.kind) == (event.name, event.kind) for e in earlier)
        first = f"{event.label} ({event.class_name}), {event.kind} of call {call}"
        rows: list[Line] = [("first", first)]
        if event.kind == "input":
            at, function = self._function(range(number + 1))
            rows.append(("cause", f"between {self._source(at)} and the input of {event.label}"))
            return Location(event.name, (*rows, *function))
        at, given = next(
            (k, e)
            for k, e in reversed(list(enumerate(earlier)))
            if e.name == event.name and e.kind == "input"
        )
        suspicion = suspect(event, given, _plain_axis(self.axes[at]))
        cause = confirm(self.perturbed, suspicion, self._layers(event, suspect), clean)
        if not cause:
            _, cause = self._function(range(at + 1, number + 1))
            if isinstance(event.module, RNNBase):  # its functions are torch's, or rnnkit's
                cause = [row for row in cause if row[0] == "at"]
        return Location(event.name, (*rows, *cause))

    def _layers(self, event: Event, suspect: Suspect) -> list[list[str]]:
        """Return the layer by itself, and all layers that are suspected of the same."""
        alike = {
            one.name: None
            for one, axes in zip(self.normal, self.axes, strict=True)
            if one.kind == "input"
            and isinstance(one.module, RNNBase)
            and suspect(one, one, _plain_axis(axes)) is not None
        }
        return [[event.name], list(alike)] if len(alike) > 1 else [[event.name]]

    def _last_output(self, number: int) -> Event | None:
        """Return what came out of a module last, before an event; what was compared, if any was."""
        pairs = list(zip(self.normal, self.axes, strict=True))[:number]
        outputs = [(e, axes) for e, axes in reversed(pairs) if e.kind == "output"]
        return next((e for e, axes in outputs if any(axes)), outputs[0][0] if outputs else None)

    def _source(self, number: int) -> str:
        last = self._last_output(number)
        return f"the output of {last.label}" if last else "the model's input"

    def _function(self, numbers: Sequence[int]) -> tuple[int, list[Line]]:
        """Name the first function before some events that gives what shows the leak."""
        baseline = self.perturbed.baseline
        inside = self._inside(numbers[-1])
        numbers = [number for number in numbers if number not in inside]
        inputs = (baseline.batch.tree(), self.perturbed.inputs, self.smaller.tree())
        try:
            runs = [record_steps(self.session, one, numbers) for one in inputs]
        except Exception:  # noqa: BLE001 - a model may refuse to run under watch
            return numbers[-1], []
        steps = runs[0].seen
        shown = self._judged(numbers, [run.seen for run in runs])
        wanted = set(runs[0].wanted)
        made: list[Step] = []
        for step in reversed(steps):
            if step.made & wanted and shown.get(step) is not False:
                wanted |= step.given
                made.insert(0, step)
        near = [step for step in steps if step.number == numbers[-1]]
        first = next((step for step in [*made, *near] if shown.get(step)), None)
        if first is None:
            return numbers[-1], []
        place = [("at", first.place)] if first.place else []
        return first.number, [("by", first.text), *place]

    def _judged(self, numbers: Sequence[int], runs: list[list[Step]]) -> dict[Step, bool]:
        """Return which functions and modules show the leak, among those that can be judged."""
        # A module that ran before shows nothing, or cannot be compared.
        shown = {step: False for step in runs[0] if not step.name and any(self.axes[step.number])}
        for number in numbers:
            parts = [[step for step in run if step.number == number and step.name] for run in runs]
            names = [[step.name for step in part] for part in parts]
            if any(other != names[0] for other in names):
                continue
            for before, after, less in zip(*parts, strict=True):
                axes = self._axes(before.tensors, less.tensors)
                if self.unit == "samples" and any(map(_are_pairs, before.tensors, less.tensors)):
                    shown[before] = True
                elif any(axes):
                    shown[before] = self._shown(before.tensors, after.tensors, axes)
        return shown

    def _inside(self, end: int) -> set[int]:
        """Return the events within calls of modules that gave, before, what could be compared."""
        inside: set[int] = set()
        begun: list[int] = []
        for number in range(end):
            if self.normal[number].kind == "input":
                begun.append(number)
                continue
            start = begun.pop()
            if any(self.axes[number]):
                inside |= set(range(start + 1, number + 1))
        return inside


def _call(event: Event) -> tuple[str, str]:
    return event.kind, event.name


def _calls(events: list[Event]) -> list[tuple[str, str]]:
    return list(map(_call, events))


def _plain_axis(axes: Sequence[_Axis | None]) -> int | None:
    """Return the axis of the first tensor, if each has one row on it."""
    axis = next(iter(axes), None)
    return axis.dim if axis and axis.each == 1 else None


def _are_pairs(full: Any, fewer: Any) -> bool:
    """Return whether samples meet samples in a tensor: two of its axes have one less of them."""
    shapes = zip(shape_of(full) or (), shape_of(fewer) or (), strict=False)
    return [one - other for one, other in shapes if one != other] == [1, 1]


def _only_axis(tensor: Any, size: int) -> int | None:
    shape = shape_of(tensor) or ()
    return shape.index(size) if shape.count(size) == 1 else None
