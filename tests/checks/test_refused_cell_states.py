"""States that a cell refuses for their axes, sizes, dtype or device."""

import torch
from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, fixed, refusal, sizes


def test_state_of_a_layer() -> None:
    """A layer's state is refused with the row that a cell takes."""
    x, hx = filled(5, 3), filled(1, 5, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRUCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (5, 4), (1, 5, 4))
    assert str(error) == snapshot("""\
GRUCell: Expected hidden to be 1D or 2D, got 3D instead
  GRUCell(3, 4): hx has 3 axes in place of 2
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (1, 5, 4)
  fix       hx.squeeze(0)\
""")
    rnnkit.GRUCell(3, 4)(x, fixed(error, "hx.squeeze(0)", hx=hx))


def test_state_of_a_deep_layer() -> None:
    """The state of a layer of several is refused."""
    x, h = filled(5, 3), filled(2, 5, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTMCell(3, 4)(x, (h, h)))
    assert sizes(error) == ("hx", (5, 4), (2, 5, 4))
    assert str(error) == snapshot("""\
LSTMCell: Expected hx[0] to be 1D or 2D, got 3D instead
  LSTMCell(3, 4): h has 3 axes in place of 2
  input     expected (batch, input_size=3)    got (5, 3)
  h         expected (batch=5, hidden_size=4)    got (2, 5, 4)
  c         expected (batch=5, hidden_size=4)    got (2, 5, 4)
  fix       h[-1]\
""")


def test_state_of_one_sample() -> None:
    """A state without the batch axis is refused with the repetition."""
    x, hx = filled(5, 3), filled(4)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.RNNCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (5, 4), (4,))
    assert str(error) == snapshot("""\
RNNCell: Expected hidden to be 2D, got 1D instead
  RNNCell(3, 4): hx has 1 axis in place of 2
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (4,)
  fix       hx.repeat(5, 1), if they start alike\
""")
    rnnkit.RNNCell(3, 4)(x, fixed(error, "hx.repeat(5, 1)", hx=hx))


def test_batch_of_one_for_one_sample() -> None:
    """A batch of one in the state of one sample is refused."""
    x, hx = filled(3), filled(1, 4)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRUCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (4,), (1, 4))
    assert str(error) == snapshot("""\
GRUCell: Expected hidden to be 1D, got 2D instead
  GRUCell(3, 4): hx has 2 axes in place of 1
  input     expected (input_size=3,)    got (3,)
  hx        expected (hidden_size=4,)    got (1, 4)
  fix       hx.squeeze(0)\
""")
    rnnkit.GRUCell(3, 4)(x, fixed(error, "hx.squeeze(0)", hx=hx))


def test_square_state_for_one_sample() -> None:
    """A square state of one sample is refused, where torch ends the process."""
    x, h = filled(3), filled(4, 4)

    error = refusal(rnnkit.StateError, "unsafe", lambda nn: nn.LSTMCell(3, 4)(x, (h, h)))
    assert sizes(error) == ("hx", (4,), (4, 4))
    assert str(error) == snapshot("""\
LSTMCell: Expected hx[0] to be 1D, got 2D instead
  LSTMCell(3, 4): h has 2 axes in place of 1
  input     expected (input_size=3,)    got (3,)
  h         expected (hidden_size=4,)    got (4, 4)
  c         expected (hidden_size=4,)    got (4, 4)
  fix       h[-1]\
""")


def test_square_state_of_an_rnn_cell() -> None:
    """An RNNCell refuses it too, where torch computes as many samples as units."""
    x, hx = filled(3), filled(4, 4)

    error = refusal(rnnkit.StateError, "accepts", lambda nn: nn.RNNCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (4,), (4, 4))
    assert str(error) == snapshot("""\
RNNCell: Expected hidden to be 1D, got 2D instead
  RNNCell(3, 4): hx has 2 axes in place of 1
  input     expected (input_size=3,)    got (3,)
  hx        expected (hidden_size=4,)    got (4, 4)
  fix       hx[-1]\
""")


def test_one_axis_of_c() -> None:
    """If c alone lacks the batch axis, c is named."""
    x, h, c = filled(5, 3), filled(5, 4), filled(4)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTMCell(3, 4)(x, (h, c)))
    assert sizes(error) == ("hx", (5, 4), (4,))
    assert str(error) == snapshot("""\
LSTMCell: Expected hx[1] to be 2D, got 1D instead
  LSTMCell(3, 4): c has 1 axis in place of 2
  input     expected (batch, input_size=3)    got (5, 3)
  h         expected (batch=5, hidden_size=4)    got (5, 4)
  c         expected (batch=5, hidden_size=4)    got (4,)
  fix       c.repeat(5, 1), if they start alike\
""")
    rnnkit.LSTMCell(3, 4)(x, (h, fixed(error, "c.repeat(5, 1)", c=c)))


def test_larger_batch() -> None:
    """A state that is left from a larger batch is refused with its rows of now."""
    x, h = filled(5, 3), filled(8, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTMCell(3, 4)(x, (h, h)))
    assert sizes(error) == ("hx", (5, 4), (8, 4))
    assert str(error) == snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 8
  LSTMCell(3, 4): h is for a batch of 8, the input has 5
  input     expected (batch, input_size=3)    got (5, 3)
  h         expected (batch=5, hidden_size=4)    got (8, 4)
  c         expected (batch=5, hidden_size=4)    got (8, 4)
  evidence  8 > 5: probably left from a larger batch, as when the last of an epoch is smaller
  fix       hx=None for zeros; if the first 5 samples went on, h[:5]
            if others did, rnnkit.states.select(hx, positions)
            and c alike\
