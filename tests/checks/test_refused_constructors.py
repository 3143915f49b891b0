"""Arguments that a constructor does not know, lacks, or cannot hand to torch."""

import torch
from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import refusal


def test_missing_arguments() -> None:
    """A missing size is refused with the constructor's arguments."""
    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.LSTM())
    assert error.argument == ""
    assert str(error) == snapshot("""\
LSTM.__init__() missing a required argument: 'input_size'
  LSTM()
  fix       LSTM(input_size, hidden_size, num_layers, ...)\
""")

    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.GRUCell(3))
    assert error.argument == ""
    assert str(error) == snapshot("""\
GRUCell.__init__() missing a required argument: 'hidden_size'
  GRUCell(3)
  fix       GRUCell(input_size, hidden_size, bias, ...)\
""")


def test_unknown_argument() -> None:
    """A misspelt argument is refused with the nearest name."""
    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.LSTM(3, 4, batchfirst=True))
    assert error.argument == "batchfirst"
    assert str(error) == snapshot("""\
LSTM.__init__() got an unexpected keyword argument 'batchfirst'
  LSTM(3, 4, batchfirst=True)
  fix       batch_first=True\
""")

    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.GRU(3, 4, hidden=4))
    assert error.argument == "hidden"
    assert str(error) == snapshot("""\
GRU.__init__() got an unexpected keyword argument 'hidden'
  GRU(3, 4, hidden=4)
  fix       hidden_size=4\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.LSTMCell(3, 4, batch_first=True))
    assert error.argument == "batch_first"
    assert str(error) == snapshot("""\
LSTMCell.__init__() got an unexpected keyword argument 'batch_first'
  LSTMCell(3, 4, batch_first=True)
  fix       leave batch_first out: a cell is one layer, in one direction, for one step\
""")


def test_argument_given_twice() -> None:
    """An argument given twice is refused."""
    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.GRU(3, 4, hidden_size=4))
    assert error.argument == ""
    assert str(error) == snapshot("""\
GRU.__init__() got multiple values for argument 'hidden_size'
  GRU(3, 4, hidden_size=4)
  fix       GRU(input_size, hidden_size, num_layers, ...)\
""")


def test_too_many_arguments() -> None:
    """More arguments than there are names for are refused."""
    error = refusal(
        rnnkit.ArgumentError, "mumbles", lambda nn: nn.LSTMCell(3, 4, True, None, None, 1)
    )
    assert error.argument == ""
    assert str(error) == snapshot("""\
LSTMCell.__init__() too many positional arguments
  LSTMCell(3, 4, True, None, None, 1)
  fix       LSTMCell(input_size, hidden_size, bias, ...)\
""")


def test_nonlinearity_of_a_gated_layer() -> None:
    """A nonlinearity is refused by the layers that have fixed ones."""
    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.LSTM(3, 4, nonlinearity="relu"))
    assert error.argument == "nonlinearity"
    assert str(error) == snapshot("""\
LSTM.__init__() got an unexpected keyword argument 'nonlinearity'
  LSTM(3, 4, nonlinearity='relu')
  fix       leave nonlinearity out: LSTM has fixed ones, RNN and RNNCell take it\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.GRUCell(3, 4, nonlinearity="relu"))
    assert error.argument == "nonlinearity"
    assert str(error) == snapshot("""\
GRUCell.__init__() got an unexpected keyword argument 'nonlinearity'
  GRUCell(3, 4, nonlinearity='relu')
  fix       leave nonlinearity out: GRUCell has fixed ones, RNN and RNNCell take it\
""")


def test_projection_of_others() -> None:
    """A projection is refused by layers that have none."""
    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.GRU(3, 4, proj_size=2))
    assert error.argument == "proj_size"
    assert str(error) == snapshot("""\
proj_size argument is only supported for LSTM, not RNN or GRU
  GRU(3, 4, proj_size=2)
  fix       leave proj_size out, or follow GRU by torch.nn.Linear\
""")

    error = refusal(rnnkit.ArgumentError, "says", lambda nn: nn.RNN(3, 4, proj_size=2))
    assert error.argument == "proj_size"
    assert str(error) == snapshot("""\
proj_size argument is only supported for LSTM, not RNN or GRU
  RNN(3, 4, proj_size=2)
  fix       leave proj_size out, or follow RNN by torch.nn.Linear\
""")

    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.LSTMCell(3, 4, proj_size=2))
    assert error.argument == "proj_size"
    assert str(error) == snapshot("""\
proj_size argument is only supported for LSTM, not RNN or GRU
  LSTMCell(3, 4, proj_size=2)
  fix       leave proj_size out, or follow LSTMCell by torch.nn.Linear\
""")


def test_dtypes() -> None:
    """A dtype that no weight has is refused."""
    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.LSTM(3, 4, dtype="float32"))
    assert error.argument == "dtype"
    assert str(error) == snapshot("""\
dtype should be a floating-point torch.dtype, got: float32
  LSTM(3, 4, dtype='float32')
  dtype     expected torch.float32, torch.float64, torch.bfloat16 or torch.float16    got 'float32'
  fix       dtype=torch.float32\
""")

    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.LSTM(3, 4, dtype=torch))
    assert error.argument == "dtype"
    assert str(error) == snapshot("""\
dtype should be a floating-point torch.dtype, got: a module
  LSTM(3, 4, dtype=a module)
  dtype     expected torch.float32, torch.float64, torch.bfloat16 or torch.float16    got a module
  fix       dtype=torch.float32, torch.float64, torch.bfloat16 or torch.float16\
""")


def test_devices() -> None:
    """A device that is none is refused."""
    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.LSTM(3, 4, device=torch.float64))
    assert error.argument == "device"
    assert str(error) == snapshot("""\
device should be a torch.device or its name, got: torch.float64
  LSTM(3, 4, device=torch.float64)
  device    expected for example 'cpu', 'cuda' or 'cuda:1'    got torch.float64
  fix       by name: dtype=torch.float64\
""")

    error = refusal(
        rnnkit.ArgumentError, "mumbles", lambda nn: nn.RNNCell(3, 4, True, "tanh", torch.float64)
    )
    assert error.argument == "device"
    assert str(error) == snapshot("""\
device should be a torch.device or its name, got: torch.float64
  RNNCell(3, 4, True, 'tanh', torch.float64)
  device    expected for example 'cpu', 'cuda' or 'cuda:1'    got torch.float64
  fix       by name: dtype=torch.float64\
""")


def test_dtype_of_whole_numbers() -> None:
    """A dtype that takes no gradient is refused."""
    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.GRU(3, 4, dtype=torch.int64))
    assert error.argument == "dtype"
    assert str(error) == snapshot("""\
dtype should be a floating-point torch.dtype, got: torch.int64
  GRU(3, 4, dtype=torch.int64)
  dtype     expected torch.float32, torch.float64, torch.bfloat16 or torch.float16    got torch.int64
  fix       by name: dtype=torch.int64\
""")


def test_device_of_another_name() -> None:
    """A device that torch does not know is refused."""
    error = refusal(rnnkit.ArgumentError, "mumbles", lambda nn: nn.GRU(3, 4, device="gpu"))
    assert error.argument == "device"
    assert str(error) == snapshot("""\
device should be a torch.device or its name, got: gpu
  GRU(3, 4, device='gpu')
  device    expected for example 'cpu', 'cuda' or 'cuda:1'    got 'gpu'
  fix       device: for example 'cpu', 'cuda' or 'cuda:1'\
""")
