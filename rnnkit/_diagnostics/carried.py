"""The state that a model returns and takes: which part of its output goes where in its inputs."""

import copy
import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import RNNBase, RNNCellBase
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.events import record
from rnnkit._diagnostics.isolation import Given
from rnnkit._diagnostics.outputs import leaves, parts, shape_of, tensors_of

#: What people call a state, or a part of one, among the words of an argument's name.
WORDS = frozenset(
    {"c", "cache", "carry", "cell", "cells", "cx", "h", "hc", "hidden", "hiddens", "hs", "hx"}
    | {"memory", "past", "prev", "previous", "state", "states"}
)

#: So many ways to pass a state on are tried.
TRIES = 12

#: Where something is among the inputs: ``("args", 1)``, ``("kwargs", "hx")``, or deeper.
Path = tuple[Any, ...]

#: Of so many parts is a state at most, where each has an argument of its own.
MEMBERS = 3

#: Parameters that take what is given by position.
POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)

Shapes = list[tuple[int, ...] | None]


class Pair(NamedTuple):
    """A part of the output, and where it goes.

    Attributes:
        source: where it is in the output, as Python writes that.
        target: where it goes among the inputs.
    """

    source: str
    target: Path


class Carried(NamedTuple):
    """How a state goes from one call to the next.

    Attributes:
        pairs: what goes where.
        is_named: whether all that takes it is called like a state.
        grows: whether a part of it has the steps so far, as the keys and values of an attention.
    """

    pairs: tuple[Pair, ...]
    is_named: bool
    grows: bool = False

    def pass_on(self, given: Given, returned: Any) -> Given:
        """Return inputs with the state of the call before."""
        found = dict(_places(returned))
        inputs: Any = given._asdict()
        for pair in self.pairs:
            inputs = _put(inputs, pair.target, found[pair.source])
        return Given(**inputs)

    def holds(self, name: str) -> bool:
        """Say whether a leaf of the output, by its place, is a part of the state."""
        return any(_is_in(name, pair.source) for pair in self.pairs)


def find_carried(baseline: Baseline) -> list[Carried]:
    """Return the ways to pass a state on that fit by structure and sizes, the likeliest first.

    A state that is given says by its shapes which part of the output it is. If none is given, each
    argument that was left at its default is one that may take it.
    """
    places = [(name, part) for name, part in _places(baseline.session.returned) if name]
    sources = [place for place in places if _may_be_state(baseline, *place)]
    parameters = _arguments(baseline)
    ways = [*itertools.islice(_given_pairs(baseline, sources), TRIES)]
    if not ways:
        named = _open_pairs(baseline, sources, parameters, named=True)
        every = _open_pairs(baseline, sources, parameters)
        others = (way for way in every if not _are_named(way, parameters))
        ways = [*itertools.islice(itertools.chain(named, others), TRIES)]
    plain = [Carried(way, _are_named(way, parameters)) for way in ways]
    growing = [*itertools.islice(_growing(baseline, places, parameters), TRIES)]
    return sorted([*plain, *growing], key=lambda one: (not one.is_named, -len(one.pairs)))


def _are_named(way: Sequence[Pair], parameters: Mapping[str, inspect.Parameter]) -> bool:
    return all(_is_word(_called(pair.target, parameters)) for pair in way)


def _growing(
    baseline: Baseline,
    places: Sequence[tuple[str, Any]],
    parameters: Mapping[str, inspect.Parameter],
) -> Iterator[Carried]:
    """Yield ways in which a part of the state has the input's steps, as keys and values have.

    What has steps is more often no state: so it must be an output of its own, and what takes it
    must be called like a state.
    """
    outer = [name for name, _ in parts(baseline.session.returned)]
    sources = [
        place
        for place in places
        if place[0] in outer and _may_be_state(baseline, *place, may_grow=True)
    ]
    fixed = [name for name, part in sources if _may_be_state(baseline, name, part)]
    for way in _open_pairs(baseline, sources, parameters, named=True):
        if any(pair.source not in fixed for pair in way):
            yield Carried(way, is_named=True, grows=True)


def _arguments(baseline: Baseline) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of the model's forward; none if another function calls it."""
    try:
        return (
            {}
            if baseline.session.is_wrapped
            else inspect.signature(baseline.session.model.forward).parameters
        )
    except (TypeError, ValueError):
        return {}


def _called(path: Path, parameters: Mapping[str, inspect.Parameter]) -> str:
    """Return what the model calls an input, or a part of one."""
    names = [name for name, one in parameters.items() if one.kind in POSITIONAL]
    if len(path) == 2 and path[0] == "args":
        return names[path[1]] if path[1] < len(names) else ""
    return str(path[1] if path[0] == "kwargs" and isinstance(path[-1], int) else path[-1])


def _is_word(name: str) -> bool:
    return any(word.strip("0123456789") in WORDS for word in name.lower().split("_"))


