"""Random numbers: which sources a model draws from, so that each run starts from the same ones.

The sources belong to the process. What the model does not draw from is left to other threads, which
otherwise would draw the same numbers again.
"""

import random
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from rnnkit._diagnostics.outputs import same

SEED = 20201


class Source(NamedTuple):
    """How to read, write and seed a source of random numbers."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]
    seed: Callable[[int], Any]


def sources() -> dict[str, Source]:
    """Return the sources of the process, by name."""
    generator, cuda, numpy = torch.default_generator, torch.cuda, sys.modules.get("numpy")
    found = {"torch": Source(generator.get_state, generator.set_state, generator.manual_seed)}
    if cuda.is_initialized():  # type: ignore[no-untyped-call]
        found["torch.cuda"] = Source(
            cuda.get_rng_state_all, cuda.set_rng_state_all, cuda.manual_seed_all
        )
    if numpy is not None:
        numbers = numpy.random
        found["numpy.random"] = Source(numbers.get_state, numbers.set_state, numbers.seed)
    # Last: what checks annotations at random may draw from it, too.
    found["random"] = Source(random.getstate, random.setstate, random.seed)
    return found


class Chance:
    """The sources of random numbers that a model draws from."""

    def __init__(self) -> None:
        """Remember where the sources stand."""
        self._sources = sources()
        self._start = self.read()
        self.drawn: set[str] = set()

    def read(self) -> dict[str, Any]:
        """Return where the sources stand."""
        return {name: source.read() for name, source in self._sources.items()}

    def moved(self, before: dict[str, Any]) -> set[str]:
        """Return which sources were drawn from since, by whichever thread."""
        return {name for name, now in self.read().items() if not equal(before[name], now)}

    @contextmanager
    def noticing(self, moved: Collection[str] = ()) -> Iterator[None]:
        """Find out from which sources a run draws, listening if other threads may draw.

        Those that moved in a run before are among them: a model that seeds leaves them where it
        left them then.
        """
        before = self.read()
        with listening() if moved or threading.active_count() > 1 else nullcontext() as heard:
            try:
                yield
            finally:
                found = {*moved, *self.moved(before)}
                self.drawn |= {name for name in found if heard is None or heard(name)}

    def seed(self) -> None:
        """Let what is drawn be the same again."""
        for name in self.drawn:
            self._sources[name].seed(SEED)

    def put_back(self) -> None:
        """Let the sources that the model drew from go on from where they stood."""
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
    """Listen to draws; yield a function that returns whether this thread drew from a source.

    If a source moved and no thread was heard, it was by a name from before, as of ``from random
    import random``, and may have been this thread.
    """
    threads: dict[str, set[int]] = defaultdict(set)

    def hear(*names: str) -> None:
        for name in names:
            threads[name].add(threading.get_ident())

    def heard(name: str) -> bool:
        return own in threads[name] or not (threads[name] or name.startswith("torch"))

    def noted(function: Any, *names: str) -> Any:
        def draw(*args: Any, **kwargs: Any) -> Any:
            hear(*names)
            return function(*args, **kwargs)

        return draw

    own = threading.get_ident()
    # What seeds torch is not an operation.
    seeds = ("manual_seed", "seed", "set_rng_state")
    patched: list[Any] = [
        (torch, name, getattr(torch, name), ("torch", "torch.cuda")) for name in seeds
    ]
    for place in ("random", "numpy.random"):
        module: Any = sys.modules.get(place)
        source = getattr(getattr(module, "random", None), "__self__", None)
        patched += [
            (module, name, function, (place,))
            for name, function in (vars(module) if source else {}).items()
            if getattr(function, "__self__", None) is source
        ]
    try:
        for module, name, function, names in patched:
            setattr(module, name, noted(function, *names))
        with _Operations(hear):
            yield heard
    finally:
        for module, name, function, _ in patched:
            setattr(module, name, function)


def equal(one: Any, other: Any) -> bool:
    """Compare what may hold tensors and arrays; other objects equal only themselves."""
    kind = type(one)
    if one is other or kind is not type(other):
        return one is other
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and same(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and set(map(type, one)) != {int}:
        return len(one) == len(other) and all(map(equal, one, other))
    if kind.__module__ == "numpy" and not isinstance(one, list | tuple):
        return bool(one.shape == other.shape and (one == other).all())
    return isinstance(one, int | float | str | list | tuple) and bool(one == other)
