"""Random numbers: where their sources stand, and how each run starts from the same."""

import random
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.outputs import same

SEED = 20201


class Source(NamedTuple):
    """How to read and write where a source of random numbers stands, and how to seed it."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]
    seed: Callable[[int], Any]


def sources() -> dict[str, Source]:
    """Return the sources that the process has, by name."""
    generator = torch.default_generator
    found = {"torch": Source(generator.get_state, generator.set_state, generator.manual_seed)}
    cuda = torch.cuda
    if cuda.is_initialized():  # type: ignore[no-untyped-call]
        found["torch.cuda"] = Source(
            cuda.get_rng_state_all, cuda.set_rng_state_all, cuda.manual_seed_all
        )
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numbers = numpy.random
        found["numpy.random"] = Source(numbers.get_state, numbers.set_state, numbers.seed)
    # Last: what checks annotations at random may draw from it, too.
    found["random"] = Source(random.getstate, random.setstate, random.seed)
    return found


class Chance:
    """The sources of random numbers that a model draws from.

    Other threads draw from them, too: what the model does not draw from is left alone.
    """

    def __init__(self) -> None:
        """Remember where the sources stand."""
        self._sources = sources()
        self._start = self.read()
        self.drawn: set[str] = set()

    def read(self) -> dict[str, Any]:
        """Return where the sources stand."""
        return {name: source.read() for name, source in self._sources.items()}

    def notice(self, before: dict[str, Any]) -> None:
        """Find out which sources moved since they were read."""
        for name, state in before.items():
            if not equal(state, self._sources[name].read()):
                self.drawn.add(name)

    def seed(self) -> None:
        """Let what is drawn be the same again."""
        for name in self.drawn:
            self._sources[name].seed(SEED)

    def put_back(self) -> None:
        """Let the sources that moved go on from where they stood."""
        for name in self.drawn:
            self._sources[name].write(self._start[name])


def equal(one: Any, other: Any) -> bool:
    """Compare what may hold tensors and arrays; what cannot be compared is another one."""
    ones, spec = pytree.tree_flatten(one, is_leaf=_is_numbers)
    others, other_spec = pytree.tree_flatten(other, is_leaf=_is_numbers)
    return spec == other_spec and all(map(_equal_leaves, ones, others))


def _is_numbers(node: Any) -> bool:
    """Say whether a node is many numbers, as Python's own source holds."""
    return isinstance(node, tuple) and set(map(type, node)) == {int}


def _equal_leaves(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and same(one, other)
    if type(one).__module__ == "numpy":
        return one.shape == other.shape and bool((one == other).all())
    return isinstance(one, int | float | str | tuple) and one == other
