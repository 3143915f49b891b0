"""The benchmarks' clock: candidates take turns, and the right numbers are divided.

No test here looks at a time: clocks are made up.
"""

import gc
import itertools
from collections.abc import Callable

import pytest
import torch

pytest.importorskip("benchmarks", reason="the benchmarks are in the repository, not in the wheel")

from benchmarks.timing import QUICK, Effort, Timing, compare, interleave


class Machine:
    """A clock that only work moves on, and a record of who worked."""

    def __init__(self, load: Callable[[int], float] = lambda _: 1.0) -> None:
        """Start at zero; ``load`` says how much slower than usual the nth piece of work is."""
        self.now = 0.0
        self.worked: list[str] = []
        self.load = load

    def clock(self) -> float:
        """Tell the time."""
        return self.now

    def work(self, name: str, seconds: float) -> Callable[[], None]:
        """Give a candidate that takes so long."""

        def call() -> None:
            self.now += seconds * self.load(len(self.worked))
            self.worked.append(name)

        return call


def take_turns(names: str, rounds: int) -> list[list[str]]:
    """List, for each round, who had a turn in it."""
    machine = Machine()

    def measure(name: str) -> Callable[[], float]:
        work = machine.work(name, 1.0)

        def once() -> float:
            work()
            return 1.0

        return once

    interleave({name: measure(name) for name in names}, rounds)
    return [list(turn) for turn in zip(*[iter(machine.worked)] * len(names), strict=True)]


def test_ratio_to_the_first() -> None:
    """A candidate's ratio is its time by that of the first candidate."""
    machine = Machine()
    candidates = {"base": machine.work("base", 2.0), "other": machine.work("other", 3.0)}

    timings = compare(candidates, Effort(seconds=50.0, block=10.0), clock=machine.clock)

    assert timings["base"] == (2.0, 1.0, 0.0)
    assert timings["other"] == (3.0, 1.5, 0.0)


def test_ratio_to_a_named_baseline() -> None:
    """The baseline need not come first."""
    machine = Machine()
    candidates = {"other": machine.work("other", 3.0), "base": machine.work("base", 2.0)}

    timings = compare(candidates, QUICK, baseline="base", clock=machine.clock)

    assert timings["base"].ratio == 1.0
    assert timings["other"].ratio == 1.5


def test_drift_cancels() -> None:
    """A machine that slows down by half during the run leaves the ratio where it was."""
    machine = Machine(load=lambda n: 1.0 + n / 800)
    candidates = {"base": machine.work("base", 2.0), "other": machine.work("other", 3.0)}

    timings = compare(candidates, Effort(seconds=1000.0, block=0.0), clock=machine.clock)

    assert len(machine.worked) == pytest.approx(400, abs=8)
    assert timings["other"].ratio == pytest.approx(1.5, rel=2e-3)


def test_interruptions_are_left_out() -> None:
    """A block that another program interrupted now and then moves neither time nor ratio."""
    machine = Machine(load=lambda n: 100.0 if n % 11 == 7 else 1.0)
    candidates = {"base": machine.work("base", 2.0), "other": machine.work("other", 3.0)}

    timings = compare(candidates, Effort(seconds=1000.0, block=0.0), clock=machine.clock)

    assert timings["other"] == (3.0, 1.5, 0.0)


def test_spread_shows_noise() -> None:
    """Where every third call takes twice as long, the ratio is reported as uncertain."""
    machine = Machine(load=lambda n: 2.0 if n % 3 == 0 else 1.0)
    candidates = {"base": machine.work("base", 2.0), "other": machine.work("other", 3.0)}

    timings = compare(candidates, Effort(seconds=100.0, block=0.0), clock=machine.clock)

    assert timings["other"].spread > 0.0


def test_blocks_last_as_asked() -> None:
    """All make as many calls as the baseline makes in the time of a block, and one before."""
    machine = Machine()
    candidates = {"base": machine.work("base", 2.0), "other": machine.work("other", 3.0)}

    compare(candidates, Effort(seconds=1000.0, block=10.0), clock=machine.clock)

    timed = machine.worked[2 * len(candidates) :]
    turns = [timed[n : n + 6] for n in range(0, len(timed), 6)]
    assert len(turns) == 2 * 17 * len(candidates)
    assert all(turn in (["base"] * 6, ["other"] * 6) for turn in turns)


def test_each_pays_for_what_it_leaves() -> None:
    """A candidate after which the next call takes longer does not lengthen another one's."""
    machine = Machine(load=lambda n: 2.0 if machine.worked[n - 1 : n] == ["messy"] else 1.0)
    candidates = {"clean": machine.work("clean", 2.0), "messy": machine.work("messy", 2.0)}

    timings = compare(candidates, Effort(seconds=100.0, block=0.0), clock=machine.clock)

    assert timings["clean"] == (2.0, 1.0, 0.0)
    assert timings["messy"] == (4.0, 2.0, 0.0)


def test_everyone_has_a_turn_each_round() -> None:
    """Between the turns of one round no candidate comes twice."""
    worked = take_turns("abcd", rounds=6)

    assert [sorted(turn) for turn in worked] == [list("abcd")] * 6


def test_nobody_is_always_first() -> None:
    """Of any two candidates each comes first in half of the rounds."""
    worked = take_turns("abcd", rounds=6)

    for one, other in itertools.combinations("abcd", 2):
        assert sum(turn.index(one) < turn.index(other) for turn in worked) == 3


def test_neighbours_change() -> None:
    """No candidate always runs in the wake of the same other one, whose caches it would inherit."""
    worked = take_turns("abcd", rounds=40)

    followed = {pair for turn in worked for pair in itertools.pairwise(turn)}
    assert followed == set(itertools.permutations("abcd", 2))


def test_results_in_the_order_of_rounds() -> None:
    """The nth result of each measure is that of the nth round, so that they may be paired."""
    clock = itertools.count()

    results = interleave({"a": lambda: next(clock), "b": lambda: next(clock)}, rounds=5)

    assert [sorted(pair) for pair in zip(results["a"], results["b"], strict=True)] == [
        [2 * n, 2 * n + 1] for n in range(5)
    ]


def test_timed_code_runs_undisturbed() -> None:
    """While candidates run there is one thread and no garbage collection; then all is as before."""
    seen: list[tuple[int, bool]] = []
    before = (torch.get_num_threads(), gc.isenabled())

    compare({"only": lambda: seen.append((torch.get_num_threads(), gc.isenabled()))}, QUICK)

    assert set(seen) == {(1, False)}
    assert (torch.get_num_threads(), gc.isenabled()) == before


def test_settings_return_after_an_error() -> None:
    """A candidate that raises does not leave the garbage collector off."""
    with pytest.raises(ZeroDivisionError):
        compare({"only": lambda: 1 / 0}, QUICK)

    assert gc.isenabled()


def test_brief_comparisons() -> None:
    """A brief effort gives a comparison half the time, and is otherwise the same."""
    effort = Effort(seconds=3.0, block=0.5, processes=7)

    assert effort.brief() == Effort(seconds=1.5, block=0.5, processes=7)


@pytest.mark.parametrize(
    ("ratio", "spread", "expected"),
    [(0.7871, 0.1304, "0.79 ±0.13"), (12.34, 0.56, "12.3 ±0.6"), (123.4, 5.6, "123 ±6")],
)
def test_ratio_is_shown_with_its_spread(ratio: float, spread: float, expected: str) -> None:
    """A ratio is printed to three digits, and its spread to the same decimals."""
    assert str(Timing(1.0, ratio, spread)) == expected
