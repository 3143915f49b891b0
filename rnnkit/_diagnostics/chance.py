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

#: So many seconds show whether other threads draw.
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


def states() -> dict[str, Any]:
    """Return where the sources stand."""
    return {name: source.read() for name, source in sources().items()}


def drawn_since(before: dict[str, Any]) -> set[str]:
    """Return the sources that a run drew from; what moves without a run, other threads draw."""

    def moved(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
        return {name for name in before if not equal(one[name], other[name])}

    now = states()
    drawn = moved(before, now)
    if drawn and threading.active_count() > 1:
        time.sleep(WAIT)
        drawn -= moved(now, states())
    return drawn
