"""The fit of what paths cost: costs are found again in times that follow from them."""

from collections.abc import Mapping, Sequence
from operator import mul
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

pytest.importorskip("benchmarks", reason="the benchmarks are in the repository, not in the wheel")

from benchmarks import fit_choice, path_calls
from rnnkit._kernels import choice

pytestmark = pytest.mark.slow


@settings(max_examples=settings().max_examples // 6)  # a fit takes a second
@given(st.lists(st.floats(0.1, 1000), min_size=8, max_size=8))
def test_costs_are_found_again(costs: list[float]) -> None:
    """From times that follow the formula, the fit finds the costs that they follow.

    Two paths of one kernel share four of them.
    """
    drawn = [
        fit_choice.terms(size, size.seq, size.seq * size.batch) for size in path_calls.sizes(30)
    ]
    scales = (1e5, 1e5, 10.0, 10.0, 10.0, 1e3, 0.1, 0.1)
    call, other_call, row, other_row, *shared = map(mul, costs, scales)
    call_weights, step, step_weights, row_weights = shared
    true = {
        choice.PADDED: (call, call_weights, step, step_weights, row, row_weights),
        choice.BLANK: (other_call, call_weights, step, step_weights, other_row, row_weights),
    }
    rows = {
        path: [[*factors, sum(map(mul, factors, each))] for factors in drawn]
        for path, each in true.items()
    }

    found = fit_choice.fitted(rows)

    assert all(error < 0.03 for _, error in found.values())
    (_, *one, _, one_last), (_, *other, _, other_last) = (each for each, _ in found.values())
    assert (one, one_last) == (other, other_last)


def test_what_slows_all_paths_alike_is_left_out() -> None:
    """At every third size the machine is slow: the paths' times beside each other are found."""
    true = {"one": [2e5, 3.0, 1e4, 0.3, 10.0, 0.05], "other": [5e5, 9.0, 2e3, 0.1, 20.0, 0.06]}
    drawn = [
        fit_choice.terms(size, size.seq, size.seq * size.batch) for size in path_calls.sizes(24)
    ]

    def times(costs: Sequence[float]) -> list[float]:
        return [sum(map(mul, factors, costs)) for factors in drawn]

    rows = {
        path: [
            [*factors, time * (1 + 2 * (place % 3 == 0))]
            for place, (factors, time) in enumerate(zip(drawn, times(costs), strict=True))
        ]
        for path, costs in true.items()
    }

    found = fit_choice.fitted_together(rows)

    pairs = [
        (one / other) / (true_one / true_other)
        for one, other, true_one, true_other in zip(
            *(times(found[path][0]) for path in true),
            *(times(costs) for path, costs in true.items()),
            strict=True,
        )
    ]
    assert max(pairs) < 1.05
    assert min(pairs) > 0.95


def test_costs_between_two_cpus() -> None:
    """One CPU is five times as slow as the other: what counts is how paths compare on each."""
    here = {"one": [2e5, 3.0, 1e4, 0.3, 10.0, 0.05], "other": [5e5, 9.0, 2e3, 0.1, 20.0, 0.06]}
    there = {"one": [1e6, 15.0, 5e4, 1.5, 50.0, 0.25], "other": [5e6, 90.0, 2e4, 1.0, 200.0, 0.6]}
    drawn = [
        fit_choice.terms(size, size.seq, size.seq * size.batch) for size in path_calls.sizes(24)
    ]

    def ratios(table: Mapping[str, Sequence[float]]) -> Tensor:
        terms = torch.tensor(drawn)
        return terms @ torch.tensor(table["other"]) / (terms @ torch.tensor(table["one"]))

    found = fit_choice.between({path: [[*row, 0.0] for row in drawn] for path in here}, here, there)

    middle = (ratios(here) ** 2 * ratios(there)) ** (1 / 3)  # what is measured here counts twice
    torch.testing.assert_close(ratios(found), middle, rtol=0.05, atol=0)


def test_the_table_of_costs_can_be_read() -> None:
    """What is written is Python, formatted, and holds what was found."""
    text = fit_choice.written({"AVX2": {"GRU|True|rows": [1.0, 2.5, 0.0, 3e5, 0.125, 7.0]}})
    found: dict[str, Any] = {}
    exec(text, found)  # noqa: S102

    assert found["COSTS"] == {"AVX2": {("GRU", True, "rows"): (1, 2.5, 0, 3e5, 0.125, 7)}}
    assert all(len(line) <= 100 for line in text.splitlines())
