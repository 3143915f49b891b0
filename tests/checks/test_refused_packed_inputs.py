"""Packed input that a layer refuses."""

import pytest
import torch
from inline_snapshot import snapshot
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

import rnnkit
from tests.checks.refusals import filled, fixed, packed, refusal, sizes


def test_doubles() -> None:
    """Packed double precision is refused."""
    x = packed(7, 6, 6, 2, 1).double()

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: nn.LSTM(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
RNN input dtype (torch.float64) does not match weight dtype (torch.float32). Convert input: input.to(torch.float32), or convert model: model.to(torch.float64)
  LSTM(3, 4): input and weights differ in dtype
  input     expected torch.float32    got torch.float64
  evidence  float64 is what NumPy makes of Python's numbers
  fix       input.to(torch.float32), or model.to(torch.float64)\
""")
    rnnkit.LSTM(3, 4)(fixed(error, "input.to(torch.float32)", input=x))


def test_whole_numbers() -> None:
    """Packed whole numbers are refused."""
    x = packed(7, 6, 6, 2, 1).long()

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: nn.GRU(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
RNN input dtype (torch.int64) does not match weight dtype (torch.float32).
  GRU(3, 4): the input holds no real floating-point numbers
  input     expected torch.float32    got torch.int64
  fix       numbers: input.float()\
""")
    rnnkit.GRU(3, 4)(fixed(error, "input.float()", input=x))


def test_another_input_width() -> None:
    """Packed sequences of another width are refused."""
    x = packed(7, 6, 6, 2, 1, width=9)

    error = refusal(rnnkit.ShapeError, "mumbles", lambda nn: nn.LSTM(3, 4)(x))
    assert sizes(error) == ("input", (None, 3), (22, 9))
    assert str(error) == snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 9
  LSTM(3, 4): the input is 9 wide, the weights are for 3
  input     expected (sum of lengths, input_size=3)    got (22, 9)
  fix       LSTM(9, ...), or an input with 3 features\
""")
    fixed(error, "LSTM(9, ...)", "4")(x)


def test_another_input_width_of_equal_lengths() -> None:
    """If all are as long, torch reads across the features in silence."""
    x = packed(7, 7, 7, width=6)

    error = refusal(rnnkit.ShapeError, "unsafe", lambda nn: nn.LSTM(3, 4)(x))
    assert sizes(error) == ("input", (None, 3), (21, 6))
    assert str(error) == snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 6
  LSTM(3, 4): the input is 6 wide, the weights are for 3
  input     expected (sum of lengths, input_size=3)    got (21, 6)
  evidence  6 is twice 3: a bidirectional layer's output
  fix       LSTM(6, ...), or an input with 3 features\
""")
    fixed(error, "LSTM(6, ...)", "4")(x)


def test_features_on_the_axis_of_steps() -> None:
    """As many packed steps as features are no sign of another layout."""
    x = packed(2, 1, width=5)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.GRU(3, 4)(x))
    assert sizes(error) == ("input", (None, 3), (3, 5))
    assert str(error) == snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 5
  GRU(3, 4): the input is 5 wide, the weights are for 3
  input     expected (sum of lengths, input_size=3)    got (3, 5)
  fix       GRU(5, ...), or an input with 3 features\
""")


def test_no_feature_axis() -> None:
    """Packed sequences of single numbers are refused with the feature axis they lack."""
    x = pack_sequence([filled(7), filled(6)])

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.GRU(1, 4)(x))
    assert sizes(error) == ("input", (None, 1), (13,))
    assert str(error) == snapshot("""\
input must have 2 dimensions, got 1
  GRU(1, 4): the input has 1 axis
  input     expected (sum of lengths, input_size=1)    got (13,)
  fix       pack a padded tensor (batch, seq, 1), a feature axis at its end\
