"""A sequence in chunks, passing the state along, beside the whole sequence at once."""

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import combinations
from typing import Any

import torch
from torch import Tensor
from torch.nn import RNNBase
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline, Take
from rnnkit._diagnostics.batch import is_whole
from rnnkit._diagnostics.causes import forward_only
from rnnkit._diagnostics.changes import changed, steps_from
from rnnkit._diagnostics.compare import alike, apart, is_number, largest
from rnnkit._diagnostics.events import Event, record
from rnnkit._diagnostics.isolation import Given, Watch
from rnnkit._diagnostics.judge import agree, differences, near, refuse_chance
from rnnkit._diagnostics.module_calls import KINDS, each_call, from_state
from rnnkit._diagnostics.outputs import Leaves, parts, shape_of, tensors_of
from rnnkit._diagnostics.report import FIXES, OTHER_OUTPUTS, Line, skip

#: What people call a state, or a part of one, among the words of an argument's name.
WORDS = frozenset(
    {"c", "cache", "carry", "cell", "cells", "cx", "h", "hc", "hidden", "hiddens", "hs", "hx"}
    | {"memory", "past", "prev", "previous", "state", "states"}
)

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

    def _parts(
        self, number: int, whole: Leaves, output: Leaves
    ) -> Iterator[tuple[int, Take, Tensor, Tensor]]:
        """Yield the outputs of a chunk next to the same steps of the whole sequence."""
        start, size = sum(self.sizes[:number]), self.sizes[number]
        for index in self._stepped:
            axis, part = self.baseline.step_axes[index] or 0, output[index]
            take = partial(torch.narrow, dim=axis, start=start, length=size)
            one = take(whole[index])
            if size == 1 and isinstance(part, Tensor) and part.dim() == one.dim() - 1:
                part = part.unsqueeze(axis)
            if shape_of(part) != one.shape:
                skip(f"chunks of {self.sizes[0]} steps give outputs of other shapes")
            yield index, take, one, part

    def _difference(self, states: Sequence[int]) -> tuple[int, int | None, float] | None:
        """Return where the chunks differ: by step first, then in the state at the end."""
        baseline, whole, first = self.baseline, self.baseline.normal, self._outputs[0]
        if not self._stepped and list(map(shape_of, whole)) != list(map(shape_of, first)):
            skip(OTHER_OUTPUTS)
        pairs = [
            (sum(self.sizes[:number]), *part)
            for number, output in enumerate(self._outputs)
            for part in self._parts(number, whole, output)
        ]
        keep: Take = lambda leaf: leaf  # noqa: E731
        last = [(k, keep, whole[k], self._outputs[-1][k]) for k in states]
        ends = [(None, *x) for x in last if is_number(x[2]) and shape_of(x[2]) == shape_of(x[3])]
        for start, index, take, before, after in [*pairs, *ends]:
            if not agree(baseline, index, before, after, take):
                refuse_chance(baseline, index, before, after, take)
                off = differences(baseline, index, before, after, take)
                rows = off.movedim(baseline.step_axes[index] or 0, 0)
                at = int(rows.reshape(len(rows), -1).any(1).int().argmax())
                step = None if start is None else start + at
                return index, step, apart(before, after).max().item() / largest(before)
        return None

    @cached_property
    def is_read(self) -> bool:
        """Return whether what the second chunk returns depends on the state of the first."""
        baseline, session, cut = self.baseline, self.baseline.session, self.sizes[0]
        inputs = changed(baseline.batch, steps_from(0, cut))
        other = None if inputs is None else session.attempt(inputs)
        shapes = list(map(shape_of, baseline.normal))
        if inputs is None or other is None or shapes != list(map(shape_of, other)):
            return True
        tails = [
            [
                x.narrow(baseline.step_axes[k] or 0, cut, 1) if k in self._stepped else x
                for k, x in enumerate(output)
            ]
            for output in (baseline.normal, other)
        ]
        if alike(*tails) or session.attempt(self._chunk(0, inputs)) is None:
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

    def _holds(self, whole: Watch | None = None, second: Watch | None = None) -> bool:
        """Return whether the second chunk returns what the whole does, under hooks."""
        run = self.baseline.session.attempt
        full = self.baseline.normal if whole is None else run(self.baseline.batch.tree(), whole)
        output = run(self.given[1], second)
        if full is None or output is None or not self._stepped:
            return False
        pairs = self._parts(1, full, output)
        return all(near(self.baseline, one, two) for _, _, one, two in pairs)

    def why(self) -> tuple[list[Line], str]:
        """Return the first module that differs in the second chunk, why if undone, and its name."""
        session, inputs = self.baseline.session, [self.baseline.batch.tree(), *self.given[:2]]
        try:
            whole, first, second = (record(session, given) for given in inputs)
        except Exception:  # noqa: BLE001 - a model may refuse to be watched
            return [], ""
        states = {
            one.name: one.tensors[isinstance(one.module, RNNBase) :]
            for one in first
            if one.kind == "output" and isinstance(one.module, KINDS)
        }
        event, rows, names = self._first_event(whole, second), list[Line](), list(states)
        if event is not None:
            rows = [("first", f"{event.label} ({event.class_name}), {event.kind}")]
            names = [event.name] if event.name in states and event.kind == "output" else []
        for name in [] if self._holds() else names:
            if any(self._holds(second=_started(some, states)) for some in ([name], states)):
                text = "does not start the second chunk from the state that it returned"
                cause = ("cause", f"{name or 'the model'} {text}")
                return [*rows, cause, ("fix", FIXES["streaming"])], name
        if event is not None and getattr(event.module, "bidirectional", False):
            watch = each_call(event.name, **forward_only("", event.module))
            if self._holds(watch, watch):
                text = "is bidirectional: its backward direction reads the chunks to come"
                fix = ("fix", f"{event.class_name}(..., bidirectional=False)")
                rows += [("cause", f"{event.label} {text}"), fix]
        return rows, event.name if event is not None else ""

    def _first_event(self, whole: Sequence[Event], second: Sequence[Event]) -> Event | None:
        """Return the first event whose steps in the second chunk differ from those in the whole."""
        sizes = sum(self.sizes), self.sizes[1]
        calls = [Counter((event.kind, event.name) for event in run) for run in (whole, second)]
        seen = Counter[tuple[str, str]]()
        for event in whole:
            key = event.kind, event.name
            if calls[0][key] != calls[1][key]:
                continue  # it is called in a loop over the steps
            other = [one for one in second if (one.kind, one.name) == key][seen[key]]
            seen[key] += 1
            pair: list[Any] = [next(iter(one.tensors), None) for one in (event, other)]
            if not all(map(is_number, pair)) or pair[0].dim() != pair[1].dim():
                continue
            shapes = zip(pair[0].shape, pair[1].shape, strict=True)
            axes = [k for k, (one, two) in enumerate(shapes) if one != two]
            if axes and (pair[0].shape[axes[0]], pair[1].shape[axes[0]]) == sizes:
                pair[0] = pair[0].narrow(axes[0], self.sizes[0], self.sizes[1])
            if pair[0].shape == pair[1].shape and not near(self.baseline, *pair):
                return event
        return None


def _started(names: Iterable[str], states: Mapping[str, Sequence[Any]]) -> Watch:
    """Return what starts the first call of some modules from their states."""

    def start(name: str, number: int, args: Any, kwargs: Any) -> Any:
        state = tuple(states[name])
        given = state if len(state) > 1 else next(iter(state), None)
        return None if number else from_state(args, kwargs, given)

    watches = [each_call(name, partial(start, name)) for name in names]
    return lambda model: [hook for watch in watches for hook in watch(model)]


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
