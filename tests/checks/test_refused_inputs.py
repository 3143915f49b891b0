"""Inputs that a layer refuses for what they are, or for the number of their axes."""

from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, fixed, refusal, sizes


def test_nothing() -> None:
    """None for the input is refused with the hint that a line before returned it."""
    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.GRU(3, 4)(None))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
input must be a Tensor, got None
  GRU(3, 4)
  input     expected a Tensor or a PackedSequence    got None
  fix       see what the line before returns\
""")


def test_list_of_sequences() -> None:
    """A list of sequences is refused with the call that pads it."""
    x = [filled(7, 3), filled(6, 3)]

    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.LSTM(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
input must be a Tensor, got a list
  LSTM(3, 4)
  input     expected a Tensor or a PackedSequence    got a list
  fix       torch.nn.utils.rnn.pad_sequence(input), or torch.stack(input) for equal lengths\
""")
    rnnkit.LSTM(3, 4)(fixed(error, "torch.nn.utils.rnn.pad_sequence(input)", input=x))


def test_result_of_a_layer() -> None:
    """The pair that nn.Sequential passes on is refused with the part that is meant."""
    x = filled(7, 5, 3)

    error = refusal(
        rnnkit.ArgumentError, "mumbles", lambda nn: nn.Sequential(nn.LSTM(3, 4), nn.GRU(4, 6))(x)
    )
    assert error.argument == "input"
    assert str(error) == snapshot("""\
input must be a Tensor, got a tuple
  GRU(4, 6)
  input     expected a Tensor or a PackedSequence    got a tuple
  fix       input[0]: a recurrent layer returns (output, state), nn.Sequential passes both\
""")
    rnnkit.GRU(4, 6)(fixed(error, "input[0]", input=rnnkit.LSTM(3, 4)(x)))


def test_array() -> None:
    """A NumPy array is refused with the call that makes a tensor of it."""
    x = filled(7, 5, 3).double().numpy()

    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.RNN(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
input must be a Tensor, got an ndarray
  RNN(3, 4)
  input     expected a Tensor or a PackedSequence    got an ndarray
  fix       torch.as_tensor(input, dtype=torch.float32)\
""")
    rnnkit.RNN(3, 4)(fixed(error, "torch.as_tensor(input, dtype=torch.float32)", input=x))


def test_one_axis() -> None:
    """A single step is refused with the axis that makes it a sequence."""
    x = filled(3)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.LSTM(3, 4)(x))
    assert sizes(error) == ("input", (None, None, 3), (3,))
    assert str(error) == snapshot("""\
LSTM: Expected input to be 2D or 3D, got 1D instead
  LSTM(3, 4): the input has 1 axis
  input     expected (seq, batch, input_size=3)    got (3,)
  fix       input.unsqueeze(0), one unbatched sequence\
""")
    rnnkit.LSTM(3, 4)(fixed(error, "input.unsqueeze(0)", input=x))


def test_one_axis_of_single_numbers() -> None:
    """A series of single numbers is refused with the feature axis it lacks."""
    x = filled(7)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.RNN(1, 4)(x))
    assert sizes(error) == ("input", (None, None, 1), (7,))
    assert str(error) == snapshot("""\
RNN: Expected input to be 2D or 3D, got 1D tensor instead
  RNN(1, 4): the input has 1 axis
  input     expected (seq, batch, input_size=1)    got (7,)
  fix       input.unsqueeze(-1), one unbatched sequence\
""")
    rnnkit.RNN(1, 4)(fixed(error, "input.unsqueeze(-1)", input=x))


def test_no_axis() -> None:
    """A lone number is refused."""
    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.GRU(3, 4)(filled()))
    assert sizes(error) == ("input", (None, None, 3), ())
    assert str(error) == snapshot("""\
GRU: Expected input to be 2D or 3D, got 0D instead
  GRU(3, 4): the input has 0 axes
  input     expected (seq, batch, input_size=3)    got ()
  fix       a tensor (seq, batch, input_size=3)\
""")


def test_axis_of_size_one_too_many() -> None:
    """A surplus axis of size 1 is refused with the call that drops it."""
    x = filled(5, 7, 1, 3)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.GRU(3, 4, batch_first=True)(x))
    assert sizes(error) == ("input", (None, None, 3), (5, 7, 1, 3))
    assert str(error) == snapshot("""\
GRU: Expected input to be 2D or 3D, got 4D instead
  GRU(3, 4, batch_first=True): the input has 4 axes
  input     expected (batch, seq, input_size=3)    got (5, 7, 1, 3)
  fix       input.squeeze(2)\
""")
    rnnkit.GRU(3, 4, batch_first=True)(fixed(error, "input.squeeze(2)", input=x))


def test_convolution_output() -> None:
    """The image of a convolution is refused with the permutation to a sequence."""
    x = filled(5, 2, 7, 3)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.GRU(6, 4)(x))
    assert sizes(error) == ("input", (None, None, 6), (5, 2, 7, 3))
    assert str(error) == snapshot("""\
GRU: Expected input to be 2D or 3D, got 4D instead
  GRU(6, 4): the input has 4 axes
  input     expected (seq, batch, input_size=6)    got (5, 2, 7, 3)
  fix       input.permute(2, 0, 1, 3).flatten(2), if it is (batch, channel, seq, height)\
""")
    rnnkit.GRU(6, 4)(fixed(error, "input.permute(2, 0, 1, 3).flatten(2)", input=x))


def test_features_over_two_axes() -> None:
    """Features that lie on two axes are refused with the call that joins them."""
    x = filled(5, 7, 3, 11)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.LSTM(33, 4, batch_first=True)(x))
    assert sizes(error) == ("input", (None, None, 33), (5, 7, 3, 11))
    assert str(error) == snapshot("""\
LSTM: Expected input to be 2D or 3D, got 4D instead
  LSTM(33, 4, batch_first=True): the input has 4 axes
  input     expected (batch, seq, input_size=33)    got (5, 7, 3, 11)
  fix       input.flatten(2)\
""")
    rnnkit.LSTM(33, 4, batch_first=True)(fixed(error, "input.flatten(2)", input=x))


def test_four_axes_that_fit_nothing() -> None:
    """Four axes of which none fits are refused with the order that is wanted."""
    x = filled(5, 2, 7, 3)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.LSTM(10, 4, batch_first=True)(x))
    assert sizes(error) == ("input", (None, None, 10), (5, 2, 7, 3))
    assert str(error) == snapshot("""\
LSTM: Expected input to be 2D or 3D, got 4D instead
  LSTM(10, 4, batch_first=True): the input has 4 axes
  input     expected (batch, seq, input_size=10)    got (5, 2, 7, 3)
  fix       bring the axes to (batch, seq, input_size=10), the others flattened into the last\
""")


def test_five_axes() -> None:
    """A video is refused with the order that is wanted."""
    x = filled(5, 7, 2, 3, 11)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.GRU(10, 4)(x))
    assert sizes(error) == ("input", (None, None, 10), (5, 7, 2, 3, 11))
    assert str(error) == snapshot("""\
GRU: Expected input to be 2D or 3D, got 5D instead
  GRU(10, 4): the input has 5 axes
  input     expected (seq, batch, input_size=10)    got (5, 7, 2, 3, 11)
  fix       bring the axes to (seq, batch, input_size=10), the others flattened into the last\
""")
