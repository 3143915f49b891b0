"""Sizes and numbers of layers that a constructor refuses."""

from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, refusal


def test_sizes_that_are_no_counts() -> None:
    """A size that is no whole number is refused with the conversion."""
    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.LSTM(3.0, 4))
    assert error.argument == "input_size"
    assert str(error) == snapshot("""\
input_size should be of type int, got: float
  LSTM(3.0, 4)
  input_size  expected an int from 1    got 3.0
  fix         input_size=3\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.GRU(3, 4 / 2))
    assert error.argument == "hidden_size"
    assert str(error) == snapshot("""\
hidden_size should be of type int, got: float
  GRU(3, 2.0)
  hidden_size  expected an int from 1    got 2.0
  fix          hidden_size=2\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.RNN(3, None))
    assert error.argument == "hidden_size"
    assert str(error) == snapshot("""\
hidden_size should be of type int, got: NoneType
  RNN(3, None)
  hidden_size  expected an int from 1    got None
  fix          hidden_size: an int from 1\
""")

    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.RNNCell("3", 4))
    assert error.argument == "input_size"
    assert str(error) == snapshot("""\
input_size should be of type int, got: str
  RNNCell('3', 4)
  input_size  expected an int from 0    got '3'
  fix         input_size=3\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.LSTM((7, 3), 4))
    assert error.argument == "input_size"
    assert str(error) == snapshot("""\
input_size should be of type int, got: tuple
  LSTM(a tuple, 4)
  input_size  expected an int from 1    got a tuple
  fix         input_size: an int from 1\
""")


def test_sizes_out_of_range() -> None:
    """A size below one is refused."""
    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.LSTM(0, 4))
    assert error.argument == "input_size"
    assert str(error) == snapshot("""\
input_size must be greater than zero
  LSTM(0, 4)
  input_size  expected an int from 1    got 0
  fix         input_size: an int from 1\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.GRU(3, -4))
    assert error.argument == "hidden_size"
    assert str(error) == snapshot("""\
hidden_size must be greater than zero
  GRU(3, -4)
  hidden_size  expected an int from 1    got -4
  fix          hidden_size: an int from 1\
""")

    error = refusal(rnnkit.ArgumentError, "accepts", lambda nn: nn.LSTMCell(3, 0))
    assert error.argument == "hidden_size"
    assert str(error) == snapshot("""\
hidden_size must be greater than zero
  LSTMCell(3, 0)
  hidden_size  expected an int from 1    got 0
  fix          hidden_size: an int from 1\
""")


def test_numbers_of_layers() -> None:
    """A number of layers that is none is refused."""
    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.LSTM(3, 4, 0))
    assert error.argument == "num_layers"
    assert str(error) == snapshot("""\
num_layers must be greater than zero
  LSTM(3, 4, 0)
  num_layers  expected an int from 1    got 0
  fix         num_layers: an int from 1\
""")

    error = refusal(rnnkit.ArgumentError, "accepts", lambda nn: nn.LSTM(3, 4, True))
    assert error.argument == "num_layers"
    assert str(error) == snapshot("""\
num_layers should be of type int, got: bool
  LSTM(3, 4, True)
  num_layers  expected an int from 1    got True
  fix         pass options by name: LSTM(..., batch_first=True) or bias=True\
""")

    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.GRU(3, 4, num_layers=2.0))
    assert error.argument == "num_layers"
    assert str(error) == snapshot("""\
num_layers should be of type int, got: float
  GRU(3, 4, num_layers=2.0)
  num_layers  expected an int from 1    got 2.0
  fix         num_layers=2\
""")

    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.GRU(3, 4, False))
    assert error.argument == "num_layers"
    assert str(error) == snapshot("""\
num_layers should be of type int, got: bool
  GRU(3, 4, False)
  num_layers  expected an int from 1    got False
  fix         pass options by name: GRU(..., batch_first=False) or bias=False\
""")


def test_tensor_for_a_size() -> None:
    """A tensor in the place of a size is refused without its content."""
    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.RNN(filled(3), 4))
    assert error.argument == "input_size"
    assert str(error) == snapshot("""\
input_size should be of type int, got: Tensor
  RNN(a Tensor of shape (3,), 4)
  input_size  expected an int from 1    got a Tensor of shape (3,)
  fix         input_size: an int from 1\
""")


def test_projections() -> None:
    """A projection that is not narrower than the hidden state is refused."""
    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.LSTM(3, 4, proj_size=4))
    assert error.argument == "proj_size"
    assert str(error) == snapshot("""\
proj_size has to be smaller than hidden_size
  LSTM(3, 4, proj_size=4)
  proj_size  expected less than hidden_size=4    got 4
  fix        proj_size=3 or less, or 0 for no projection\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.LSTM(3, 4, proj_size=-1))
    assert error.argument == "proj_size"
    assert str(error) == snapshot("""\
proj_size should be a positive integer or zero to disable projections
  LSTM(3, 4, proj_size=-1)
  proj_size  expected an int from 0 (no projection) to hidden_size - 1    got -1
  fix        proj_size: an int from 0 (no projection) to hidden_size - 1\
""")

    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.LSTM(3, 4, proj_size=True))
    assert error.argument == "proj_size"
    assert str(error) == snapshot("""\
proj_size should be of type int, got: bool
  LSTM(3, 4, proj_size=True)
  proj_size  expected an int from 0 (no projection) to hidden_size - 1    got True
  fix        proj_size: an int from 0 (no projection) to hidden_size - 1\
""")

    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.LSTM(3, 4, proj_size=2.0))
    assert error.argument == "proj_size"
    assert str(error) == snapshot("""\
proj_size should be of type int, got: float
  LSTM(3, 4, proj_size=2.0)
  proj_size  expected an int from 0 (no projection) to hidden_size - 1    got 2.0
  fix        proj_size=2\
""")


def test_sizes_below_zero_of_a_cell() -> None:
    """A negative size is refused by a cell."""
    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.RNNCell(-3, 4))
    assert error.argument == "input_size"
    assert str(error) == snapshot("""\
input_size must not be negative
  RNNCell(-3, 4)
  input_size  expected an int from 0    got -3
  fix         input_size: an int from 0\
""")
