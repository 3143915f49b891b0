"""A layer's own states: the first, the last hidden, taken apart; and one step after another."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from torch import Tensor

import rnnkit
from rnnkit import LSTMState, states
from tests.checks.refusals import filled, fixed, refusal, sizes
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


def test_output_for_a_state() -> None:
    """The output in place of the state is refused by both."""
    layer = rnnkit.GRU(3, 4, 2, bidirectional=True)
    output, _ = layer(filled(7, 5, 3))

    for act in ("last_hidden", "split_state"):
        error = refusal(rnnkit.StateError, "lacks", lambda _, act=act: getattr(layer, act)(output))
        assert error.argument == "state"
    assert str(error) == snapshot("""\
state is not what this GRU returned
  GRU(3, 4, num_layers=2, bidirectional=True)
  state     expected (num_layers * directions = 4, batch, hidden_size=4)    got a Tensor of shape (7, 5, 8)
  fix       output, state = layer(...): the state is the second of the two
  more      python -m rnnkit explain state-not-own\
""")


def test_h_alone_for_an_lstm() -> None:
    """An LSTM's h alone is refused, the pair is wanted."""
    layer = rnnkit.LSTM(3, 6, 2, proj_size=4)
    _, (h, _) = layer(filled(7, 5, 3))

    error = refusal(rnnkit.StateError, "lacks", lambda _: layer.last_hidden(h))
    assert str(error) == snapshot("""\
state is not what this LSTM returned
  LSTM(3, 6, proj_size=4, num_layers=2)
  state     expected h (num_layers=2, batch, proj_size=4), c (num_layers=2, batch, hidden_size=6)    got a Tensor of shape (2, 5, 4)
  fix       output, state = layer(...): the state is the second of the two
  more      python -m rnnkit explain state-not-own\
""")


def test_state_of_another_layout() -> None:
    """A state whose batch is where the layer has its rows is refused."""
    layer = rnnkit.GRU(3, 4, 2, state_batch_first=True)

    error = refusal(rnnkit.StateError, "lacks", lambda _: layer.split_state(filled(2, 5, 4)))
    assert str(error) == snapshot("""\
state is not what this GRU returned
  GRU(3, 4, num_layers=2, state_batch_first=True)
  state     expected (batch, num_layers=2, hidden_size=4)    got a Tensor of shape (2, 5, 4)
  fix       output, state = layer(...): the state is the second of the two
  more      python -m rnnkit explain state-not-own\
""")


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        filled(2, 5, 9),
        filled(3, 5, 4),
        filled(1, 2, 5, 4),
        (filled(2, 5, 4), filled(2, 5, 4)),
    ],
    ids=["None", "width", "rows", "rank", "pair"],
)
def test_states_of_other_layers(wrong: Any) -> None:
    """What another layer carries is refused."""
    layer = rnnkit.GRU(3, 4, 2)

    refusal(rnnkit.StateError, "lacks", lambda _: layer.last_hidden(wrong))


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


def test_step_of_a_bidirectional_layer() -> None:
    """A bidirectional layer has no single step."""
    layer = rnnkit.GRU(3, 4, bidirectional=True)

    error = refusal(rnnkit.ArgumentError, "lacks", lambda _: layer.step(filled(5, 3)))
    assert error.argument == "x_t"
    assert str(error) == snapshot("""\
a bidirectional layer has no single step
  GRU(3, 4, bidirectional=True): its backward direction begins at the last step of a sequence
  fix       GRU(..., bidirectional=False), or call the layer on the whole sequence
  more      python -m rnnkit explain step-bidirectional\
""")


@pytest.mark.parametrize("batch_first", [False, True])
def test_step_of_a_sequence(*, batch_first: bool) -> None:
    """A sequence is no step, and the fix takes it apart along the right axis."""
    layer = rnnkit.LSTM(3, 4, batch_first=batch_first)
    x = filled(5, 7, 3) if batch_first else filled(7, 5, 3)

    error = refusal(rnnkit.ShapeError, "lacks", lambda _: layer.step(x))
    assert sizes(error) == ("x_t", (None, 3), tuple(x.shape))
    steps = fixed(error, f"input.unbind({int(batch_first)})", input=x)
    assert {layer.step(x_t)[0].shape for x_t in steps} == {(5, 4)}


def test_message_of_a_sequence() -> None:
    """The message names the axis that one time step lacks."""
    error = refusal(rnnkit.ShapeError, "lacks", lambda _: rnnkit.LSTM(3, 4).step(filled(7, 5, 3)))
    assert str(error) == snapshot("""\
LSTM.step: Expected x_t to be 1D or 2D, got 3D instead
  LSTM(3, 4): one time step has no seq axis
  x_t       expected (batch, input_size=3)    got (7, 5, 3)
  fix       for x_t in input.unbind(0): ..., or call the layer
  more      python -m rnnkit explain step-rank\
""")


@pytest.mark.skipif(hasattr(rnnkit, "jaxtyping"), reason="the annotation refuses it first")
def test_step_of_what_is_no_tensor() -> None:
    """A list of numbers is refused."""
    wrong: Any = [7.0, 5.0, 3.0]

    error = refusal(rnnkit.ArgumentError, "lacks", lambda _: rnnkit.LSTM(3, 4).step(wrong))
    assert error.argument == "x_t"
    assert str(error) == snapshot("""\
LSTM.step: x_t must be a Tensor (batch, input_size), got a list
  more      python -m rnnkit explain step-type\
""")


def test_step_with_the_state_of_another_batch() -> None:
    """A state for another batch is refused as in a call."""
    layer = rnnkit.GRU(3, 4, 2)

    refusal(rnnkit.StateError, "lacks", lambda _: layer.step(filled(5, 3), layer.initial_state(6)))


@pytest.mark.parametrize("wrong", [(filled(2, 5, 4), None), (filled(2, 5, 4), filled(2, 6, 4))])
def test_pairs_that_no_layer_returned(wrong: Any) -> None:
    """A pair that lacks c, or is for two batches, is refused; the error knows the shape."""
    layer = rnnkit.LSTM(3, 4, 2)

    error = refusal(rnnkit.StateError, "lacks", lambda _: layer.last_hidden(wrong))
    c = wrong[1]
    assert (error.expected, error.actual) == ((2, None, 4), () if c is None else tuple(c.shape))
