"""What is used of a recurrent layer's result, at any width, in any layout, of any library."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import (
    Model,
    X,
    findings,
    model,
    numbers,
    over,
    reported,
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


@pytest.mark.parametrize("place", [0, 1])
def test_the_output_that_was_not_flipped_back_is_named(place):
    """The steps of a backward layer are found in reverse, wherever their output stands."""

    def forward(m, x):
        back = m.two(x.flip(1))[0]
        y = torch.cat([m.one(x)[0], back], 2)
        loss = y.square().mean()  # has no axis: the other output is judged
        return (y, loss, -y) if place == 0 else (loss, y, -y)

    layers = {name: nn.GRU(3, 6, batch_first=True) for name in ("one", "two")}
    [finding] = reported(model(forward, **layers), X, skip=["gradient"]).findings

    assert str(finding).startswith(f"output[{place}] of step 0 depends on the first and the last")


@pytest.mark.parametrize("step", [0, 6])
def test_a_step_that_an_input_picks(step):
    """A batch whose samples all pick the first step, or the last, accuses nobody."""

    def forward(m, x, at):
        return m.head(m.gru(x)[0][torch.arange(len(x)), at])

    both = step > 0
    gru = nn.GRU(3, 5, bidirectional=both, batch_first=True)
    net = model(forward, gru=gru, head=nn.Linear(5 * (1 + both), 2))

    assert findings(net, X, torch.full((4,), step)) == set()


def test_cells_that_are_called_for_one_sample_or_one_token():
    """A state without a batch axis, and one embedded token, are taken as they are."""

    def samples(m, x):
        rows = []
        for sample in x:
            state = m.start(torch.tensor(1)).chunk(2)
            for x_t in sample:
                state = m.cell(x_t, state)
            rows.append(state[0])
        return torch.stack(rows)

    net = model(samples, cell=nn.LSTMCell(3, 6), start=nn.Embedding(3, 12))

    assert "use" in rnnkit.verify(net, X).checked


@pytest.mark.parametrize("kind", [nn.LSTM, nn.LSTMCell])
@pytest.mark.parametrize("size", [2, 5])
def test_rows_of_h_and_c_in_two_orders(kind, size):
    """A search that reorders the rows of h, and not those of c, is found for layers and cells."""
    rows = torch.arange(size).roll(1)

    def forward(m, x):
        state = None
        outputs = []
        for x_t in x.unbind(1):
            if kind is nn.LSTMCell:
                h, c = m.core(x_t, state)
            else:
                h, c = m.core(x_t.unsqueeze(0), state)[1]
            outputs.append(h.view(size, -1))
            state = h[..., rows, :], c[..., rows, :] if m.right else c
        return torch.stack(outputs, 1)

    for right in (False, True):
        net = model(forward, core=kind(3, 6), right=right)
        report = reported(net, numbers(size, 7, 3), skip=["batch", "alone"])

        assert (["use"] if not right else []) == [one.probe for one in report.findings]
