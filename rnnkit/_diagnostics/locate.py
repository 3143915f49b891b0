"""Where a leak first shows: the first module or function whose output has it, and why."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.jit import ScriptModule
from torch.nn import RNNBase

from rnnkit._diagnostics.axes import followed_axis
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.causes import (
    Cause,
    Change,
    Clean,
    clean_samples,
    clean_steps,
    confirmed,
    forward_only,
    later_steps,
    other_layout,
    without_leak,
)
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.events import Event, Step, record, record_steps
from rnnkit._diagnostics.experiment import PerturbedRun
from rnnkit._diagnostics.judge import near
from rnnkit._diagnostics.module_calls import KINDS, from_state
from rnnkit._diagnostics.outputs import shape_of
from rnnkit._diagnostics.report import Line
from rnnkit._diagnostics.streams import Stream


@dataclass(frozen=True)
class Location:
    """A module, by its qualified name, and the rows of a message about it."""

    module: str
    rows: tuple[Line, ...]


#: Whether a tensor shows the leak along an axis, before and after the change.
Shows = Callable[[Tensor, Tensor, int], bool]


class _Axis(NamedTuple):
    """The axis of a tensor that follows what is left out, and how many rows of it each has."""

    dim: int
    each: int


#: What may be the cause: from what goes into a module, the axis of that, and whether it loops.
Suspect = Callable[[Event, int | None, bool], Cause | None]


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
        queues = _by_call(fewer)
        self.axes = [
            [None] * len(event.tensors)
            if event.name in self.repeated
            else self._axes(event.tensors, queues[_call(event)].pop(0).tensors if fewer else None)
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
        return next((_Axis(axis, rows) for axis, rows in found if axis is not None), None)

    def location(self, suspect: Suspect, clean: Clean) -> Location:
        """Find the first event that shows the leak, and what is to be said of it."""
        if isinstance(self.session.model, ScriptModule):
            return Location("", (("first", "not found: no hooks can be put on a ScriptModule"),))
        if list(map(_call, self.normal)) != list(map(_call, self.changed)):
            row = ("first", "not found: the model calls other modules on other values")
            return Location("", (row,))
        for number, (before, after) in enumerate(zip(self.normal, self.changed, strict=True)):
            if self._shown(before.tensors, after.tensors, self.axes[number]):
                return self._at_event(number, suspect, clean)
        at, function = self._function(self._between(len(self.normal)))
        where = self._last(at, "outside of all modules", "after ")
        text = f"{where}, in what the model does with tensors itself"
        if self.repeated and not function:
            text = f"not found: {self.repeated[0]} is called in a loop over the {self.unit}"
            function = self._loop_of_the_model(suspect, clean)
        return Location("", (("first", text), *function))

    def _loop_of_the_model(self, suspect: Suspect, clean: Clean) -> list[Line]:
        """Suspect the model itself, whose loop over cells calls what is repeated."""
        batch, model = self.perturbed.baseline.batch, self.session.model
        given = Event("input", "", model, (self.inputs[0].args, {}), batch.leaves[:1], False)
        cause = suspect(given, batch.axes[batch.first] if batch.first == 0 else None, True)
        return confirmed(cause, [[""]], without_leak(self.perturbed, clean))

    def _shown(self, before: list[Any], after: list[Any], axes: Sequence[_Axis | None]) -> bool:
        return any(
            axis is not None and one.shape == other.shape and self._shows(one, other, axis)
            for one, other, axis in zip(before, after, axes, strict=False)
        )

    def _shows(self, before: Tensor, after: Tensor, axis: _Axis) -> bool:
        """Return whether a tensor shows the leak, in whichever order several rows of each are."""
        if axis.each == 1:
            return self.shows(before, after, axis.dim)
        orders = [(outer, self.size, axis.each // outer)
                  for outer in range(1, axis.each + 1) if axis.each % outer == 0]  # fmt: skip
        front, back = before.shape[: axis.dim], before.shape[axis.dim + 1 :]
        both = [[x.reshape(*front, *order, *back) for x in (before, after)] for order in orders]
        return all(self.shows(one, other, axis.dim + 1) for one, other in both)

    def _at_event(self, number: int, suspect: Suspect, clean: Clean) -> Location:
        event, earlier = self.normal[number], self.normal[:number]
        call = sum(_call(one) == _call(event) for one in earlier)
        first = ("first", f"{event.label} ({event.class_name}), {event.kind} of call {call}")
        if event.kind == "input":
            at, function = self._function(self._between(number))
            source = self._last(at, "the model's input", "the output of ")
            cause = ("cause", f"between {source} and the input of {event.label}")
            return Location(event.name, (first, cause, *function))
        asked = {
            one.name: (at, found)
            for at, one in enumerate(earlier)
            if one.kind == "input" and (found := self._cause(suspect, at)) is not None
        }
        at = max(k for k, one in enumerate(earlier) if _call(one) == ("input", event.name))
        groups = [[event.name], [*asked] * (len(asked) > 1)]
        rows = confirmed(self._cause(suspect, at), groups, without_leak(self.perturbed, clean))
        if not rows:
            _, rows = self._function(range(at + 1, number + 1))
            if isinstance(event.module, RNNBase):  # its functions are torch's, or rnnkit's
                rows = [row for row in rows if row[0] == "at"]
        return Location(event.name, (first, *rows))

    def _cause(self, suspect: Suspect, at: int) -> Cause | None:
        given, axis = self.normal[at], next(iter(self.axes[at]), None)
        loops = any(name.startswith(f"{given.name}.") for name in self.repeated)
        return suspect(given, axis.dim if axis and axis.each == 1 else None, loops)

    def _last(self, number: int, nothing: str, prefix: str) -> str:
        """Name the module that returned last before an event, among those that were compared."""
        pairs = list(zip(self.normal, self.axes, strict=True))[:number]
        outputs = [(e, any(axes)) for e, axes in reversed(pairs) if e.kind == "output"]
        labels = [e.label for e, has_axes in outputs if has_axes] or [e.label for e, _ in outputs]
        return f"{prefix}{labels[0]}" if labels else nothing

    def _between(self, end: int) -> list[int]:
        """Return the events up to one, without the output of layers: what is before is in them."""
        events = enumerate(self.normal[:end])
        inside = {k for k, e in events if e.kind == "output" and isinstance(e.module, RNNBase)}
        return [k for k in range(end + 1) if k not in inside]

    def _function(self, numbers: Sequence[int]) -> tuple[int, list[Line]]:
        """Name the first function before some events that returns what shows the leak."""
        last = numbers[-1]
        try:
            runs = [record_steps(self.session, given, numbers) for given in self.inputs]
        except Exception:  # noqa: BLE001 - a model may refuse to run under watch
            return last, []
        shown, wanted = self._judged(numbers, [run.seen for run in runs]), runs[0].wanted
        made: list[Step] = []
        for step in reversed(runs[0].seen):
            if step.made & wanted and shown.get(step) is not False:
                wanted = wanted | step.given
                made.insert(0, step)
        made += [step for step in runs[0].seen if step.number == last]
        first = next((step for step in made if shown.get(step)), None)
        if first is None:
            return last, []
        return first.number, [("by", first.text), *[("at", first.place)] * bool(first.place)]

    def _judged(self, numbers: Sequence[int], runs: list[list[Step]]) -> dict[Step, bool]:
        """Return which functions and modules show the leak, among those that can be judged."""
        # A module that ran before shows nothing, or cannot be compared.
        shown = {step: False for step in runs[0] if not step.name and any(self.axes[step.number])}
        for number in numbers:
            parts = [[step for step in run if step.number == number and step.name] for run in runs]
            names = [[step.name for step in part] for part in parts]
            if names[0] != names[1] or names[0] != names[2]:
                continue
            for before, after, less in zip(*parts, strict=True):
                axes = self._axes(before.tensors, less.tensors)
                if self.unit == "samples" and any(map(_are_pairs, before.tensors, less.tensors)):
                    shown[before] = True
                elif any(axes):
                    shown[before] = self._shown(before.tensors, after.tensors, axes)
        return shown


def _call(event: Event) -> tuple[str, str]:
    return event.kind, event.name


def _by_call(events: list[Event]) -> dict[tuple[str, str], list[Event]]:
    found: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        found[_call(event)].append(event)
    return found


def _are_pairs(full: Any, fewer: Any) -> bool:
    """Return whether samples meet samples in a tensor: two of its axes have one less of them."""
    shapes = zip(shape_of(full) or (), shape_of(fewer) or (), strict=False)
    return [one - other for one, other in shapes if one != other] == [1, 1]


def find_break(stream: Stream) -> Location:
    """Find the first module whose output in chunks differs from the whole's."""
    session, given = stream.baseline.session, [stream.baseline.batch.tree(), *stream.given[:2]]
    if isinstance(session.model, ScriptModule) or len(given) < 3:
        return Location("", ())
    try:
        whole, one, two = (record(session, inputs) for inputs in given)
    except Exception:  # noqa: BLE001 - a model may refuse to be watched
        return Location("", ())
    for event, parts in _matched(whole, one, two, stream.sizes):
        pair = _joined(stream, event, parts)
        if pair is not None and not near(stream.baseline, *pair):
            rows: list[Line] = [("first", f"{event.label} ({event.class_name}), {event.kind}")]
            if event.kind == "output" and isinstance(event.module, KINDS):
                rows += _lost_state(stream, event, one)
            return Location(event.name, tuple(rows))
    return Location("", ())


