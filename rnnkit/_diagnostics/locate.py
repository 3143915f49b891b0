"""Where a leak first shows: the first module or function whose output has it, and why."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.jit import ScriptModule
from torch.nn import RNNBase

from rnnkit._diagnostics.axes import followed_axis
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.causes import (
    Cause,
    Clean,
    Location,
    clean_samples,
    clean_steps,
    confirmed,
    later_steps,
    other_layout,
)
from rnnkit._diagnostics.events import Event, Step, record, record_steps
from rnnkit._diagnostics.experiment import PerturbedRun
from rnnkit._diagnostics.isolation import Watch
from rnnkit._diagnostics.judge import near
from rnnkit._diagnostics.outputs import shape_of
from rnnkit._diagnostics.report import Line

#: Whether a tensor shows the leak along an axis, before and after the change.
Shows = Callable[[Tensor, Tensor, int], bool]


class _Axis(NamedTuple):
    """The axis of a tensor that follows what is left out, and how many rows of it each has."""

    dim: int
    each: int


#: Whether a leak is gone under hooks.
IsGone = Callable[[Watch], bool]

#: What may be the cause: from what goes into a module, the axis of that, and whether it loops.
Suspect = Callable[[Event, int | None, bool], Cause | None]


def locate_sample(perturbed: PerturbedRun, changed: int) -> Location:
    """Find where one sample first depends on another."""
    batch = perturbed.baseline.batch

    def shows(before: Tensor, after: Tensor, axis: int) -> bool:
        # Of a part of the samples it is not known which they are.
        others = [k for k in range(batch.size) if k != changed and before.shape[axis] == batch.size]
        pairs = ((before.select(axis, k), after.select(axis, k)) for k in others)
        return any(not near(perturbed.baseline, *pair) for pair in pairs)

    fewer = batch.samples(range(batch.size - 1))
    search = _Search(perturbed, fewer, batch.size, "samples", shows)
    return search.location(other_layout, clean_samples(changed))


def locate_step(perturbed: PerturbedRun, cut: int) -> Location:
    """Find where a step first depends on a later one."""
    batch, seq = perturbed.baseline.batch, perturbed.baseline.out_seq_dim or 0
    steps = batch.steps or 1

    def shows(before: Tensor, after: Tensor, axis: int) -> bool:
        early = [x.narrow(axis, 0, min(cut, x.shape[axis])) for x in (before, after)]
        return before.shape[axis] >= cut and not near(perturbed.baseline, *early)

    search = _Search(perturbed, batch.cut(steps - 1, front=True), steps, "steps", shows)
    return search.location(lambda given, _, __: later_steps(given), clean_steps(cut, seq))


class _Search:
    """Three runs, event by event: as it is, changed, and with less, which shows the axes."""

    def __init__(
        self, perturbed: PerturbedRun, smaller: Batch, size: int, unit: str, shows: Shows
    ) -> None:
        self.perturbed, self.size, self.unit, self.shows = perturbed, size, unit, shows
        self.session, batch = perturbed.baseline.session, perturbed.baseline.batch
        self.inputs = batch.tree(), perturbed.inputs, smaller.tree()
        self.normal = perturbed.baseline.events
        self.changed = record(self.session, perturbed.inputs)
        try:
            fewer = record(self.session, self.inputs[2])
        except Exception:  # noqa: BLE001 - the axes are then told by their sizes
            fewer = []
        before, after = Counter(map(_call, self.normal)), Counter(map(_call, fewer))
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
            return list(map(self._axis, tensors, fewer))
        shapes = [shape_of(tensor) or () for tensor in tensors]
        known = (
            shape.index(self.size) if shape.count(self.size) == 1 else None for shape in shapes
        )
        return [None if axis is None else _Axis(axis, 1) for axis in known]

    def _axis(self, full: Any, fewer: Any) -> _Axis | None:
        """Return the axis that is shorter: by one, or by as many rows as each has on it."""
        lengths = shape_of(full) or ()
        each = {1, *(length // self.size for length in lengths if length % self.size == 0)} - {0}
        found = ((followed_axis(full, fewer, rows), rows) for rows in sorted(each))
        whole = [_Axis(axis, rows) for axis, rows in found if axis is not None]
        return next((one for one in whole if one.each in (1, lengths[one.dim] / self.size)), None)

    def location(self, suspect: Suspect, clean: Clean) -> Location:
        """Find the first event that shows the leak, and what is to be said of it."""
        if isinstance(self.session.model, ScriptModule):
            return Location("", [("first", "not found: no hooks can be put on a ScriptModule")])
        if list(map(_call, self.normal)) != list(map(_call, self.changed)):
            text = "not found: the model calls other modules on other values"
            return Location("", [("first", text)])
        is_gone = without_leak(self.perturbed, clean)
        for number, (before, after) in enumerate(zip(self.normal, self.changed, strict=True)):
            if self._shown(before.tensors, after.tensors, self.axes[number]):
                return self._at_event(number, suspect, is_gone)
        at, rows = self._function(range(len(self.normal) + 1))
        last = self._last(at)
        where = f"after {last}" if last else "outside of all modules"
        text = f"{where}, in what the model does with tensors itself"
        if self.repeated and not rows:
            text = f"{self.repeated[0]} is called in a loop over the {self.unit}"
            batch, args = self.perturbed.baseline.batch, self.inputs[0].args
            given = Event("input", "", self.session.model, (args, {}), batch.leaves[:1], False)
            rows = confirmed(suspect(given, batch.axes[0], True), [[""]], is_gone)
            text = text if rows else f"not found: {text}"
        return Location("", [("first", text), *rows])

    def _shown(self, before: list[Any], after: list[Any], axes: Sequence[_Axis | None]) -> bool:
        """Return whether some tensor shows the leak, in either order of several rows of each."""
        for one, other, axis in zip(before, after, axes, strict=False):
            if axis is None or one.shape != other.shape:
                continue
            (dim, each), shape = axis, tuple(one.shape)
            views = [(dim, shape)]
            if each > 1:
                front, back = shape[:dim], shape[dim + 1 :]
                views = [(dim, (*front, self.size, each, *back)),
                         (dim + 1, (*front, each, self.size, *back))]  # fmt: skip
            if all(self.shows(one.reshape(view), other.reshape(view), at) for at, view in views):
                return True
        return False

    def _at_event(self, number: int, suspect: Suspect, is_gone: IsGone) -> Location:
        event, earlier = self.normal[number], self.normal[:number]
        call = sum(_call(one) == _call(event) for one in earlier)
        first = ("first", f"{event.label} ({event.class_name}), {event.kind} of call {call}")
        if event.kind == "input":
            at, rows = self._function(range(number + 1))
            last = self._last(at)
            source = f"the output of {last}" if last else "the model's input"
            cause = ("cause", f"between {source} and the input of {event.label}")
            return Location(event.name, [first, cause, *rows])
        given = {one.name: at for at, one in enumerate(earlier) if one.kind == "input"}
        causes = {name: self._cause(suspect, at) for name, at in given.items()}
        alike = [name for name, cause in causes.items() if cause is not None]
        rows = confirmed(causes[event.name], [[event.name], alike], is_gone)
        if not rows:
            _, rows = self._function(range(given[event.name] + 1, number + 1))
            if isinstance(event.module, RNNBase):  # its functions are torch's, or rnnkit's
                rows = [row for row in rows if row[0] == "at"]
        return Location(event.name, [first, *rows])

    def _cause(self, suspect: Suspect, at: int) -> Cause | None:
        given, axis = self.normal[at], next(iter(self.axes[at]), None)
        loops = any(name.startswith(f"{given.name}.") for name in self.repeated)
        return suspect(given, axis.dim if axis and axis.each == 1 else None, loops)

    def _last(self, number: int) -> str:
        """Return the module that returned last before an event."""
        found = [event.label for event in self.normal[:number] if event.kind == "output"]
        return found[-1] if found else ""

    def _function(self, numbers: Sequence[int]) -> tuple[int, list[Line]]:
        """Name the first function before some events that returns what shows the leak."""
        try:
            runs = [record_steps(self.session, given, numbers) for given in self.inputs]
        except Exception:  # noqa: BLE001 - a model may refuse to run under watch
            return numbers[-1], []
        seen, wanted = runs[0].seen, runs[0].wanted
        # A module that ran before shows nothing, or cannot be compared.
        shown = {step: False for step in seen if not step.name and any(self.axes[step.number])}
        for number in numbers:
            parts = [[s for s in run.seen if s.number == number and s.name] for run in runs]
            if len({tuple(step.name for step in part) for part in parts}) > 1:
                continue
            for before, after, less in zip(*parts, strict=True):
                axes = self._axes(before.tensors, less.tensors)
                if any(axes):
                    shown[before] = self._shown(before.tensors, after.tensors, axes)
        path: list[Step] = []
        for step in reversed(seen):
            if step.made & wanted and shown.get(step) is False:
                wanted = wanted - step.made
            elif step.made & wanted:
                wanted = wanted | step.given
                path.insert(0, step)
        first = next((step for step in path if shown.get(step)), None)
        if first is None:
            return numbers[-1], []
        return first.number, [("by", first.text), *[("at", first.place)] * bool(first.place)]


def _call(event: Event) -> tuple[str, str]:
    return event.kind, event.name


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
