"""Where a leak first shows: a walk back from the output through runs of a model side by side."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from torch import Tensor

from rnnkit._diagnostics.explain.causes import Location, Suspects, fix_of, later_steps
from rnnkit._diagnostics.explain.function_causes import (
    joins_one_tensor,
    suspects_in,
    suspects_that_mix,
)
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.precision import beyond_rounding
from rnnkit._diagnostics.run.events import Event, Recorder, is_opaque
from rnnkit._diagnostics.run.outputs import (
    Given,
    Watch,
    all_of,
    feature_sizes,
    named_leaves,
    shape_of,
)
from rnnkit._diagnostics.tell.outcome import Line

#: An event, and the index of one of its tensors.
Node = tuple[Event, int]

#: So many causes in functions are tried, of so many calls until the leak first shows.
FUNCTIONS = 12
BACK = 64

#: Returns the place of an event in its run.
NUMBER = attrgetter("number")

#: What is along the axis that a leak is over, by probe.
ALONG = {"batch": "samples", "causal": "steps"}


class Counterpart(NamedTuple):
    """What another run has at the place of an event.

    Attributes:
        event: the event there; None if it has none.
        iteration: which sample or step a loop is at, if the other run has fewer of its calls.
    """

    event: Event | None = None
    iteration: int | None = None


class Seen(NamedTuple):
    """A tensor of an event in the three runs of a search.

    Attributes:
        one, other, fewer: the tensor in the run as it is, in that with changed inputs, and in that
            with one sample or step less. The last two may be anything, or None.
        iteration: which sample or step a loop is at; None if there is no loop over these.
    """

    one: Tensor
    other: Any
    fewer: Any
    iteration: int | None


@dataclass(eq=False)
class Search:
    """Three runs, side by side: as it is, with changed inputs, and with one sample or step less.

    The last one shows the axes of each tensor. A leak is looked for from the output of the first
    run back through its events, which are calls of modules and functions. This class compares
    steps.

    Attributes:
        baseline: the model and a batch.
        inputs: those of a run as it is, one changed, and one with a sample or step less.
        index: the output that shows the leak.
        size, smaller: how many samples, or steps, the first and the last run have.
        changed: the first changed step, or the changed sample; of lengths, how many samples there
            are.
        keeps_front: whether the last run has the first ones of these.
        events, sources: the events, and for each the nodes that it takes: (event, index of a
            tensor).
        changed_events, fewer_events: for each event its counterpart in another run.
        first_event: the first event that shows the leak; None if there is none.
    """

    probe = "causal"

    baseline: Baseline
    inputs: Sequence[Given]
    index: int
    size: int
    smaller: int
    changed: int

    def __post_init__(self) -> None:
        """Run three times, and find the first event that shows the leak."""
        self.baseline.session.tally.most = None  # a leak was found: it is told, whatever it takes
        self.is_strict = False
        self.keeps_front = self.baseline.batch.pads_after or self.probe == "batch"
        # The run as it is comes last, so that what the model returned is of that run.
        whole, other, fewer = self.inputs
        self.output_of_fewer, less = self._recorded_run(fewer)
        _, after = self._recorded_run(other)
        self.output, self.events = self._recorded_run(whole)
        self.fewer_events = self._counterparts(less)
        self.changed_events = self._counterparts(after)
        self.output_nodes = self._note_sources()
        self.first_event = self._first_leaking(self.output_nodes)

    def _recorded_run(self, inputs: Given) -> tuple[Any, list[Event]]:
        """Return the output in question of a run, and its events; nothing if the model refuses."""
        recorder = Recorder(functions=True)
        output = self._run(inputs, recorder.watch)
        return output, [] if output is None else recorder.events

    def _note_sources(self) -> list[Node]:
        """Note what each event takes; return where the output in question was made.

        If that is not known, return everything that was made.
        """
        self.sources: dict[Event, list[Node]] = {}
        made: dict[int, Node] = {}  # by the id of a tensor
        for event in self.events:
            self.sources[event] = [made[key] for key in event.consumed if key in made]
            if event.name or is_opaque(event.module):  # else its functions tell more
                made |= {key: (event, place) for key, place in event.produced.items()}
        named = named_leaves(self.baseline.session.returned, stack=True)
        wanted = made.keys() & {id(leaf) for _, leaf in named[self.index : self.index + 1]}
        return [made[key] for key in wanted or made]

    def _run(self, inputs: Given, *watches: Watch) -> Any:
        """Return the output in question of a run with hooks by watches; None if there is none."""
        output = self.baseline.session.attempt(inputs, watch=all_of(*watches)) or []
        return output[self.index] if len(output) > self.index else None

    def _counterparts(self, other: Iterable[Event]) -> dict[Event, Counterpart]:
        """Return what another run, by its events, has at the place of each event of this one."""
        found = dict.fromkeys(self.events, Counterpart())
        others = _by_call(other)
        for call, events in _by_call(self.events).items():
            total = len(events)
            fewer = len(others[call])
            is_loop = total != fewer
            if is_loop and total * self.smaller != fewer * self.size:
                continue  # they cannot be told apart
            for at, event in enumerate(events):
                iteration = at * self.size // total if is_loop else None
                found[event] = Counterpart(self._at(at, total, others[call]), iteration)
        return found

    def _at(self, place: int, total: int, others: Sequence[Any]) -> Any:
        """Return what others have at a place of ``total``, or the nearest if it was left out."""
        place -= 0 if self.keeps_front else total - len(others)
        return others[min(max(place, 0), len(others) - 1)] if others else None

    def _seen(self, node: Node) -> Seen:
        """Return a tensor of an event in the three runs."""
        event, place = node
        after, _ = self.changed_events[event]
        less, iteration = self.fewer_events[event]
        total = len(event.tensors)
        is_call = event.kind != "function"  # its arguments keep their places
        if less is not None and total != len(less.tensors) and not is_call:
            iteration = place * self.size // total  # a list of samples, or of steps
        pair = [[] if x is None else x.tensors for x in (after, less)]
        other, fewer = (self._at(place, len(x) if is_call else total, x) for x in pair)
        return Seen(event.tensors[place], other, fewer, iteration)

    def _shows_leak(self, seen: Seen) -> bool | None:
        """Return whether a tensor shows the leak: it moves before the changed step.

        None: not known.
        """
        axes = self._unit_axes(seen)
        ways = self._moved_units(seen, axes)  # steps that move, in each way
        if ways is None:
            return None
        # What is shorter than the input may begin later, or have a stride.
        rows = min([self.size, *(seen.one.shape[axis] for axis in axes)])
        end = min(self.changed - self.size + rows, self.changed * rows // self.size)
        return all(any(step < end for step in way) for way in ways)  # whatever the order of rows

    def _unit_axes(self, seen: Seen) -> list[int]:
        """Return the axes of the steps: shorter in ``fewer``, or as long, if that is unknown."""
        one, _, fewer, _ = seen
        if isinstance(fewer, Tensor) and fewer.dim() == one.dim():
            return [k for k, n in enumerate(one.shape) if n != fewer.shape[k]]
        return [k for k, n in enumerate(one.shape) if n == self.size]

    def _moved_units(self, seen: Seen, axes: list[int]) -> list[list[int]] | None:
        """Return at which samples, or steps, a tensor moves: a list for each way to see its axes.

        ``axes`` are those of samples, or steps; one with both has two ways. None if all are in what
        moves, or shapes differ.
        """
        one, other, _, iteration = seen
        if shape_of(one) != shape_of(other):
            return None
        moved = self._moved_numbers(one, other)
        if not moved.any():
            return [[]]
        if not axes:
            return None if iteration is None else [[iteration]]
        at = moved.nonzero()[:, axes].amax(1)
        rows = one.shape[axes[0]]
        is_flat = len(axes) == 1 and rows > self.size and rows % self.size == 0
        ways = [at // (rows // self.size), at % self.size] if is_flat else [at]
        return [sorted({*way.tolist()}) for way in ways]

    def _moved_numbers(self, one: Tensor, other: Tensor) -> Tensor:
        """Return which numbers differ by more than rounding; what masks is not what counts."""
        most = feature_sizes(one.flatten(), (0,)).view(one.shape) if one.numel() else one
        return beyond_rounding(self.baseline, one, other, most)

    def _joins(self, seen: Seen) -> bool:
        """Return whether a tensor moves that has all samples, or steps, in each of its numbers."""
        one, other, fewer, iteration = seen
        if iteration is not None or not shape_of(one) == shape_of(other) == shape_of(fewer):
            return False
        return bool(self._moved_numbers(one, other).any())

    def _first_leaking(self, nodes: Iterable[Node]) -> Event | None:
        """Return the first event that shows the leak, of those that led to nodes."""
        verdicts = dict[Node, bool | None]()
        todo = [*nodes]
        while todo:
            node = todo.pop()
            if node in verdicts:
                continue
            verdicts[node] = self._shows_leak(self._seen(node))
            if verdicts[node] is not False:
                todo += self.sources[node[0]]
        leaking = [event for (event, _), verdict in verdicts.items() if verdict]
        return min(leaking, key=NUMBER, default=None)

    def location(self) -> Location:
        """Return rows of a message on the first event that shows the leak, and its module."""
        self.is_strict = True  # what undoes the cause, or an order, is told in the input's order
        event = self.first_event or self._first_leaking(self.output_nodes)
        if event is None:
            return [("where", "unknown: no module or function that verify watches shows it")], ""
        found = self._cause_in_module(event) or self._cause_in_function(event)
        return found or self._where_it_begins(event)

    def _cause_in_module(self, event: Event) -> Location | None:
        """Return rows, and a module, for a cause around an event whose undoing ends the leak."""
        owner = event.owner
        causes = {name: cause for name, cause in self._module_suspects(event).items() if cause}
        around = [name for name in causes if not name or f"{owner}.".startswith(f"{name}.")]
        tried = [[name] for name in reversed(around)]
        if around:
            tried.append([*causes])
        for names in tried:
            if self._is_gone(*(causes[name].undo for name in names)):
                what, fix, _ = causes[names[0]]
                also = f"; the same holds for {', '.join(names[1:])}" if names[1:] else ""
                return [self._event_row(event), ("cause", f"{what}{also}"), ("fix", fix)], owner
        return None

    def _cause_in_function(self, event: Event) -> Location | None:
        """Return rows, and a module, for a cause in functions whose undoing ends the leak."""
        batch = self.baseline.batch
        suspects = [cause for one in self._back_from(event) for cause in suspects_in(one)]
        if self.probe in ALONG:
            later = self.events[event.number + 1 :]
            suspects = [*suspects_that_mix(event, ALONG[self.probe], batch.size, later), *suspects]
        for cause in suspects[:FUNCTIONS]:
            if self._is_gone(cause.undo):
                what = ("cause", batch.without_size(cause.what))
                fix = ("fix", batch.without_size(cause.fix))
                return [*self._rows_of_place(event), what, fix], event.owner
        return None

    def _back_from(self, event: Event) -> list[Event]:
        """Return an event and those that it was made from, the last ones of them, latest first."""
        found = {event}
        todo = [event]
        while todo:
            sources = {source for one in todo for source, _ in self.sources[one]}
            todo = [*(sources - found)]
            found |= sources
        return sorted(found, key=NUMBER, reverse=True)[:BACK]

    def _where_it_begins(self, event: Event) -> Location:
        """Return rows and a module for a leak without a cause: where steps are joined first."""
        joins = [event]
        while joins:
            event = min(joins, key=NUMBER)
            joins = [node[0] for node in self.sources[event] if self._joins(self._seen(node))]
        kind = event.text
        if event.kind == "input" and self.fewer_events[event].iteration is not None:
            kind = "loop"
        if event.is_packed:
            kind = f"packed {kind}"
        rows = joins_one_tensor(event) or self._explanation(event, kind)
        return [*self._rows_of_place(event), *rows], event.owner

    def _explanation(self, event: Event, kind: str) -> list[Line]:  # noqa: ARG002 - others look at it
        """Return rows: the cause that an event itself shows, or how to end a mistake of a kind."""
        return fix_of(self.probe, kind)

    def _module_suspects(self, event: Event) -> Suspects:  # noqa: ARG002 - a loop tells more
        """Return by name what may be wrong with the modules that were called."""
        inputs = (one for one in self.events if one.kind == "input")
        return {one.name: later_steps(one, self.probe) for one in inputs}

    def _is_gone(self, *undo: Watch) -> bool:
        """Return whether a run with causes undone shows no leak, and still moves where it may."""
        one, other = (self._run(inputs, *undo) for inputs in self.inputs[:2])
        if not isinstance(one, Tensor):
            return False
        if self._shows_leak(Seen(one, other, self.output_of_fewer, None)) is not False:
            return False
        return self.probe == "padding" or bool(self._moved_numbers(one, other).any())

    def _rows_of_place(self, event: Event) -> list[Line]:
        """Return rows that name an event, and the line of code where it is."""
        at = [("at", event.place)] if event.place else []
        return [self._event_row(event), *at]

    def _event_row(self, event: Event) -> Line:
        """Return the row that names an event: a module and its call, or a function in a module."""
        before = self.events[: event.number]
        if event.kind != "function":
            call = sum((one.kind, one.name) == (event.kind, event.name) for one in before)
            return "where", f"{event.kind} of {event.label} ({event.text}), call {call}"
        text = self.baseline.batch.without_size(event.text)
        if event.owner:
            return "where", f"{text}, in module {event.owner} ({type(event.module).__name__})"
        ended = [one.label for one in before if one.kind == "output"]
        return "where", f"{text}, which runs after {ended[-1]}" if ended else text


def _by_call(events: Iterable[Event]) -> dict[Any, list[Event]]:
    """Return the events of a run by what is the same of them in another run, in their order."""
    found = defaultdict[Any, list[Event]](list)
    for event in events:
        found[event.call].append(event)
    return found
