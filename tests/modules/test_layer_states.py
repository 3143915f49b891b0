"""A layer's own states: the last hidden, taken apart; and one step after another."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import rnnkit
from rnnkit import LSTMState, states
from tests.kernels.paths import close
from tests.strategies import LAYERS, assert_near, assert_same, cases, tensors_of

layers = pytest.mark.parametrize("name", LAYERS)


@layers
@given(data=st.data(), state_batch_first=st.booleans())
def test_last_hidden_and_split_state(name: str, data: st.DataObject, *, state_batch_first: bool):
    """The last layer's h, both directions side by side; and each row at its two places."""
    case = data.draw(cases([name]))
    layer = case.module(rnnkit, state_batch_first=state_batch_first).eval()
    _, state = layer(case.input())
    rows = states.from_batch_first(state) if state_batch_first else state
    h = tensors_of(rows)[0]

    split = layer.split_state(state)

    expected = torch.cat([h[-2], h[-1]], dim=-1) if layer.bidirectional else h[-1]
    assert_same(expected, layer.last_hidden(state))
    assert type(split) is type(state)
    if not state_batch_first:
        assert all(part._base is not None for part in tensors_of(split))
    for row in range(case.rows):
        place = divmod(row, 1 + layer.bidirectional)
        assert_same([t[row] for t in tensors_of(rows)], [t[place] for t in tensors_of(split)])
    if case.is_lstm:
        for pair in (tuple(state), list(state), LSTMState(*state)):
            assert_same(expected, layer.last_hidden(pair))
            assert_same(split, layer.split_state(pair))


@layers
def test_last_hidden_of_samples_of_any_length(name: str):
    """With lengths it is the forward end at each sample's last step, the backward at its first."""
    lengths = torch.tensor([4, 7, 1])
    layer = getattr(rnnkit, name)(2, 5, 2, bidirectional=True)

    output, state = layer(torch.randn(7, 3, 2), lengths=lengths)

    forward = output[lengths - 1, range(3), :5]
    expected = torch.cat([forward, output[0, :, 5:]], dim=1)
    assert_near(layer.last_hidden(state), expected)


@layers
@given(data=st.data(), state_batch_first=st.booleans(), given_state=st.booleans())
def test_steps_are_the_layer(
    name: str, data: st.DataObject, *, state_batch_first: bool, given_state: bool
):
    """Step after step gives the layer's output and state; of its only cell, too."""
    drawn = cases([name], ["padded", "unbatched"], [torch.float64])
    case = data.draw(drawn.filter(lambda case: not case.options.get("bidirectional")))
    layer = case.module(rnnkit, state_batch_first=state_batch_first).eval()
    state = case.state() if given_state else None
    hx = None if state is None else [tensor[0] for tensor in tensors_of(state)]
    if given_state and state_batch_first:
        state = states.batch_first(state)
    numbers = case.numbers()
    seq_axis = 1 if case.is_batched and case.options.get("batch_first") else 0
    expected = layer(numbers, state)

    outputs = []
    for x_t in numbers.unbind(seq_axis):
        y_t, state = layer.step(x_t, state)
        outputs.append(y_t)
        if case.rows == 1:
            given_to_cell = hx if hx is None or len(hx) > 1 else hx[0]
            hx = tensors_of(layer.cells()[0](x_t, given_to_cell))
            close([y_t], [hx[0]])

    assert type(state) is type(expected[1])
    close((torch.stack(outputs, dim=seq_axis), state), expected)
