"""Random numbers: where their sources stand, and how each run starts from the same."""

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

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

    Attributes:
        drawn: the sources that the model draws from, by name.
        doubted: sources that moved, but another thread may have drawn from them.
    """

    def __init__(self) -> None:
        """Remember where the sources stand."""
        self._sources = sources()
        self._start = self._read()
        self.drawn: set[str] = set()
        self.doubted: set[str] = set()

    @contextmanager
    def noticing(self, *, listens: bool) -> Iterator[None]:
        """Find out from which sources a run draws, by listening where other threads may draw."""
        is_shared = threading.active_count() > 1
        listens = listens and (is_shared or bool(self.doubted))
        with listening() if listens else nullcontext() as heard:
            before = self._read()
            try:
                yield
            finally:
                now = self._read()
                moved = {name for name in before if not equal(before[name], now[name])}
                moved |= self.doubted  # a model that seeds comes to the same place again
                self.doubted = moved if is_shared and heard is None else set()
                if not self.doubted:
                    self.drawn |= {name for name in moved if heard is None or heard(name)}

    def _read(self) -> dict[str, Any]:
        return {name: source.read() for name, source in self._sources.items()}

    def seed(self) -> None:
        """Let what is drawn be the same again."""
        for name in self.drawn:
            self._sources[name].seed(SEED)

    def put_back(self) -> None:
        """Let the sources that moved go on from where they stood."""
        for name in self.drawn:
            self._sources[name].write(self._start[name])


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hears which of torch's operations draw in this thread."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._hear = hear

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Import no compiler, which takes seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if _draws(func, args, kwargs or {}):
            for leaf in pytree.tree_leaves(result):
                kind = leaf.device.type if isinstance(leaf, Tensor) else "cpu"
                self._hear("torch" if kind == "cpu" else f"torch.{kind}")
        return result


def _draws(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether an operation draws random numbers, and not from a generator of the model's."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    given = {one.name: one.default_value for one in func._schema.arguments}  # noqa: SLF001
    given |= {**dict(zip(given, args, strict=False)), **kwargs}
    generators: list[Any] = [None, torch.default_generator, *torch.cuda.default_generators]
    # An operation is given another object of the same generator.
    known = {getattr(one, "_cdata", None) for one in generators}
    switches = ("train", "training", "dropout", "dropout_p")
    is_on = all(given.get(name, True) for name in switches)
    return is_on and getattr(given.get("generator"), "_cdata", None) in known


@contextmanager
def listening() -> Iterator[Callable[[str], bool]]:
    """Listen to what this thread draws; yield what tells whether that was from a source.

    Of Python's and NumPy's functions each thread is heard. If a source moved and nobody was, it was
    by a name from before, as of ``from random import random``, and may have been this thread.
    """
    threads: dict[str, set[int]] = {}
    own = threading.get_ident()

    def hear(*names: str) -> None:
        for name in names:
            threads.setdefault(name, set()).add(threading.get_ident())

    def heard(name: str) -> bool:
        return own in threads.get(name, () if name.startswith("torch") else {own})

    def noted(function: Any, *names: str) -> Any:
        def draw(*args: Any, **kwargs: Any) -> Any:
            hear(*names)
            return function(*args, **kwargs)

        return draw

    # What sets a source is no operation.
    seeds = ("manual_seed", "seed", "set_rng_state")
    functions: list[tuple[Any, str, Any, tuple[str, ...]]] = [
        (torch, name, getattr(torch, name), ("torch", "torch.cuda")) for name in seeds
    ]
    for place in ("random", "numpy.random"):
        module: Any = sys.modules.get(place)
        owner = getattr(getattr(module, "random", None), "__self__", None)
        functions += [
            (module, name, function, (place,))
            for name, function in (vars(module) if owner else {}).items()
            if getattr(function, "__self__", None) is owner
        ]
    try:
        for module, name, function, names in functions:
            setattr(module, name, noted(function, *names))
        with _Operations(hear):
            yield heard
    finally:
        for module, name, function, _ in functions:
            setattr(module, name, function)


def equal(one: Any, other: Any) -> bool:
    """Compare what may hold tensors and arrays; what cannot be compared is another one."""
    ones, spec = pytree.tree_flatten(one, is_leaf=_is_numbers)
    others, other_spec = pytree.tree_flatten(other, is_leaf=_is_numbers)
    return spec == other_spec and all(map(_equal_leaves, ones, others))


def _is_numbers(node: Any) -> bool:
    """Return whether a node is many numbers, as Python's own source holds."""
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
