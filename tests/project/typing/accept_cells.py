"""What the type checkers know of cells over a sequence, ours and a user's: every type is exact.

Run by ``mypy --strict`` and ``basedpyright``, never by Python.
"""

from typing import Any, assert_type

import torch
from torch import Tensor

import rnnkit
from rnnkit import LSTMState, nn
from rnnkit.typing import Cell

lstm = rnnkit.LSTMCell(3, 4)
gru = rnnkit.GRUCell(3, 4)


class Own(nn.Module):
    """A cell of a user's."""

    def initial_state(self, batch_size: int) -> dict[str, Tensor]:
        """Return a state of another kind."""
        return {"h": torch.zeros(batch_size, 4)}

    def __call__(self, input: Tensor, hx: dict[str, Tensor]) -> dict[str, Tensor]:
        """Run one step."""
        return {"h": input + hx["h"]}


class OwnByForward(nn.Module):
    """A cell of a user's as most people write it: torch types the call of a module as Any."""

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return three tensors."""
        h = torch.zeros(batch_size, 4)
        return h, h, h

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run one step."""
        return input + hx[0], hx[1], hx[2]


def own_cells(x: Tensor, h: Tensor) -> None:
    """``unroll`` and ``Recurrent`` know the state by ``initial_state``."""
    cell = OwnByForward()
    state = (h, h, h)
    assert_type(rnnkit.unroll(cell, x, state), tuple[Tensor, tuple[Tensor, Tensor, Tensor]])
    assert_type(rnnkit.Recurrent(cell), rnnkit.Recurrent[tuple[Tensor, Tensor, Tensor]])
    assert_type(rnnkit.Recurrent([cell])(x)[1], tuple[tuple[Tensor, Tensor, Tensor], ...])


def states_of_layers(h: Tensor, state: LSTMState) -> None:
    """A layer's state, taken apart, is a tuple of its kind."""
    assert_type(rnnkit.states.to_layers(h), tuple[Tensor, ...])
    assert_type(rnnkit.states.to_layers(state), tuple[LSTMState, ...])
    assert_type(rnnkit.states.to_layers(None), None)
    assert_type(rnnkit.states.to_layers(h, state_batch_first=True), tuple[Tensor, ...])


def cells_over_a_sequence(x: Tensor, h: Tensor, c: Tensor, n: Tensor, mask: Tensor) -> None:
    """``unroll`` gives the state of its cell, a user's own kind too."""
    assert_type(rnnkit.unroll(lstm, x), tuple[Tensor, LSTMState])
    assert_type(rnnkit.unroll(lstm, x, (h, c), lengths=n), tuple[Tensor, LSTMState])
    assert_type(rnnkit.unroll(gru, x, h, reset=mask, reverse=True), tuple[Tensor, Tensor])
    assert_type(rnnkit.unroll(rnnkit.ProjectedLSTMCell(3, 4, 2), x), tuple[Tensor, LSTMState])
    assert_type(rnnkit.unroll(Own(), x), tuple[Tensor, dict[str, Tensor]])
    assert_type(rnnkit.unroll(Own(), x, {"h": h}), tuple[Tensor, dict[str, Tensor]])


class OwnName(nn.Module):
    """A cell that names the argument of its first state as it likes."""

    def initial_state(self, n: int) -> Tensor:
        """Return zeros."""
        return torch.zeros(n, 4)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Run one step."""
        return x + h


def cells_of_torch(x: Tensor, h: Tensor) -> None:
    """Cells of torch run, too, and a user's cell by any names."""
    assert_type(rnnkit.unroll(torch.nn.GRUCell(3, 4), x, h), tuple[Tensor, Tensor])
    assert_type(
        rnnkit.unroll(torch.nn.LSTMCell(3, 4), x, (h, h)),
        tuple[Tensor, tuple[Tensor, Tensor]],
    )
    assert_type(rnnkit.Recurrent(torch.nn.GRUCell(3, 4)), rnnkit.Recurrent[Any])
    assert_type(rnnkit.unroll(OwnName(), x), tuple[Tensor, Tensor])


def layers_of_layers(x: Tensor) -> None:
    """A layer's cells carry what the layer carries."""
    of_lstm = rnnkit.Recurrent.of(rnnkit.LSTM(3, 4))
    assert_type(of_lstm, rnnkit.Recurrent[LSTMState])
    assert_type(rnnkit.Recurrent.of(rnnkit.GRU(3, 4))(x)[1], tuple[Tensor, ...])


def any_cell(cell: Cell[Tensor], x: Tensor, h: Tensor) -> Tensor:
    """The protocol is generic in the state."""
    _, state = rnnkit.unroll(cell, x, h)
    return assert_type(state, Tensor)


def cells_are_cells() -> tuple[Cell[Tensor], Cell[LSTMState], Cell[dict[str, Tensor]]]:
    """Our cells and a user's follow it."""
    return rnnkit.RNNCell(3, 4), lstm, Own()


def layers_of_cells(x: Tensor, h: Tensor, mask: Tensor) -> None:
    """``Recurrent`` of one kind of cell has a state of each; of several kinds, of any."""
    layer = rnnkit.Recurrent([lstm, rnnkit.LSTMCell(4, 4)], dropout=0.1)
    assert_type(layer, rnnkit.Recurrent[LSTMState])
    output, state = layer(x, lengths=[2, 1], reset=mask)
    assert_type(output, Tensor)
    assert_type(state, tuple[LSTMState, ...])
    assert_type(layer(x, state), tuple[Tensor, tuple[LSTMState, ...]])
    assert_type(layer.initial_state(2), tuple[LSTMState, ...])
    assert_type(layer.step(x, state), tuple[Tensor, tuple[LSTMState, ...]])
    assert_type(layer.last_hidden(state), Tensor)
    assert_type(rnnkit.Recurrent(gru, reverse_cells=gru)(x, (h, h))[1], tuple[Tensor, ...])
    mixed: list[Cell[Any]] = [gru, lstm]
    assert_type(rnnkit.Recurrent(mixed)(x)[1], tuple[Any, ...])
