"""A sequence in chunks, passing the state along, beside the whole sequence at once."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, combinations, product
from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.explain.causes import CARRY, Cause, Location, Suspects, later_steps
from rnnkit._diagnostics.explain.locate import Beside
from rnnkit._diagnostics.explain.search import Seen
from rnnkit._diagnostics.inputs.reading import bound_to
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import Part
from rnnkit._diagnostics.measure.precision import AMPLIFIED
from rnnkit._diagnostics.run.events import Event, Recorder
from rnnkit._diagnostics.run.module_calls import calls_in, hooks_on, with_state
from rnnkit._diagnostics.run.outputs import (
    Given,
    equal,
    is_number,
    leaves,
    parts,
    shape_of,
    shapes_of,
    tensors_of,
)
from rnnkit._diagnostics.tell.outcome import OTHER_OUTPUTS

#: What people call a state, or a part of one: a word of an argument's name.
STATE = re.compile(
    "(?i)(?<![a-z])"
    "(c|h|h[csx]|cx|caches?|carry|cells?|hiddens?|mem(ory|s)?|past|prev|previous|states?)"
    "(?![a-z])"
)

DRAWING = "the model draws random numbers, and different ones in chunks"


class Stream:
    """One way to cut the steps, and which places of the output go on to which arguments.

    Attributes:
        sizes: how many steps each chunk has.
        given, outputs: the inputs of each chunk, and what was returned for it.
        different: the first output that differs from the whole, if there is one.
        left_out: outputs, by name, that have no such steps and are no state, and that the last
            chunk does not return as the whole does: they may be pooled over a chunk.
        doubt: why the chunks and the whole could not be compared; else empty.
        doubt_of_steps: why single steps could not be, where these chunks could; else empty.
    """

    doubt_of_steps = ""

    def __init__(self, baseline: Baseline, carried: Mapping[str, str], sizes: list[int]) -> None:
        """Run the chunks one after the other, and compare them with the whole.

        ``baseline`` is the model in float64, a batch, and its output for the whole; ``carried``
        says by argument which place of the output it takes; ``sizes`` is how many steps each chunk
        has.
        """
        self.baseline = baseline
        self.sizes = sizes
        self.given: list[Given] = []
        self.outputs: list[list[Any]] = []
        self.different: Part | None = None
        self.left_out: list[str] = []
        self.doubt = self._run_chunks(carried) or self._compare(carried)

    def _run_chunks(self, carried: Mapping[str, str]) -> str:
        """Run each chunk from the state that the one before returned; return what failed, or "".

        ``carried`` says by argument which place of the output, such as ``[1]``, it takes.
        """
        baseline = self.baseline
        session = baseline.session
        start = 0
        for size in self.sizes:
            given = baseline.batch.cut(start + size, front=True).cut(size, front=False).tree()
            if start:
                given = _from_returned(baseline, given, carried)
            output = session.attempt(given)
            if output is None or session.names != baseline.names:
                chunk = f"a chunk of {size} of {sum(self.sizes)} steps"
                state = ", from what it returned as its state" if start else ""
                return f"the model does not run on {chunk}{state}"
            self.given.append(given)
            self.outputs.append(output)
            start += size
        return ""

    def _compare(self, carried: Mapping[str, str]) -> str:
        """Note the first output that differs; return why one cannot be compared, or "".

        Outputs with steps are compared, then states: ``carried`` says by argument which place of
        the output it takes.
        """
        baseline = self.baseline
        numbers = [index for index, leaf in enumerate(baseline.normal) if is_number(leaf)]
        stepped = [k for k in numbers if baseline.has_steps(k) and not baseline.missing(k)]
        if not stepped and shapes_of(baseline.normal) != shapes_of(self.outputs[0]):
            return OTHER_OUTPUTS
        states = [k for k in numbers if _is_in(baseline.names[k], *carried.values())]
        for other in sorted({*numbers} - {*stepped, *states}):
            part = self._part(other)
            if part is None or part.differs:
                self.left_out.append(baseline.name(other))
        return self._compare_each([*stepped, *states])

    def _compare_each(self, indices: list[int]) -> str:
        """Note the first of some outputs that differs; return why one cannot be compared, or ""."""
        baseline = self.baseline
        for part in map(self._part, indices):
            if part is None:
                return f"for chunks of {self.sizes[0]} steps, the outputs have other shapes"
            if part.differs:
                self.different = part
                if part.is_amplified:
                    return AMPLIFIED
                is_drawing = baseline.session.drawn and not baseline.has_passed("repeatable")
                return DRAWING if is_drawing else ""
        return ""

    def _part(self, index: int) -> Part | None:
        """Return an output of the whole beside that of the chunks; None if shapes differ.

        The chunks are joined along its seq axis; of an output without one, the last chunk's counts.
        """
        baseline = self.baseline
        axis = baseline.axes.seq.get(index)
        before = baseline.normal[index]
        pieces = [output[index] for output in self.outputs]
        after = pieces[-1]
        if axis is not None:
            with suppress(RuntimeError, TypeError):
                after = torch.cat(pieces, axis)
        if shape_of(after) != before.shape:
            return None
        return Part(baseline, index, 0, before, after, baseline.scale_of(index))

    def first_step(self, part: Part) -> int | None:
        """Return the first step at which a part differs; None if it is the state at the end."""
        axis = self.baseline.axes.seq.get(part.output)
        if axis is None:
            return None
        return int(part.moved.movedim(axis, 0).flatten(1).any(1).int().argmax())

    def why(self, part: Part) -> Location:
        """Return rows of a message, and a module: where a part first differs in the second chunk.

        That is searched for in the second chunk, beside the same steps in a run of both at once.
        Causes are tried: a module may not start from the state that it returned for the first
        chunk.
        """
        baseline = self.baseline
        first, second, *_ = self.sizes
        if baseline.outputs_with_steps and self.first_step(part) is None:
            cause = ("cause", "the outputs are right, but the returned state is wrong")
            return [cause, ("fix", "return the state that the last call returned")], ""
        both = baseline.batch.cut(first + second, front=True)
        ends = baseline.on(replace(both, pads_after=False))  # the second chunk is at the end
        recorder = Recorder()
        baseline.session.attempt(self.given[0], watch=recorder.watch)
        returned = leaves(baseline.session.returned)
        runs = ends.batch.tree(), self.given[1], self.given[1]
        found = _Chunks(ends, runs, part.output, first + second, second, 1)
        calls = [call for call in calls_in(recorder.events) if call.returned]
        found.states = {call.name: [*call.returned.values()] for call in calls}
        found.returned = returned
        return found.location()


class _Chunks(Beside):
    """The second chunk, beside the same steps of both chunks at once."""

    probe = "streaming"
    states: Mapping[str, Sequence[Any]]  # what modules returned last for the first chunk
    returned: Sequence[Any]  # what the model returned for it

    def _module_suspects(self, event: Event) -> Suspects:
        """Return causes to try by module: it starts from another state, or reads later steps.

        ``event`` is the call in which the difference first shows.
        """
        causes = {name: self._other_start(name, state) for name, state in self.states.items()}
        return {**causes, event.name: later_steps(event, self.probe) or causes.get(event.name)}

    def _other_start(self, name: str, state: Sequence[Any]) -> Cause:
        """Return, as a cause to try, that a module does not start from the state that it returned.

        ``name`` is the module, and ``state`` has the tensors that it returned last for the first
        chunk.
        """

        def start(at: int, args: Any, kwargs: Any) -> Any:
            given = state if len(state) > 1 else state[0]
            return None if at else with_state(args, kwargs, given)

        module = name or "the model"
        what = f"the model does not return the state that {module} has after the first chunk"
        fix = CARRY
        if all(any(equal(x, y) for y in self.returned) for x in state):
            what = f"{module} does not start from the state that the model is given"
            fix = "start from the state that is given, and from zeros only if that is None"
        return Cause(what, fix, hooks_on(name, start))

    def _is_gone(self, *undo: Any) -> bool:
        """Return whether the chunk has no leak under hooks, as it is or beside both under them."""
        both, chunk = (self._run(inputs, *undo) for inputs in self.inputs[:2])
        pairs = [x for x in (self.output, both) if x is not None]
        return any(self._shows_leak(Seen(one, chunk, chunk, None)) is False for one in pairs)


#: The shapes of the tensors of an argument, or of a part of the output.
Shapes = list[torch.Size]


def ways_to_carry(baseline: Baseline) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Yield which argument may take which part of the last output, and which states are left.

    The parts are named by their place in the output, such as ``[1][0]``. The states that are left
    are arguments that are named like a state, and take nothing.
    """
    taken = _shapes_taken(baseline)
    places = _parts_without_steps(baseline)
    may_take = [name for name, shapes in taken.items() if shapes in ([], *places.values())]
    named = [*filter(STATE.search, taken)]
    states = [name for name in named if taken[name]]
    # What was given takes parts of its shape; else what was left out does, of any name.
    given = {*states} & {*may_take}
    first = [name for name in may_take if name in (given or named)]
    others = [name for name in may_take if name not in named][:4]  # each of many takes too long
    ways = _assignments(places, [*first, *others], taken)
    joined = (carried for carried in ways if carried.keys() & {*others})
    for carried in chain(_assignments(places, first, taken), joined):
        if carried.keys() & {*first} and carried.keys() >= given:
            yield carried, [name for name in states if name not in carried]


