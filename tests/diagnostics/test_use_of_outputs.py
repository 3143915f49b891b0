"""What is used of a recurrent layer's result, at any width, in any layout, of any library."""

from functools import partial

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import rnnkit
from tests.diagnostics.models_of_users import (
    Model,
    X,
    findings,
    model,
    over,
)

DTYPES = st.sampled_from([torch.float32, torch.float64])


def cells(width, hidden, *, bidirectional):
    """Make a user's layer: a loop over a cell, or over one for each direction, side by side."""

    def forward(m, x):
        outputs = over(m.cell, x)
        if not bidirectional:
            return outputs
        return torch.cat([outputs, over(m.back, x.flip(1)).flip(1)], 2)

    cell, back = (nn.GRUCell(width, hidden) for _ in range(2))
    return model(forward, cell=cell, back=back)


def recurrent(width, hidden, *, bidirectional):
    """Make a layer of rnnkit's cells."""
    back = rnnkit.GRUCell(width, hidden) if bidirectional else None
    return rnnkit.Recurrent(rnnkit.GRUCell(width, hidden), reverse_cells=back, batch_first=True)


KINDS = [partial(kind, batch_first=True) for kind in (nn.GRU, nn.LSTM, nn.RNN)]


def output_of(result):
    """Return the output of a layer that may return a state beside it."""
    return result[0] if isinstance(result, tuple) else result


@settings(max_examples=20)  # each verifies twice
@given(
    make=st.sampled_from([*KINDS, recurrent, cells]),
    hidden=st.integers(5, 64),
    both=st.booleans(),
    dtype=DTYPES,
    seed=st.integers(0, 99),
)
def test_a_step_that_has_read_one_step_is_found(make, hidden, both, dtype, seed):
    """The first step of one direction, or the last of two, is no summary, whatever the width."""
    torch.manual_seed(seed)
    rnn = make(3, hidden, bidirectional=both)
    head = nn.Linear(hidden * (1 + both), 2)
    wrong = -1 if both else 0
    nets = [
        Model(lambda m, x, at=at: m.head(output_of(m.rnn(x))[:, at]), rnn=rnn, head=head).to(dtype)
        for at in (wrong, slice(None))
    ]

    assert findings(nets[0], X.to(dtype)) >= {"use"}
    assert findings(nets[1], X.to(dtype)) == set()
