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
    """Three runs, side by side: as it is, with changed inputs, and with one sample or step less.

    The last one shows the axes of each tensor. A leak is looked for from the output of the first
    run back through its events, which are calls of modules and functions. This class compares
    steps.

    Attributes:
        changed: the first changed step, or the changed sample; of lengths, how many samples there
            are.
        size, smaller: how many samples, or steps, the first and the last run have.
        keeps_front: whether the last run has the first ones of these.
        events, sources: the events, and for each the nodes that it takes: (event, index of a
            tensor).
        events_of_changed, events_of_fewer: for each event that of another run, and which sample or
            step a loop is at there.
        first_event: the number of the first event that shows the leak; None if there is none.
    """

    probe = "causal"

    def __init__(
        self, baseline: Baseline, inputs: Sequence[Given], index: int, sizes: Node, changed: int
    ) -> None:
        """Run three times, and find the first event that shows the leak in the output ``index``.

        ``inputs`` are of a run as it is, one changed, at ``changed``, and one with a sample or step
        less; ``sizes`` is how many samples, or steps, the first and the last one have.
        """
        self.baseline = baseline
        self.inputs = inputs
        self.index = index
        self.changed = changed
        self.size, self.smaller = sizes
        self.is_strict = False
        self.keeps_front = baseline.pads_after or self.probe == "batch"
        # The run as it is comes last, so that what the model returned is of that run.
        whole, other, fewer = inputs
        self.output_of_fewer, less = self._recorded_run(fewer)
        _, after = self._recorded_run(other)
        self.output, self.events = self._recorded_run(whole)
        self.events_of_fewer = self._counterparts(less)
        self.events_of_changed = self._counterparts(after)
        made = self._find_sources()
        self.output_nodes = self._nodes_of_output(made)
        self.first_event = self._first_leaking(self.output_nodes)

    def _recorded_run(self, inputs: Given) -> tuple[Any, list[Event]]:
        """Return the output in question of a run, and its events; nothing if the model refuses."""
        recorder = Recorder(functions=True, call=self.baseline.session.call)
        output = self._run(inputs, recorder.watch)
        return output, [] if output is None else recorder.events

    def _find_sources(self) -> dict[int, Node]:
        """Note what each event takes, as (event, tensor); return where tensors were made, by id."""
        self.sources: list[list[Node]] = []
        made: dict[int, Node] = {}
        for number, event in enumerate(self.events):
            self.sources.append([made[key] for key in event.consumed if key in made])
            if event.name or is_opaque(event.module):  # else its functions tell more
                made |= {key: (number, place) for key, place in event.produced.items()}
        return made

    def _nodes_of_output(self, made: dict[int, Node]) -> list[Node]:
        """Return where the output in question was made, or all outputs, or else everything."""
        returned = self.baseline.session.returned
        named = named_leaves(returned, stack=True)[self.index : self.index + 1]
        wanted = made.keys() & {id(leaf) for _, leaf in named}
        wanted = wanted or made.keys() & set(map(id, pytree.tree_leaves(returned)))
        return [made[key] for key in wanted or made]

    def _run(self, inputs: Given, *watches: Watch) -> Any:
        """Return the output in question of a run with hooks by watches; None if there is none."""
        output = self.baseline.session.attempt(inputs, watch=all_of(*watches)) or []
        return output[self.index] if len(output) > self.index else None

    def _counterparts(self, other: list[Event]) -> list[tuple[Event | None, int | None]]:
        """Return for each event that of another run, or None, and which step a loop is at there."""
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
                    iteration = None if total == fewer else at * self.size // total
                    found[number] = self._counterpart(at, total, others[call]), iteration
        return found

    def _counterpart(self, at: int, total: int, others: Sequence[Any]) -> Any:
        """Return what others have at a place of ``total``, or the nearest if it was left out."""
        at -= 0 if self.keeps_front else total - len(others)
        return others[min(max(at, 0), len(others) - 1)] if others else None

    def _tensor_in_runs(self, number: int, place: int) -> tuple[Any, Any, Any, int | None]:
        """Return a tensor of an event in the three runs, and which step a loop is at, or None."""
        event = self.events[number]
        after, _ = self.events_of_changed[number]
        less, iteration = self.events_of_fewer[number]
        total = len(event.tensors)
        pair = [[] if x is None else x.tensors for x in (after, less)]
        is_call = event.kind != "function"  # its arguments keep their places
        if less is not None and total != len(less.tensors) and not is_call:
            iteration = place * self.size // total  # a list of samples, or of steps
        others = (self._counterpart(place, len(x) if is_call else total, x) for x in pair)
        return event.tensors[place], *others, iteration

    def _shows_leak(self, one: Tensor, other: Any, fewer: Any, iteration: int | None) -> Any:
        """Return whether a tensor shows the leak: it moves before the changed step.

        It is ``one`` in the run as it is, ``other`` with changed inputs and ``fewer`` with a step
        less; a loop is at ``iteration``. ``"joins"``: all steps at once are in it. None: not known.
        """
        axes = self._unit_axes(one, fewer, iteration)
        ways = self._moved_units(one, other, axes, iteration)  # steps that move, in each way
        if ways == "joins" and not isinstance(fewer, Tensor):
            return None  # its steps may be an axis with samples as well
        if not isinstance(ways, list):
            return ways
        # What is shorter than the input may begin later, or have a stride.
        rows = min([self.size, *(one.shape[axis] for axis in axes)])
        end = min(self.changed - self.size + rows, self.changed * rows // self.size)
        return all(any(step < end for step in way) for way in ways)  # whatever the order of rows

    def _unit_axes(self, one: Tensor, fewer: Any, iteration: int | None) -> list[int]:
        """Return the axes of the steps: shorter in ``fewer``, or as long, if that is unknown."""
        if isinstance(fewer, Tensor) and fewer.dim() == one.dim():
            return [k for k, n in enumerate(one.shape) if n != fewer.shape[k]]
        if iteration is not None:
            return []
        return [k for k, n in enumerate(one.shape) if n == self.size]

    def _moved_units(self, one: Tensor, other: Any, axes: list[int], iteration: int | None) -> Any:
        """Return at which samples, or steps, a tensor moves: a list for each way to see its axes.

        An axis with both has two ways. ``"joins"`` if all are in what moves; None if shapes differ.
        """
        if shape_of(one) != shape_of(other):
            return None
        moved = self._moved_numbers(one, other)
        if not axes:
            if not moved.any():
                return [[]]
            return "joins" if iteration is None else [[iteration]]
        at = moved.nonzero()[:, axes].amax(1)
        rows = one.shape[axes[0]]
        is_flat = len(axes) == 1 and rows > self.size and rows % self.size == 0
        ways = [at // (rows // self.size), at % self.size] if is_flat else [at]
        return [sorted({*way.tolist()}) for way in ways]

    def _moved_numbers(self, one: Tensor, other: Tensor) -> Tensor:
        """Return which numbers differ by more than rounding; what masks is not what counts."""
        most = feature_sizes(one.flatten(), (0,)).view(one.shape) if one.numel() else one
        return difference(one, other) > (self.baseline.tolerance or 0) * most

    def _first_leaking(self, nodes: Sequence[Node]) -> int | None:
        """Return the number of the first event that shows the leak, of those that led to nodes."""
        verdicts = dict[Node, Verdict]()
        todo = [*nodes]
        while todo:
            node = todo.pop()
            if node in verdicts:
                continue
            verdicts[node] = self._shows_leak(*self._tensor_in_runs(*node))
            if verdicts[node] is not False:
                todo += self.sources[node[0]]
        leaking = [at for (at, _), verdict in verdicts.items() if verdict is True]
        # What the user's own call does with the inputs, such as to flatten them, is no mistake.
        in_model = [at for at in leaking if not self.events[at].is_in_call]
        return min(in_model or leaking, default=None)

    def location(self) -> Location:
        """Return rows of a message on the first event that shows the leak, and its module."""
        self.is_strict = True  # what undoes the cause, or an order, is told in the input's order
        number = (
            self._first_leaking(self.output_nodes) if self.first_event is None else self.first_event
        )
        if number is None:
            nowhere = ("where", "unknown: no module or function that verify watches shows it")
            fixes = fix_of_parts(self.probe, self.baseline.session.model, self.baseline.causal)
            return [nowhere, *fixes], ""
        found = self._cause_in_module(number) or self._cause_in_function(number)
        return found or self._where_it_begins(number)

    def _cause_in_module(self, number: int) -> Location | None:
        """Return rows, and a module, for a cause around an event whose undoing ends the leak."""
        owner = self.events[number].owner
        causes = {name: cause for name, cause in self._module_suspects(number).items() if cause}
        around = [name for name in causes if not name or f"{owner}.".startswith(f"{name}.")]
        tried = [[name] for name in reversed(around)]
        if around:
            tried.append([*causes])
        for names in tried:
            if self._is_gone(*(causes[name].undo for name in names)):
                what, fix, _ = causes[names[0]]
                also = f"; the same holds for {', '.join(names[1:])}" if names[1:] else ""
                rows = [self._event_row(number), ("cause", f"{what}{also}"), ("fix", fix)]
                return rows, owner
        return None

    def _cause_in_function(self, number: int) -> Location | None:
        """Return rows, and a module, for a cause in functions whose undoing ends the leak."""
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
                batch = self.baseline.batch
                what = ("cause", batch.without_size(cause.what))
                fix = ("fix", batch.without_size(cause.fix))
                return [self._event_row(number), *at, what, fix], event.owner
        return None

    def _back_from(self, number: int) -> Iterator[int]:
        """Yield the number of an event, then of those that it was made from, the nearest first."""
        todo = [number]
        seen = {number}
        while todo and len(seen) < BACK:
            at = todo.pop(0)
            yield at
            sources = {source for source, _ in self.sources[at]} - seen
            seen |= sources
            todo += sorted(sources, reverse=True)

    def _where_it_begins(self, number: int) -> Location:
        """Return rows and a module for a leak without a cause: where steps are joined first."""
        joins = [number]
        while joins:
            number = min(joins)
            sources = self.sources[min(joins)]
            joins = [
                source
                for source, place in sources
                if self._shows_leak(*self._tensor_in_runs(source, place)) == "joins"
                if not self.events[source].is_in_call
            ]
        event = self.events[number]
        _, iteration = self.events_of_fewer[number]
        kind = "loop" if event.kind == "input" and iteration is not None else event.text
        at = [("at", event.place)] if event.place else []
        rows = joins_one_tensor(event) or self._explanation(number, kind)
        return [self._event_row(number), *at, *rows], event.owner

    def _explanation(self, number: int, kind: str) -> list[Line]:
        """Return rows: the cause that an event itself shows, or how to end a mistake of a kind."""
        one, _, fewer, iteration = self._tensor_in_runs(number, 0)
        # The scores of an attention have the steps twice, those of classes once.
        is_attention = len(self._unit_axes(one, fewer, iteration)) == 2
        if is_along_one_axis(self.events[number]) and not is_attention:
            return fix_of(self.probe, "")
        return fix_of(self.probe, kind)

    def _module_suspects(self, number: int) -> dict[str, Cause | None]:  # noqa: ARG002 - a loop tells more
        """Return by name what may be wrong with the modules that were called."""
        inputs = (event for event in self.events if event.kind == "input")
        return {event.name: later_steps(event, self.probe) for event in inputs}

    def _is_gone(self, *undo: Watch) -> bool:
        """Return whether a run with causes undone shows no leak, and still moves where it may."""
        one, other = (self._run(inputs, *undo) for inputs in self.inputs[:2])
        if (
            not isinstance(one, Tensor)
            or self._shows_leak(one, other, self.output_of_fewer, None) is not False
        ):
            return False
        return self.probe == "padding" or bool(self._moved_numbers(one, other).any())

    def _event_row(self, number: int) -> Line:
        """Return the row that names an event: a module and its call, or a function in a module."""
        event = self.events[number]
        before = self.events[:number]
        if event.kind != "function":
            call = sum((one.kind, one.name) == (event.kind, event.name) for one in before)
            return "where", f"{event.kind} of {event.label} ({event.text}), call {call}"
        text = self.baseline.batch.without_size(event.text)
        if event.owner:
            return "where", f"{text}, in module {event.owner} ({type(event.module).__name__})"
        ended = [one.label for one in before if one.kind == "output"]
        return "where", f"{text}, which runs after {ended[-1]}" if ended else text
