"""The benchmarks: they take turns, they divide the right numbers, and each table can be made.

No test here looks at a time: clocks are made up, and tables are made with next to no effort.
"""

import gc
import itertools
from collections.abc import Callable

import pytest
import torch

import rnnkit

pytest.importorskip("benchmarks", reason="the benchmarks are in the repository, not in the wheel")

from benchmarks import failures
from benchmarks.__main__ import main, topics
from benchmarks.report import Table, budget
from benchmarks.subjects import trio
from benchmarks.timing import QUICK, Effort, compare, interleave

TOPICS = topics()


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
    """All candidates make as many calls in a row as the baseline makes in the time of a block."""
    machine = Machine()
    candidates = {"base": machine.work("base", 2.0), "other": machine.work("other", 3.0)}

    compare(candidates, Effort(seconds=1000.0, block=10.0), clock=machine.clock)

    timed = machine.worked[2 * len(candidates) :]
    blocks = [timed[n : n + 5] for n in range(0, len(timed), 5)]
    assert len(blocks) == 2 * 20 * len(candidates)
    assert all(block in (["base"] * 5, ["other"] * 5) for block in blocks)


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


@pytest.mark.parametrize("topic", TOPICS)
def test_each_table_can_be_made(topic: str) -> None:
    """Every topic makes tables that have rows, and in each row a cell for every column."""
    tables = TOPICS[topic](QUICK)

    assert tables
    for table in tables:
        lines = [line for line in str(table).splitlines() if line.startswith("|")]
        assert len(lines) == len(table.rows) + 2 > 2
        assert {line.count("|") for line in lines} == {len(table.columns) + 1}


@pytest.mark.parametrize("mistake", failures.mistakes(), ids=lambda mistake: mistake.name)
def test_rnnkit_tells_each_mistake(mistake: failures.Mistake) -> None:
    """The calls that are timed as failing do fail."""
    with pytest.raises(rnnkit.RnnkitError):
        trio(mistake.kind, *mistake.sizes).rnnkit(*mistake.arguments)


def test_one_topic_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    """With a topic's name, the heading and that topic's tables are printed, and no others."""
    main(["failures", "--quick"])

    printed = capsys.readouterr().out
    titles = [line for line in printed.splitlines() if line.startswith("#")]
    assert titles == ["# rnnkit benchmarks", "## Failing calls"]
    assert f"torch {torch.__version__}" in printed
    assert "one thread" in printed


def test_unknown_topic(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt topic ends with its name, and with what there is to ask for."""
    with pytest.raises(SystemExit):
        main(["cals"])

    said = " ".join(capsys.readouterr().err.split())
    assert "no topic cals; there are calls, failures" in said


@pytest.mark.parametrize(
    ("value", "limit", "unit", "expected"),
    [
        (1.019, 1.02, "", "1.02"),
        (1.024, 1.02, "", "1.02"),
        (1.026, 1.02, "", "1.02 **exceeded**"),
        (1.004, 1.0, "", "1.00"),
        (99.9, 100.0, "ms", "100 ms"),
        (1.4, 1.0, "ms", "1 ms **exceeded**"),
    ],
)
def test_budget_is_judged_to_two_decimals(
    value: float, limit: float, unit: str, expected: str
) -> None:
    """A value over its budget is marked, unless it is equal as printed."""
    assert expected == budget(value, limit, unit)


def test_noise_is_no_verdict() -> None:
    """A value that is over its budget by less than its spread is neither passed nor condemned."""
    assert budget(1.05, 1.02, spread=0.03) == "1.02 (unclear)"
    assert budget(1.05, 1.02, spread=0.01) == "1.02 **exceeded**"


def test_columns_are_aligned() -> None:
    """A table reads well without being rendered."""
    table = Table("Title", "Note.", ("name", "x"), [("a", "1.25"), ("longer", "3")])

    assert str(table).splitlines() == [
        "## Title",
        "",
        "Note.",
        "",
        "| name   | x    |",
        "|--------|------|",
        "| a      | 1.25 |",
        "| longer | 3    |",
    ]
