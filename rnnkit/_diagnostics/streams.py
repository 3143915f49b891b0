"""A sequence in chunks, passing the state along, beside the whole sequence at once."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, combinations, product
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.calls import calls_in
from rnnkit._diagnostics.causes import Cause, later_steps
from rnnkit._diagnostics.changes import changed, steps_from
from rnnkit._diagnostics.events import Recorder
from rnnkit._diagnostics.judge import agree, differences, near, refuse_chance
from rnnkit._diagnostics.module_calls import from_state
from rnnkit._diagnostics.outputs import (
    Given,
    Leaves,
    Watch,
    alike,
    apart,
    is_number,
    is_whole,
    largest,
    parts,
    shape_of,
    tensors_of,
)
from rnnkit._diagnostics.report import FIXES, OTHER_OUTPUTS, Line, skip
from rnnkit._diagnostics.search import Search, Verdict

#: What people call a state, or a part of one, among the words of an argument's name.
WORDS = frozenset(
    {"c", "cache", "carry", "cell", "cells", "cx", "h", "hc", "hidden", "hiddens", "hs", "hx"}
    | {"memory", "past", "prev", "previous", "state", "states"}
)

#: So many arguments of other names may belong to a state.
OTHERS = 4

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
                state = ", from the state that it returned" * bool(number)
                skip(f"the model {what} a chunk of {size} of {sum(sizes)} steps{state}")
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

    def why(self, index: int, step: int | None) -> tuple[list[Line], str]:
        """Return why an output differs, each cause tried, and the name of the module."""
        baseline, (first, second, *_) = self.baseline, self.sizes
        both, session = baseline.batch.cut(first + second, front=True), baseline.session
        returned: list[dict[str, list[Any]]] = []
        for given in self.given[:2]:
            session.attempt(given, watch=(recorder := Recorder()).watch)
            calls = [call for call in calls_in(recorder.events) if call.returned]
            returned.append({call.name: [*call.returned.values()] for call in calls})
        states, right = returned
        for name in right if step is None else ():
            if any(near(baseline, x, baseline.normal[index]) for x in right[name]):
                text = "returns the right state, and the model a different one"
                row = ("cause", f"{name or 'the model'} {text}")
                return [row, ("fix", "return the state that its last call returned")], name
        ends = baseline.on(both)
        ends.post = False  # the second chunk is at the end
        runs = both.tree(), self.given[1], self.given[1]
        found = _Chunks(ends, runs, index, (first + second, second), first)
        found.states = states
        module, rows = found.location()
        return rows, module


class _Chunks(Search):
    """The second chunk, beside the same steps of both chunks at once; ``about`` is its first."""

    probe, unit = "streaming", "steps"
    states: Mapping[str, Sequence[Any]]  # what modules returned last for the first chunk

    def _tensors(self, number: int, place: int) -> tuple[Any, Any, Any, int | None]:
        event, (other, _), (_, unit) = self.events[number], self.after[number], self.less[number]
        if event.kind == "function":
            return super()._tensors(number, place)
        # Arguments have their places, also where a state is given to the chunk only.
        two = ([*other.tensors[place:]] if other else []) or [None]
        return event.tensors[place], two[0], two[0], unit

    def _judged(self, one: Tensor, other: Any, fewer: Any, unit: int | None) -> Verdict:
        axes = self._axes(one, fewer, unit)
        if unit is not None and unit < self.about:
            return False
        if axes is None or len(axes) > 1 or not isinstance(other, Tensor):
            return None
        for axis in axes if other.numel() < one.numel() else ():
            one = one.narrow(axis, one.shape[axis] - other.shape[axis], other.shape[axis])
        return None if one.shape != shape_of(other) else bool(self._differs(one, other).any())

    def _causes(self, number: int) -> dict[str, Cause]:
        event = self.events[number]
        found = {name: _not_passed(name, state) for name, state in self.states.items()}
        both = later_steps(event)
        if both is not None and getattr(event.module, "bidirectional", False):
            found[event.name] = both
        return found

    def _is_gone(self, watch: Watch) -> bool:
        """Return whether the chunk has no leak under hooks, as it is or beside both under them."""
        chunk = self.session.attempt(self.inputs[1], watch=watch) or []
        for both in (self.outputs[0], self.session.attempt(self.inputs[0], watch=watch) or []):
            one, two = ((x[self.index :] or [None])[0] for x in (both, chunk))
            if isinstance(one, Tensor) and self._judged(one, two, two, None) is False:
                return True
        return False


def _not_passed(name: str, state: Sequence[Any]) -> Cause:
    """Suspect that a module does not start the second chunk from what it returned for the first."""
    given: Any = state if len(state) > 1 else state[0]
    start: Any = lambda at, args, kw: None if at else from_state(args, kw, given)  # noqa: E731
    what = f"{name or 'the model'} does not start the second chunk from its own state"
    return Cause(what, FIXES["streaming"], lambda *_: {"before": start})


def ways_to_carry(baseline: Baseline) -> Iterator[Carried]:
    """Yield which parts of the last output may go to arguments that are named like a state.

    Those that were given take parts of the same shapes; if none does, some that were left out. Last
    come ways that need arguments of other names, too: what belongs to a state may be called anyhow.
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
        for name, one in signature.parameters.items()
        if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    }
    named = [name for name in _named_like_states(signature) if name in taken]
    given = [name for name in named if taken[name] in places.values()]
    free = given or [name for name in named if bound.get(name) is None]
    others = [name for name in taken if bound.get(name) is None or taken[name] in places.values()]
    others = [name for name in others if name not in named][: OTHERS * bool(free)]
    for more in dict.fromkeys(((), tuple(others))):
        every = [*free, *more]
        counts = range(min(len(every), len(places)), 0, -1)
        pairs = (product(combinations(places, n), combinations(every, n)) for n in counts)
        for chosen, names in chain.from_iterable(pairs):
            fits = all(taken[n] in ([], places[p]) for n, p in zip(names, chosen, strict=True))
            fits &= {*given} <= {*names} and not {*free}.isdisjoint(names)
            fits &= not (more and {*more}.isdisjoint(names))
            if fits and not any(_is_in(two, one) for one, two in combinations(chosen, 2)):
                yield dict(zip(names, chosen, strict=True))


def not_carried(baseline: Baseline, carried: Carried) -> list[str]:
    """Return the names of the states that the model was given and that a stream leaves alone."""
    inputs, signature = baseline.batch.tree(), _signature(baseline)
    bound = signature.bind(*inputs.args, **inputs.kwargs).arguments
    given = (name for name in _named_like_states(signature) if tensors_of(bound.get(name)))
    return [name for name in given if name not in carried]


def _named_like_states(signature: inspect.Signature) -> Iterator[str]:
    for name in signature.parameters:
        if not WORDS.isdisjoint(word.strip("0123456789") for word in name.lower().split("_")):
            yield name


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
