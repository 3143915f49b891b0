"""Timing on a noisy machine: short blocks in turns, and ratios within a turn.

Two long runs, one after the other, compare the machine's load at two times. Here every round runs
all candidates for about a millisecond each; what disturbs the machine for longer than that
disturbs them alike and cancels in the round's ratio, and what is shorter is an outlier that the
median over the rounds leaves out.

What a call leaves, the next one finds: memory that the allocator has given back to the system, and
whose pages it must ask for again, or has kept. So each turn begins with a call that is not timed,
and a candidate pays for what it leaves itself, not for what another one has left.
"""

import gc
import itertools
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch

#: Of one thread's work it tells what a wall clock tells, less what other programs take. On a busy
#: machine they interrupt a slow candidate in most of its turns and a fast one in few, which would
#: not cancel. Where it ticks too seldom it is of no use.
CLOCK = (
    time.process_time
    if time.get_clock_info("process_time").resolution <= 1e-6
    else time.perf_counter
)


class Effort(NamedTuple):
    """How much time a benchmark may take; more of it narrows the spread."""

    #: How long one comparison runs.
    seconds: float = 2.0
    #: How long one candidate runs before the next has its turn.
    block: float = 1e-3
    #: How many fresh interpreters a candidate gets, where it needs them.
    processes: int = 15
    #: How many of the sizes in a grid are tried; None for all.
    sizes: int | None = None

    def brief(self) -> "Effort":
        """Half the time a comparison: for the many that no budget judges."""
        return self._replace(seconds=self.seconds / 2)


#: Enough to see that a table can be made, too little to trust its numbers.
QUICK = Effort(seconds=0.0, block=0.0, processes=1, sizes=1)


class Timing(NamedTuple):
    """What one candidate took, by itself and beside the baseline."""

    #: Median time of one call.
    seconds: float
    #: Median over the rounds of this candidate's time by the baseline's in the same round.
    ratio: float
    #: Half the width of the ratio's 95 % confidence interval.
    spread: float

    def __str__(self) -> str:
        """The ratio and its spread, to three digits of the ratio."""
        digits = max(0, 3 - len(str(int(self.ratio))))
        return f"{self.ratio:.{digits}f} ±{self.spread:.{digits}f}"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the garbage collector and other threads out of the timed code."""
    threads = torch.get_num_threads()
    collecting = gc.isenabled()
    torch.set_num_threads(1)
    gc.disable()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if collecting:
            gc.enable()


def interleave(measures: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Take each measure once a round, and give each one's results in the order of the rounds.

    Every second round runs backwards through the order of the one before it, so that each
    candidate comes as often before another as after it.
    """
    results: dict[str, list[float]] = {name: [] for name in measures}
    order = list(measures)
    shuffle = random.Random(0).shuffle  # noqa: S311  # no secret: the same order in every run
    for turn in range(rounds):
        if turn % 2:
            order.reverse()
        else:
            shuffle(order)
        for name in order:
            results[name].append(measures[name]())
    return results


def compare(
    candidates: Mapping[str, Callable[[], object]],
    effort: Effort,
    *,
    baseline: str | None = None,
    clock: Callable[[], float] = CLOCK,
) -> dict[str, Timing]:
    """Time the candidates in turns, each against the baseline (the first one unless named)."""

    def block(call: Callable[[], object], calls: int) -> float:
        call()
        start = clock()
        for _ in itertools.repeat(None, calls):
            call()
        return (clock() - start) / calls

    reference = next(iter(candidates)) if baseline is None else baseline
    with quiet():
        once = {name: block(call, 1) for name, call in candidates.items()}
        calls = max(1, round(effort.block / once[reference]))
        pairs = max(1, round(effort.seconds / (2 * (1 + calls) * sum(once.values()))))
        times = interleave(
            {name: partial(block, call, calls) for name, call in candidates.items()},
            rounds=2 * pairs if effort.seconds else 1,
        )
    return {name: _summary(times[name], times[reference]) for name in candidates}


def _summary(times: Sequence[float], reference: Sequence[float]) -> Timing:
    ratios = [mine / other for mine, other in zip(times, reference, strict=True)]
    return Timing(statistics.median(times), statistics.median(ratios), spread(ratios))


def spread(values: Sequence[float]) -> float:
    """Half the width of the 95 % confidence interval of the values' median."""
    # The ranks between which the true median is in 95 of 100 experiments; ratios of blocks are
    # far from normal, and these ranks do not ask how they are distributed.
    ordered = sorted(values)
    reach = 0.98 * math.sqrt(len(ordered))
    low = max(0, math.floor(len(ordered) / 2 - reach))
    high = min(len(ordered) - 1, math.ceil(len(ordered) / 2 + reach))
    return (ordered[high] - ordered[low]) / 2
