"""The benchmarks' clock: candidates take turns, and the right numbers are divided.

No test here depends on real time: clocks are simulated.
"""

import gc
import itertools

import pytest
import torch

pytest.importorskip("benchmarks", reason="the benchmarks are in the repository, not in the wheel")

from benchmarks.timing import QUICK, Effort, Timing, compare, interleave


class Machine:
    """A simulated clock, which only work advances, and a record of who worked.

    The nth piece of work takes ``load(n)`` times as long as usual.
    """

    def __init__(self, load=lambda _: 1.0):
        self.now = 0.0
        self.worked = []
        self.load = load

    def clock(self):
        """Return the simulated time."""
        return self.now

    def work(self, name, seconds):
        """Return a candidate that takes so long."""

        def call():
            self.now += seconds * self.load(len(self.worked))
            self.worked.append(name)

        return call


def test_ratio():
    """The ratio is right on a machine that drifts or is interrupted; noise is reported."""
    for load, seconds, off in (
        (lambda _: 1.0, 50.0, 0.0),
        (lambda n: 100.0 if n % 11 == 7 else 1.0, 1000.0, 0.0),
        (lambda n: 1.0 + n / 8000, 1000.0, 0.002),
        (lambda n: 2.0 if n % 3 == 0 else 1.0, 100.0, 0.6),
    ):
        machine = Machine(load)
        pair = {"other": machine.work("other", 3.0), "base": machine.work("base", 2.0)}
        timings = compare(pair, Effort(seconds, block=0.0), baseline="base", clock=machine.clock)

        assert timings["base"].ratio == 1.0
        assert timings["other"].ratio == pytest.approx(1.5, abs=off)
        assert (timings["other"].spread > 0.01) == (off > 0.01)


def test_a_candidate_pays_for_what_it_leaves():
    """A candidate that slows the next call down does not lengthen a different one's time."""
    machine = Machine(load=lambda n: 2.0 if machine.worked[n - 1 : n] == ["messy"] else 1.0)
    candidates = {"clean": machine.work("clean", 2.0), "messy": machine.work("messy", 2.0)}

    timings = compare(candidates, Effort(seconds=100.0, block=0.0), clock=machine.clock)

    assert timings["clean"] == (2.0, 1.0, 0.0)
    assert timings["messy"] == (4.0, 2.0, 0.0)


def test_blocks_last_as_asked():
    """Every block has as many calls as the baseline makes in the time of a block, plus one."""
    machine = Machine()
    candidates = {"base": machine.work("base", 2.0), "other": machine.work("other", 3.0)}

    compare(candidates, Effort(seconds=1000.0, block=10.0), clock=machine.clock)

    timed = machine.worked[2 * len(candidates) :]
    turns = [timed[n : n + 6] for n in range(0, len(timed), 6)]
    assert len(turns) == 2 * 17 * len(candidates)
    assert all(turn in (["base"] * 6, ["other"] * 6) for turn in turns)


def test_turns():
    """In each round every candidate has one turn; any two lead equally often, and follow others."""
    machine = Machine()
    interleave({name: machine.work(name, 1.0) for name in "abcd"}, 40)
    turns = [list(turn) for turn in zip(*[iter(machine.worked)] * 4, strict=True)]

    assert [sorted(turn) for turn in turns] == [list("abcd")] * 40
    for one, other in itertools.combinations("abcd", 2):
        assert sum(turn.index(one) < turn.index(other) for turn in turns[:6]) == 3
    followed = {pair for turn in turns for pair in itertools.pairwise(turn)}
    assert followed == set(itertools.permutations("abcd", 2))


def process() -> tuple[int, bool]:
    """Return what candidates find: the number of threads, and whether garbage is collected."""
    return torch.get_num_threads(), gc.isenabled()


def test_settings():
    """Candidates run on one thread without garbage collection; an error restores both."""
    seen = []
    before = process()

    compare({"only": lambda: seen.append(process())}, QUICK)
    with pytest.raises(ZeroDivisionError):
        compare({"only": lambda: 1 / 0}, QUICK)

    assert set(seen) == {(1, False)}
    assert process() == before


def test_a_ratio_in_print():
    """A ratio is printed with three digits, and its spread with the same decimals."""
    printed = [str(Timing(1.0, *each)) for each in ((0.7871, 0.1304), (12.34, 0.56), (123.4, 5.6))]

    assert printed == ["0.79 ±0.13", "12.3 ±0.6", "123 ±6"]
