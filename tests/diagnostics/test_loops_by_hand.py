"""``trace`` of loops that are written by hand, over cells and samples."""

from typing import Any

import torch
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.corpus.forward import X
from tests.diagnostics.small import gru


def test_origin_is_the_near_one() -> None:
    """A state that was computed from h is not one that was computed from c."""
    cell = nn.LSTMCell(3, 6)

    def scaled(x: Tensor) -> Any:
        h, c = cell(x[:, 0])
        return cell(x[:, 1], (h * 2, c * 3))

    (_, second) = rnnkit.trace(scaled, X).rows
    assert second.state == "computed from h of row 0, computed from c of row 0"


def test_origins_of_mixed_states() -> None:
    """A state that was mixed with the one before came from the last call."""
    cell = nn.GRUCell(3, 6)

    def mixing(x: Tensor) -> Tensor:
        state = torch.zeros(len(x), 6)
        for x_t in x.unbind(1):
            state = cell(x_t, state) * 0.9 + state * 0.1
        return state

    found = rnnkit.trace(mixing, X)
    assert [row.state for row in found.rows[1:]] == [
        f"computed from h of row {number}" for number in range(6)
    ]
    assert found.marked == []


def test_loops_that_are_right() -> None:
    """Samples of one step one by one are no steps of a loop, and two loops may share a first state."""
    layer, cell, inner = gru(), nn.GRUCell(3, 6), nn.Linear(3, 3)

    def turns(x: Tensor) -> Tensor:
        there = back = x.new_zeros(len(x), 6)
        for t in range(7):
            there, back = cell(x[:, t], there), cell(x[:, 6 - t], back)
        return there + back

    assert rnnkit.trace(turns, X).marked == []
    # Of what embeds, nothing but a longer one tells that they are no steps.
    for lengths, embed in (((1, 1, 1, 1), nn.Identity()), ((3, 1, 1, 1), inner)):
        rows: Any = lambda x, n=lengths, m=embed: [layer(m(r[:k])) for r, k in zip(x, n)]  # noqa: B905, E731
        assert rnnkit.trace(rows, X).marked == []


def test_steps_of_one_sample_one_by_one() -> None:
    """Steps of one sample, each from zeros, are marked."""
    layer = gru()

    def steps(x: Tensor) -> list[Tensor]:
        return [layer(x[:, t : t + 1])[0] for t in range(7)]

    assert len(rnnkit.trace(steps, X[:1]).marked) == 6
