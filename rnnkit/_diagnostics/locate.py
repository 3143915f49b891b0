"""Where a leak first shows: the first module or function whose output has it, and why."""

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.jit import ScriptModule
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import is_whole
from rnnkit._diagnostics.causes import (
    Cause,
    Location,
    confirmed,
    fix_of,
    later_steps,
    other_layout,
    padding_first,
    read_lengths,
)
from rnnkit._diagnostics.compare import apart, is_number, scale
from rnnkit._diagnostics.events import Event, Recorder
from rnnkit._diagnostics.isolation import Given, Watch
from rnnkit._diagnostics.outputs import Leaves, leaves, named_leaves, shape_of
from rnnkit._diagnostics.report import Line

_ALIKE = "one order for both: repeat_interleave(n, 0), or a transpose before a view"

#: Whether a tensor shows the leak; or is made of all samples, or steps, at once; None: not known.
Verdict = bool | Literal["joins"] | None


def locate_sample(baseline: Baseline, inputs: Given, changed: int, index: int) -> Location:
    """Find where one sample first depends on another, which is changed in some inputs."""
    batch = baseline.batch
    runs = batch.tree(), inputs, batch.samples(range(batch.size - 1)).tree()
    return _Samples(baseline, runs, index, (batch.size, batch.size - 1), changed).location()


def locate_step(baseline: Baseline, inputs: Given, cut: int, index: int) -> Location:
    """Find where a step first depends on a later one, from which on some inputs are changed."""
    batch, steps = baseline.batch, baseline.batch.steps or 1
    runs = batch.tree(), inputs, batch.cut(steps - 1, front=True).tree()
    return _Steps(baseline, runs, index, (steps, steps - 1), cut).location()


def locate_valid(
    baseline: Baseline, sample: int, index: int, inputs: Given | None = None
) -> Location:
    """Find where a sample first differs from what it is alone, cut to its length.

    If inputs are given, where it differs with these, which have other padding.
    """
    batch, alone = baseline.batch, baseline.batch.alone(sample, front=baseline.post)
    sizes, padded = (batch.steps or 1, alone.steps or 1), batch.samples([sample]).tree()
    other = single = alone.tree()
    if inputs is not None:
        changed = batch.with_leaves(pytree.tree_leaves(inputs, is_leaf=is_whole))
        other = changed.samples([sample]).tree()
    search = _Valid(baseline, (padded, other, single), index, sizes, 1)
    if inputs is None and search.number is None:
        search = _Valid(baseline, (batch.tree(), single, single), index, sizes, batch.size)
    return search.location()


class _Run(NamedTuple):
    """What happened, what came out, and the ids of the tensors of the output in question."""

    events: list[Event]
    output: Leaves
    wanted: set[int]