def _places(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the parts of an output, from the outside in, each with its place."""
    yield name, tree
    if not isinstance(tree, Tensor):
        for key, part in parts(tree):
            yield from _places(part, name + key)


def _is_in(name: str, place: str) -> bool:
    """Say whether a leaf is at a place of the output, or in it."""
    return name.startswith(place) and name[len(place) :][:1] in ("", "[", ".")


def _may_be_state(baseline: Baseline, place: str, part: Any, *, may_grow: bool = False) -> bool:
    """Say whether a part of the output has numbers, and nothing in it has the input's steps."""
    inside = [k for k, name in enumerate(baseline.session.names) if _is_in(name, place)]
    return (
        any(tensor.is_floating_point() for tensor in tensors_of(part))
        and bool(inside)
        and (may_grow or all(baseline.step_axes[k] is None for k in inside))
    )


def _shapes(tree: Any) -> Shapes:
    return [shape_of(leaf) for leaf in leaves(tree)]


def _given_pairs(
    baseline: Baseline, sources: Sequence[tuple[str, Any]]
) -> Iterator[tuple[Pair, ...]]:
    """Yield ways in which inputs that were given are parts of the output, in the same order."""
    batch = baseline.batch
    numbers = batch.tree(range(len(batch.leaves)))
    targets: list[tuple[Path, list[int]]] = []
    for path, part in _deeper(batch.tree()._asdict(), ()):
        if len(path) < 2:
            continue
        inside: list[int] = pytree.tree_leaves(_at(numbers, path))
        known = {batch.first, batch.paced}
        taken = any(path[: len(other)] == other for other, _ in targets)
        if taken or known & set(inside) or any(map(batch.has_steps, inside)):
            continue
        if not any(is_number(batch.leaves[k]) for k in inside):
            continue
        fitting = [k for k, (_, one) in enumerate(sources) if _shapes(one) == _shapes(part)]
        if fitting:
            targets.append((path, fitting))
    # A state in two parts is returned as it is taken: h first.
    for chosen in _rising([fitting for _, fitting in targets]) if targets else ():
        yield tuple(Pair(sources[k][0], path) for k, (path, _) in zip(chosen, targets, strict=True))


def _rising(choices: Sequence[Sequence[int]], above: int = -1) -> Iterator[tuple[int, ...]]:
    """Yield the ways to take a number of each, every one larger than the one before."""
    if not choices:
        yield ()
        return
    for number in choices[0]:
        if number > above:
            yield from ((number, *rest) for rest in _rising(choices[1:], number))


def _open_pairs(
    baseline: Baseline,
    sources: Sequence[tuple[str, Any]],
    parameters: Mapping[str, inspect.Parameter],
    *,
    named: bool = False,
) -> Iterator[tuple[Pair, ...]]:
    """Yield ways in which arguments that were left out may take parts of the output.

    If ``named``, only arguments that are called like a state are meant.
    """
    given = baseline.batch.tree()
    positional = [name for name, one in parameters.items() if one.kind in POSITIONAL]
    bound = {*positional[: len(given.args)], *given.kwargs}
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    free = [name for name, one in parameters.items() if one.kind in kinds and name not in bound]
    free = [name for name in free if _is_word(name)] if named else free
    for count in range(min(len(free), len(sources), MEMBERS), 0, -1):
        for names in itertools.combinations(free, count):
            for some in itertools.combinations(sources, count):
                pairs = itertools.combinations([source for source, _ in some], 2)
                if not any(_is_in(inner, outer) for outer, inner in pairs):
                    yield tuple(
                        Pair(source, ("kwargs", name))
                        for (source, _), name in zip(some, names, strict=True)
                    )


def _deeper(tree: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Yield the parts of what a model is called with, from the outside in."""
    yield path, tree
    if isinstance(tree, Mapping):
        for key, part in tree.items():
            yield from _deeper(part, (*path, key))
    elif isinstance(tree, list | tuple):
        for index, part in enumerate(tree):
            yield from _deeper(part, (*path, index))


def _at(given: Given, path: Path) -> Any:
    part: Any = given._asdict()
    for key in path:
        part = part[key]
    return part


def _put(tree: Any, path: Path, value: Any) -> Any:
    """Return a tree with another part at a place."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(tree, Mapping):
        changed: Any = copy.copy(tree)
        changed[key] = _put(tree.get(key), rest, value)
        return changed
    members = [_put(part, rest, value) if k == key else part for k, part in enumerate(tree)]
    if hasattr(tree, "_fields"):
        return type(tree)(*members)
    return type(tree)(members)


def is_read_as_state(baseline: Baseline, given: Given, state: Carried) -> bool:
    """Say whether a recurrent module is given the numbers of a state as its own first state."""
    passed = [
        leaf.flatten().sort().values
        for pair in state.pairs
        for leaf in leaves(_at(given, pair.target))
        if is_number(leaf)
    ]
    for event in record(baseline.session, given):
        if event.kind == "input" and isinstance(event.module, RNNBase | RNNCellBase):
            for tensor in event.tensors[1:]:
                if isinstance(tensor, Tensor) and any(
                    torch.equal(tensor.flatten().sort().values, one) for one in passed
                ):
                    return True
    return False
