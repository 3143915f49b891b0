"""The examples that these classes are learned from, with the sizes they are learned with."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnkit
from rnnkit import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from tests.strategies import CELLS, CLASSES, LAYERS, assert_same


def test_rnn_on_a_batch_of_sequences() -> None:
    """An RNN gives an output for each step and sample, and one state for each sample."""
    rnn = RNN(3, 4, batch_first=True)
    inputs = torch.randn(2, 5, 3)

    out, h_t = rnn(inputs)

    assert out.shape == (2, 5, 4)
    assert h_t.shape == (1, 2, 4)
    assert rnn.weight_hh_l0.shape == (4, 4)
    assert_same([h_t[0]], [out[:, -1]])


def test_rnn_with_an_initial_state_of_its_own() -> None:
    """An initial state is taken as it is given, and changes every step."""
    rnn = RNN(3, 4, batch_first=True)
    inputs, h_0 = torch.randn(2, 5, 3), torch.randn(1, 2, 4)

    out, h_t = rnn(inputs, h_0)
    from_zeros, _ = rnn(inputs)

    assert out.shape == (2, 5, 4)
    assert h_t.shape == (1, 2, 4)
    assert (out != from_zeros).flatten(2).any(-1).all()


def test_rnn_is_the_formula() -> None:
    """Each output is the nonlinearity of the weighted input and the state before it."""
    rnn = RNN(3, 4, batch_first=True)
    inputs, h = torch.randn(2, 5, 3), torch.randn(1, 2, 4)

    out, _ = rnn(inputs, h)

    state = h[0]
    for t in range(5):
        from_input = inputs[:, t] @ rnn.weight_ih_l0.T + rnn.bias_ih_l0
        state = torch.tanh(from_input + state @ rnn.weight_hh_l0.T + rnn.bias_hh_l0)
        torch.testing.assert_close(out[:, t], state)


def test_lstm_with_default_zero_states() -> None:
    """A two-layer LSTM starts from zeros, and has the gates' weights one above the other."""
    lstm = LSTM(50, 100, num_layers=2)
    inputs = torch.randn(10, 3, 50)

    out, (h, c) = lstm(inputs)

    assert lstm.weight_hh_l0.shape == (400, 100)
    assert lstm.weight_ih_l0.shape == (400, 50)
    assert lstm.weight_ih_l1.shape == (400, 100)
    assert out.shape == (10, 3, 100)
    assert h.shape == c.shape == (2, 3, 100)
    assert_same([out[-1]], [h[-1]])
    zeros = torch.zeros(2, 3, 100)
    assert_same((out, (h, c)), lstm(inputs, (zeros, zeros)))


def test_gru_on_a_batch_of_sequences() -> None:
    """A GRU carries one tensor, and has three gates."""
    gru = GRU(10, 20)

    out, h = gru(torch.randn(3, 32, 10))

    assert out.shape == (3, 32, 20)
    assert h.shape == (1, 32, 20)
    assert gru.weight_ih_l0.shape == (60, 10)


def test_rnn_cell_step_by_step() -> None:
    """A cell in a loop, its state handed on by the caller, computes what the layer computes."""
    layer, cell = RNN(3, 4), RNNCell(3, 4)
    cell.load_state_dict({key[:-3]: value for key, value in layer.state_dict().items()})
    inputs, h = torch.randn(5, 2, 3), torch.randn(2, 4)
    expected, _ = layer(inputs, h[None])

    for t, x_t in enumerate(inputs):
        h = cell(x_t, h)

        assert h.shape == (2, 4)
        torch.testing.assert_close(h, expected[t])


def test_rnn_cell_without_a_state() -> None:
    """A cell that is given no state starts from zeros at every call."""
    cell = RNNCell(3, 4)

    for x_t in torch.randn(5, 2, 3):
        assert_same([cell(x_t, torch.zeros(2, 4))], [cell(x_t)])


def test_lstm_cell_step_by_step() -> None:
    """An LSTM cell hands on the pair."""
    cell = LSTMCell(3, 4)
    h, c = torch.randn(2, 4), torch.randn(2, 4)

    for x_t in torch.randn(5, 2, 3):
        h, c = cell(x_t, (h, c))

    assert h.shape == c.shape == (2, 4)


def test_gru_cell_step_by_step() -> None:
    """A GRU cell hands on one tensor, without a batch axis too."""
    cell, h = GRUCell(3, 4), None

    for x_t in torch.randn(5, 3):
        h = cell(x_t, h)

    assert h.shape == (4,)


