"""Random numbers: which sources a model draws from, so that each run starts from the same ones.

The sources belong to the process. What the model does not draw from is left to other threads, which
otherwise would draw the same numbers again.
"""

import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from rnnkit._diagnostics.compare import equal

#: So many seconds show whether other threads draw, too.
WAIT = 0.05


class Source(NamedTuple):
    """How to read and write the state of a source of random numbers."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]


def sources() -> dict[str, Source]:
    """Return the sources of the process, by name."""
    generator, cuda, numpy = torch.default_generator, torch.cuda, sys.modules.get("numpy")
    found = {"torch": Source(generator.get_state, generator.set_state)}
    if cuda.is_initialized():  # type: ignore[no-untyped-call]
        found["torch.cuda"] = Source(cuda.get_rng_state_all, cuda.set_rng_state_all)
    if numpy is not None:
        found["numpy.random"] = Source(numpy.random.get_state, numpy.random.set_state)
    # Last: what checks annotations at random may draw from it, too.
    found["random"] = Source(random.getstate, random.setstate)
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

    def _moved(self, before: dict[str, Any]) -> set[str]:
        return {name for name, now in self.read().items() if not equal(before[name], now)}

    def notice(self, before: dict[str, Any]) -> None:
        """Find out from which sources a run drew; what moves without a run, other threads draw."""
        moved = self._moved(before) - self.drawn
        if moved and threading.active_count() > 1:
            before = self.read()
            time.sleep(WAIT)
            moved -= self._moved(before)
        self.drawn |= moved

    def restart(self) -> None:
        """Put the sources that the model draws from back to where they stood."""
        for name in self.drawn:
            self._sources[name].write(self._start[name])
