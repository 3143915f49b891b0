"""PyTorch's recurrent modules with their shapes checked."""

from rnnkit import nn, states, typing
from rnnkit._cells import GRUCell, LSTMCell, RNNCell
from rnnkit._errors import (
    ArgumentError,
    CellError,
    DeviceError,
    DtypeError,
    LayoutError,
    LengthsError,
    RnnkitError,
    ShapeError,
    StateError,
)
from rnnkit._layers import GRU, LSTM, RNN
from rnnkit._recurrent import Recurrent
from rnnkit._unroll import unroll
from rnnkit.states import LSTMState

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "ArgumentError",
    "CellError",
    "DeviceError",
    "DtypeError",
    "GRUCell",
    "LSTMCell",
    "LSTMState",
    "LayoutError",
    "LengthsError",
    "RNNCell",
    "Recurrent",
    "RnnkitError",
    "ShapeError",
    "StateError",
    "nn",
    "states",
    "typing",
    "unroll",
]
