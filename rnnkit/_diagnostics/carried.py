"""The state that a model returns and takes: which part of its output goes where in its inputs."""

import inspect
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import is_whole
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.events import record
from rnnkit._diagnostics.isolation import Given
from rnnkit._diagnostics.module_calls import KINDS
from rnnkit._diagnostics.outputs import parts, tensors_of

#: What people call a state, or a part of one, among the words of an argument's name.
WORDS = frozenset(
    {"c", "cache", "carry", "cell", "cells", "cx", "h", "hc", "hidden", "hiddens", "hs", "hx"}
    | {"memory", "past", "prev", "previous", "state", "states"}
)

#: So many ways to pass a state on are tried.
TRIES = 12

#: A state has at most so many parts, where each has an argument of its own.
MEMBERS = 3

#: A part of the output, as Python writes it, and where it goes: to an input, by its index among
#: the leaves, or to an argument that was left out, by its name.
Pair = tuple[str, int | str]


class Carried(NamedTuple):
    """How a state goes from one call to the next.

    Attributes:
        pairs: what goes where.
        is_named: whether what takes it, and nothing else, is named like a state.
    """

    pairs: tuple[Pair, ...]
    is_named: bool

    def pass_on(self, given: Given, returned: Any) -> Given:
        """Return inputs with the state of the call before."""
        found = dict(_places(returned))
        leaves, spec = pytree.tree_flatten(given, is_leaf=is_whole)
        named = {}
        for source, target in self.pairs:
            if isinstance(target, int):
                leaves[target] = found[source]
            else:
                named[target] = found[source]
        args, kwargs = pytree.tree_unflatten(leaves, spec)
        return Given(args, {**kwargs, **named})

    def holds(self, name: str) -> bool:
        """Return whether a leaf of the output, by its place, is a part of the state."""
        return any(_is_in(name, source) for source, _ in self.pairs)


def find_carried(baseline: Baseline) -> list[Carried]:
    """Return the ways to pass a state on that fit by structure and sizes, the likeliest first.

    A state that is given shows by its shapes which part of the output it is. If none is given, an
    argument that was left at its default and is named like a state takes it.
    """
    places = [(name, part) for name, part in _places(baseline.session.returned) if name]
    sources = [place for place in places if _may_be_state(baseline, *place)]
    parameters = _arguments(baseline)
    given = itertools.islice(_given_pairs(baseline, sources), TRIES)
    ways = [Carried(way, _are_named(baseline, way, parameters)) for way in given]
    if not ways:
        left_out = itertools.islice(_open_pairs(baseline, sources, parameters), TRIES)
        names = _free_names(baseline, parameters)
        ways = [Carried(way, is_named=len(way) == len(names)) for way in left_out]
    return sorted(ways, key=lambda one: (not one.is_named, -len(one.pairs)))


def _arguments(baseline: Baseline) -> list[inspect.Parameter]:
    """Return the parameters of the model's forward; none if another function calls it."""
    if baseline.session.is_wrapped:
        return []
    try:
        return [*inspect.signature(baseline.session.model.forward).parameters.values()]
    except (TypeError, ValueError):
        return []


def _positional(parameters: Sequence[inspect.Parameter]) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [one.name for one in parameters if one.kind in kinds]


def _are_named(
    baseline: Baseline, way: Sequence[Pair], parameters: Sequence[inspect.Parameter]
) -> bool:
    """Return whether all inputs that take a part of the state are named like one."""
    paths: list[Any] = [
        path
        for path, _ in pytree.tree_flatten_with_path(baseline.batch.tree(), is_leaf=is_whole)[0]
    ]
    names = _positional(parameters)
    for _, target in way:
        field, *keys = paths[int(target)]
        texts = [key.key for key in keys if isinstance(getattr(key, "key", None), str)]
        if field.name == "args" and not texts:
            texts = names[keys[0].idx : keys[0].idx + 1]
        if not any(map(_is_word, texts[-1:])):
            return False
    return True


def _is_word(name: str) -> bool:
    return any(word.strip("0123456789") in WORDS for word in name.lower().split("_"))


def _places(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the parts of an output, from the outside in, each with its place."""
    yield name, tree
    if not isinstance(tree, Tensor):
        for key, part in parts(tree):
            yield from _places(part, name + key)


def _is_in(name: str, place: str) -> bool:
    """Return whether a leaf is at a place of the output, or in it."""
    return name.startswith(place) and name[len(place) :][:1] in ("", "[", ".")


def _may_be_state(baseline: Baseline, place: str, part: Any) -> bool:
    """Return whether a part of the output has numbers, and nothing in it has the input's steps."""
    inside = [k for k, name in enumerate(baseline.session.names) if _is_in(name, place)]
    numbers = isinstance(part, Tensor) or any(map(is_number, tensors_of(part)))
    return numbers and bool(inside) and all(baseline.step_axes[k] is None for k in inside)


def _given_pairs(
    baseline: Baseline, sources: Sequence[tuple[str, Any]]
) -> Iterator[tuple[Pair, ...]]:
    """Yield ways in which inputs that were given are parts of the output, in the same order."""
    batch = baseline.batch
    targets: dict[int, list[int]] = {}
    for index, leaf in enumerate(batch.leaves):
        if isinstance(leaf, Tensor) and index not in (batch.first, batch.paced):
            fitting = [k for k, (_, part) in enumerate(sources) if _are_alike(part, leaf)]
            if fitting and not batch.has_steps(index):
                targets[index] = fitting
    if any(is_number(batch.leaves[index]) for index in targets):
        # A state in two parts is returned as it is taken: h first.
        for chosen in _rising([*targets.values()]):
            yield tuple((sources[k][0], index) for k, index in zip(chosen, targets, strict=True))


def _are_alike(part: Any, leaf: Tensor) -> bool:
    fits = isinstance(part, Tensor) and part.shape == leaf.shape
    return fits and part.is_floating_point() == leaf.is_floating_point()


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
    parameters: Sequence[inspect.Parameter],
) -> Iterator[tuple[Pair, ...]]:
    """Yield ways in which arguments that were left out may take parts of the output."""
    names = _free_names(baseline, parameters)
    held = [name for name, part in sources if any(map(is_number, tensors_of(part)))]
    for count in range(min(len(names), len(held), MEMBERS), 0, -1):
        for some in itertools.combinations(held, count):
            pairs = itertools.combinations(some, 2)
            if not any(_is_in(inner, outer) for outer, inner in pairs):
                for chosen in itertools.combinations(names, count):
                    yield tuple(zip(some, chosen, strict=True))


def _free_names(baseline: Baseline, parameters: Sequence[inspect.Parameter]) -> list[str]:
    """Return the arguments that were left out and are named like a state."""
    given = baseline.batch.tree()
    bound = {*_positional(parameters)[: len(given.args)], *given.kwargs}
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    free = [p.name for p in parameters if p.kind in kinds and p.name not in bound]
    return [name for name in free if _is_word(name)]


def is_read_as_state(baseline: Baseline, given: Given, state: Carried) -> bool:
    """Return whether a recurrent module is given the numbers of a state as its own first state."""
    leaves = pytree.tree_leaves(given, is_leaf=is_whole)
    passed = [leaves[k] for _, k in state.pairs if isinstance(k, int) and is_number(leaves[k])]
    return any(
        torch.equal(tensor.flatten().sort().values, one.flatten().sort().values)
        for event in record(baseline.session, given)
        if event.kind == "input" and isinstance(event.module, KINDS)
        for tensor in event.tensors[1:]
        if is_number(tensor)
        for one in passed
        if one.numel() == tensor.numel()
    )