""")
    h = fixed(error, "h[:5]", h=h)
    rnnkit.LSTMCell(3, 4)(x, (h, h))


def test_smaller_batch() -> None:
    """A state of a smaller batch is refused."""
    x, hx = filled(5, 3), filled(2, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRUCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (5, 4), (2, 4))
    assert str(error) == snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 2
  GRUCell(3, 4): hx is for a batch of 2, the input has 5
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (2, 4)
  fix       cell.initial_state(5), or hx=None\
""")


def test_one_sample_for_a_batch() -> None:
    """The state of a batch of one is refused with the repetition."""
    x, hx = filled(5, 3), filled(1, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.RNNCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (5, 4), (1, 4))
    assert str(error) == snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 1
  RNNCell(3, 4): hx is for one sample, the input has 5
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (1, 4)
  fix       hx.repeat(5, 1), if they start alike\
""")
    rnnkit.RNNCell(3, 4)(x, fixed(error, "hx.repeat(5, 1)", hx=hx))


def test_batch_of_c() -> None:
    """If h fits and c is of another batch, c is named."""
    x, h, c = filled(5, 3), filled(5, 4), filled(1, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTMCell(3, 4)(x, (h, c)))
    assert sizes(error) == ("hx", (5, 4), (1, 4))
    assert str(error) == snapshot("""\
Input batch size 5 doesn't match hidden1 batch size 1
  LSTMCell(3, 4): c is for one sample, the input has 5
  input     expected (batch, input_size=3)    got (5, 3)
  h         expected (batch=5, hidden_size=4)    got (5, 4)
  c         expected (batch=5, hidden_size=4)    got (1, 4)
  fix       c.repeat(5, 1), if they start alike\
""")
    rnnkit.LSTMCell(3, 4)(x, (h, fixed(error, "c.repeat(5, 1)", c=c)))


def test_swapped_axes() -> None:
    """A state with its axes swapped is refused."""
    x, hx = filled(5, 3), filled(4, 5)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRUCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (5, 4), (4, 5))
    assert str(error) == snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 4
  GRUCell(3, 4): hx has its axes swapped
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (4, 5)
  fix       hx.t()\
""")


def test_another_state_width() -> None:
    """A state of another width is refused."""
    x, hx = filled(5, 3), filled(5, 6)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.RNNCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (5, 4), (5, 6))
    assert str(error) == snapshot("""\
hidden0 has inconsistent hidden_size: got 6, expected 4
  RNNCell(3, 4): hx is 6 wide, hidden_size=4 is wanted
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (5, 6)
  fix       cell.initial_state(5), or hx=None, or a Linear(6, 4) between\
""")


def test_both_directions_side_by_side() -> None:
    """A state twice as wide is refused as both directions side by side."""
    x, hx = filled(5, 3), filled(5, 8)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRUCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (5, 4), (5, 8))
    assert str(error) == snapshot("""\
hidden0 has inconsistent hidden_size: got 8, expected 4
  GRUCell(3, 4): hx is 8 wide, hidden_size=4 is wanted
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (5, 8)
  evidence  8 is twice 4: both directions side by side
  fix       GRUCell(..., hidden_size=8), or a Linear(8, 4) between\
""")


def test_width_of_c() -> None:
    """If h fits and c is of another width, c is named."""
    x, h, c = filled(5, 3), filled(5, 4), filled(5, 6)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTMCell(3, 4)(x, (h, c)))
    assert sizes(error) == ("hx", (5, 4), (5, 6))
    assert str(error) == snapshot("""\
hidden1 has inconsistent hidden_size: got 6, expected 4
  LSTMCell(3, 4): c is 6 wide, hidden_size=4 is wanted
  input     expected (batch, input_size=3)    got (5, 3)
  h         expected (batch=5, hidden_size=4)    got (5, 4)
  c         expected (batch=5, hidden_size=4)    got (5, 6)
  fix       cell.initial_state(5), or hx=None, or a Linear(6, 4) between\
""")


def test_another_dtype_of_the_state() -> None:
    """A state of another dtype is refused."""
    x, hx = filled(5, 3), filled(5, 4, dtype=torch.float64)

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: nn.GRUCell(3, 4)(x, hx))
    assert error.argument == "hx"
    assert str(error) == snapshot("""\
hx dtype (torch.float64) does not match input dtype (torch.float32)
  GRUCell(3, 4): state and input differ in dtype
  hx        expected torch.float32    got torch.float64
  fix       hx.to(torch.float32)\
""")
    rnnkit.GRUCell(3, 4)(x, fixed(error, "hx.to(torch.float32)", hx=hx))


def test_another_device_of_c() -> None:
    """Of an LSTMCell's pair the one on another device is named."""
    x, h, c = filled(5, 3), filled(5, 4), filled(5, 4).to("meta")

    error = refusal(rnnkit.DeviceError, "mumbles", lambda nn: nn.LSTMCell(3, 4)(x, (h, c)))
    assert error.argument == "hx"
    assert str(error) == snapshot("""\
Input and hidden tensors are not at the same device, found input tensor at cpu and hidden tensor at meta
  LSTMCell(3, 4): state and input lie on different devices
  c         expected on cpu    got meta
  fix       c.to(input.device), or zeros with device=input.device\
""")