def _shapes_taken(baseline: Baseline) -> dict[str, Shapes]:
    """Return the shapes of the tensors in each argument; an empty list if it is left out.

    The keys are names of arguments; flags and numbers, which are no states, have no entry.
    """
    session = baseline.session
    bound = bound_to(session.model, session.own_call, baseline.batch.tree())
    bound.apply_defaults()
    taken = {}
    for name, value in bound.arguments.items():
        shapes = [x.shape for x in tensors_of(value)]
        if shapes or value is None:
            taken[name] = shapes
    return taken


def _parts_without_steps(baseline: Baseline) -> dict[str, Shapes]:
    """Return the shapes of the parts of the output that may be states, by place: none has steps.

    A place is a path in what the model returned, such as ``[1][0]``.
    """
    stepped = [baseline.names[index] for index in baseline.axes.seq]
    places = {}
    for place, part in _parts_with_places(baseline.session.returned):
        shapes = [x.shape for x in tensors_of(part)]
        if place and shapes and not any(_is_in(name, place) for name in stepped):
            places[place] = shapes
    return places


def _assignments(
    places: dict[str, Shapes], names: list[str], taken: dict[str, Shapes]
) -> Iterator[dict[str, str]]:
    """Yield ways to give parts of the output to arguments, both in order; most parts first.

    ``places`` has the parts' shapes by place, and ``taken`` those of what each argument was given,
    empty if it was left out: ``names`` are the arguments to use. A way is a place by argument.
    """
    for count in range(min(len(names), len(places)), 0, -1):
        for chosen, takers in product(combinations(places, count), combinations(names, count)):
            carried = dict(zip(takers, chosen, strict=True))
            fits = all(taken[name] in ([], places[at]) for name, at in carried.items())
            are_apart = not any(_is_in(two, one) for one, two in combinations(chosen, 2))
            if fits and are_apart:
                yield carried


def _from_returned(baseline: Baseline, given: Given, carried: Mapping[str, str]) -> Given:
    """Return inputs in which some arguments take parts of what the model returned last.

    ``given`` are the inputs of a chunk; ``carried`` says by argument which place it takes.
    """
    session = baseline.session
    places = dict(_parts_with_places(session.returned))
    bound = bound_to(session.model, session.own_call, given)
    bound.arguments.update({name: places[at] for name, at in carried.items()})
    return Given(bound.args, bound.kwargs)


def _parts_with_places(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the parts of an output, from the outside in, each with its place."""
    yield name, tree
    if not isinstance(tree, Tensor):
        for key, part in parts(tree):
            yield from _parts_with_places(part, name + key)


def _is_in(name: str, *places: str) -> bool:
    """Return whether a leaf, named as ``[1][0]``, is at one of some places, or inside of one."""
    return any(name.startswith(x) and name[len(x) :][:1] in ("", "[", ".") for x in places)