""")


def test_packed_tokens() -> None:
    """Packed token ids are refused."""
    x = pack_sequence([filled(7, dtype=torch.int64), filled(6, dtype=torch.int64)])

    error = refusal(rnnkit.DtypeError, "mumbles", lambda nn: nn.GRU(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
RNN input dtype (torch.int64) does not match weight dtype (torch.float32).
  GRU(3, 4): the input holds no real floating-point numbers
  input     expected torch.float32    got torch.int64
  fix       numbers: input.float()
            token ids: input._replace(data=torch.nn.Embedding(vocabulary, 3)(input.data))\
""")


def test_two_feature_axes() -> None:
    """Packed sequences with two feature axes are refused."""
    x = pack_sequence([filled(7, 3, 2), filled(6, 3, 2)])

    error = refusal(rnnkit.ShapeError, "mumbles", lambda nn: nn.LSTM(6, 4)(x))
    assert sizes(error) == ("input", (None, 6), (13, 3, 2))
    assert str(error) == snapshot("""\
input must have 2 dimensions, got 3
  LSTM(6, 4): the input has 3 axes
  input     expected (sum of lengths, input_size=6)    got (13, 3, 2)
  fix       pack a padded tensor (batch, seq, 6), a feature axis at its end\
""")


def test_another_device() -> None:
    """Packed sequences on another device are refused."""
    x = packed(7, 6, 6, 2, 1).to("meta")

    error = refusal(rnnkit.DeviceError, "mumbles", lambda nn: nn.RNN(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
Input and parameter tensors are not at the same device, found input tensor at meta and parameter tensor at cpu
  RNN(3, 4): the input lies on another device
  input     expected on cpu    got meta
  fix       input.to('cpu'), or move the model to the input\
""")


def test_packed_for_a_cell() -> None:
    """A packed sequence is refused by a cell."""
    x = packed(7, 6, 6, 2, 1)

    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.GRUCell(3, 4)(x))
    assert error.argument == "input"
    assert str(error) == snapshot("""\
input must be a Tensor, got a PackedSequence
  GRUCell(3, 4)
  input     expected a Tensor    got a PackedSequence
  fix       a cell takes one step: loop over a padded sequence, or use a layer\
""")


def test_packed_for_an_unrolled_cell() -> None:
    """Nor does unroll take one: it takes the padded batch and its lengths."""
    x = packed(7, 6, 6, 2, 1)

    error = refusal(
        rnnkit.ArgumentError, "lacks", lambda _: rnnkit.Recurrent(rnnkit.GRUCell(3, 4))(x)
    )
    fix = "torch.nn.utils.rnn.pad_packed_sequence(input)"
    padded, lengths = fixed(error, fix, input=x)
    rnnkit.Recurrent(rnnkit.GRUCell(3, 4))(padded, lengths=lengths)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("lengths", [[2, 7, 3, 5], [9, 1, 6, 6], [8, 2, 7, 2]])
def test_lengths_beyond_the_batch(name: str, lengths: list[int]) -> None:
    """Torch packs more steps than there are, and its layers say so in words of their storage."""
    x = pack_padded_sequence(filled(6, 4, 3), lengths, enforce_sorted=False)

    error = refusal(rnnkit.LengthsError, "says", lambda nn: getattr(nn, name)(3, 4)(x))
    assert sizes(error) == ("input", (sum(lengths), 3), tuple(x.data.shape))


def test_message_of_lengths_beyond_the_batch() -> None:
    """The message tells how many steps are promised, and how many are there."""
    x = pack_padded_sequence(filled(6, 4, 3), [2, 7, 3, 5], enforce_sorted=False)

    error = refusal(rnnkit.LengthsError, "says", lambda nn: nn.GRU(3, 4)(x))
    assert str(error) == snapshot("""\
start (16) + length (1) exceeds dimension size (16).
  GRU(3, 4): a length was larger than the number of steps that were packed
  input     expected (sum of lengths, input_size=3)    got (16, 3)
  evidence  batch_sizes add up to 17 steps, the data have 16
  fix       look how the lengths were counted; to cut them: lengths.clamp(max=steps)\
""")
