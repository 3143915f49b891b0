"""Which kernels run: a layer, and unrolled cells, stay on torch's fused kernel in every layout."""

import pytest
import torch
from torch.profiler import profile

import rnnkit
from tests.strategies import CELLS, LAYERS

X = torch.randn(5, 7, 3)
#: What torch's profiler calls the fused kernels.
KERNELS = {"RNN": "aten::rnn_tanh", "LSTM": "aten::lstm", "GRU": "aten::gru"}


@pytest.mark.parametrize("options", [{}, {"lengths": [7] * 5}, {"lengths": [5] * 7}])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_stays_on_the_fused_kernel(name: str, batch_first: bool, options: object):
    """One call of torch's kernel runs all steps, and no cell runs a step."""
    layer = getattr(rnnkit, name)(3, 4, batch_first=batch_first)
    given = options if isinstance(options, dict) else {}
    if given and len(given["lengths"]) != (5 if batch_first else 7):
        return
    with profile() as measured:
        layer(X, **given)
    ran = {event.key: event.count for event in measured.key_averages()}

    assert ran.get(KERNELS[name]) == 1
    assert not any("_cell" in key for key in ran)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_an_unrolled_cell_is_on_the_fused_kernel(name: str, batch_first: bool):
    """Rnnkit's cells over a sequence cost one call of the layer's kernel."""
    cell = getattr(rnnkit, name)(3, 4)
    with profile() as measured:
        rnnkit.unroll(cell, X, batch_first=batch_first)
    ran = {event.key: event.count for event in measured.key_averages()}

    assert ran.get(KERNELS[name.removesuffix("Cell")]) == 1
    assert not any("_cell" in key for key in ran)


def test_a_cell_of_an_unknown_nonlinearity_has_torchs_error():
    """Unroll leaves to torch's cell what no kernel computes, and torch's sentence comes."""
    cell = rnnkit.RNNCell(3, 4)
    cell.nonlinearity = "gelu"
    for fused in (True, False):
        with pytest.raises(RuntimeError, match="Unknown nonlinearity: gelu"):
            rnnkit.unroll(cell, X, fused=fused)