class _Search(ABC):
    """Three runs, side by side: as it is, changed, and with less, which shows the axes.

    ``about`` is the sample that is changed, the first step that is, or how many samples there are.
    """

    probe, unit = "", ""

    def __init__(
        self,
        baseline: Baseline,
        inputs: Sequence[Given],
        index: int,
        sizes: tuple[int, int],
        about: int,
    ) -> None:
        self.baseline, self.session, self.inputs = baseline, baseline.session, inputs
        self.index, self.about, (self.size, self.smaller) = index, about, sizes
        self.is_strict, self.front = False, baseline.post or self.unit == "samples"
        runs = [self._recorded(one) for one in inputs]
        self.outputs, self.events = [run.output for run in runs], runs[0].events
        self.knows_axes = bool(runs[2].events)
        self.after, self.less = (self._matched(run.events) for run in runs[1:])
        self.number = self._first(runs[0].wanted, len(self.events))

    def _recorded(self, inputs: Given) -> _Run:
        """Run the model; it may refuse, also to run where its functions are watched."""
        for functions in (True, False):
            recorder = Recorder(functions=functions)
            output = self.session.attempt(inputs, watch=recorder.watch)
            if output is None or isinstance(self.session.model, ScriptModule):
                continue
            returned = self.session.returned
            named = [id(leaf) for _, leaf in named_leaves(returned, stack=True)][self.index :][:1]
            tensors = [id(leaf) for leaf in [*pytree.tree_leaves(returned), *leaves(returned)]]
            known = {key for event in recorder.events for key in event.made}
            wanted = known.intersection(named) or known.intersection(tensors) or known
            return _Run(recorder.events, output, wanted)
        return _Run([], [], set())

    def _matched(self, other: list[Event]) -> list[tuple[Event | None, int | None]]:
        """Return for each event that of another run, and which sample or step a loop is at."""
        counts, found = Counter(map(_call, self.events)), list[tuple[Event | None, int | None]]()
        calls, seen = defaultdict[Any, list[Event]](list), Counter[Any]()
        for event in other:
            calls[_call(event)].append(event)
        for event in self.events:
            at, total, alike = seen[call := _call(event)], counts[call], calls[call]
            seen[call] += 1
            is_loop = total * self.smaller == len(alike) * self.size
            if alike and (is_loop or total == len(alike)):
                unit = at * self.size // total if total != len(alike) else None
                found.append((self._paired(at, total, alike), unit))
            else:
                found.append((None, None))
        return found

    def _paired(self, at: int, total: int, others: Sequence[Any]) -> Any:
        """Return the same one of others, the nearest if it was left out."""
        at -= 0 if self.front else total - len(others)
        return others[min(max(at, 0), len(others) - 1)] if others else None

    def _tensors(self, number: int, place: int) -> tuple[Any, Any, Any, int | None]:
        """Return a tensor of an event, changed, and with less; and what a loop is at."""
        event, (after, _), (less, unit) = self.events[number], self.after[number], self.less[number]
        total = len(event.tensors)
        if less is not None and total != len(less.tensors):  # a list of samples, or of steps
            unit = place * self.size // total
        others = (self._paired(place, total, x.tensors if x else []) for x in (after, less))
        return event.tensors[place], *others, unit

    @abstractmethod
    def _judged(self, one: Tensor, other: Any, fewer: Any, unit: int | None) -> Verdict:
        """Return what a tensor shows, changed and with less, of a loop's sample or step."""

    @abstractmethod
    def _suspect(self, event: Event, axis: int | None, loops: bool, /) -> Cause | None:
        """Return what may be wrong with a module."""

    def _axes(self, one: Tensor, fewer: Any, unit: int | None) -> list[int] | None:
        """Return the axes that are shorter with less; None if they are not known."""
        shape = list(one.shape)
        if not self.knows_axes:
            return [shape.index(self.size)] if shape.count(self.size) == 1 else None
        if not isinstance(fewer, Tensor) or fewer.dim() != len(shape):
            return None if unit is None else []
        return [k for k, n in enumerate(shape) if n != fewer.shape[k]]

    def _views(self, one: Tensor, axis: int) -> list[tuple[int, tuple[int, ...]]]:
        """Return an axis, and shapes that have it to themselves: of several rows of each."""
        shape, rows = tuple(one.shape), one.shape[axis]
        if rows <= self.size or rows % self.size:
            return [(axis, shape)]
        front, back = shape[:axis], shape[axis + 1 :]
        ways = (*front, self.size, -1, *back), (*front, -1, self.size, *back)
        return [(axis, ways[0]), (axis + 1, ways[1])]

    def _differs(self, one: Tensor, other: Tensor) -> Tensor:
        """Return which numbers differ by more than rounding; what masks is not what counts."""
        if not (is_number(one) and is_number(other) and one.numel()):
            return one != other
        most = (self.baseline.tolerance or 0) * scale(one.reshape(-1), (0,)).view(one.shape)
        return apart(one, other) > most

    def _first(self, wanted: set[int] | frozenset[int], before: int) -> int | None:
        """Return the first event that shows the leak, going back from some tensors."""
        found, open_ = None, set(wanted)
        for number, hits, verdicts in self._back(before, open_):
            if verdicts <= {False}:
                open_ -= hits
            else:
                open_ |= self.events[number].given
                found = number if True in verdicts else found
        return found

    def _joined(self, number: int) -> int:
        """Return the first event that makes one of all, which an event then uses."""
        wanted, found = set(self.events[number].given), number
        for at, hits, verdicts in self._back(number, wanted):
            wanted -= hits
            if "joins" in verdicts:
                found = at
                wanted |= self.events[at].given
        return found

    def _back(self, before: int, wanted: set[int]) -> Iterator[tuple[int, set[int], set[Verdict]]]:
        """Yield events that made what is wanted then, from the last on, and what that shows."""
        for number in reversed(range(before)):
            made = self.events[number].made
            if hits := made.keys() & wanted:
                each = (self._tensors(number, made[key]) for key in hits)
                yield number, hits, {self._judged(*tensors) for tensors in each}

    def location(self) -> Location:
        """Return the first event that shows the leak, and what is to be said of it."""
        if self.number is None:
            return self._elsewhere()
        causes, owner = self._causes(self.number), _owner(self.events[self.number])
        around = [n for n in causes if n == owner or not n or owner.startswith(f"{n}.")]
        groups = [*([name] for name in around), [*causes] if around else []]
        if rows := confirmed(causes, groups, self._is_gone):
            return Location(owner, [self._named(self.number), *rows])
        return self._at(self._joined(self.number))

    def _at(self, number: int, rows: Sequence[Line] = ()) -> Location:
        """Return an event as a location, and what is said of it, or how to end such a mistake."""
        event = self.events[number]
        at = [("at", event.place)] * bool(event.place)
        rows = rows or self._why(number) or fix_of(*self._kind(number))
        return Location(_owner(event), [self._named(number), *at, *rows])

    def _kind(self, number: int) -> tuple[str, str]:
        """Return of which kind an event is, for its fix."""
        event, (_, unit) = self.events[number], self.less[number]
        is_call = event.kind == "input" and unit is not None
        return self.probe, "loop" if is_call else event.text or event.class_name

    def _with_less(self) -> list[tuple[Event, tuple[Event | None, int | None]]]:
        return [*zip(self.events, self.less, strict=True)]

    def _causes(self, number: int) -> dict[str, Cause]:
        """Return what may be wrong with the modules that were called, or with the model's loop."""
        found, batch = dict[str, Cause | None](), self.baseline.batch
        pairs = self._with_less()
        loops = [event.name for event, (_, unit) in pairs if unit is not None]
        for event, (less, unit) in pairs:
            if event.kind == "input" and event.tensors and isinstance(event.tensors[0], Tensor):
                axes = self._axes(event.tensors[0], less and less.tensors[0], unit) or []
                is_one = len(axes) == 1 and len(self._views(event.tensors[0], axes[0])) == 1
                inside = any(name.startswith(f"{event.name}.") for name in loops)
                found[event.name] = self._suspect(event, axes[0] if is_one else None, inside)
        if self.less[number][1] is not None and "" not in found:
            args: Any = self.inputs[0].args, {}
            given = Event("input", "", self.session.model, args, batch.leaves[:1], is_packed=False)
            found[""] = self._suspect(given, batch.axes[0], True)
        return {name: cause for name, cause in found.items() if cause is not None}

    def _is_gone(self, watch: Watch) -> bool:
        """Return whether the output shows no leak under hooks, and moves where it may."""
        runs = [self.session.attempt(one, watch=watch) or [] for one in self.inputs[:2]]
        three = [run[self.index : self.index + 1] for run in (*runs, self.outputs[2])]
        shapes = [[*map(shape_of, one)] for one in three[:2]]
        normal = [[shape_of(output[self.index])] for output in self.outputs[:2]]
        return shapes == normal and self._is_right(*(next(iter(one), None) for one in three))

    def _is_right(self, one: Any, other: Any, fewer: Any) -> bool:
        """Return whether an output shows no leak, and is not the same whatever is given."""
        is_clean = self._judged(one, other, fewer, None) is False
        return is_clean and bool(self._differs(one, other).any())

    def _named(self, number: int) -> Line:
        """Name an event: a module and its call, or a function, in or after a module."""
        event, before = self.events[number], self.events[:number]
        if event.kind != "function":
            call = sum(_call(one) == _call(event) for one in before)
            return "first", f"{event.label} ({event.class_name}), {event.kind} of call {call}"
        last = [f", after {one.label}" for one in before if one.kind == "output"][-1:]
        where = f", in {event.around} ({event.class_name})" if event.around else "".join(last)
        return "first", f"{event.text}{where}"

    def _why(self, number: int) -> list[Line]:  # noqa: ARG002 - each law has its own
        """Return the cause that the event itself shows."""
        return []

    def _elsewhere(self) -> Location:
        """Return why no place was found."""
        loops = [event.label for event, (_, unit) in self._with_less() if unit is not None]
        text, rows = "not found", list[Line]()
        if isinstance(self.session.model, ScriptModule):
            text = "not found: no hooks can be put on a ScriptModule"
        elif loops:
            text = f"not found: {loops[-1]} is called in a loop over the {self.unit}"
            rows = fix_of(self.probe, "loop")
        elif any(after is None for after, _ in self.after):
            text = "not found: the model calls other modules on other values"
        return Location("", [("first", text), *rows])


