"""A sequence in chunks, passing the state along, beside the whole sequence at once."""

import inspect
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import is_whole
from rnnkit._diagnostics.calls import calls_in
from rnnkit._diagnostics.causes import Cause, confirmed, later_steps
from rnnkit._diagnostics.changes import changed, steps_from
from rnnkit._diagnostics.compare import alike, apart, is_number, largest
from rnnkit._diagnostics.events import Event, record
from rnnkit._diagnostics.isolation import Given, Watch
from rnnkit._diagnostics.judge import agree, differences, near, refuse_chance
from rnnkit._diagnostics.module_calls import from_state
from rnnkit._diagnostics.outputs import Leaves, parts, shape_of, tensors_of
from rnnkit._diagnostics.report import FIXES, OTHER_OUTPUTS, Line, skip

#: What people call a state, or a part of one, among the words of an argument's name.
WORDS = frozenset(
    {"c", "cache", "carry", "cell", "cells", "cx", "h", "hc", "hidden", "hiddens", "hs", "hx"}
    | {"memory", "past", "prev", "previous", "state", "states"}
)

#: What helps if the state is not what is missing.
EARLIER = "keep in the state what it reads of earlier steps: a position, a convolution's inputs"

#: Which part of the output, as Python writes its place, goes to which argument, by its name.
Carried = Mapping[str, str]


