"""Where a leak first shows: the first event that has it, in runs of a model side by side."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.causes import Cause, Location, fix_of, later_steps, other_layout
from rnnkit._diagnostics.events import Event, Recorder, is_known
from rnnkit._diagnostics.outputs import Given, Watch, apart, is_whole, named_leaves, scale, shape_of
from rnnkit._diagnostics.report import Line

#: Whether a tensor shows the leak; or is made of all samples, or steps, at once; None: not known.
Verdict = bool | Literal["joins"] | None

#: The number of an event, and the place of a tensor in it.
Node = tuple[int, int]


def locate_sample(baseline: Baseline, inputs: Given, changed: int, index: int) -> Location:
    """Find where one sample first depends on another, which is changed in some inputs."""
    batch = baseline.batch
    rest = [sample for sample in range(batch.size) if sample != baseline.left_out]
    runs = batch.tree(), inputs, batch.samples(rest).tree()
    return _Samples(baseline, runs, index, (batch.size, batch.size - 1), changed).location()


def locate_step(baseline: Baseline, inputs: Given, cut: int, index: int) -> Location:
    """Find where a step first depends on a later one, from which on some inputs are changed."""
    batch, steps = baseline.batch, baseline.batch.steps or 1
    runs = batch.tree(), inputs, batch.cut(steps - 1, front=True).tree()
    return Search(baseline, runs, index, (steps, steps - 1), cut).location()


def locate_valid(
    baseline: Baseline, sample: int, index: int, inputs: Given | None = None
) -> Location:
    """Find where a sample differs from itself alone, cut to its length, or with other padding."""
    batch, alone = baseline.batch, baseline.batch.alone(sample, front=baseline.post)
    other, sizes = alone, (batch.steps or 1, alone.steps or 1)
    if inputs is not None:
        changed = batch.with_leaves(pytree.tree_leaves(inputs, is_leaf=is_whole))
        other = changed.samples([sample])
    for whole, part in ((batch.samples([sample]), other), (batch, alone)):
        runs = whole.tree(), part.tree(), alone.tree()
        search = _Valid(baseline, runs, index, sizes, whole.size)
        if search.number is not None:
            break
    return search.location()


class Search:
    """Three runs, side by side: as it is, changed from a step on, and with less, for the axes."""

    probe = "causal"

    def __init__(
        self, baseline: Baseline, inputs: Sequence[Given], index: int, sizes: Node, about: int
    ) -> None:
        self.baseline, self.inputs, self.index = baseline, inputs, index
        self.about = about  # that step; elsewhere the changed sample, or how many there are
        self.size, self.smaller = sizes
        self.is_strict, self.front = False, baseline.post or self.probe == "batch"
        runs = [(x := Recorder(functions=True), self._run(one, x.watch)) for one in inputs[::-1]]
        less, after, self.events = ([] if output is None else x.events for x, output in runs)
        self.fewer, self.output = runs[0][1], runs[2][1]
        self.less, self.after = self._matched(less), self._matched(after)
        # Where what each event takes was made.
        self.sources, made = list[list[Node]](), dict[int, Node]()
        for number, event in enumerate(self.events):
            self.sources.append([made[key] for key in event.given if key in made])
            if event.name or is_known(event.module):  # else its functions tell more
                made |= {key: (number, place) for key, place in event.made.items()}
        returned = baseline.session.returned
        tensors = [leaf for _, leaf in named_leaves(returned, stack=True)][index : index + 1]
        wanted = made.keys() & map(id, tensors)
        wanted = wanted or made.keys() & map(id, pytree.tree_leaves(returned))
        self.wanted = [made[key] for key in wanted or made]
        self.number = self._first(self.wanted)

    def _run(self, inputs: Given, *watches: Watch) -> Any:
        """Return the output in question of a run under hooks; None if there is none."""
        watch: Watch = lambda model: [hook for one in watches for hook in one(model)]  # noqa: E731
        output = self.baseline.session.attempt(inputs, watch=watch) or []
        return output[self.index] if len(output) > self.index else None

    def _matched(self, other: list[Event]) -> list[tuple[Event | None, int | None]]:
        """Return for each event that of another run, and which sample or step a loop is at."""
        found = list[tuple[Event | None, int | None]]([(None, None)] * len(self.events))
        calls, others = defaultdict[Any, list[int]](list), defaultdict[Any, list[Event]](list)
        for number, event in enumerate(self.events):
            calls[event.call].append(number)
        for event in other:
            others[event.call].append(event)
        for call, numbers in calls.items():
            total, fewer = len(numbers), len(others[call])
            if total == fewer or total * self.smaller == fewer * self.size:
                for at, number in enumerate(numbers):
                    unit = None if total == fewer else at * self.size // total
                    found[number] = self._paired(at, total, others[call]), unit
        return found

    def _paired(self, at: int, total: int, others: Sequence[Any]) -> Any:
        """Return the same one of others, the nearest if it was left out."""
        at -= 0 if self.front else total - len(others)
        return others[min(max(at, 0), len(others) - 1)] if others else None

    def _tensors(self, number: int, place: int) -> tuple[Any, Any, Any, int | None]:
        """Return a tensor of an event, changed, and with less; and what a loop is at."""
        event, (after, _), (less, unit) = self.events[number], self.after[number], self.less[number]
        total, pair = len(event.tensors), [[] if x is None else x.tensors for x in (after, less)]
        is_call = event.kind != "function"  # its arguments keep their places
        if less is not None and total != len(less.tensors) and not is_call:
            unit = place * self.size // total  # a list of samples, or of steps
        others = (self._paired(place, len(x) if is_call else total, x) for x in pair)
        return event.tensors[place], *others, unit

    def _judged(self, one: Tensor, other: Any, fewer: Any, unit: int | None) -> Any:
        """Return what a tensor shows, changed and with less, of a loop's sample or step."""
        axes = self._axes(one, fewer, unit)
        ways = self._shown(one, other, axes, unit)
        if not isinstance(ways, list):
            return ways
        # What is shorter than the input may begin later, or have a stride.
        rows = min([self.size, *(one.shape[axis] for axis in axes)])
        end = min(self.about - self.size + rows, self.about * rows // self.size)
        return all(any(step < end for step in way) for way in ways)

    def _axes(self, one: Tensor, fewer: Any, unit: int | None) -> list[int]:
        """Return the axes that are shorter with less or, if that is not known, as long."""
        if isinstance(fewer, Tensor) and fewer.dim() == one.dim():
            return [k for k, n in enumerate(one.shape) if n != fewer.shape[k]]
        return [] if unit is not None else [k for k, n in enumerate(one.shape) if n == self.size]

    def _shown(self, one: Tensor, other: Any, axes: list[int], unit: int | None) -> Any:
        """Return at which samples, or steps, a tensor moves, in each way to see its axes."""
        if shape_of(one) != shape_of(other):
            return None
        moved = self._differs(one, other)
        if not axes:
            return "joins" if unit is None and moved.any() else [[unit] * bool(moved.any())]
        at, rows = moved.nonzero()[:, axes].amax(1), one.shape[axes[0]]
        is_flat = len(axes) == 1 and rows > self.size and rows % self.size == 0
        ways = [at // (rows // self.size), at % self.size] if is_flat else [at]
        return [sorted({*way.tolist()}) for way in ways]

    def _differs(self, one: Tensor, other: Tensor) -> Tensor:
        """Return which numbers differ by more than rounding; what masks is not what counts."""
        most = scale(one.flatten(), (0,)).view(one.shape) if one.numel() else one
        return apart(one, other) > (self.baseline.tolerance or 0) * most

    def _first(self, nodes: Sequence[Node]) -> int | None:
        """Return the first event that shows the leak, among those that some tensors came from."""
        verdicts, todo = dict[Node, Verdict](), [*nodes]
        while todo:
            if (node := todo.pop()) not in verdicts:
                verdicts[node] = self._judged(*self._tensors(*node))
                todo += self.sources[node[0]] if verdicts[node] is not False else []
        return min((at for (at, _), verdict in verdicts.items() if verdict is True), default=None)

    def location(self) -> Location:
        """Return what a message says of the first event that shows the leak, and the module."""
        self.is_strict = True  # what undoes the cause, or an order, is told in the input's order
        number = self._first(self.wanted) if self.number is None else self.number
        if number is None:
            return [("first", "not found by hooks on modules and functions")], ""
        owner = self.events[number].owner
        causes = {name: cause for name, cause in self._causes(number).items() if cause}
        around = [name for name in causes if not name or f"{owner}.".startswith(f"{name}.")]
        for names in (*([name] for name in reversed(around)), [*causes] if around else []):
            if names and self._is_gone(*(causes[name].undo for name in names)):
                what, fix, _ = causes[names[0]]
                also = f"; and {', '.join(names[1:])}, too" if names[1:] else ""
                rows = [self._named(number), ("cause", f"{what}{also}"), ("fix", fix)]
                return rows, owner
        joins = [number]
        while joins:
            number, sources = min(joins), self.sources[min(joins)]
            joins = [x[0] for x in sources if self._judged(*self._tensors(*x)) == "joins"]
        event, (_, unit) = self.events[number], self.less[number]
        kind = "loop" if event.kind == "input" and unit is not None else event.text
        at = [("at", event.place)] * bool(event.place)
        return [self._named(number), *at, *self._why(number, kind)], event.owner

    def _why(self, number: int, kind: str) -> list[Line]:  # noqa: ARG002 - some see more
        """Return the cause that an event itself shows, or how to end such a mistake."""
        return fix_of(self.probe, kind)

    def _causes(self, number: int) -> dict[str, Cause | None]:  # noqa: ARG002 - a loop tells more
        """Return what may be wrong with the modules that were called."""
        inputs = (event for event in self.events if event.kind == "input")
        return {event.name: later_steps(event, self.probe) for event in inputs}

    def _is_gone(self, *undo: Watch) -> bool:
        """Return whether the output shows no leak under hooks, and moves where it may."""
        one, other = (self._run(inputs, *undo) for inputs in self.inputs[:2])
        is_clean = isinstance(one, Tensor) and self._judged(one, other, self.fewer, None) is False
        return is_clean and (self.probe == "padding" or bool(self._differs(one, other).any()))

    def _named(self, number: int) -> Line:
        """Name an event: a module and its call, or a function, in or after a module."""
        event, before = self.events[number], self.events[:number]
        if event.kind != "function":
            call = sum((one.kind, one.name) == (event.kind, event.name) for one in before)
            return "first", f"{event.label} ({event.text}), {event.kind} of call {call}"
        last = [f", after {one.label}" for one in before if one.kind == "output"][-1:]
        inside = f", in {event.owner} ({type(event.module).__name__})"
        return "first", event.text + (inside if event.owner else "".join(last))


class _Samples(Search):
    """Each sample by itself, in whichever order; if that is strict, in the order of the input."""

    probe = "batch"

    def _judged(self, one: Tensor, other: Any, fewer: Any, unit: int | None) -> Any:
        found = self._rows(one, other, fewer, unit)
        if not isinstance(found, tuple):
            return found
        is_strict = self.is_strict or unit is not None
        return found[1:] not in ((), (self.about,)) if is_strict else len(found) > 2

    def _rows(self, one: Tensor, other: Any, fewer: Any, unit: int | None) -> Any:
        """Return in which way to see the axes the sample shows in fewest rows, then these."""
        axes = self._axes(one, fewer, unit)
        if len(axes) > 1 or any(one.shape[axis] % self.size for axis in axes):
            return None
        ways = self._shown(one, other, axes, unit)
        if not isinstance(ways, list):
            return ways
        way, rows = min(enumerate(ways), key=lambda pair: len(pair[1]))
        return (way, *rows)

    def _why(self, number: int, kind: str) -> list[Line]:
        """Return that the samples change their order, or have different ones in what is given."""
        if self.number is None:
            cause = ("cause", "the samples change their order here, and the output has it still")
            return [cause, ("fix", "output[order.argsort()], where order sorts them")]
        sources, text = self.sources[number], "its inputs have the samples in different orders"
        found = {self._rows(*self._tensors(*node)) for node in sources}
        found = {one for one in found if isinstance(one, tuple) and len(one) > 1}
        ways, rows = ({one[k] for one in found} for k in (0, 1))
        rows |= {self.about} if len(sources) < len(self.events[number].given) else set()
        if not found or max(map(len, found)) > 2 or len(ways) + len(rows) < 3:
            return fix_of(self.probe, kind)
        if len(rows) == 1:
            fix = "one order for both: repeat_interleave(n, 0), or a transpose before a view"
            return [("cause", text), ("fix", fix)]
        event = self.events[self._first(sources) or number]
        text += f", one since {event.text} at {event.place}"
        return [("cause", text), ("fix", "undo it, x[order.argsort()], or sort the others alike")]

    def _causes(self, number: int) -> dict[str, Cause | None]:
        found, loops = dict[str, Cause | None](), self.less[number][1] is not None
        for at, event in enumerate(self.events):
            if event.kind == "input" and 0 in event.made.values():
                one, _, fewer, unit = self._tensors(at, 0)
                axes = [k for k in self._axes(one, fewer, unit) if one.shape[k] == self.size]
                found[event.name] = other_layout(event, axes, loops)
        return found


class _Valid(Search):
    """What is within the length of a sample, which is alone in the batch, or one of several."""

    probe = "padding"

    def _judged(self, one: Tensor, other: Any, fewer: Any, unit: int | None) -> Verdict:
        at = 0 if unit is None else unit if self.front else self.size - 1 - unit
        are_tensors = isinstance(other, Tensor) and isinstance(fewer, Tensor)
        if at >= self.smaller or not are_tensors or not one.dim() == other.dim() == fewer.dim():
            return None
        axes = [k for k, n in enumerate(one.shape) if n != fewer.shape[k]]
        batch = [k for k in axes if one.shape[k] == self.about > 1 == fewer.shape[k]]
        if len(batch) > 1 or any(one.shape[k] < fewer.shape[k] for k in axes):
            return None
        for axis in set(axes) - set(batch):
            size = fewer.shape[axis]
            start = 0 if self.front else -size
            one, other = one.narrow(axis, start, size), other.narrow(axis, start, size)
        rows = torch.split(one, 1, batch[0]) if batch else [one]
        if any(row.shape == other.shape and not self._differs(row, other).any() for row in rows):
            return False
        # Rows of several samples on one axis cannot be told apart.
        return None if self.about > 1 and axes and not batch else True

    def _why(self, number: int, kind: str) -> list[Line]:
        event = self.events[number]
        one, two = ([*map(shape_of, x.tensors)] for x in (event, self.after[number][0] or event))
        of_batch = self.baseline.batch.counts is None or (self.about > 1 and one == two)
        return fix_of("alone" if of_batch else "padding", "packed " * event.is_packed + kind)
