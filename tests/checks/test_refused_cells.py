"""Inputs that a cell refuses, and states that are not the tensors that it carries."""

import torch
from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, fixed, refusal, sizes


def test_nothing() -> None:
    """None for the input is refused."""
    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.LSTMCell(3, 4)(None))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
input must be a Tensor, got None
  LSTMCell(3, 4)
  input     expected a Tensor    got None
  fix       see what the line before returns\
""")


def test_list_of_samples() -> None:
    """A list of samples is refused with the call that stacks it."""
    x = [filled(3), filled(3)]

    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.RNNCell(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
input must be a Tensor, got a list
  RNNCell(3, 4)
  input     expected a Tensor    got a list
  fix       torch.nn.utils.rnn.pad_sequence(input), or torch.stack(input) for equal lengths\
""")
    rnnkit.RNNCell(3, 4)(fixed(error, "torch.stack(input)", input=x))


def test_sequence() -> None:
    """A whole sequence is refused with the loop or the layer that takes it."""
    x = filled(7, 5, 3)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.GRUCell(3, 4)(x))
    assert sizes(error) == ("input", (None, 3), (7, 5, 3))
    assert str(error) == snapshot("""\
GRUCell: Expected input to be 1D or 2D, got 3D instead
  GRUCell(3, 4): the input has 3 axes
  input     expected (batch, input_size=3)    got (7, 5, 3)
  fix       a cell takes one step: for x_t in input: ..., or a layer: GRU(3, ...)\
""")
    fixed(error, "GRU(3, ...)", "4")(x)


def test_no_axis() -> None:
    """A lone number is refused."""
    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.LSTMCell(3, 4)(filled()))
    assert sizes(error) == ("input", (None, 3), ())
    assert str(error) == snapshot("""\
LSTMCell: Expected input to be 1D or 2D, got 0D instead
  LSTMCell(3, 4): the input has 0 axes
  input     expected (batch, input_size=3)    got ()
  fix       a tensor (batch, input_size=3)\
""")


def test_another_width() -> None:
    """An input of another width is refused with both numbers."""
    x = filled(5, 9)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.LSTMCell(3, 4)(x))
    assert sizes(error) == ("input", (None, 3), (5, 9))
    assert str(error) == snapshot("""\
input has inconsistent input_size: got 9 expected 3
  LSTMCell(3, 4): the input is 9 wide, the weights are for 3
  input     expected (batch, input_size=3)    got (5, 9)
  fix       LSTMCell(9, ...), or an input with 3 features\
""")
    fixed(error, "LSTMCell(9, ...)", "4")(x)


def test_another_width_unbatched() -> None:
    """One sample of another width is refused."""
    x = filled(9)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.GRUCell(3, 4)(x))
    assert sizes(error) == ("input", (3,), (9,))
    assert str(error) == snapshot("""\
input has inconsistent input_size: got 9 expected 3
  GRUCell(3, 4): the input is 9 wide, the weights are for 3
  input     expected (input_size=3,)    got (9,)
  fix       GRUCell(9, ...), or an input with 3 features\
""")
    fixed(error, "GRUCell(9, ...)", "4")(x)


def test_features_in_front() -> None:
    """A batch with its axes exchanged is refused as another layout."""
    x = filled(3, 5)

    error = refusal(rnnkit.LayoutError, "says", lambda nn: nn.RNNCell(3, 4)(x))
    assert sizes(error) == ("input", (None, 3), (3, 5))
    assert str(error) == snapshot("""\
input has inconsistent input_size: got 5 expected 3
  RNNCell(3, 4): the features lie on axis 0
  input     expected (batch, input_size=3)    got (3, 5)
  evidence  input_size=3 is axis 0 of the input
  fix       input.t()\
""")
    rnnkit.RNNCell(3, 4)(fixed(error, "input.t()", input=x))


def test_no_feature_axis() -> None:
    """A batch of single numbers is refused with the feature axis it lacks."""
    x = filled(5)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.GRUCell(1, 4)(x))
    assert sizes(error) == ("input", (1,), (5,))
    assert str(error) == snapshot("""\
input has inconsistent input_size: got 5 expected 1
  GRUCell(1, 4): the input is 5 wide, the weights are for 1
  input     expected (input_size=1,)    got (5,)
  fix       input.unsqueeze(-1), if each step is one number
            GRUCell(5, ...), or an input with 1 feature\
""")
    rnnkit.GRUCell(1, 4)(fixed(error, "input.unsqueeze(-1)", input=x))