def _matched(
    whole: list[Event], one: list[Event], two: list[Event], sizes: Sequence[int]
) -> Iterator[tuple[Event, list[Event]]]:
    """Yield the calls of the whole run, with those of two chunks: one each, or a step's own."""
    runs, seen = [_by_call(run) for run in (whole, one, two)], Counter[tuple[str, str]]()
    for event in whole:
        all_of, first, second = (run[_call(event)] for run in runs)
        at = seen[_call(event)]
        seen[_call(event)] += 1
        both = [*first, *second]
        if len(all_of) == len(first) == len(second):
            yield event, [first[at], second[at]]
        elif len(all_of) * sum(sizes[:2]) == len(both) * sum(sizes) and at < len(both):
            yield event, [both[at]]


def _joined(stream: Stream, whole: Event, parts: list[Event]) -> tuple[Tensor, Tensor] | None:
    """Return a call's first tensor and the same from the chunks; None if they do not fit."""
    tensors: list[Any] = [next(iter(event.tensors), None) for event in (whole, *parts)]
    one, *others = tensors
    if not all(map(is_number, tensors)) or any(x.dim() != one.dim() for x in others):
        return None
    axes = [k for k, size in enumerate(one.shape) if any(x.shape[k] != size for x in others)]
    if not axes:
        return (one, others[0]) if len(others) == 1 else None
    joined = torch.cat(others, axes[0]) if len(axes) == 1 else others[0]
    steps, covered = sum(stream.sizes), sum(stream.sizes[:2])
    if (one.shape[axes[0]], joined.shape[axes[0]]) != (steps, covered) or len(axes) > 1:
        return None
    return one.narrow(axes[0], 0, covered), joined


