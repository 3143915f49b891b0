"""``trace`` marks no right program."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers
from tests.diagnostics.small import lstm

X = numbers(BATCH, SEQ, FEATURE)


def pair(bridge: Callable[[Any], Any], **options: Any) -> Model:
    """Make an encoder and a decoder, and what is between their states."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.decoder(x, bridge(m.encoder(x)[1]))[0]

    return Model(compute, encoder=lstm(**options), decoder=lstm())


def stacked_cells(m: Any, x: Tensor) -> Tensor:
    """Run two cells side by side."""
    low = high = None
    for x_t in x.unbind(1):
        low = m.low(x_t, low)
        high = m.high(low, high)
    return high


def reordered(m: Any, x: Tensor) -> Tensor:
    """Continue from the states of other beams."""
    order = torch.tensor([1, 0, 3, 2])
    state = tuple(part.index_select(1, order) for part in m.lstm(x)[1])
    return m.lstm(x[:, :1], state)[0]


def shared_start(m: Any, x: Tensor) -> Tensor:
    """Run twice over the whole from one learned state."""
    start = x.new_zeros(1, len(x), HIDDEN)
    return m.lstm(x, (start, start))[0] + m.lstm(x.flip(1), (start, start))[0]


def packed(m: Any, x: Tensor) -> Tensor:
    """Pack."""
    lengths = [7, 5, 3, 2]
    return m.lstm(pack_padded_sequence(x, lengths, batch_first=True))[1][0][-1]


RIGHT: dict[str, Any] = {
    "by keyword": Model(
        lambda m, x: m.decoder(x, hx=m.encoder(x)[1])[0], encoder=lstm(), decoder=lstm()
    ),
    "steps of a layer": Model(lambda m, x: m.lstm(x[:, 1:2], m.lstm(x[:, :1])[1])[0], lstm=lstm()),
    "forward direction": pair(lambda state: tuple(part[:1] for part in state), bidirectional=True),
    "sum of the directions": pair(
        lambda state: tuple(part.sum(0, keepdim=True) for part in state), bidirectional=True
    ),
    "two cells": Model(
        stacked_cells, low=nn.GRUCell(FEATURE, HIDDEN), high=nn.GRUCell(HIDDEN, HIDDEN)
    ),
    "beams": Model(reordered, lstm=lstm()),
    "one start for two passes": Model(shared_start, lstm=lstm()),
    "two sentences": Model(lambda m, x: m.lstm(x)[1][0] - m.lstm(x.flip(0))[1][0], lstm=lstm()),
    "outputs alone, twice": Model(lambda m, x: m.lstm(x)[0] - m.lstm(-x)[0], lstm=lstm()),
    "a stack": Model(lambda m, x: m.second(m.first(x)[0])[0], first=lstm(), second=lstm(HIDDEN)),
    "packed": Model(packed, lstm=lstm()),
    "mostly zeros": Model(lambda m, x: m.lstm(x)[0].relu().to_sparse(), lstm=lstm()),
    "unroll": Model(
        lambda m, x: rnnkit.unroll(m.cell, x, batch_first=True)[0],
        cell=rnnkit.GRUCell(FEATURE, HIDDEN),
    ),
    "Recurrent": rnnkit.Recurrent([rnnkit.GRUCell(FEATURE, HIDDEN)], batch_first=True),
    "rnnkit": rnnkit.LSTM(FEATURE, HIDDEN, batch_first=True),
    "no recurrent module": nn.Linear(FEATURE, 2),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_program_is_not_marked(name: str) -> None:
    """A right program has no mark."""
    assert rnnkit.trace(RIGHT[name], X).marked == []


def test_state_by_keyword() -> None:
    """A state given by keyword is seen, from where it came."""
    assert [row.state for row in rnnkit.trace(RIGHT["by keyword"], X).rows] == ["zeros", "row 0"]
