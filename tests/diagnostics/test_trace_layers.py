"""What counts as recurrent in a trace: layers called by ``forward``, layers of cells, own cells."""

import pytest
import torch
from torch import nn

import rnnkit
from tests.diagnostics.models_of_users import model


def called(make):
    """Make a model of two layers, each called by its ``forward``, the second with the first's state."""

    def forward(m, x):
        y, state = m.one.forward(x)
        return m.two.forward(y, state)[0]

    return model(forward, one=make(), two=make())


class OwnCell(nn.Module):
    """A user's own cell."""

    def __init__(self):
        """Make the weights."""
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x, h):
        """Take a step."""
        return torch.tanh(self.linear(x) + h)

    def initial_state(self, batch_size):
        """Begin with zeros."""
        return torch.zeros(batch_size, 3)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_layers_that_are_called_by_forward(kind):
    """Each has a row, which knows where its state came from."""
    net = called(lambda: kind(3, 3, batch_first=True))
    rows = rnnkit.trace(net, torch.randn(5, 7, 3)).rows

    assert [row.module for row in rows] == ["one", "two"]
    assert rows[0].state == "zeros"
    assert rows[1].state.startswith("h of row 0")
    assert [row.used for row in rows] == [True, False]


@pytest.mark.parametrize("make", [lambda: rnnkit.GRUCell(3, 3), OwnCell])
def test_a_recurrent_has_one_row(make):
    """A layer of cells has one row for each call, whatever cells it has, and they have none."""
    net = called(lambda: rnnkit.Recurrent([make(), make()]))
    rows = rnnkit.trace(net, torch.randn(7, 5, 3)).rows

    assert [(row.module, row.kind) for row in rows] == [("one", "Recurrent"), ("two", "Recurrent")]
    assert rows[0].spec == "seq=7 batch=5 feature=3"
    assert rows[1].state.startswith("h of row 0")


def test_a_loop_over_an_own_cell_has_a_row_for_each_step():
    """A user's cell with an initial state has rows, as torch's have."""

    def loop(m, x):
        h = m.cell.initial_state(len(x))
        for x_t in x.unbind(1):
            h = m.cell(x_t, h)
        return h

    rows = rnnkit.trace(model(loop, cell=OwnCell()), torch.randn(5, 3, 3)).rows

    assert [row.state for row in rows] == ["zeros", "h of row 0", "h of row 1"]
    assert all(row.used for row in rows)