class _Samples(_Search):
    """Each sample by itself, in whichever order; if that is strict, in the order of the input."""

    probe, unit = "batch", "samples"

    def _judged(self, one: Tensor, other: Any, fewer: Any, unit: int | None) -> Verdict:
        found = self._rows(one, other, fewer, unit)
        if not isinstance(found, tuple):
            return "joins" if found else found
        is_strict = self.is_strict or unit is not None
        return found[1] not in ([], [self.about]) if is_strict else len(found[1]) > 1

    def _rows(
        self, one: Tensor, other: Any, fewer: Any, unit: int | None
    ) -> tuple[int, list[int]] | bool | None:
        """Return which rows the sample shows in, and in which view; or whether all of one moves."""
        axes = None if shape_of(one) != shape_of(other) else self._axes(one, fewer, unit)
        if axes is None or len(axes) > 1 or (axes and one.shape[axes[0]] % self.size):
            return None
        moved = self._differs(one, other)
        if not axes:
            moves = bool(moved.any())
            return moves if unit is None else (0, [unit] * moves)
        found = list[tuple[int, list[int]]]()
        for number, (axis, shape) in enumerate(self._views(one, axes[0])):
            rows = moved.reshape(shape).movedim(axis, 0).reshape(self.size, -1).any(1)
            found.append((number, rows.nonzero().flatten().tolist()))
        return min(found, key=lambda pair: len(pair[1]))

    def _suspect(self, event: Event, axis: int | None, loops: bool, /) -> Cause | None:
        return other_layout(event, axis, loops)

    def _is_right(self, one: Any, other: Any, fewer: Any) -> bool:
        found = self._rows(one, other, fewer, None)
        return isinstance(found, tuple) and found[1] == [self.about]

    def _why(self, number: int) -> list[Line]:
        """Return that the samples are in different orders in what a function is given."""
        wanted, orders = set(self.events[number].given), list[tuple[int, list[int]]]()
        for at, hits, _ in self._back(number, wanted):
            made = self.events[at].made
            each = (self._rows(*self._tensors(at, made[key])) for key in hits)
            orders += [rows for rows in each if isinstance(rows, tuple) and rows[1]]
            wanted -= hits
        ways = {view for view, _ in orders}
        rows = {row for _, each in orders for row in each} | ({self.about} if wanted else set())
        if not orders or max(len(each) for _, each in orders) > 1 or len(ways) + len(rows) < 3:
            return []
        text = "what it joins has the samples in different orders"
        if len(rows) == 1:
            return [
                ("cause", text),
                ("fix", _ALIKE),
            ]
        self.is_strict = True
        changed = self._first(self.events[number].given, number)
        event = self.events[number if changed is None else changed]
        text += f", one since {event.text or event.label} at {event.place}"
        return [("cause", text), ("fix", "x[order.argsort()] of that, too, where order sorts them")]

    def _elsewhere(self) -> Location:
        """Return where rows, each of one sample, leave the order of the input."""
        wanted, self.is_strict = {key for event in self.events for key in event.made}, True
        number = self._first(wanted, len(self.events))
        if number is None:
            return super()._elsewhere()
        cause = ("cause", "the samples change their order here, and the output has it still")
        return self._at(number, [cause, ("fix", "output[order.argsort()], where order sorts them")])


