"""Inputs that a layer refuses for their sizes."""

from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, fixed, refusal, sizes


def test_another_width() -> None:
    """An input of another width is refused with both numbers."""
    x = filled(7, 5, 10)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.LSTM(3, 4)(x))
    assert sizes(error) == ("input", (None, None, 3), (7, 5, 10))
    assert str(error) == snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 10
  LSTM(3, 4): the input is 10 wide, the weights are for 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 10)
  fix       LSTM(10, ...), or an input with 3 features\
""")
    fixed(error, "LSTM(10, ...)", "4", input=x)(x)


def test_twice_the_width() -> None:
    """An input twice as wide is refused as a bidirectional layer's output."""
    x = filled(7, 5, 6)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.GRU(3, 4)(x))
    assert sizes(error) == ("input", (None, None, 3), (7, 5, 6))
    assert str(error) == snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 6
  GRU(3, 4): the input is 6 wide, the weights are for 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 6)
  evidence  6 is twice 3: a bidirectional layer's output
  fix       GRU(6, ...), or an input with 3 features\
""")
    fixed(error, "GRU(6, ...)", "4", input=x)(x)


def test_features_in_the_middle() -> None:
    """A convolution's (batch, feature, seq) is refused as another layout."""
    x = filled(5, 3, 7)

    error = refusal(rnnkit.LayoutError, "says", lambda nn: nn.GRU(3, 4, batch_first=True)(x))
    assert sizes(error) == ("input", (None, None, 3), (5, 3, 7))
    assert str(error) == snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 7
  GRU(3, 4, batch_first=True): the features lie on axis 1
  input     expected (batch, seq, input_size=3)    got (5, 3, 7)
  evidence  input_size=3 is axis 1 of the input
  fix       input.transpose(1, 2), if it is (batch, feature, seq)\
""")
    rnnkit.GRU(3, 4, batch_first=True)(fixed(error, "input.transpose(1, 2)", input=x))


def test_features_in_the_middle_of_seq_first() -> None:
    """The same is told to a layer that reads seq first."""
    x = filled(5, 3, 7)

    error = refusal(rnnkit.LayoutError, "says", lambda nn: nn.LSTM(3, 4)(x))
    assert sizes(error) == ("input", (None, None, 3), (5, 3, 7))
    assert str(error) == snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 7
  LSTM(3, 4): the features lie on axis 1
  input     expected (seq, batch, input_size=3)    got (5, 3, 7)
  evidence  input_size=3 is axis 1 of the input
  fix       input.permute(2, 0, 1), if it is (batch, feature, seq)\
""")
    rnnkit.LSTM(3, 4)(fixed(error, "input.permute(2, 0, 1)", input=x))


def test_features_in_front() -> None:
    """Features on axis 0 are refused as another layout."""
    x = filled(3, 7, 5)

    error = refusal(rnnkit.LayoutError, "says", lambda nn: nn.RNN(3, 4)(x))
    assert sizes(error) == ("input", (None, None, 3), (3, 7, 5))
    assert str(error) == snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 5
  RNN(3, 4): the features lie on axis 0
  input     expected (seq, batch, input_size=3)    got (3, 7, 5)
  evidence  input_size=3 is axis 0 of the input
  fix       input.movedim(0, -1), then see that seq and batch are in order\
""")
    rnnkit.RNN(3, 4)(fixed(error, "input.movedim(0, -1)", input=x))


def test_unbatched_features_in_front() -> None:
    """One sequence with its axes exchanged is refused as another layout."""
    x = filled(3, 7)

    error = refusal(rnnkit.LayoutError, "says", lambda nn: nn.RNN(3, 4)(x))
    assert sizes(error) == ("input", (None, 3), (3, 7))
    assert str(error) == snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 7
  RNN(3, 4): the features lie on axis 0
  input     expected (seq, input_size=3)    got (3, 7)
  evidence  input_size=3 is axis 0 of the input
  fix       input.t()\
""")
    rnnkit.RNN(3, 4)(fixed(error, "input.t()", input=x))


def test_no_feature_axis() -> None:
    """A batch of series of single numbers is refused with the axis it lacks."""
    x = filled(5, 7)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.RNN(1, 4, batch_first=True)(x))
    assert sizes(error) == ("input", (None, 1), (5, 7))
    assert str(error) == snapshot("""\
input.size(-1) must be equal to input_size. Expected 1, got 7
  RNN(1, 4, batch_first=True): the input is 7 wide, the weights are for 1
  input     expected (seq, input_size=1)    got (5, 7)
  fix       input.unsqueeze(-1), if each step is one number
            RNN(7, ...), or an input with 1 feature\
""")
    rnnkit.RNN(1, 4, batch_first=True)(fixed(error, "input.unsqueeze(-1)", input=x))


def test_single_feature_in_the_middle() -> None:
    """A single feature on axis 1 is refused with the exchange."""
    x = filled(5, 1, 7)

    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.LSTM(1, 4, batch_first=True)(x))
    assert sizes(error) == ("input", (None, None, 1), (5, 1, 7))
    assert str(error) == snapshot("""\
input.size(-1) must be equal to input_size. Expected 1, got 7
  LSTM(1, 4, batch_first=True): the input is 7 wide, the weights are for 1
  input     expected (batch, seq, input_size=1)    got (5, 1, 7)
  fix       input.transpose(1, 2), if it is (batch, feature, seq)
            LSTM(7, ...), or an input with 1 feature\
""")
    rnnkit.LSTM(1, 4, batch_first=True)(fixed(error, "input.transpose(1, 2)", input=x))


def test_no_steps() -> None:
    """A batch of empty sequences is refused."""
    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.GRU(3, 4)(filled(0, 5, 3)))
    assert sizes(error) == ("input", (None, None, 3), (0, 5, 3))
    assert str(error) == snapshot("""\
Expected sequence length to be larger than 0 in RNN
  GRU(3, 4): the input has no steps
  input     expected (seq, batch, input_size=3)    got (0, 5, 3)
  fix       leave empty sequences out, or pad to one step\
""")

    error = refusal(
        rnnkit.ShapeError, "says", lambda nn: nn.LSTM(3, 4, batch_first=True)(filled(5, 0, 3))
    )
    assert sizes(error) == ("input", (None, None, 3), (5, 0, 3))
    assert str(error) == snapshot("""\
Expected sequence length to be larger than 0 in RNN
  LSTM(3, 4, batch_first=True): the input has no steps
  input     expected (batch, seq, input_size=3)    got (5, 0, 3)
  fix       leave empty sequences out, or pad to one step\
""")


def test_no_steps_unbatched() -> None:
    """An empty sequence without a batch is refused."""
    error = refusal(rnnkit.ShapeError, "says", lambda nn: nn.RNN(3, 4)(filled(0, 3)))
    assert sizes(error) == ("input", (None, 3), (0, 3))
    assert str(error) == snapshot("""\
Expected sequence length to be larger than 0 in RNN
  RNN(3, 4): the input has no steps
  input     expected (seq, input_size=3)    got (0, 3)
  fix       leave empty sequences out, or pad to one step\
""")
