"""Arguments that a constructor lacks or does not know, and sizes that it refuses."""

import pytest
from inline_snapshot import snapshot

from rnnkit import ArgumentError
from tests.checks.refusals import Case, Refused, Torch

#: What torch.nn does with a call, and the argument that rnnkit refuses.
CASES: dict[str, tuple[Torch, str]] = {
    # A missing size is refused with the constructor's arguments.
    "nn.LSTM()": ("mumbles", ""),
    "nn.GRUCell(3)": ("mumbles", ""),
    # A misspelt argument is refused with the nearest name.
    "nn.LSTM(3, 4, batchfirst=True)": ("mumbles", "batchfirst"),
    "nn.GRU(3, 4, hidden=4)": ("mumbles", "hidden"),
    "nn.LSTMCell(3, 4, batch_first=True)": ("says", "batch_first"),
    # An argument given twice is refused.
    "nn.GRU(3, 4, hidden_size=4)": ("mumbles", ""),
    # More arguments than there are names for are refused.
    "nn.LSTMCell(3, 4, True, None, None, 1)": ("mumbles", ""),
    # A size that is no whole number is refused with the conversion.
    "nn.LSTM(3.0, 4)": ("says", "input_size"),
    "nn.GRU(3, 4 / 2)": ("says", "hidden_size"),
    "nn.RNN(3, None)": ("says", "hidden_size"),
    "nn.RNNCell('3', 4)": ("mumbles", "input_size"),
    "nn.LSTM((7, 3), 4)": ("says", "input_size"),
    # A size below one is refused.
    "nn.LSTM(0, 4)": ("says", "input_size"),
    "nn.GRU(3, -4)": ("says", "hidden_size"),
    # A number of layers that is none is refused.
    "nn.LSTM(3, 4, 0)": ("says", "num_layers"),
    "nn.LSTM(3, 4, True)": ("accepts", "num_layers"),
    "nn.GRU(3, 4, num_layers=2.0)": ("mumbles", "num_layers"),
    "nn.GRU(3, 4, False)": ("mumbles", "num_layers"),
    # A tensor in the place of a size is refused without its content.
    "nn.RNN(filled(3), 4)": ("says", "input_size"),
    # A projection that is not narrower than the hidden state is refused.
    "nn.LSTM(3, 4, proj_size=4)": ("says", "proj_size"),
    "nn.LSTM(3, 4, proj_size=-1)": ("says", "proj_size"),
    "nn.LSTM(3, 4, proj_size=True)": ("mumbles", "proj_size"),
    "nn.LSTM(3, 4, proj_size=2.0)": ("mumbles", "proj_size"),
    # A negative size is refused by a cell.
    "nn.RNNCell(-3, 4)": ("mumbles", "input_size"),
    # Half a feature is refused with the two ways to a whole number.
    "nn.LSTM(7 / 2, 4)": ("says", "input_size"),
}

MESSAGES = {
    "nn.LSTM()": snapshot("""\
LSTM.__init__() missing a required argument: 'input_size'
  LSTM()
  fix       LSTM(input_size, hidden_size, num_layers, ...)
  more      option-unknown, in the docs under "Errors"\
"""),
    "nn.GRUCell(3)": snapshot("""\
GRUCell.__init__() missing a required argument: 'hidden_size'
  GRUCell(3)
  fix       GRUCell(input_size, hidden_size, bias, ...)
  more      option-unknown, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, batchfirst=True)": snapshot("""\
LSTM.__init__() got an unexpected keyword argument 'batchfirst'
  LSTM(3, 4, batchfirst=True)
  fix       batch_first=True
  more      option-unknown, in the docs under "Errors"\
"""),
    "nn.GRU(3, 4, hidden=4)": snapshot("""\
GRU.__init__() got an unexpected keyword argument 'hidden'
  GRU(3, 4, hidden=4)
  fix       hidden_size=4
  more      option-unknown, in the docs under "Errors"\
"""),
    "nn.LSTMCell(3, 4, batch_first=True)": snapshot("""\
LSTMCell.__init__() got an unexpected keyword argument 'batch_first'
  LSTMCell(3, 4, batch_first=True)
  fix       leave batch_first out: a cell is one layer, in one direction, for one step
  more      option-unknown, in the docs under "Errors"\
"""),
    "nn.GRU(3, 4, hidden_size=4)": snapshot("""\
GRU.__init__() got multiple values for argument 'hidden_size'
  GRU(3, 4, hidden_size=4)
  fix       GRU(input_size, hidden_size, num_layers, ...)
  more      option-unknown, in the docs under "Errors"\
"""),
    "nn.LSTMCell(3, 4, True, None, None, 1)": snapshot("""\
LSTMCell.__init__() too many positional arguments
  LSTMCell(3, 4, True, None, None, 1)
  fix       LSTMCell(input_size, hidden_size, bias, ...)
  more      option-unknown, in the docs under "Errors"\
"""),
    "nn.LSTM(3.0, 4)": snapshot("""\
input_size should be of type int, got: float
  LSTM(3.0, 4)
  input_size  expected an int from 1    got 3.0
  fix         input_size=3
  more        option-value, in the docs under "Errors"\
"""),
    "nn.GRU(3, 4 / 2)": snapshot("""\
hidden_size should be of type int, got: float
  GRU(3, 2.0)
  hidden_size  expected an int from 1    got 2.0
  fix          hidden_size=2
  more         option-value, in the docs under "Errors"\
"""),
    "nn.RNN(3, None)": snapshot("""\
hidden_size should be of type int, got: NoneType
  RNN(3, None)
  hidden_size  expected an int from 1    got None
  fix          hidden_size: an int from 1
  more         option-value, in the docs under "Errors"\
"""),
    "nn.RNNCell('3', 4)": snapshot("""\
input_size should be of type int, got: str
  RNNCell('3', 4)
  input_size  expected an int from 0    got '3'
  fix         input_size=3
  more        option-value, in the docs under "Errors"\
"""),
    "nn.LSTM((7, 3), 4)": snapshot("""\
input_size should be of type int, got: tuple
  LSTM(a tuple, 4)
  input_size  expected an int from 1    got a tuple
  fix         input_size: an int from 1
  more        option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(0, 4)": snapshot("""\
input_size must be greater than zero
  LSTM(0, 4)
  input_size  expected an int from 1    got 0
  fix         input_size: an int from 1
  more        option-value, in the docs under "Errors"\
"""),
    "nn.GRU(3, -4)": snapshot("""\
hidden_size must be greater than zero
  GRU(3, -4)
  hidden_size  expected an int from 1    got -4
  fix          hidden_size: an int from 1
  more         option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, 0)": snapshot("""\
num_layers must be greater than zero
  LSTM(3, 4, 0)
  num_layers  expected an int from 1    got 0
  fix         num_layers: an int from 1
  more        option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, True)": snapshot("""\