class _Steps(_Search):
    """What is before the first step that is changed."""

    probe, unit = "causal", "steps"

    def _judged(self, one: Tensor, other: Any, fewer: Any, unit: int | None) -> Verdict:
        axes = None if shape_of(one) != shape_of(other) else self._axes(one, fewer, unit)
        if axes is None:
            return None
        moved = self._differs(one, other)
        if not axes:
            return bool(moved.any()) and (unit < self.about if unit is not None else "joins")
        views = self._views(one, axes[0]) if len(axes) == 1 else [(axes[0], tuple(one.shape))]
        for axis, shape in views:
            early = moved.reshape(shape)
            for at in axes if len(views) == 1 else [axis]:
                # What is shorter than the input may begin later, or have a stride.
                rows, cut = early.shape[at], self.about
                size = min(cut - max(self.size - rows, 0), cut * rows // self.size, rows)
                if size < 1:
                    return None
                early = early.narrow(at, 0, size)
            if not bool(early.any()):
                return False
        return True

    def _suspect(self, event: Event, *_: Any) -> Cause | None:
        return later_steps(event)


class _Valid(_Search):
    """What is within the length of a sample, which is alone in the batch, or one of several."""

    probe, unit = "padding", "steps"

    def _judged(self, one: Tensor, other: Any, fewer: Any, unit: int | None) -> Verdict:
        is_left = (
            unit is not None and (unit if self.front else self.size - 1 - unit) >= self.smaller
        )
        if is_left or not isinstance(other, Tensor):
            return None
        ends = fewer if isinstance(fewer, Tensor) and unit is None else other
        if not one.dim() == other.dim() == ends.dim():
            return None
        axes = [k for k, n in enumerate(one.shape) if n != ends.shape[k]]
        batch = [k for k in axes if one.shape[k] == self.about > 1 == ends.shape[k]]
        if len(batch) > 1 or any(one.shape[k] < ends.shape[k] for k in axes):
            return None
        for axis in set(axes) - set(batch):
            one, other = (self._cut(x, axis, ends.shape[axis]) for x in (one, other))
        rows = torch.split(one, 1, batch[0]) if batch else [one]
        if any(row.shape == other.shape and not self._differs(row, other).any() for row in rows):
            return False
        # Rows of several samples on one axis cannot be told apart.
        return None if self.about > 1 and axes and not batch else True

    def _cut(self, one: Tensor, axis: int, size: int) -> Tensor:
        return one.narrow(axis, 0 if self.front else one.shape[axis] - size, size)

    def _suspect(self, event: Event, *_: Any) -> Cause | None:
        return padding_first(event) if self.front else None

    def _is_right(self, one: Any, other: Any, fewer: Any) -> bool:
        return self._judged(one, other, fewer, None) is False

    def _kind(self, number: int) -> tuple[str, str]:
        probe, name = super()._kind(number)
        pair = [one.tensors if one else [] for one in (self.events[number], self.after[number][0])]
        is_whole = self.about > 1 and [*map(shape_of, pair[0])] == [*map(shape_of, pair[1])]
        return probe if self.baseline.counts and not is_whole else "alone", name

    def _why(self, number: int) -> list[Line]:
        event = self.events[number]
        begun = [at for at in range(number) if _call(self.events[at]) == ("input", event.name)]
        pair = [one for at in begun[-1:] for one in (self.events[at], self.after[at][0]) if one]
        return read_lengths(*pair) if len(pair) == 2 and event.kind == "output" else []


def _call(event: Event) -> tuple[str, ...]:
    """Return what is the same in another run."""
    is_function = event.kind == "function"
    return event.kind, event.name, *[event.around, event.place] * is_function


def _owner(event: Event) -> str:
    return event.around if event.kind == "function" else event.name
