"""Right models that look like a mistake, and mistakes on batches that show little."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import Model, X, gru, numbers, reported


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_loop_over_samples_is_not_marked(batch_first):
    """A layer that runs over one sample after another starts each from zeros, and rightly so."""
    axis = 0 if batch_first else 1

    def compute(m: Any, x: Tensor) -> Tensor:
        return torch.cat([m.gru(one)[0] for one in x.split(1, axis)], axis)

    net = Model(compute, gru=gru(batch_first=batch_first))

    assert rnnkit.trace(net, numbers(5, 7, 3)).marked == []


def test_chunks_of_one_sample_that_start_afresh_are_marked():
    """A layer that runs over one chunk after another of a sample has lost the state between."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return torch.cat([m.gru(chunk)[0] for chunk in x.split(4, 1)], 1)

    [row] = rnnkit.trace(Model(compute, gru=gru()), numbers(1, 8, 3)).marked

    assert "its input goes on where that of row 0 ended" in row.marks[0]


def test_the_judge_works_under_autocast():
    """A model that does not run in float64 is judged in float32, whatever autocast would make of it."""

    def compute(m: Any, x: Tensor) -> Tensor:
        assert x.dtype is not torch.float64
        y = m.gru(x)[0]
        total = m.head(y).sum(0, keepdim=True)  # of all samples, and gone but for rounding
        return y + (total - total.roll(1, 1).roll(-1, 1)) + m.head(y + total) - m.head(total)

    net = Model(compute, gru=gru(), head=nn.Linear(6, 6, bias=False))
    with torch.autocast("cpu", torch.bfloat16):
        report = reported(net, X, skip=["gradient"])

    assert report.findings == []
    assert "batch" in report.checked
