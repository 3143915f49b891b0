"""Which kernels run: a layer, and unrolled cells, stay on torch's fused kernel in every layout."""

from functools import partial

import pytest
import torch
from torch.profiler import profile

import rnnkit
from tests.kernels.paths import each_layer

X = torch.randn(5, 7, 3)
#: What torch's profiler calls the fused kernels.
KERNELS = {"RNN": "aten::rnn_tanh", "LSTM": "aten::lstm", "GRU": "aten::gru"}


@pytest.mark.parametrize("lengths", [[7] * 5, [5] * 7], ids=["batch first", "sequence first"])
@each_layer
def test_one_call_of_the_fused_kernel(name, lengths):
    """A layer, with full lengths too, and its cell, unrolled, run all steps in one kernel."""
    batch_first = len(lengths) == 5
    layer = getattr(rnnkit, name)(3, 4, batch_first=batch_first)
    cell = getattr(rnnkit, f"{name}Cell")(3, 4)
    for run in (
        partial(layer, X),
        partial(layer, X, lengths=lengths),
        partial(rnnkit.unroll, cell, X, batch_first=batch_first),
    ):
        with profile() as measured:
            run()
        ran = {event.key: event.count for event in measured.key_averages()}

        assert ran.get(KERNELS[name]) == 1
        assert not any("_cell" in key for key in ran)


def test_a_cell_of_an_unknown_nonlinearity_has_torchs_error():
    """Unroll leaves to torch's cell what no kernel computes, and torch's sentence comes."""
    cell = rnnkit.RNNCell(3, 4)
    cell.nonlinearity = "gelu"
    for fused in (True, False):
        with pytest.raises(RuntimeError, match="Unknown nonlinearity: gelu"):
            rnnkit.unroll(cell, X, fused=fused)
