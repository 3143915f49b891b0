"""Where a leak first shows: the first module or function whose output has it, and why."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.jit import ScriptModule
from torch.nn import RNNBase

from rnnkit._diagnostics.axes import followed_axis
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.causes import Cause, Location, confirmed, later_steps, other_layout
from rnnkit._diagnostics.events import Event, record, record_steps
from rnnkit._diagnostics.isolation import Given, Watch
from rnnkit._diagnostics.judge import near
from rnnkit._diagnostics.outputs import shape_of
from rnnkit._diagnostics.report import Line

#: Whether a tensor shows the leak along an axis, before and after the change.
Shows = Callable[[Tensor, Tensor, int], bool]

#: What may be the cause: from what goes into a module, the axis of that, and whether it loops.
Suspect = Callable[[Event, int | None, bool], Cause | None]


def locate_sample(baseline: Baseline, inputs: Given, changed: int) -> Location:
    """Find where one sample first depends on another, which is changed in some inputs."""
    size = baseline.batch.size

    def shows(before: Tensor, after: Tensor, axis: int) -> bool:
        # Of a part of the samples it is not known which they are.
        others = [k for k in range(size) if k != changed and before.shape[axis] == size]
        pairs = ((before.select(axis, k), after.select(axis, k)) for k in others)
        return any(not near(baseline, *pair) for pair in pairs)

    fewer = baseline.batch.samples(range(size - 1))
    search = _Search(baseline, inputs, fewer, size, shows, baseline.axes)
    return search.location("samples", other_layout)


def locate_step(baseline: Baseline, inputs: Given, cut: int) -> Location:
    """Find where a step first depends on a later one, from which on some inputs are changed."""
    steps = baseline.batch.steps or 1

    def shows(before: Tensor, after: Tensor, axis: int) -> bool:
        early = [x.narrow(axis, 0, min(cut, x.shape[axis])) for x in (before, after)]
        return before.shape[axis] >= cut and not near(baseline, *early)

    fewer = baseline.batch.cut(steps - 1, front=True)
    search = _Search(baseline, inputs, fewer, steps, shows, baseline.step_axes)
    return search.location("steps", later_steps)


class _Search:
    """Three runs, event by event: as it is, changed, and with less, which shows the axes."""

    def __init__(
        self,
        baseline: Baseline,
        inputs: Given,
        smaller: Batch,
        size: int,
        shows: Shows,
        out_axes: Sequence[int | None],
    ) -> None:
        self.baseline, self.session = baseline, baseline.session
        self.size, self.shows, self.out_axes = size, shows, out_axes
        self.inputs = baseline.batch.tree(), inputs, smaller.tree()
        self.normal, self.changed = baseline.events, record(self.session, inputs)
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

    def _axes(self, tensors: list[Any], fewer: list[Any] | None) -> list[int | None]:
        """Return the axis of each tensor that is shorter with less; if unknown, by its size."""
        if fewer is not None:
            return list(map(self._axis, tensors, fewer))
        shapes = [list(shape_of(tensor) or ()) for tensor in tensors]
        return [shape.index(self.size) if shape.count(self.size) == 1 else None for shape in shapes]

    def _axis(self, full: Any, fewer: Any) -> int | None:
        """Return the axis that is shorter: by one, or by as many rows as each has on it."""
        every = {n // self.size for n in shape_of(full) or () if n and n % self.size == 0}
        found = (followed_axis(full, fewer, rows) for rows in sorted({1, *every}))
        return next((axis for axis in found if axis is not None), None)

    def _shown(self, before: list[Any], after: list[Any], axes: Sequence[int | None]) -> bool:
        """Return whether some tensor shows the leak, in either order of several rows of each."""
        for one, other, axis in zip(before, after, axes, strict=False):
            if axis is None or one.shape != other.shape:
                continue
            views = [(axis, one.shape)]
            if self._has_several(one, axis):
                front, back = one.shape[:axis], one.shape[axis + 1 :]
                views = [(axis, (*front, self.size, -1, *back))]
                views.append((axis + 1, (*front, -1, self.size, *back)))
            if all(self.shows(one.reshape(view), other.reshape(view), at) for at, view in views):
                return True
        return False

    def _has_several(self, tensor: Tensor, axis: int) -> bool:
        """Return whether a tensor has several rows of each sample, or step, on one axis."""
        rows = tensor.shape[axis]
        return rows > self.size and rows % self.size == 0

    def location(self, unit: str, suspect: Suspect) -> Location:
        """Find the first event that shows the leak, and what is to be said of it."""
        if isinstance(self.session.model, ScriptModule):
            return Location("", [("first", "not found: no hooks can be put on a ScriptModule")])
        if list(map(_call, self.normal)) != list(map(_call, self.changed)):
            text = "not found: the model calls other modules on other values"
            return Location("", [("first", text)])
        for number, (before, after) in enumerate(zip(self.normal, self.changed, strict=True)):
            if self._shown(before.tensors, after.tensors, self.axes[number]):
                return self._at_event(number, suspect)
        last, rows = self._function(range(len(self.normal) + 1))
        where = f"after {last}" if last else "outside of all modules"
        text = f"{where}, in what the model does with tensors itself"
        if self.repeated and not rows:
            text = f"{self.repeated[0]} is called in a loop over the {unit}"
            batch, args = self.baseline.batch, self.inputs[0].args
            given = Event("input", "", self.session.model, (args, {}), batch.leaves[:1], False)
            rows = confirmed(suspect(given, batch.axes[0], True), [[""]], self._is_gone)
            text = text if rows else f"not found: {text}"
        return Location("", [("first", text), *rows])

    def _at_event(self, number: int, suspect: Suspect) -> Location:
        event, earlier = self.normal[number], self.normal[:number]
        call = sum(_call(one) == _call(event) for one in earlier)
        first = ("first", f"{event.label} ({event.class_name}), {event.kind} of call {call}")
        if event.kind == "input":
            last, rows = self._function(range(number + 1))
            source = f"the output of {last}" if last else "the model's input"
            cause = ("cause", f"between {source} and the input of {event.label}")
            return Location(event.name, [first, cause, *rows])
        causes: dict[str, Cause | None] = {}
        for at, one in enumerate(earlier):
            if one.kind == "input":
                axis = next(iter(self.axes[at]), None)
                loops = any(name.startswith(f"{one.name}.") for name in self.repeated)
                is_flat = axis is not None and self._has_several(one.tensors[0], axis)
                causes[one.name] = suspect(one, None if is_flat else axis, loops)
        alike = [name for name, cause in causes.items() if cause is not None]
        rows = confirmed(causes[event.name], [[event.name], alike], self._is_gone)
        if not rows:
            begun = max(at for at, one in enumerate(earlier) if _call(one) == ("input", event.name))
            _, rows = self._function(range(begun + 1, number + 1))
            if isinstance(event.module, RNNBase):  # its functions are torch's, or rnnkit's
                rows = [row for row in rows if row[0] == "at"]
        return Location(event.name, [first, *rows])

    def _is_gone(self, watch: Watch) -> bool:
        """Return whether no judged output shows the leak under hooks, and one of them moves."""
        runs = [self.session.attempt(one, watch=watch) or [] for one in self.inputs[:2]]
        moves = False
        for index, (one, other) in enumerate(zip(*runs, strict=False)):
            axis, shape = self.out_axes[index], shape_of(self.baseline.normal[index])
            if None not in (axis, shape) and shape_of(one) == shape_of(other) == shape:
                if self.shows(one, other, axis or 0):
                    return False
                moves |= not near(self.baseline, one, other)
        return moves

    def _function(self, numbers: Sequence[int]) -> tuple[str, list[Line]]:
        """Name the first function before some events that shows the leak, after which module."""
        try:
            runs = [record_steps(self.session, given, numbers) for given in self.inputs]
        except Exception:  # noqa: BLE001 - a model may refuse to run under watch
            return self._last(numbers[-1]), []
        # A module that ran before shows nothing, or cannot be compared.
        modules = [step for step in runs[0].seen if not step.name]
        shown = {step: False for step in modules if set(self.axes[step.number]) - {None}}
        for number in numbers:
            parts = [[s for s in run.seen if s.number == number and s.name] for run in runs]
            alike = len({tuple(step.name for step in part) for part in parts}) == 1
            for before, after, less in zip(*parts, strict=True) if alike else ():
                axes = self._axes(before.tensors, less.tensors)
                if set(axes) - {None}:
                    shown[before] = self._shown(before.tensors, after.tensors, axes)
        # Back from what the event is about, as far as the leak shows.
        wanted, found = runs[0].wanted, None
        for step in reversed(runs[0].seen):
            if step.made & wanted:
                is_clean = shown.get(step) is False
                wanted = wanted - step.made if is_clean else wanted | step.given
                found = step if shown.get(step) else found
        if found is None:
            return self._last(numbers[-1]), []
        rows = [("by", found.text), *[("at", found.place)] * bool(found.place)]
        return self._last(found.number), rows

    def _last(self, number: int) -> str:
        """Return the module that returned last before an event."""
        found = [event.label for event in self.normal[:number] if event.kind == "output"]
        return found[-1] if found else ""


def _call(event: Event) -> tuple[str, str]:
    return event.kind, event.name