def test_doubles() -> None:
    """Double precision is refused."""
    x = filled(5, 3, dtype=torch.float64)

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: nn.LSTMCell(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
RNN input dtype (torch.float64) does not match weight dtype (torch.float32). Convert input: input.to(torch.float32), or convert model: model.to(torch.float64)
  LSTMCell(3, 4): input and weights differ in dtype
  input     expected torch.float32    got torch.float64
  evidence  float64 is what NumPy makes of Python's numbers
  fix       input.to(torch.float32), or model.to(torch.float64)\
""")
    rnnkit.LSTMCell(3, 4)(fixed(error, "input.to(torch.float32)", input=x))


def test_whole_numbers() -> None:
    """Whole numbers are refused."""
    x = filled(5, 3, dtype=torch.int64)

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: nn.GRUCell(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
RNN input dtype (torch.int64) does not match weight dtype (torch.float32).
  GRUCell(3, 4): the input holds no real floating-point numbers
  input     expected torch.float32    got torch.int64
  fix       numbers: input.float()\
""")
    rnnkit.GRUCell(3, 4)(fixed(error, "input.float()", input=x))


def test_another_device() -> None:
    """An input on another device is refused."""
    x = filled(5, 3).to("meta")

    error = refusal(rnnkit.DeviceError, "mumbles", lambda nn: nn.RNNCell(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
Input and parameter tensors are not at the same device, found input tensor at meta and parameter tensor at cpu
  RNNCell(3, 4): the input lies on another device
  input     expected on cpu    got meta
  fix       input.to('cpu'), or move the model to the input\
""")


def test_pair_for_a_gru_cell() -> None:
    """An LSTM's pair is refused by a GRUCell."""
    x, hx = filled(5, 3), (filled(5, 4), filled(5, 4))

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRUCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (5, 4), ())
    assert str(error) == snapshot("""\
hx must be one tensor, got a tuple of 2: (5, 4), (5, 4)
  GRUCell(3, 4) carries one tensor
  hx        expected (batch=5, hidden_size=4)
  fix       hx[0], if this is an LSTM's (h, c)\
""")
    rnnkit.GRUCell(3, 4)(x, fixed(error, "hx[0]", hx=hx))


def test_tensor_for_an_lstm_cell() -> None:
    """One tensor is refused by an LSTMCell."""
    x, hx = filled(5, 3), filled(5, 4)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTMCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (5, 4), (5, 4))
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a Tensor of shape (5, 4)
  LSTMCell(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (batch=5, hidden_size=4)
  fix       (hx, None), which starts c from zeros\
""")
    rnnkit.LSTMCell(3, 4)(x, fixed(error, "(hx, None)", hx=hx))


def test_stacked_pair() -> None:
    """The two stacked in one tensor are refused with the call that parts them."""
    x, hx = filled(5, 3), filled(2, 5, 4)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTMCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (5, 4), (2, 5, 4))
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a Tensor of shape (2, 5, 4)
  LSTMCell(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (batch=5, hidden_size=4)
  fix       tuple(hx), if h and c are stacked on axis 0\
""")
    rnnkit.LSTMCell(3, 4)(x, fixed(error, "tuple(hx)", hx=hx))


def test_three_for_an_lstm_cell() -> None:
    """Three tensors are refused by an LSTMCell."""
    x, hx = filled(5, 3), (filled(5, 4),) * 3

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTMCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (5, 4), ())
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 3: (5, 4), (5, 4), (5, 4)
  LSTMCell(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (batch=5, hidden_size=4)
  fix       hx[:2], if the first two are h and c\
""")


def test_list_for_an_rnn_cell() -> None:
    """A list of one tensor is refused with its member."""
    x, hx = filled(5, 3), [filled(5, 4)]

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.RNNCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (5, 4), ())
    assert str(error) == snapshot("""\
hx must be one tensor, got a list of 1: (5, 4)
  RNNCell(3, 4) carries one tensor
  hx        expected (batch=5, hidden_size=4)
  fix       hx[0]\
""")
    rnnkit.RNNCell(3, 4)(x, fixed(error, "hx[0]", hx=hx))


def test_result_for_a_state() -> None:
    """A layer's whole result in the place of the state is refused."""
    x = filled(5, 3)
    hx = rnnkit.LSTM(3, 4)(filled(7, 5, 3))

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTMCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (5, 4), ())
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 2: (7, 5, 4), LSTMState
  LSTMCell(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (batch=5, hidden_size=4)
  fix       hx[1], if this is a layer's result (output, state)\
""")