class Stream:
    """One way to pass a state along, and one way to cut the steps.

    ``difference`` is the first output, the step from which it differs from the whole sequence, None
    in the state at the end, and by how much.
    """

    def __init__(self, baseline: Baseline, carried: Carried, sizes: Sequence[int]) -> None:
        """Run the chunks one after the other; skip if the model does not take them."""
        self.baseline, self.carried, self.sizes = baseline, carried, list(sizes)
        self.given: list[Given] = []
        self._outputs: list[Leaves] = []
        for number, size in enumerate(sizes):
            given = self._chunk(number)
            output = baseline.session.attempt(given)
            if output is None or len(output) != len(baseline.normal):
                what = "does not take" if output is None else "returns something else for"
                skip(f"the model {what} a chunk of {size} of {sum(sizes)} steps")
            self.given.append(given)
            self._outputs.append(output)
        shown = range(len(baseline.normal))
        states = [k for k in shown if any(_is_in(baseline.names[k], p) for p in carried.values())]
        self._stepped = [
            k
            for k in shown
            if k not in states and is_number(baseline.normal[k])
            if baseline.has_steps(k) and not baseline.missing(k)
        ]
        self.difference = self._difference(states)

    def _chunk(self, number: int, inputs: Given | None = None) -> Given:
        """Return the inputs of a chunk, with the state that the last run returned."""
        baseline, start = self.baseline, sum(self.sizes[:number])
        batch = baseline.batch
        if inputs is not None:
            batch = batch.with_leaves(pytree.tree_leaves(inputs, is_leaf=is_whole))
        size = self.sizes[number]
        given = batch.cut(start + size, front=True).cut(size, front=False).tree()
        if not start:
            return given
        places = dict(_places(baseline.session.returned))
        if not places.keys() >= {*self.carried.values()}:
            skip(f"the model returns no state for a chunk of {self.sizes[number - 1]} steps")
        bound = _signature(baseline).bind(*given.args, **given.kwargs)
        bound.arguments.update({name: places[place] for name, place in self.carried.items()})
        return Given(bound.args, bound.kwargs)

    def _difference(self, states: Sequence[int]) -> tuple[int, int | None, float] | None:
        """Return where the chunks differ: at a step first, then in the state at the end."""
        baseline, first, keep = self.baseline, self._outputs[0], lambda leaf: leaf
        if not self._stepped and [*map(shape_of, baseline.normal)] != [*map(shape_of, first)]:
            skip(OTHER_OUTPUTS)
        for index in [*self._stepped, *states]:
            before, axis = baseline.normal[index], baseline.step_axes[index] or 0
            after = self._joined(index)
            if index in self._stepped and shape_of(after) != before.shape:
                skip(f"chunks of {self.sizes[0]} steps give outputs of other shapes")
            if not is_number(before) or shape_of(after) != before.shape:
                continue
            if not agree(baseline, index, before, after, keep):
                refuse_chance(baseline, index, before, after, keep)
                off = differences(baseline, index, before, after).movedim(axis, 0)
                step = int(off.flatten(1).any(1).int().argmax()) if index in self._stepped else None
                return index, step, apart(before, after).max().item() / largest(before)
        return None

    def _joined(self, index: int) -> Any:
        """Return the steps of an output in all chunks; one without steps of the last chunk."""
        if index not in self._stepped:
            return self._outputs[-1][index]
        try:
            parts = [self._steps(output, index) for output in self._outputs]
            return torch.cat(parts, self.baseline.step_axes[index] or 0)
        except (RuntimeError, TypeError):
            return None

    def _steps(self, output: Leaves, index: int) -> Any:
        """Return an output of a chunk, whose only step may have lost its axis."""
        part, missing = output[index], self.baseline.normal[index].dim() - 1
        lost = isinstance(part, Tensor) and part.dim() == missing
        return part.unsqueeze(self.baseline.step_axes[index] or 0) if lost else part

    @cached_property
    def is_read(self) -> bool:
        """Return whether a result without steps depends on the state that is passed on."""
        session, earlier = self.baseline.session, steps_from(0, self.sizes[0])
        inputs = changed(self.baseline.batch, earlier)
        other = None if self._stepped or inputs is None else session.attempt(inputs)
        if other is None or alike(self.baseline.normal, other):
            return True
        if session.attempt(self._chunk(0, inputs)) is None:
            return True
        output = session.attempt(self._chunk(1))
        return output is None or not alike(self._outputs[1], output)

    def remembers(self) -> bool:
        """Return whether a new sequence depends on the one before, on one copy of the model."""
        session = self.baseline.session
        session.run(self.given[1])
        again = session.run(self.given[0], on=session.last)
        pairs = zip(self._outputs[0], again, strict=False)
        return any(is_number(one) and not near(self.baseline, one, two) for one, two in pairs)

    def _holds(self, second: Watch | None = None, whole: Watch | None = None) -> bool:
        """Return whether the second chunk returns what the whole does, under hooks."""
        run = self.baseline.session.attempt
        full = self.baseline.normal if whole is None else run(self.baseline.batch.tree(), whole)
        output = run(self.given[1], second)
        if full is None or output is None or not self._stepped:
            return False
        return all(
            near(self.baseline, full[k].narrow(axis, *self.sizes[:2]), self._steps(output, k))
            for k in self._stepped
            if (axis := self.baseline.step_axes[k]) is not None
        )

    def why(self, index: int, step: int | None) -> tuple[list[Line], str]:
        """Return why an output differs, each cause tried, and the name of the module."""
        session, inputs = self.baseline.session, [self.baseline.batch.tree(), *self.given[:2]]
        try:
            whole, first, second = (record(session, given) for given in inputs)
        except Exception:  # noqa: BLE001 - a model may refuse to be watched
            return [], ""
        event = self._first_event(whole, second)
        states, right = (
            {call.name: [*call.returned.values()] for call in calls_in(run) if call.returned}
            for run in (first, second)
        )
        for name in right if step is None else ():
            if any(near(self.baseline, x, self.baseline.normal[index]) for x in right[name]):
                text = "returns the right state, and the model a different one"
                row = ("cause", f"{name or 'the model'} {text}")
                return [row, ("fix", "return the state that its last call returned")], name
        names = [one for one in states if event is None or one == event.name]
        groups = [*([name] for name in names), [*states]]
        causes = {name: _not_passed(name, state) for name, state in states.items()}
        found = [] if self._holds() else confirmed(causes, groups, self._holds)
        if event is None:
            return found, names[0] if found else ""
        both = later_steps(event)
        if both is not None and getattr(event.module, "bidirectional", False) and not found:
            suspects = {event.name: both}
            found = confirmed(suspects, [[event.name]], lambda one: self._holds(one, one))
        where = ("first", f"{event.label} ({event.class_name}), {event.kind}")
        return [where, *(found or [("fix", EARLIER)])], event.name

    def _first_event(self, whole: Sequence[Event], second: Sequence[Event]) -> Event | None:
        """Return the first event whose steps in the second chunk differ from those in the whole."""
        sizes, calls = (sum(self.sizes), self.sizes[1]), defaultdict[Any, list[Event]](list)
        for number, event in [*((0, one) for one in whole), *((1, one) for one in second)]:
            calls[number, event.kind, event.name].append(event)
        for event in whole:
            ones, others = (calls[number, event.kind, event.name] for number in (0, 1))
            if len(ones) != len(others):
                continue  # it is called in a loop over the steps
            events = event, others[ones.index(event)]
            pair: list[Any] = [next(iter(one.tensors), None) for one in events]
            if not all(map(is_number, pair)) or pair[0].dim() != pair[1].dim():
                continue
            shapes = zip(pair[0].shape, pair[1].shape, strict=True)
            axes = [k for k, (one, two) in enumerate(shapes) if one != two]
            if axes and (pair[0].shape[axes[0]], pair[1].shape[axes[0]]) == sizes:
                pair[0] = pair[0].narrow(axes[0], self.sizes[0], self.sizes[1])
            if pair[0].shape == pair[1].shape and not near(self.baseline, *pair):
                return event
        return None


