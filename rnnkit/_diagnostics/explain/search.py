"""Where a leak first shows: a walk back from the output through runs of a model side by side."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.explain.causes import Cause, Location, fix_of, fix_of_parts, later_steps
from rnnkit._diagnostics.explain.function_causes import (
    is_along_one_axis,
    joins_one_tensor,
    other_axes,
    other_views,
    pairs_of_views,
    suspects_in,
)
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.run.events import Event, Recorder, is_opaque
from rnnkit._diagnostics.run.outputs import (
    Given,
    Watch,
    all_of,
    difference,
    feature_sizes,
    named_leaves,
    shape_of,
)
from rnnkit._diagnostics.run.watched_functions import without_part
from rnnkit._diagnostics.tell.outcome import Line

#: Whether a tensor shows the leak; or is made of all samples, or steps, at once; None: not known.
Verdict = bool | Literal["joins"] | None

#: The number of an event, and the place of a tensor in it.
Node = tuple[int, int]

#: So many causes in functions are tried, and so far back from where the leak first shows.
FUNCTIONS = 12
BACK = 64

#: What is along the axis that a leak is over, by probe.
ALONG = {"batch": "samples", "causal": "steps"}


class Search:
    """Three runs, side by side: as it is, changed from a step on, and with less, for the axes."""

    probe = "causal"

    def __init__(
        self, baseline: Baseline, inputs: Sequence[Given], index: int, sizes: Node, about: int
    ) -> None:
        self.baseline = baseline
        self.inputs = inputs
        self.index = index
        self.about = about  # that step; elsewhere the changed sample, or how many there are
        self.size, self.smaller = sizes
        self.is_strict = False
        self.front = baseline.pads_after or self.probe == "batch"
        # The run as it is comes last, so that what the model returned is of that run.
        whole, other, fewer = inputs
        self.fewer, less = self._recorded(fewer)
        _, after = self._recorded(other)
        self.output, self.events = self._recorded(whole)
        self.less = self._matched(less)
        self.after = self._matched(after)
        made = self._find_sources()
        self.wanted = self._wanted(made)
        self.number = self._first(self.wanted)

    def _recorded(self, inputs: Given) -> tuple[Any, list[Event]]:
        """Return the output in question of a run, and what happened in it; nothing if it fails."""
        recorder = Recorder(functions=True, call=self.baseline.session.call)
        output = self._run(inputs, recorder.watch)
        return output, [] if output is None else recorder.events

    def _find_sources(self) -> dict[int, Node]:
        """Find for each event where what it takes was made; return where each tensor was made."""
        self.sources: list[list[Node]] = []
        made: dict[int, Node] = {}
        for number, event in enumerate(self.events):
            self.sources.append([made[key] for key in event.consumed if key in made])
            if event.name or is_opaque(event.module):  # else its functions tell more
                made |= {key: (number, place) for key, place in event.produced.items()}
        return made

    def _wanted(self, made: dict[int, Node]) -> list[Node]:
        """Return where the output in question was made, or all outputs, or else everything."""
        returned = self.baseline.session.returned
        named = named_leaves(returned, stack=True)[self.index : self.index + 1]
        wanted = made.keys() & {id(leaf) for _, leaf in named}
        wanted = wanted or made.keys() & set(map(id, pytree.tree_leaves(returned)))
        return [made[key] for key in wanted or made]

    def _run(self, inputs: Given, *watches: Watch) -> Any:
        """Return the output in question of a run under hooks; None if there is none."""
        output = self.baseline.session.attempt(inputs, watch=all_of(*watches)) or []
        return output[self.index] if len(output) > self.index else None

    def _matched(self, other: list[Event]) -> list[tuple[Event | None, int | None]]:
        """Return for each event that of another run, and which sample or step a loop is at."""
        found = list[tuple[Event | None, int | None]]([(None, None)] * len(self.events))
        calls = defaultdict[Any, list[int]](list)
        others = defaultdict[Any, list[Event]](list)
        for number, event in enumerate(self.events):
            calls[event.call].append(number)
        for event in other:
            others[event.call].append(event)
        for call, numbers in calls.items():
            total = len(numbers)
            fewer = len(others[call])
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
        event = self.events[number]
        after, _ = self.after[number]
        less, unit = self.less[number]
        total = len(event.tensors)
        pair = [[] if x is None else x.tensors for x in (after, less)]
        is_call = event.kind != "function"  # its arguments keep their places
        if less is not None and total != len(less.tensors) and not is_call:
            unit = place * self.size // total  # a list of samples, or of steps
        others = (self._paired(place, len(x) if is_call else total, x) for x in pair)
        return event.tensors[place], *others, unit

    def _judged(self, one: Tensor, other: Any, fewer: Any, unit: int | None) -> Any:
        """Return what a tensor shows, changed and with less, of a loop's sample or step."""
        axes = self._axes(one, fewer, unit)
        ways = self._shown(one, other, axes, unit)
        if ways == "joins" and not isinstance(fewer, Tensor):
            return None  # its steps may be an axis with samples as well
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
            if not moved.any():
                return [[]]
            return "joins" if unit is None else [[unit]]
        at = moved.nonzero()[:, axes].amax(1)
        rows = one.shape[axes[0]]
        is_flat = len(axes) == 1 and rows > self.size and rows % self.size == 0
        ways = [at // (rows // self.size), at % self.size] if is_flat else [at]
        return [sorted({*way.tolist()}) for way in ways]

    def _differs(self, one: Tensor, other: Tensor) -> Tensor:
        """Return which numbers differ by more than rounding; what masks is not what counts."""
        most = feature_sizes(one.flatten(), (0,)).view(one.shape) if one.numel() else one
        return difference(one, other) > (self.baseline.tolerance or 0) * most

    def _first(self, nodes: Sequence[Node]) -> int | None:
        """Return the first event that shows the leak, among those that some tensors came from."""
        verdicts = dict[Node, Verdict]()
        todo = [*nodes]
        while todo:
            node = todo.pop()
            if node in verdicts:
                continue
            verdicts[node] = self._judged(*self._tensors(*node))
            if verdicts[node] is not False:
                todo += self.sources[node[0]]
        leaking = [at for (at, _), verdict in verdicts.items() if verdict is True]
        # What the user's own call does with the inputs, such as to flatten them, is no mistake.
        in_model = [at for at in leaking if not self.events[at].is_in_call]
        return min(in_model or leaking, default=None)

    def location(self) -> Location:
        """Return what a message says of the first event that shows the leak, and the module."""
        self.is_strict = True  # what undoes the cause, or an order, is told in the input's order
        number = self._first(self.wanted) if self.number is None else self.number
        if number is None:
            nowhere = ("first", "not found by hooks on modules and functions")
            fixes = fix_of_parts(self.probe, self.baseline.session.model, self.baseline.causal)
            return [nowhere, *fixes], ""
        found = self._module_cause(number) or self._function_cause(number)
        return found or self._without_cause(number)

    def _module_cause(self, number: int) -> Location | None:
        """Return the cause in the modules around an event, without which the leak is gone."""
        owner = self.events[number].owner
        causes = {name: cause for name, cause in self._causes(number).items() if cause}
        around = [name for name in causes if not name or f"{owner}.".startswith(f"{name}.")]
        tried = [[name] for name in reversed(around)]
        if around:
            tried.append([*causes])
        for names in tried:
            if self._is_gone(*(causes[name].undo for name in names)):
                what, fix, _ = causes[names[0]]
                also = f"; the same holds for {', '.join(names[1:])}" if names[1:] else ""
                rows = [self._named(number), ("cause", f"{what}{also}"), ("fix", fix)]
                return rows, owner
        return None

    def _function_cause(self, number: int) -> Location | None:
        """Return the cause in a function at an event, or before it, without which it is gone."""
        event = self.events[number]
        before = map(self.events.__getitem__, self._back_from(number))
        suspects = [cause for one in before for cause in suspects_in(one)]
        if self.probe in ALONG:
            along = ALONG[self.probe]
            own = other_axes(event, along) if is_along_one_axis(event) else []
            views = [*other_views(event, along)]
            views += pairs_of_views(event, self.events[number + 1 :])
            suspects = [*own, *views, *suspects]
        for cause in suspects[:FUNCTIONS]:
            if self._is_gone(cause.undo):
                at = [("at", event.place)] if event.place else []
                rows = [self._named(number), *at, ("cause", cause.what), ("fix", cause.fix)]
                return rows, event.owner
        return None

    def _back_from(self, number: int) -> Iterator[int]:
        """Yield an event and those that it came from, the nearest first."""
        todo = [number]
        seen = {number}
        while todo and len(seen) < BACK:
            at = todo.pop(0)
            yield at
            sources = {source for source, _ in self.sources[at]} - seen
            seen |= sources
            todo += sorted(sources, reverse=True)

    def _without_cause(self, number: int) -> Location:
        """Return where a leak begins that no cause explains which was tried."""
        joins = [number]
        while joins:
            number = min(joins)
            sources = self.sources[min(joins)]
            joins = [
                source
                for source, place in sources
                if self._judged(*self._tensors(source, place)) == "joins"
                if not self.events[source].is_in_call
            ]
        event = self.events[number]
        (_, unit) = self.less[number]
        kind = "loop" if event.kind == "input" and unit is not None else event.text
        at = [("at", event.place)] if event.place else []
        rows = joins_one_tensor(event) or self._why(number, kind)
        return [self._named(number), *at, *rows], event.owner

    def _why(self, number: int, kind: str) -> list[Line]:
        """Return the cause that an event itself shows, or how to end such a mistake."""
        one, _, fewer, unit = self._tensors(number, 0)
        # The scores of an attention have the steps twice, those of classes once.
        is_attention = len(self._axes(one, fewer, unit)) == 2
        if is_along_one_axis(self.events[number]) and not is_attention:
            return fix_of(self.probe, "")
        return fix_of(self.probe, kind)

    def _causes(self, number: int) -> dict[str, Cause | None]:  # noqa: ARG002 - a loop tells more
        """Return what may be wrong with the modules that were called."""
        inputs = (event for event in self.events if event.kind == "input")
        return {event.name: later_steps(event, self.probe) for event in inputs}

    def _is_gone(self, *undo: Watch) -> bool:
        """Return whether the output shows no leak under hooks, and moves where it may."""
        one, other = (self._run(inputs, *undo) for inputs in self.inputs[:2])
        if not isinstance(one, Tensor) or self._judged(one, other, self.fewer, None) is not False:
            return False
        return self.probe == "padding" or bool(self._differs(one, other).any())

    def _named(self, number: int) -> Line:
        """Name an event: a module and its call, or a function, in or after a module."""
        event = self.events[number]
        before = self.events[:number]
        if event.kind != "function":
            call = sum((one.kind, one.name) == (event.kind, event.name) for one in before)
            return "first", f"{event.label} ({event.text}), {event.kind} of call {call}"
        batch = self.baseline.batch
        text = without_part(event.text, batch.size, batch.whole_size)
        if event.owner:
            return "first", f"{text}, in {event.owner} ({type(event.module).__name__})"
        ended = [one.label for one in before if one.kind == "output"]
        return "first", f"{text}, after {ended[-1]}" if ended else text
