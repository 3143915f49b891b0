"""What is used of a recurrent layer's result, at any width, in any layout, of any library."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import Model, X, findings, model, numbers, over

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


#: Ways to join the two directions of the states of two layers, the first three of them wrong.
JOINS = {
    "wrong: chunks": lambda h: torch.cat(h.chunk(2, 0), 2),
    "wrong: slices": lambda h: torch.cat([h[:2], h[2:]], 2),
    "wrong: a view": lambda h: h.view(2, 2, *h.shape[1:]).permute(1, 2, 0, 3).flatten(2),
    "every other row": lambda h: torch.cat([h[0::2], h[1::2]], 2),
    "a bridge": rnnkit.states.bridge,
}


@pytest.mark.parametrize("join", JOINS)
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_directions_of_different_layers_joined(kind, join):
    """The states of two layers that are joined as two directions are found."""

    def forward(m, x, y):
        state = m.encoder(x)[1]
        h = state if isinstance(state, Tensor) else state[0]
        return m.decoder(y, m.bridge(JOINS[join](h)))[0]

    net = model(
        forward,
        encoder=kind(3, 4, 2, bidirectional=True, batch_first=True),
        bridge=nn.Linear(8, 6),
        decoder=nn.GRU(5, 6, 2, batch_first=True),
    )

    wrong = {"use"} if join.startswith("wrong") else set()
    assert findings(net, X, numbers(4, 6, 5)) == wrong


def test_states_of_two_layers_that_are_no_directions():
    """All states side by side, or a projection for each direction of both layers, accuse nobody."""

    def flattened(m, x):
        h = m.gru(x)[1]
        return m.head(torch.cat(h.chunk(2, 0), 2).transpose(0, 1).flatten(1))

    def projected(m, x):
        h = m.gru(x)[1]
        one = m.one(torch.cat([h[0], h[2]], 1))
        other = m.other(torch.cat([h[1], h[3]], 1))
        return m.head(torch.cat([one, other], 1))

    for forward in (flattened, projected):
        gru = nn.GRU(3, 4, 2, bidirectional=True, batch_first=True)
        parts = {"one": nn.Linear(8, 8), "other": nn.Linear(8, 8), "head": nn.Linear(16, 2)}

        assert findings(model(forward, gru=gru, **parts), X) == set()


@pytest.mark.parametrize("step", [0, 6])
def test_a_step_that_an_input_picks(step):
    """A batch whose samples all pick the first step, or the last, accuses nobody."""

    def forward(m, x, at):
        return m.head(m.gru(x)[0][torch.arange(len(x)), at])

    both = step > 0
    gru = nn.GRU(3, 5, bidirectional=both, batch_first=True)
    net = model(forward, gru=gru, head=nn.Linear(5 * (1 + both), 2))

    assert findings(net, X, torch.full((4,), step)) == set()
