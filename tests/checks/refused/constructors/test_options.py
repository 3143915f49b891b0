"""Arguments and options that a constructor refuses, and what it says to type."""

import pytest
from inline_snapshot import snapshot

from rnnkit import ArgumentError
from tests.checks.refusals import Case, Refused, Torch

#: By code and call: what torch.nn does, the argument that rnnkit refuses, and the fix.
CASES: dict[str, dict[str, tuple[Torch, str, str]]] = {
    "option-unknown": {
        # A missing size is refused with the constructor's arguments.
        "nn.LSTM()": ("mumbles", "", "LSTM(input_size, hidden_size, num_layers, ...)"),
        "nn.GRUCell(3)": ("mumbles", "", "GRUCell(input_size, hidden_size, bias, ...)"),
        # A misspelt argument is refused with the nearest name.
        "nn.LSTM(3, 4, batchfirst=True)": ("mumbles", "batchfirst", "batch_first=True"),
        "nn.GRU(3, 4, hidden=4)": ("mumbles", "hidden", "hidden_size=4"),
        "nn.LSTMCell(3, 4, batch_first=True)": ("says", "batch_first", "leave batch_first out:..."),
        # An argument given twice is refused.
        "nn.GRU(3, 4, hidden_size=4)": ("mumbles", "", "GRU(input_size, hidden_size..."),
        # More arguments than there are names for are refused.
        "nn.LSTMCell(3, 4, True, None, None, 1)": ("mumbles", "", "LSTMCell(input_size..."),
        # A nonlinearity is refused by the layers that have fixed ones.
        "nn.LSTM(3, 4, nonlinearity='relu')": ("mumbles", "nonlinearity", "leave nonlinearity..."),
        "nn.GRUCell(3, 4, nonlinearity='relu')": ("says", "nonlinearity", "leave nonlinearity..."),
        # A projection is refused by layers that have none.
        "nn.GRU(3, 4, proj_size=2)": ("says", "proj_size", "leave proj_size out, or follow GRU..."),
        "nn.RNN(3, 4, proj_size=2)": ("says", "proj_size", "leave proj_size out, or follow RNN..."),
        "nn.LSTMCell(3, 4, proj_size=2)": ("mumbles", "proj_size", "leave proj_size out, or..."),
    },
    "option-value": {
        # A size that is no whole number is refused with the conversion.
        "nn.LSTM(3.0, 4)": ("says", "input_size", "input_size=3"),
        "nn.GRU(3, 4 / 2)": ("says", "hidden_size", "hidden_size=2"),
        "nn.RNN(3, None)": ("says", "hidden_size", "hidden_size: an int from 1"),
        "nn.RNNCell('3', 4)": ("mumbles", "input_size", "input_size=3"),
        "nn.LSTM((7, 3), 4)": ("says", "input_size", "input_size: an int from 1"),
        # A size below one is refused.
        "nn.LSTM(0, 4)": ("says", "input_size", "input_size: an int from 1"),
        "nn.GRU(3, -4)": ("says", "hidden_size", "hidden_size: an int from 1"),
        # A number of layers that is none is refused.
        "nn.LSTM(3, 4, 0)": ("says", "num_layers", "num_layers: an int from 1"),
        "nn.LSTM(3, 4, True)": ("accepts", "num_layers", "...batch_first=True) or bias=True"),
        "nn.GRU(3, 4, num_layers=2.0)": ("mumbles", "num_layers", "num_layers=2"),
        "nn.GRU(3, 4, False)": ("mumbles", "num_layers", "...batch_first=False) or bias=False"),
        # A tensor in the place of a size is refused without its content.
        "nn.RNN(filled(3), 4)": ("says", "input_size", "input_size: an int from 1"),
        "nn.LSTM(3, 4, proj_size=-1)": ("says", "proj_size", "proj_size: an int from 0 (no..."),
        "nn.LSTM(3, 4, proj_size=True)": ("mumbles", "proj_size", "proj_size: an int from 0..."),
        "nn.LSTM(3, 4, proj_size=2.0)": ("mumbles", "proj_size", "proj_size=2"),
        # A negative size is refused by a cell.
        "nn.RNNCell(-3, 4)": ("mumbles", "input_size", "input_size: an int from 0"),
        # Half a feature is refused with the two ways to a whole number.
        "nn.LSTM(7 / 2, 4)": ("says", "input_size", "input_size=int(...), or // in place of /..."),
        # A dtype that no weight has is refused.
        "nn.LSTM(3, 4, dtype='float32')": ("mumbles", "dtype", "dtype=torch.float32"),
        "nn.LSTM(3, 4, dtype=torch)": ("mumbles", "dtype", "dtype=torch.float32..."),
        # A device that is none is refused.
        "nn.LSTM(3, 4, device=torch.float64)": ("mumbles", "device", "by name:..."),
        "nn.RNNCell(3, 4, True, 'tanh', torch.float64)": ("mumbles", "device", "by name:..."),
        # A dtype that takes no gradient is refused.
        "nn.GRU(3, 4, dtype=torch.int64)": ("mumbles", "dtype", "by name: dtype=torch.int64"),
        # A device that torch does not know is refused.
        "nn.GRU(3, 4, device='gpu')": ("mumbles", "device", "device: for example 'cpu', 'cuda'..."),
        # A device given by position is refused with its name.
        "nn.LSTMCell(3, 4, torch.device('cpu'))": ("accepts", "bias", "by name: device='cpu'"),
        # A string in the place of a flag is refused, which torch takes for true.
        "nn.LSTM(3, 4, bidirectional='no')": ("accepts", "bidirectional", "a string counts as..."),
        "nn.GRU(3, 4, batch_first='False')": ("says", "batch_first", "a string counts as true..."),
        # A number in the place of a flag is refused with the flag.
        "nn.LSTM(3, 4, bidirectional=1)": ("accepts", "bidirectional", "bidirectional=True"),
        "nn.GRU(3, 4, batch_first=0)": ("says", "batch_first", "batch_first=False"),
        "nn.GRU(3, 4, 2, 0.5)": ("says", "bias", "by name: dropout=0.5"),
        "nn.LSTMCell(3, 4, 2)": ("accepts", "bias", "bias=True"),
        # None in the place of a flag is refused.
        "nn.LSTM(3, 4, bias=None)": ("says", "bias", "bias=True or False"),
        # A dropout that is no probability is refused.
        "nn.LSTM(3, 4, 2, dropout=1.5)": ("says", "dropout", "dropout: a float from 0 to 1"),
        "nn.RNN(3, 4, 2, dropout='0.5')": ("says", "dropout", "dropout=0.5"),
        "nn.LSTM(3, 4, 2, dropout=True)": ("says", "dropout", "dropout: a float from 0 to 1"),
        "nn.LSTM(3, 4, 2, dropout=-0.1)": ("says", "dropout", "dropout: a float from 0 to 1"),
        # An unknown nonlinearity is refused with the two that there are.
        "nn.RNN(3, 4, nonlinearity='gelu')": ("says", "nonlinearity", "nonlinearity: 'tanh' or..."),
        "nn.RNN(3, 4, nonlinearity=torch.tanh)": ("mumbles", "nonlinearity", "nonlinearity:..."),
        "nn.RNNCell(3, 4, nonlinearity='Tanh')": ("accepts", "nonlinearity", "nonlinearity:..."),
        "nn.RNN(3, 4, 1, True)": ("says", "nonlinearity", "nonlinearity: 'tanh' or 'relu'"),
        # A dtype given by position is refused where bias stands.
        "nn.LSTM(3, 4, 1, torch.float64)": ("says", "bias", "by name: dtype=torch.float64"),
        # A fraction in the place of bias may be the dropout; a whole number is none.
        "nn.GRU(3, 4, 2, 0.0)": ("lacks", "bias", "bias=True or False"),
        "nn.GRU(3, 4, 2, 1.0)": ("lacks", "bias", "bias=True or False"),
        # A flag in the place of a size.
        "nn.GRU(True, 4)": ("lacks", "input_size", "...batch_first=True) or bias=True"),
        "nn.LSTM(3, False)": ("lacks", "hidden_size", "...batch_first=False) or bias=False"),
        # A dropout as a string.
        "nn.GRU(3, 4, 2, True, False, '0')": ("lacks", "dropout", "dropout=0"),
        "nn.GRU(3, 4, 2, True, False, '1')": ("lacks", "dropout", "dropout=1"),
    },
    "option-projection": {
        # A projection that is not narrower than the hidden state is refused.
        "nn.LSTM(3, 4, proj_size=4)": ("says", "proj_size", "proj_size=3 or less, or 0 for no..."),
    },
}

