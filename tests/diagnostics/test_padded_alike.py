"""Inputs that end in zeros where the first one ends, and that a model takes of any length."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from tests.diagnostics.models_of_users import (
    BATCH,
    FEATURE,
    LENGTHS,
    SEQ,
    Model,
    mask,
    numbers,
    padded,
)
from tests.diagnostics.small import gru, said

X, COUNTS = padded()
BESIDE = numbers(BATCH, SEQ, FEATURE) * mask(COUNTS).unsqueeze(2)
Pool = Callable[[Tensor, Tensor], Tensor]


def state(m: Any, x: Tensor, n: Tensor) -> Tensor:
    """Return the end state of each sample."""
    given = pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False)
    h_n: Tensor = m.gru(given)[1]
    return h_n


def joined(pool: Pool) -> Model:
    """Make a model that joins what it pools of the second input to the end state of the first."""

    def compute(m: Any, x: Tensor, n: Tensor, beside: Tensor) -> Tensor:
        return torch.cat([state(m, x, n)[-1], pool(beside, n)], 1)

    return Model(compute, gru=gru())


RIGHT: dict[str, Pool] = {
    "mean": lambda x, n: x.sum(1) / n.unsqueeze(1),
    "last": lambda x, n: x[torch.arange(len(x)), n - 1],
    "sum of zeros": lambda x, _: x.sum(1),
}
WRONG: dict[str, Pool] = {"mean": lambda x, _: x.mean(1), "last": lambda x, _: x[:, -1]}


@pytest.mark.parametrize("name", RIGHT)
def test_valid_steps_are_pooled(name: str) -> None:
    """A second input of which the valid steps alone are read is accused of nothing."""
    report = rnnkit.verify(joined(RIGHT[name]), X, COUNTS, BESIDE, lengths=LENGTHS)

    assert {"alone", "padding"} <= {*report.checked}


@pytest.mark.parametrize("name", WRONG)
def test_padding_is_pooled(name: str) -> None:
    """A second input of which the padding is read, too, is found."""
    assert "alone, cut to its" in said(joined(WRONG[name]), X, COUNTS, BESIDE, lengths=LENGTHS)


def test_target_that_ends_where_the_source_does() -> None:
    """What the output follows is not cut with the first input: its steps would be lost."""
    model = Model(lambda m, x, n, y: m.decoder(y, state(m, x, n))[0], gru=gru(), decoder=gru())
    report = rnnkit.verify(model, X, COUNTS, BESIDE, lengths=LENGTHS)

    assert {"alone", "padding"} <= {*report.checked}
