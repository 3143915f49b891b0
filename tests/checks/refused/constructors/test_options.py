"""Options that a constructor refuses."""

import pytest
from inline_snapshot import snapshot

from rnnkit import ArgumentError
from tests.checks.refusals import Case, Refused, Torch

#: What torch.nn does with a call, and the argument that rnnkit refuses.
CASES: dict[str, tuple[Torch, str]] = {
    # A nonlinearity is refused by the layers that have fixed ones.
    "nn.LSTM(3, 4, nonlinearity='relu')": ("mumbles", "nonlinearity"),
    "nn.GRUCell(3, 4, nonlinearity='relu')": ("says", "nonlinearity"),
    # A projection is refused by layers that have none.
    "nn.GRU(3, 4, proj_size=2)": ("says", "proj_size"),
    "nn.RNN(3, 4, proj_size=2)": ("says", "proj_size"),
    "nn.LSTMCell(3, 4, proj_size=2)": ("mumbles", "proj_size"),
    # A dtype that no weight has is refused.
    "nn.LSTM(3, 4, dtype='float32')": ("mumbles", "dtype"),
    "nn.LSTM(3, 4, dtype=torch)": ("mumbles", "dtype"),
    # A device that is none is refused.
    "nn.LSTM(3, 4, device=torch.float64)": ("mumbles", "device"),
    "nn.RNNCell(3, 4, True, 'tanh', torch.float64)": ("mumbles", "device"),
    # A dtype that takes no gradient is refused.
    "nn.GRU(3, 4, dtype=torch.int64)": ("mumbles", "dtype"),
    # A device that torch does not know is refused.
    "nn.GRU(3, 4, device='gpu')": ("mumbles", "device"),
    # A device given by position is refused with its name.
    "nn.LSTMCell(3, 4, torch.device('cpu'))": ("accepts", "bias"),
    # A string in the place of a flag is refused, which torch takes for true.
    "nn.LSTM(3, 4, bidirectional='no')": ("accepts", "bidirectional"),
    "nn.GRU(3, 4, batch_first='False')": ("says", "batch_first"),
    # A number in the place of a flag is refused with the flag.
    "nn.LSTM(3, 4, bidirectional=1)": ("accepts", "bidirectional"),
    "nn.GRU(3, 4, batch_first=0)": ("says", "batch_first"),
    "nn.GRU(3, 4, 2, 0.5)": ("says", "bias"),
    "nn.LSTMCell(3, 4, 2)": ("accepts", "bias"),
    # None in the place of a flag is refused.
    "nn.LSTM(3, 4, bias=None)": ("says", "bias"),
    # A dropout that is no probability is refused.
    "nn.LSTM(3, 4, 2, dropout=1.5)": ("says", "dropout"),
    "nn.GRU(3, 4, 2, dropout=20)": ("says", "dropout"),
    "nn.RNN(3, 4, 2, dropout='0.5')": ("says", "dropout"),
    "nn.LSTM(3, 4, 2, dropout=True)": ("says", "dropout"),
    "nn.LSTM(3, 4, 2, dropout=-0.1)": ("says", "dropout"),
    # An unknown nonlinearity is refused with the two that there are.
    "nn.RNN(3, 4, nonlinearity='gelu')": ("says", "nonlinearity"),
    "nn.RNN(3, 4, nonlinearity=torch.tanh)": ("mumbles", "nonlinearity"),
    "nn.RNNCell(3, 4, nonlinearity='Tanh')": ("accepts", "nonlinearity"),
    "nn.RNN(3, 4, 1, True)": ("says", "nonlinearity"),
    # A dtype given by position is refused where bias stands.
    "nn.LSTM(3, 4, 1, torch.float64)": ("says", "bias"),
    # NumPy has a bool of its own: the message says whose it is.
    "nn.GRU(3, 4, bias=np.True_)": ("says", "bias"),
}

