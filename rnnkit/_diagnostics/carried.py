"""The state that a model returns and takes: which part of its output goes where in its inputs."""

import inspect
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch, is_whole
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.isolation import Given
from rnnkit._diagnostics.outputs import parts, tensors_of

#: What people call a state, or a part of one, among the words of an argument's name.
WORDS = frozenset(
    {"c", "cache", "carry", "cell", "cells", "cx", "h", "hc", "hidden", "hiddens", "hs", "hx"}
    | {"memory", "past", "prev", "previous", "state", "states"}
)

#: So many ways to pass a state along are tried, with so many arguments that were left out.
TRIES, MEMBERS = 12, 3

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
    """Return the ways to pass a state along that fit by structure and sizes, likeliest first.

    A state that is given shows by its shapes which part of the output it is. If none is given, an
    argument that was left at its default and is named like a state takes it.
    """
    batch, (positional, free) = baseline.batch, _arguments(baseline)
    names = _input_names(batch, positional)
    places = [(name, part) for name, part in _places(baseline.session.returned) if name]
    sources = {name: part for name, part in places if _may_be_state(baseline, name, part)}
    given = [
        index
        for index, leaf in enumerate(batch.leaves)
        if isinstance(leaf, Tensor)
        and index not in (batch.first, batch.paced)
        and not batch.has_steps(index)
        and any(_are_alike(part, leaf) for part in sources.values())
    ]
    ways: Iterator[tuple[Pair, ...]] = iter(())
    if any(is_number(batch.leaves[index]) for index in given):
        # A state in two parts is returned as it is taken: h first.
        ways = (
            tuple(zip(chosen, given, strict=True))
            for chosen in itertools.combinations(sources, len(given))
            if all(_are_alike(sources[s], batch.leaves[k]) for s, k in zip(chosen, given))  # noqa: B905
        )
    if found := [
        Carried(way, all(map(_is_word, (names[int(k)] for _, k in way))))
        for way in itertools.islice(ways, TRIES)
    ]:
        return sorted(found, key=lambda one: not one.is_named)
    left_out = [
        tuple(zip(some, chosen, strict=True))
        for count in range(min(len(free), len(sources), MEMBERS), 0, -1)
        for some in itertools.combinations(sources, count)
        if not any(_is_in(inner, outer) for outer, inner in itertools.combinations(some, 2))
        for chosen in itertools.combinations(free, count)
    ]
    found = [Carried(way, len(way) == len(free)) for way in left_out[:TRIES]]
    return sorted(found, key=lambda one: (not one.is_named, -len(one.pairs)))


def _arguments(baseline: Baseline) -> tuple[list[str], list[str]]:
    """Return the model's arguments by position, and those that were left out, named like a state.

    None are known if another function calls the model.
    """
    try:
        found = [*inspect.signature(baseline.session.model.forward).parameters.values()]
    except (TypeError, ValueError):
        return [], []
    if baseline.session.is_wrapped:
        return [], []
    given, kinds = baseline.batch.tree(), inspect.Parameter
    either = kinds.POSITIONAL_OR_KEYWORD
    positional = [p.name for p in found if p.kind in (kinds.POSITIONAL_ONLY, either)]
    bound = {*positional[: len(given.args)], *given.kwargs}
    free = [p.name for p in found if p.kind in (either, kinds.KEYWORD_ONLY)]
    return positional, [name for name in free if name not in bound and _is_word(name)]


def _input_names(batch: Batch, positional: list[str]) -> list[str]:
    """Return what each input is called: by its key, else its argument's name; empty if unknown."""
    found = []
    flat: Any = pytree.tree_flatten_with_path(batch.tree(), is_leaf=is_whole)[0]
    for (field, *keys), _ in flat:
        texts = [str(getattr(key, "key", getattr(key, "name", ""))) for key in keys]
        if field.name == "args" and not any(texts):
            texts = positional[keys[0].idx : keys[0].idx + 1]
        found.append(next(filter(None, reversed(texts)), ""))
    return found


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


def _are_alike(part: Any, leaf: Tensor) -> bool:
    fits = isinstance(part, Tensor) and part.shape == leaf.shape
    return fits and part.is_floating_point() == leaf.is_floating_point()