#: The whole of one for each sentence.
MESSAGES = {
    "nn.LSTM()": snapshot("""\
LSTM.__init__() missing a required argument: 'input_size'
  LSTM()
  fix       LSTM(input_size, hidden_size, num_layers, ...)
  more      python -m rnnkit explain option-unknown\
"""),
    "nn.LSTM(3, 4, batchfirst=True)": snapshot("""\
LSTM.__init__() got an unexpected keyword argument 'batchfirst'
  LSTM(3, 4, batchfirst=True)
  fix       batch_first=True
  more      python -m rnnkit explain option-unknown\
"""),
    "nn.LSTMCell(3, 4, batch_first=True)": snapshot("""\
LSTMCell.__init__() got an unexpected keyword argument 'batch_first'
  LSTMCell(3, 4, batch_first=True)
  fix       leave batch_first out: a cell is one layer, in one direction, for one step
  more      python -m rnnkit explain option-unknown\
"""),
    "nn.GRU(3, 4, hidden_size=4)": snapshot("""\
GRU.__init__() got multiple values for argument 'hidden_size'
  GRU(3, 4, hidden_size=4)
  fix       GRU(input_size, hidden_size, num_layers, ...)
  more      python -m rnnkit explain option-unknown\
"""),
    "nn.LSTMCell(3, 4, True, None, None, 1)": snapshot("""\
LSTMCell.__init__() too many positional arguments
  LSTMCell(3, 4, True, None, None, 1)
  fix       LSTMCell(input_size, hidden_size, bias, ...)
  more      python -m rnnkit explain option-unknown\
"""),
    "nn.LSTM(3.0, 4)": snapshot("""\
input_size should be of type int, got: float
  LSTM(3.0, 4)
  input_size  expected an int from 1    got 3.0
  fix         input_size=3
  more        python -m rnnkit explain option-value\
"""),
    "nn.LSTM(0, 4)": snapshot("""\
input_size must be greater than zero
  LSTM(0, 4)
  input_size  expected an int from 1    got 0
  fix         input_size: an int from 1
  more        python -m rnnkit explain option-value\
"""),
    "nn.LSTM(3, 4, True)": snapshot("""\
num_layers should be of type int, got: bool
  LSTM(3, 4, True)
  num_layers  expected an int from 1    got True
  fix         pass options by name: LSTM(..., batch_first=True) or bias=True
  more        python -m rnnkit explain option-value\
"""),
    "nn.LSTM(3, 4, proj_size=4)": snapshot("""\
proj_size has to be smaller than hidden_size
  LSTM(3, 4, proj_size=4)
  proj_size  expected less than hidden_size=4    got 4
  fix        proj_size=3 or less, or 0 for no projection
  more       python -m rnnkit explain option-projection\
"""),
    "nn.LSTM(3, 4, proj_size=-1)": snapshot("""\
proj_size should be a positive integer or zero to disable projections
  LSTM(3, 4, proj_size=-1)
  proj_size  expected an int from 0 (no projection) to hidden_size - 1    got -1
  fix        proj_size: an int from 0 (no projection) to hidden_size - 1
  more       python -m rnnkit explain option-value\
"""),
    "nn.RNNCell(-3, 4)": snapshot("""\
input_size must not be negative
  RNNCell(-3, 4)
  input_size  expected an int from 0    got -3
  fix         input_size: an int from 0
  more        python -m rnnkit explain option-value\
"""),
    "nn.LSTM(7 / 2, 4)": snapshot("""\
input_size should be of type int, got: float
  LSTM(3.5, 4)
  input_size  expected an int from 1    got 3.5
  fix         input_size=int(...), or // in place of / where it is computed
  more        python -m rnnkit explain option-value\
"""),
    "nn.LSTM(3, 4, nonlinearity='relu')": snapshot("""\
LSTM.__init__() got an unexpected keyword argument 'nonlinearity'
  LSTM(3, 4, nonlinearity='relu')
  fix       leave nonlinearity out: LSTM has fixed ones, RNN and RNNCell take nonlinearity
  more      python -m rnnkit explain option-unknown\
"""),
    "nn.GRU(3, 4, proj_size=2)": snapshot("""\
proj_size argument is only supported for LSTM, not RNN or GRU
  GRU(3, 4, proj_size=2)
  fix       leave proj_size out, or follow GRU by torch.nn.Linear
  more      python -m rnnkit explain option-unknown\
"""),
    "nn.LSTM(3, 4, dtype='float32')": snapshot("""\
dtype should be a floating-point torch.dtype, got: float32
  LSTM(3, 4, dtype='float32')
  dtype     expected torch.float32, torch.float64, torch.bfloat16 or torch.float16    got 'float32'
  fix       dtype=torch.float32
  more      python -m rnnkit explain option-value\
"""),
    "nn.LSTM(3, 4, dtype=torch)": snapshot("""\
dtype should be a floating-point torch.dtype, got: a module
  LSTM(3, 4, dtype=a module)
  dtype     expected torch.float32, torch.float64, torch.bfloat16 or torch.float16    got a module
  fix       dtype=torch.float32, torch.float64, torch.bfloat16 or torch.float16
  more      python -m rnnkit explain option-value\
"""),
    "nn.LSTM(3, 4, device=torch.float64)": snapshot("""\
device should be a torch.device or its name, got: torch.float64
  LSTM(3, 4, device=torch.float64)
  device    expected for example 'cpu', 'cuda' or 'cuda:1'    got torch.float64
  fix       by name: dtype=torch.float64
  more      python -m rnnkit explain option-value\
"""),
    "nn.GRU(3, 4, device='gpu')": snapshot("""\
device should be a torch.device or its name, got: gpu
  GRU(3, 4, device='gpu')
  device    expected for example 'cpu', 'cuda' or 'cuda:1'    got 'gpu'
  fix       device: for example 'cpu', 'cuda' or 'cuda:1'
  more      python -m rnnkit explain option-value\
"""),
    "nn.LSTMCell(3, 4, torch.device('cpu'))": snapshot("""\
bias should be of type bool, got: device
  LSTMCell(3, 4, cpu)
  bias      expected True or False    got cpu
  fix       by name: device='cpu'
  more      python -m rnnkit explain option-value\
"""),
    "nn.LSTM(3, 4, bidirectional='no')": snapshot("""\
bidirectional should be of type bool, got: str
  LSTM(3, 4, bidirectional='no')
  bidirectional  expected True or False    got 'no'
  fix            a string counts as true whatever it says: bidirectional=True or bidirectional=False
  more           python -m rnnkit explain option-value\
"""),
    "nn.GRU(3, 4, 2, 0.5)": snapshot("""\
bias should be of type bool, got: float
  GRU(3, 4, 2, 0.5)
  bias      expected True or False    got 0.5
  fix       by name: dropout=0.5
  more      python -m rnnkit explain option-value\
"""),
    "nn.LSTM(3, 4, bias=None)": snapshot("""\
bias should be of type bool, got: NoneType
  LSTM(3, 4, bias=None)
  bias      expected True or False    got None
  fix       bias=True or False
  more      python -m rnnkit explain option-value\
"""),
    "nn.LSTM(3, 4, 2, dropout=1.5)": snapshot("""\
dropout should be a number in range [0, 1] representing the probability of an element being zeroed
  LSTM(3, 4, 2, dropout=1.5)
  dropout   expected a float from 0 to 1    got 1.5
  fix       dropout: a float from 0 to 1
  more      python -m rnnkit explain option-value\
"""),
    "nn.RNN(3, 4, nonlinearity='gelu')": snapshot("""\
Unknown nonlinearity 'gelu'. Select from 'tanh' or 'relu'.
  RNN(3, 4, nonlinearity='gelu')
  nonlinearity  expected 'tanh' or 'relu'    got 'gelu'
  fix           nonlinearity: 'tanh' or 'relu'
  more          python -m rnnkit explain option-value\
"""),
}


@pytest.mark.parametrize(
    ("code", "made"), [(code, made) for code, calls in CASES.items() for made in calls]
)
def test_refused(code: str, made: str) -> None:
    """Each call is refused, torch does as its row says, and the fix is as there."""
    torchs, argument, advised = CASES[code][made]

    start = "" if advised.startswith("...") else "  "
    end = "" if advised.endswith("...") else "\n"
    fix = start + advised.strip(".") + end
    refused = Refused(ArgumentError, torchs, argument, code=code)
    Case(made, refused, MESSAGES.get(made), has=fix).check()