def test_sequences_of_several_lengths() -> None:
    """Padded sequences are packed for the layer, and its output is padded again."""
    rnn = RNN(3, 4, batch_first=True)
    padded = torch.randn(3, 6, 3)
    packed = pack_padded_sequence(padded, [2, 6, 4], batch_first=True, enforce_sorted=False)

    out, h_t = rnn(packed)
    unpacked, lengths = pad_packed_sequence(out, batch_first=True)

    assert unpacked.shape == (3, 6, 4)
    assert lengths.tolist() == [2, 6, 4]
    assert_same([h_t[0]], [unpacked[torch.arange(3), lengths - 1]])


@pytest.mark.parametrize("name", CLASSES)
def test_sizes_by_position_and_by_name(name: str) -> None:
    """input_size and hidden_size come first, and have these names."""
    module = getattr(rnnkit, name)

    assert repr(module(3, 4)) == repr(module(hidden_size=4, input_size=3)) == f"{name}(3, 4)"
    assert (module(3, 4).input_size, module(3, 4).hidden_size) == (3, 4)


#: What may be said in a constructor, and what torch makes of it: an attribute or weights.
LAYER_OPTIONS = [
    ({"num_layers": 3}, {"weight_ih_l2": (28, 7)}),
    ({"bias": False}, {"bias_ih_l0": None}),
    ({"batch_first": True}, {}),
    ({"dropout": 0.5, "num_layers": 2}, {"weight_hh_l1": (28, 7)}),
    ({"bidirectional": True}, {"weight_hh_l0_reverse": (28, 7)}),
    ({"proj_size": 2}, {"weight_hr_l0": (2, 7), "weight_hh_l0": (28, 2)}),
    ({"device": "meta"}, {"weight_ih_l0": (28, 3)}),
    ({"device": torch.device("meta")}, {"weight_ih_l0": (28, 3)}),
    ({"dtype": torch.float64}, {"weight_ih_l0": (28, 3)}),
]


@pytest.mark.parametrize(("options", "weights"), LAYER_OPTIONS, ids=str)
def test_every_option_of_lstm(
    options: dict[str, object], weights: dict[str, tuple[int, int] | None]
) -> None:
    """Every argument of LSTM's constructor is kept, and shows in the weights it stands for."""
    lstm = LSTM(3, 7, **options)

    check_options(lstm, options)
    for name, shape in weights.items():
        assert getattr(getattr(lstm, name, None), "shape", None) == shape


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("name", ["RNN", "RNNCell"])
def test_nonlinearity(name: str, nonlinearity: str) -> None:
    """RNN and RNNCell squash by tanh or cut by relu."""
    module = getattr(rnnkit, name)(3, 7, nonlinearity=nonlinearity)

    out = module(torch.randn(5, 3) * 5)

    assert module.nonlinearity == nonlinearity
    assert (least(out) < 0) == (nonlinearity == "tanh")


def least(result: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """The least number of a cell's state or a layer's output."""
    return (result if isinstance(result, Tensor) else result[0]).min()


@pytest.mark.parametrize("options", [{"bias": False}, {"device": "meta"}, {"dtype": torch.float64}])
@pytest.mark.parametrize("name", CELLS)
def test_every_option_of_cells(name: str, options: dict[str, object]) -> None:
    """Every argument of a cell's constructor is kept."""
    cell = getattr(rnnkit, name)(3, 7, **options)

    check_options(cell, options)
    assert (cell.bias_ih is None) == ("bias" in options)


def check_options(module: nn.Module, options: dict[str, object]) -> None:
    """The options are attributes of the module, or the device and dtype of every weight."""
    kept = dict(options)
    device, dtype = kept.pop("device", "cpu"), kept.pop("dtype", torch.float32)

    assert kept == {key: getattr(module, key) for key in kept}
    for weight in module.parameters():
        assert weight.device == torch.device(device)
        assert weight.dtype is dtype


@pytest.mark.parametrize("name", LAYERS)
def test_output_of_each_direction(name: str) -> None:
    """The output has the forward features before the backward ones, and so has the state."""
    layer = getattr(rnnkit, name)(3, 7, bidirectional=True)

    out, state = layer(torch.randn(5, 2, 3))
    h = state[0] if name == "LSTM" else state

    assert out.shape == (5, 2, 14)
    assert h.shape == (2, 2, 7)
    assert_same([h[0], h[1]], [out[-1, :, :7], out[0, :, 7:]])
