"""PyTorch's recurrent modules with their shapes checked."""

from rnnkit import nn, states, typing
from rnnkit._cells import GRUCell, LSTMCell, RNNCell
from rnnkit._errors import (
    ArgumentError,
    DeviceError,
    DtypeError,
    LayoutError,
    RnnkitError,
    ShapeError,
    StateError,
)
from rnnkit._layers import GRU, LSTM, RNN
from rnnkit.states import LSTMState

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "ArgumentError",
    "DeviceError",
    "DtypeError",
    "GRUCell",
    "LSTMCell",
    "LSTMState",
    "LayoutError",
    "RNNCell",
    "RnnkitError",
    "ShapeError",
    "StateError",
    "nn",
    "states",
    "typing",
]
