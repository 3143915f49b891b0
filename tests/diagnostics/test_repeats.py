"""Samples that are repeated as whole batches, where each should be followed by its copies."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers
from tests.diagnostics.small import gru, lstm, said

TIMES = 3

X = numbers(BATCH, SEQ, FEATURE)


def each(state: Tensor, axis: int, how: str) -> Tensor:
    """Repeat the samples of a state."""
    factors = [1] * axis + [TIMES] + [1] * (state.dim() - axis - 1)
    if how == "tile":
        return torch.tile(state, factors[axis:] if axis else factors)
    if how == "repeat":
        return state.repeat(*factors)
    return state.repeat_interleave(TIMES, axis)


def rollouts(how: str) -> Model:
    """Goes on from each sample several times, with another start."""

    def compute(m: Any, x: Tensor) -> Tensor:
        h, c = (each(state, 1, how) for state in m.encoder(x)[1])
        y, _ = m.decoder(m.start.weight.repeat(len(x), 1).unsqueeze(1), (h, c))
        y = m.head(y).view(len(x), TIMES, HIDDEN)
        return y.tile(1, 1)  # nothing is repeated here

    start = nn.Embedding(TIMES, FEATURE)
    return Model(
        compute, encoder=lstm(), decoder=lstm(), head=nn.Linear(HIDDEN, HIDDEN), start=start
    )


def beams(how: str, attended: str) -> Model:
    """Attends over the steps of each sample, from each of its beams."""

    def compute(m: Any, x: Tensor) -> Tensor:
        memory, h = m.encoder(x)
        h = each(h[0], 0, how)
        memory = each(memory, 0, attended)
        h = m.cell(m.start.weight.repeat(len(x), 1), h)
        seen = (memory @ h.unsqueeze(2)).softmax(1) * memory
        return seen.sum(1).view(len(x), TIMES, HIDDEN)

    start = nn.Embedding(TIMES, FEATURE)
    return Model(compute, encoder=gru(), cell=nn.GRUCell(FEATURE, HIDDEN), start=start)


@pytest.mark.parametrize("how", ["repeat", "tile"])
def test_repeated_batches(how: str) -> None:
    """One call is named, or each of several that are wrong together."""
    for wrong in (rollouts(how), beams(how, "each"), beams("each", how), beams(how, how)):
        message = said(wrong, X)

        assert "lays batch after batch" in message
        assert "fix        repeat_interleave(3, dim=" in message


def test_repeated_samples() -> None:
    """Copies that follow their sample are right."""
    for right in (rollouts("each"), beams("each", "each")):
        assert "batch" in rnnkit.verify(right, X).checked


def test_what_is_said() -> None:
    """The message says what to type, and where."""
    assert said(beams("each", "repeat"), X) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      after cell, in what the model does with tensors itself
  cause      repeat(3, 1, 1) lays batch after batch, and the rows are read sample by sample
  fix        repeat_interleave(3, dim=0)
  at         test_repeats.py:...
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


def test_repeated_batches_that_are_not_the_cause() -> None:
    """Where the other call leaves the leak as it is, none is named."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y: Tensor = m.encoder(x)[0]
        return (y - y.mean(0)).repeat(TIMES, 1, 1).view(TIMES, len(x), SEQ, HIDDEN).sum(0)

    assert "lays batch after batch" not in said(Model(compute, encoder=gru()), X)