def _not_passed(name: str, state: Sequence[Any]) -> Cause:
    """Suspect that a module does not start the second chunk from what it returned for the first."""
    given: Any = state if len(state) > 1 else state[0]
    start: Any = lambda at, args, kw: None if at else from_state(args, kw, given)  # noqa: E731
    text = "does not start the second chunk from the state that it returned"
    return Cause(f"{name or 'the model'} {text}", FIXES["streaming"], lambda *_: {"before": start})


def ways_to_carry(baseline: Baseline) -> Iterator[Carried]:
    """Yield which parts of the last output may go to arguments that are named like a state.

    Those that were given take parts of the same shapes; if none does, some that were left out.
    """
    inputs, signature = baseline.batch.tree(), _signature(baseline)
    try:
        bound = signature.bind(*inputs.args, **inputs.kwargs).arguments
    except TypeError:
        return
    axes = dict(zip(baseline.names, baseline.step_axes, strict=True))
    places: dict[str, list[torch.Size]] = {}
    for place, part in _places(baseline.session.returned):
        shapes = [x.shape for x in tensors_of(part)]
        inside = [axis for name, axis in axes.items() if _is_in(name, place)]
        if place and shapes and inside and not any(axis is not None for axis in inside):
            places[place] = shapes
    taken = {
        name: [x.shape for x in tensors_of(bound.get(name))]
        for name in signature.parameters
        if not WORDS.isdisjoint(word.strip("0123456789") for word in name.lower().split("_"))
    }
    given = [name for name, shapes in taken.items() if shapes in places.values()]
    free = given or [name for name in taken if bound.get(name) is None]
    counts = [len(given)] if given else range(min(len(free), len(places)), 0, -1)
    for count in counts:
        for chosen in combinations(places, count):
            for names in combinations(free, count):
                fits = all(taken[n] in ([], places[p]) for n, p in zip(names, chosen, strict=True))
                if fits and not any(_is_in(two, one) for one, two in combinations(chosen, 2)):
                    yield dict(zip(names, chosen, strict=True))


def _signature(baseline: Baseline) -> inspect.Signature:
    """Return how the model is called; without arguments if that is unknown."""
    session = baseline.session
    try:
        found = inspect.signature(session.call if session.is_wrapped else session.model.forward)
    except (TypeError, ValueError):
        return inspect.Signature()
    return found.replace(parameters=[*found.parameters.values()][session.is_wrapped :])


def _places(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the parts of an output, from the outside in, each with its place."""
    yield name, tree
    if not isinstance(tree, Tensor):
        for key, part in parts(tree):
            yield from _places(part, name + key)


def _is_in(name: str, place: str) -> bool:
    """Return whether a leaf is at a place of the output, or in it."""
    return name.startswith(place) and name[len(place) :][:1] in ("", "[", ".")