def _lost_state(stream: Stream, event: Event, first: list[Event]) -> list[Line]:
    """Suspect a state that a layer or cell does not get back, or a backward direction."""
    made: dict[str, Any] = {}
    for one in first:
        if one.kind == "output" and isinstance(one.module, KINDS):
            state = one.tensors[1:] if isinstance(one.module, RNNBase) else one.tensors
            if state:
                made[one.name] = tuple(state) if len(state) > 1 else state[0]

    def passed(name: str, _: torch.nn.Module) -> Change:
        state = [made[name]] if name in made else []
        return lambda args, kwargs: from_state(args, kwargs, state.pop()) if state else None, None

    text = f"{event.label} does not start the second chunk from the state that it returned"
    fix = "y, state = layer(x, state), and return that state"
    lost, groups = Cause([("cause", text), ("fix", fix)], passed), [[event.name], [*made]]
    rows = confirmed(lost, groups, lambda watch: stream.holds(second=watch))
    if rows or not getattr(event.module, "bidirectional", False):
        return rows
    text = f"{event.label} is bidirectional: its backward direction reads the chunks to come"
    fix = f"{event.class_name}(..., bidirectional=False)"
    back = Cause([("cause", text), ("fix", fix)], lambda _, module: (None, forward_only(module)))
    return confirmed(back, groups[:1], lambda watch: stream.holds(watch, watch))
