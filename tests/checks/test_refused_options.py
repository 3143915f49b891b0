"""Flags and other options that a constructor refuses."""

import numpy as np
import torch
from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import refusal


def test_strings_for_flags() -> None:
    """A string in the place of a flag is refused, which torch takes for true."""
    error = refusal(rnnkit.ArgumentError, "accepts", lambda nn: nn.LSTM(3, 4, bidirectional="no"))
    assert error.argument == "bidirectional"
    assert str(error) == snapshot("""\
bidirectional should be of type bool, got: str
  LSTM(3, 4, bidirectional='no')
  bidirectional  expected True or False    got 'no'
  fix            a string counts as true whatever it says: bidirectional=True or bidirectional=False\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.GRU(3, 4, batch_first="False"))
    assert error.argument == "batch_first"
    assert str(error) == snapshot("""\
batch_first should be of type bool, got: str
  GRU(3, 4, batch_first='False')
  batch_first  expected True or False    got 'False'
  fix          a string counts as true whatever it says: batch_first=True or batch_first=False\
""")


def test_numbers_for_flags() -> None:
    """A number in the place of a flag is refused with the flag."""
    error = refusal(rnnkit.ArgumentError, "accepts", lambda nn: nn.LSTM(3, 4, bidirectional=1))
    assert error.argument == "bidirectional"
    assert str(error) == snapshot("""\
bidirectional should be of type bool, got: int
  LSTM(3, 4, bidirectional=1)
  bidirectional  expected True or False    got 1
  fix            bidirectional=True\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.GRU(3, 4, batch_first=0))
    assert error.argument == "batch_first"
    assert str(error) == snapshot("""\
batch_first should be of type bool, got: int
  GRU(3, 4, batch_first=0)
  batch_first  expected True or False    got 0
  fix          batch_first=False\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.GRU(3, 4, 2, 0.5))
    assert error.argument == "bias"
    assert str(error) == snapshot("""\
bias should be of type bool, got: float
  GRU(3, 4, 2, 0.5)
  bias      expected True or False    got 0.5
  fix       by name: dropout=0.5\
""")

    error = refusal(rnnkit.ArgumentError, "accepts", lambda nn: nn.LSTMCell(3, 4, 2))
    assert error.argument == "bias"
    assert str(error) == snapshot("""\
bias should be of type bool, got: int
  LSTMCell(3, 4, 2)
  bias      expected True or False    got 2
  fix       bias=True\
""")


def test_none_for_a_flag() -> None:
    """None in the place of a flag is refused."""
    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.LSTM(3, 4, bias=None))
    assert error.argument == "bias"
    assert str(error) == snapshot("""\
bias should be of type bool, got: NoneType
  LSTM(3, 4, bias=None)
  bias      expected True or False    got None
  fix       bias=True or False\
""")


def test_dropouts() -> None:
    """A dropout that is no probability is refused."""
    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.LSTM(3, 4, 2, dropout=1.5))
    assert error.argument == "dropout"
    assert str(error) == snapshot("""\
dropout should be a number in range [0, 1] representing the probability of an element being zeroed
  LSTM(3, 4, 2, dropout=1.5)
  dropout   expected a float from 0 to 1    got 1.5
  fix       dropout: a float from 0 to 1\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.GRU(3, 4, 2, dropout=20))
    assert error.argument == "dropout"
    assert str(error) == snapshot("""\
dropout should be a number in range [0, 1] representing the probability of an element being zeroed
  GRU(3, 4, 2, dropout=20)
  dropout   expected a float from 0 to 1    got 20
  fix       dropout=0.2\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.RNN(3, 4, 2, dropout="0.5"))
    assert error.argument == "dropout"
    assert str(error) == snapshot("""\
dropout should be a number in range [0, 1] representing the probability of an element being zeroed
  RNN(3, 4, 2, dropout='0.5')
  dropout   expected a float from 0 to 1    got '0.5'
  fix       dropout=0.5\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.LSTM(3, 4, 2, dropout=True))
    assert error.argument == "dropout"
    assert str(error) == snapshot("""\
dropout should be a number in range [0, 1] representing the probability of an element being zeroed
  LSTM(3, 4, 2, dropout=True)
  dropout   expected a float from 0 to 1    got True
  fix       dropout: a float from 0 to 1\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.LSTM(3, 4, 2, dropout=-0.1))
    assert error.argument == "dropout"
    assert str(error) == snapshot("""\
dropout should be a number in range [0, 1] representing the probability of an element being zeroed
  LSTM(3, 4, 2, dropout=-0.1)
  dropout   expected a float from 0 to 1    got -0.1
  fix       dropout: a float from 0 to 1\
""")


def test_nonlinearities() -> None:
    """An unknown nonlinearity is refused with the two that there are."""
    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.RNN(3, 4, nonlinearity="gelu"))
    assert error.argument == "nonlinearity"
    assert str(error) == snapshot("""\
Unknown nonlinearity 'gelu'. Select from 'tanh' or 'relu'.
  RNN(3, 4, nonlinearity='gelu')
  nonlinearity  expected 'tanh' or 'relu'    got 'gelu'
  fix           nonlinearity: 'tanh' or 'relu'\
""")

    error = refusal(
        rnnkit.ArgumentError, "mumbles", lambda nn: nn.RNN(3, 4, nonlinearity=torch.tanh)
    )
    assert error.argument == "nonlinearity"
    assert str(error) == snapshot("""\
Unknown nonlinearity 'a builtin_function_or_method'. Select from 'tanh' or 'relu'.
  RNN(3, 4, nonlinearity=a builtin_function_or_method)
  nonlinearity  expected 'tanh' or 'relu'    got a builtin_function_or_method
  fix           nonlinearity: 'tanh' or 'relu'\
""")

    error = refusal(
        rnnkit.ArgumentError, "accepts", lambda nn: nn.RNNCell(3, 4, nonlinearity="Tanh")
    )
    assert error.argument == "nonlinearity"
    assert str(error) == snapshot("""\
Unknown nonlinearity 'Tanh'. Select from 'tanh' or 'relu'.
  RNNCell(3, 4, nonlinearity='Tanh')
  nonlinearity  expected 'tanh' or 'relu'    got 'Tanh'
  fix           nonlinearity: 'tanh' or 'relu'\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.RNN(3, 4, 1, True))
    assert error.argument == "nonlinearity"
    assert str(error) == snapshot("""\
Unknown nonlinearity 'True'. Select from 'tanh' or 'relu'.
  RNN(3, 4, 1, True)
  nonlinearity  expected 'tanh' or 'relu'    got True
  fix           nonlinearity: 'tanh' or 'relu'\
""")


def test_dtype_in_the_place_of_a_flag() -> None:
    """A dtype given by position is refused where bias stands."""
    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.LSTM(3, 4, 1, torch.float64))
    assert error.argument == "bias"
    assert str(error) == snapshot("""\
bias should be of type bool, got: dtype
  LSTM(3, 4, 1, torch.float64)
  bias      expected True or False    got torch.float64
  fix       by name: dtype=torch.float64\
""")


def test_flag_of_numpy() -> None:
    """NumPy has a bool of its own: the message says whose it is."""
    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.GRU(3, 4, bias=np.True_))
    assert error.argument == "bias"
    assert str(error) == snapshot("""\
bias should be of type bool, got: bool
  GRU(3, 4, bias=a bool)
  bias      expected True or False    got a bool
  fix       bias=bool(...): NumPy has a bool of its own\
""")