num_layers should be of type int, got: bool
  LSTM(3, 4, True)
  num_layers  expected an int from 1    got True
  fix         pass options by name: LSTM(..., batch_first=True) or bias=True
  more        option-value, in the docs under "Errors"\
"""),
    "nn.GRU(3, 4, num_layers=2.0)": snapshot("""\
num_layers should be of type int, got: float
  GRU(3, 4, num_layers=2.0)
  num_layers  expected an int from 1    got 2.0
  fix         num_layers=2
  more        option-value, in the docs under "Errors"\
"""),
    "nn.GRU(3, 4, False)": snapshot("""\
num_layers should be of type int, got: bool
  GRU(3, 4, False)
  num_layers  expected an int from 1    got False
  fix         pass options by name: GRU(..., batch_first=False) or bias=False
  more        option-value, in the docs under "Errors"\
"""),
    "nn.RNN(filled(3), 4)": snapshot("""\
input_size should be of type int, got: Tensor
  RNN(a Tensor of shape (3,), 4)
  input_size  expected an int from 1    got a Tensor of shape (3,)
  fix         input_size: an int from 1
  more        option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, proj_size=4)": snapshot("""\
proj_size has to be smaller than hidden_size
  LSTM(3, 4, proj_size=4)
  proj_size  expected less than hidden_size=4    got 4
  fix        proj_size=3 or less, or 0 for no projection
  more       option-projection, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, proj_size=-1)": snapshot("""\
proj_size should be a positive integer or zero to disable projections
  LSTM(3, 4, proj_size=-1)
  proj_size  expected an int from 0 (no projection) to hidden_size - 1    got -1
  fix        proj_size: an int from 0 (no projection) to hidden_size - 1
  more       option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, proj_size=True)": snapshot("""\
proj_size should be of type int, got: bool
  LSTM(3, 4, proj_size=True)
  proj_size  expected an int from 0 (no projection) to hidden_size - 1    got True
  fix        proj_size: an int from 0 (no projection) to hidden_size - 1
  more       option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, proj_size=2.0)": snapshot("""\
proj_size should be of type int, got: float
  LSTM(3, 4, proj_size=2.0)
  proj_size  expected an int from 0 (no projection) to hidden_size - 1    got 2.0
  fix        proj_size=2
  more       option-value, in the docs under "Errors"\
"""),
    "nn.RNNCell(-3, 4)": snapshot("""\
input_size must not be negative
  RNNCell(-3, 4)
  input_size  expected an int from 0    got -3
  fix         input_size: an int from 0
  more        option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(7 / 2, 4)": snapshot("""\
input_size should be of type int, got: float
  LSTM(3.5, 4)
  input_size  expected an int from 1    got 3.5
  fix         input_size=int(...), or // in place of / where it is computed
  more        option-value, in the docs under "Errors"\
"""),
}


@pytest.mark.parametrize("made", CASES)
def test_refused(made: str) -> None:
    """Each call is refused, torch does as its row says, and the message below is ours."""
    torchs, argument = CASES[made]

    Case(made, Refused(ArgumentError, torchs, argument), MESSAGES[made]).check()


def test_every_message_has_its_row() -> None:
    """No message is left over."""
    assert MESSAGES.keys() == CASES.keys()
