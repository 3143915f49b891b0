"""A layer's own states: the first, the last hidden, taken apart; and one step after another."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import rnnkit
from rnnkit import LSTMState, states
from tests.strategies import LAYERS, Case, assert_same, cases, tensors_of

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")

layers = pytest.mark.parametrize("name", LAYERS)


def run(case: Case, **options: object) -> tuple[Any, Any, Any]:
    """The layer of a case, without dropout, and the output and state of its call."""
    layer = case.module(rnnkit, **options).eval()
    output, state = layer(case.input())
    return layer, output, state


def h_of(state: Any) -> Tensor:
    """The tensor of a state that is the output too."""
    return state if isinstance(state, Tensor) else state[0]


@layers
@given(data=st.data())
def test_last_hidden_is_the_end_of_both_directions(name: str, data: st.DataObject) -> None:
    """The last layer's h after its last step, forward and backward, side by side."""
    case = data.draw(cases([name]))
    layer, _, state = run(case)
    h = h_of(state)

    expected = torch.cat([h[-2], h[-1]], dim=-1) if layer.bidirectional else h[-1]

    assert_same(expected, layer.last_hidden(state))


@layers
@given(data=st.data())
def test_last_hidden_of_batch_first_states(name: str, data: st.DataObject) -> None:
    """The layout of the state changes nothing of the last hidden."""
    case = data.draw(cases([name]))
    layer, _, state = run(case)
    other, _, batch_first = run(case, state_batch_first=True)

    assert_same(layer.last_hidden(state), other.last_hidden(batch_first))


@layers
def test_last_hidden_of_samples_of_any_length(name: str) -> None:
    """With lengths it is the forward end at each sample's last step, the backward at its first."""
    lengths = torch.tensor([4, 7, 1])
    layer = getattr(rnnkit, name)(2, 5, 2, bidirectional=True)

    output, state = layer(torch.randn(7, 3, 2), lengths=lengths)

    forward = output[lengths - 1, range(3), :5]
    torch.testing.assert_close(
        layer.last_hidden(state), torch.cat([forward, output[0, :, 5:]], dim=1)
    )


@pytest.mark.parametrize("kind", [tuple, list, lambda pair: LSTMState(*pair)])
def test_pairs_of_any_kind_are_read(kind: Any) -> None:
    """The pair may come in what the layer takes as a pair."""
    layer = rnnkit.LSTM(2, 5, 2, bidirectional=True)
    _, state = layer(torch.randn(7, 3, 2))

    assert_same(layer.last_hidden(state), layer.last_hidden(kind(state)))
    assert_same(layer.split_state(state), layer.split_state(kind(state)))


@layers
@given(data=st.data(), state_batch_first=st.booleans())
def test_split_state(name: str, data: st.DataObject, *, state_batch_first: bool) -> None:
    """A state taken apart has the row of each layer and direction at its two places."""
    case = data.draw(cases([name]))
    layer, _, state = run(case, state_batch_first=state_batch_first)
    directions = 1 + layer.bidirectional

    split = layer.split_state(state)

    rows = states.from_batch_first(state) if state_batch_first else state
    assert type(split) is type(state)
    for row in range(case.rows):
        place = divmod(row, directions)
        assert_same([t[row] for t in tensors_of(rows)], [t[place] for t in tensors_of(split)])


def test_split_state_is_a_view() -> None:
    """What is written into a part of the split is written into the state."""
    layer = rnnkit.GRU(2, 5, 2, bidirectional=True)
    state = layer.initial_state(3)

    layer.split_state(state)[1, 0, 2] = 7.0

    assert state[2, 2].eq(7).all()
    assert state.sum() == 35


@layers
@given(data=st.data(), state_batch_first=st.booleans(), given_state=st.booleans())
def test_steps_are_the_layer(
    name: str, data: st.DataObject, *, state_batch_first: bool, given_state: bool
) -> None:
    """Step after step gives the layer's output and state, in each layout and without batch."""
    drawn = cases([name], ["padded", "unbatched"], [torch.float64])
    case = data.draw(drawn.filter(lambda case: not case.options.get("bidirectional")))
    layer = case.module(rnnkit, state_batch_first=state_batch_first).eval()
    state: Any = case.state() if given_state else None
    if given_state and state_batch_first:
        state = states.batch_first(state)
    numbers = case.numbers()
    seq_axis = 1 if case.is_batched and case.options.get("batch_first") else 0
    expected = layer(numbers, state)

    outputs = []
    for x_t in numbers.unbind(seq_axis):
        y_t, state = layer.step(x_t, state)
        outputs.append(y_t)

    actual = (torch.stack(outputs, dim=seq_axis), state)
    assert type(state) is type(expected[1])
    torch.testing.assert_close(tensors_of(actual), tensors_of(expected), rtol=1e-12, atol=1e-12)