MESSAGES = {
    "nn.LSTM(3, 4, nonlinearity='relu')": snapshot("""\
LSTM.__init__() got an unexpected keyword argument 'nonlinearity'
  LSTM(3, 4, nonlinearity='relu')
  fix       leave nonlinearity out: LSTM has fixed ones, RNN and RNNCell take it
  more      option-unknown, in the docs under "Errors"\
"""),
    "nn.GRUCell(3, 4, nonlinearity='relu')": snapshot("""\
GRUCell.__init__() got an unexpected keyword argument 'nonlinearity'
  GRUCell(3, 4, nonlinearity='relu')
  fix       leave nonlinearity out: GRUCell has fixed ones, RNN and RNNCell take it
  more      option-unknown, in the docs under "Errors"\
"""),
    "nn.GRU(3, 4, proj_size=2)": snapshot("""\
proj_size argument is only supported for LSTM, not RNN or GRU
  GRU(3, 4, proj_size=2)
  fix       leave proj_size out, or follow GRU by torch.nn.Linear
  more      option-unknown, in the docs under "Errors"\
"""),
    "nn.RNN(3, 4, proj_size=2)": snapshot("""\
proj_size argument is only supported for LSTM, not RNN or GRU
  RNN(3, 4, proj_size=2)
  fix       leave proj_size out, or follow RNN by torch.nn.Linear
  more      option-unknown, in the docs under "Errors"\
"""),
    "nn.LSTMCell(3, 4, proj_size=2)": snapshot("""\
proj_size argument is only supported for LSTM, not RNN or GRU
  LSTMCell(3, 4, proj_size=2)
  fix       leave proj_size out, or follow LSTMCell by torch.nn.Linear
  more      option-unknown, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, dtype='float32')": snapshot("""\
dtype should be a floating-point torch.dtype, got: float32
  LSTM(3, 4, dtype='float32')
  dtype     expected torch.float32, torch.float64, torch.bfloat16 or torch.float16    got 'float32'
  fix       dtype=torch.float32
  more      option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, dtype=torch)": snapshot("""\
dtype should be a floating-point torch.dtype, got: a module
  LSTM(3, 4, dtype=a module)
  dtype     expected torch.float32, torch.float64, torch.bfloat16 or torch.float16    got a module
  fix       dtype=torch.float32, torch.float64, torch.bfloat16 or torch.float16
  more      option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, device=torch.float64)": snapshot("""\
device should be a torch.device or its name, got: torch.float64
  LSTM(3, 4, device=torch.float64)
  device    expected for example 'cpu', 'cuda' or 'cuda:1'    got torch.float64
  fix       by name: dtype=torch.float64
  more      option-value, in the docs under "Errors"\
"""),
    "nn.RNNCell(3, 4, True, 'tanh', torch.float64)": snapshot("""\
device should be a torch.device or its name, got: torch.float64
  RNNCell(3, 4, True, 'tanh', torch.float64)
  device    expected for example 'cpu', 'cuda' or 'cuda:1'    got torch.float64
  fix       by name: dtype=torch.float64
  more      option-value, in the docs under "Errors"\
"""),
    "nn.GRU(3, 4, dtype=torch.int64)": snapshot("""\
dtype should be a floating-point torch.dtype, got: torch.int64
  GRU(3, 4, dtype=torch.int64)
  dtype     expected torch.float32, torch.float64, torch.bfloat16 or torch.float16    got torch.int64
  fix       by name: dtype=torch.int64
  more      option-value, in the docs under "Errors"\
"""),
    "nn.GRU(3, 4, device='gpu')": snapshot("""\
device should be a torch.device or its name, got: gpu
  GRU(3, 4, device='gpu')
  device    expected for example 'cpu', 'cuda' or 'cuda:1'    got 'gpu'
  fix       device: for example 'cpu', 'cuda' or 'cuda:1'
  more      option-value, in the docs under "Errors"\
"""),
    "nn.LSTMCell(3, 4, torch.device('cpu'))": snapshot("""\
bias should be of type bool, got: device
  LSTMCell(3, 4, cpu)
  bias      expected True or False    got cpu
  fix       by name: device='cpu'
  more      option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, bidirectional='no')": snapshot("""\
bidirectional should be of type bool, got: str
  LSTM(3, 4, bidirectional='no')
  bidirectional  expected True or False    got 'no'
  fix            a string counts as true whatever it says: bidirectional=True or bidirectional=False
  more           option-value, in the docs under "Errors"\
"""),
    "nn.GRU(3, 4, batch_first='False')": snapshot("""\
batch_first should be of type bool, got: str
  GRU(3, 4, batch_first='False')
  batch_first  expected True or False    got 'False'
  fix          a string counts as true whatever it says: batch_first=True or batch_first=False
  more         option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, bidirectional=1)": snapshot("""\
bidirectional should be of type bool, got: int
  LSTM(3, 4, bidirectional=1)
  bidirectional  expected True or False    got 1
  fix            bidirectional=True
  more           option-value, in the docs under "Errors"\
"""),
    "nn.GRU(3, 4, batch_first=0)": snapshot("""\
batch_first should be of type bool, got: int
  GRU(3, 4, batch_first=0)
  batch_first  expected True or False    got 0
  fix          batch_first=False
  more         option-value, in the docs under "Errors"\
"""),
    "nn.GRU(3, 4, 2, 0.5)": snapshot("""\
