"""A correct call enters no code for causes or messages: the guards answer, and explain nothing."""

import dataclasses

import pytest
import torch
from hypothesis import given
from torch import Tensor

import rnnkit
from tests.explaining import entered, silent
from tests.strategies import CLASSES, Case, cases

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")


def states(state):
    """List what may be given as state: nothing, a right one, and a pair in all its forms."""
    if isinstance(state, Tensor):
        return [None, state]
    h, c = state
    return [None, state, [h, c], rnnkit.LSTMState(h, c), (h, None), (None, c), (None, None)]


@given(case=cases(dtypes=[torch.float32]))
def test_mixed_dtypes_under_autocast(case):
    """Autocast brings inputs, states and weights of several dtypes together."""
    module = case.module(rnnkit)
    low = dataclasses.replace(case, dtype=torch.bfloat16).input()
    for hx in states(case.state()):
        with torch.autocast("cpu", dtype=torch.bfloat16), silent():
            module(low, hx)


def test_a_c_of_another_dtype():
    """It has its own in torch's cell, and in a layer under autocast."""
    x = torch.zeros(5, 3, dtype=torch.float64)
    c = torch.zeros(1, 4)
    cell = rnnkit.LSTMCell(3, 4).double()
    with silent():
        cell(x[:1], (c.double(), c))


def test_projected_cells_and_no_samples():
    """A projected cell takes its pair in all forms; a batch of no samples is right in torch, too."""
    projected = rnnkit.ProjectedLSTMCell(3, 4, 2)
    for batch in (None, 1, 5):
        x = torch.zeros(3 if batch is None else (batch, 3))
        for hx in states(projected.initial_state(batch)):
            with silent():
                projected(x, hx)
    for name in CLASSES:
        case = Case(name=name, input_size=3, hidden_size=4, batch=0, seq=7)
        module = case.module(rnnkit)
        for hx in states(case.state()):
            with silent():
                module(case.input(), hx)


def test_wrong_calls_are_noticed():
    """A wrong call enters the code that explains."""
    with entered() as found, pytest.raises(rnnkit.ShapeError):
        rnnkit.GRU(3, 4)(torch.zeros(7, 5, 2))
    assert {"diagnose", "refuse"} <= {name.rpartition(":")[2] for name in found}
