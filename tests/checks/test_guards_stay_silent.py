"""A correct call enters no code for causes or messages: the guards answer, and explain nothing."""

import pytest
import torch

import rnnkit
from tests.explaining import entered, silent

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")


def test_a_c_of_another_dtype():
    """It has its own in torch's cell, and in a layer under autocast."""
    x = torch.zeros(5, 3, dtype=torch.float64)
    c = torch.zeros(1, 4)
    cell = rnnkit.LSTMCell(3, 4).double()
    with silent():
        cell(x[:1], (c.double(), c))


def test_projected_cells():
    """A projected cell takes its pair in all forms."""
    projected = rnnkit.ProjectedLSTMCell(3, 4, 2)
    for batch in (None, 1, 5):
        x = torch.zeros(3 if batch is None else (batch, 3))
        state = projected.initial_state(batch)
        h, c = state
        for hx in (None, state, [h, c], (h, c), (h, None), (None, c), (None, None)):
            with silent():
                projected(x, hx)


def test_wrong_calls_are_noticed():
    """A wrong call enters the code that explains."""
    with entered() as found, pytest.raises(rnnkit.ShapeError):
        rnnkit.GRU(3, 4)(torch.zeros(7, 5, 2))
    assert {"diagnose", "refuse"} <= {name.rpartition(":")[2] for name in found}