bias should be of type bool, got: float
  GRU(3, 4, 2, 0.5)
  bias      expected True or False    got 0.5
  fix       by name: dropout=0.5
  more      option-value, in the docs under "Errors"\
"""),
    "nn.LSTMCell(3, 4, 2)": snapshot("""\
bias should be of type bool, got: int
  LSTMCell(3, 4, 2)
  bias      expected True or False    got 2
  fix       bias=True
  more      option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, bias=None)": snapshot("""\
bias should be of type bool, got: NoneType
  LSTM(3, 4, bias=None)
  bias      expected True or False    got None
  fix       bias=True or False
  more      option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, 2, dropout=1.5)": snapshot("""\
dropout should be a number in range [0, 1] representing the probability of an element being zeroed
  LSTM(3, 4, 2, dropout=1.5)
  dropout   expected a float from 0 to 1    got 1.5
  fix       dropout: a float from 0 to 1
  more      option-value, in the docs under "Errors"\
"""),
    "nn.GRU(3, 4, 2, dropout=20)": snapshot("""\
dropout should be a number in range [0, 1] representing the probability of an element being zeroed
  GRU(3, 4, 2, dropout=20)
  dropout   expected a float from 0 to 1    got 20
  fix       dropout=0.2
  more      option-value, in the docs under "Errors"\
"""),
    "nn.RNN(3, 4, 2, dropout='0.5')": snapshot("""\
dropout should be a number in range [0, 1] representing the probability of an element being zeroed
  RNN(3, 4, 2, dropout='0.5')
  dropout   expected a float from 0 to 1    got '0.5'
  fix       dropout=0.5
  more      option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, 2, dropout=True)": snapshot("""\
dropout should be a number in range [0, 1] representing the probability of an element being zeroed
  LSTM(3, 4, 2, dropout=True)
  dropout   expected a float from 0 to 1    got True
  fix       dropout: a float from 0 to 1
  more      option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, 2, dropout=-0.1)": snapshot("""\
dropout should be a number in range [0, 1] representing the probability of an element being zeroed
  LSTM(3, 4, 2, dropout=-0.1)
  dropout   expected a float from 0 to 1    got -0.1
  fix       dropout: a float from 0 to 1
  more      option-value, in the docs under "Errors"\
"""),
    "nn.RNN(3, 4, nonlinearity='gelu')": snapshot("""\
Unknown nonlinearity 'gelu'. Select from 'tanh' or 'relu'.
  RNN(3, 4, nonlinearity='gelu')
  nonlinearity  expected 'tanh' or 'relu'    got 'gelu'
  fix           nonlinearity: 'tanh' or 'relu'
  more          option-value, in the docs under "Errors"\
"""),
    "nn.RNN(3, 4, nonlinearity=torch.tanh)": snapshot("""\
Unknown nonlinearity 'a builtin_function_or_method'. Select from 'tanh' or 'relu'.
  RNN(3, 4, nonlinearity=a builtin_function_or_method)
  nonlinearity  expected 'tanh' or 'relu'    got a builtin_function_or_method
  fix           nonlinearity: 'tanh' or 'relu'
  more          option-value, in the docs under "Errors"\
"""),
    "nn.RNNCell(3, 4, nonlinearity='Tanh')": snapshot("""\
Unknown nonlinearity 'Tanh'. Select from 'tanh' or 'relu'.
  RNNCell(3, 4, nonlinearity='Tanh')
  nonlinearity  expected 'tanh' or 'relu'    got 'Tanh'
  fix           nonlinearity: 'tanh' or 'relu'
  more          option-value, in the docs under "Errors"\
"""),
    "nn.RNN(3, 4, 1, True)": snapshot("""\
Unknown nonlinearity 'True'. Select from 'tanh' or 'relu'.
  RNN(3, 4, 1, True)
  nonlinearity  expected 'tanh' or 'relu'    got True
  fix           nonlinearity: 'tanh' or 'relu'
  more          option-value, in the docs under "Errors"\
"""),
    "nn.LSTM(3, 4, 1, torch.float64)": snapshot("""\
bias should be of type bool, got: dtype
  LSTM(3, 4, 1, torch.float64)
  bias      expected True or False    got torch.float64
  fix       by name: dtype=torch.float64
  more      option-value, in the docs under "Errors"\
"""),
    "nn.GRU(3, 4, bias=np.True_)": snapshot("""\
bias should be of type bool, got: bool
  GRU(3, 4, bias=a bool)
  bias      expected True or False    got a bool
  fix       bias=bool(...): NumPy has a bool of its own
  more      option-value, in the docs under "Errors"\
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
