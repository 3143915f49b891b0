"""PyTorch's recurrent modules with their shapes checked."""

from rnnkit import nn, states, testing, typing
from rnnkit._cells import GRUCell, LSTMCell, RNNCell
from rnnkit._convert import Converted, convert, revert
from rnnkit._dependency import DependencyMap, dependency_map
from rnnkit._errors import (
    ArgumentError,
    CellError,
    DeviceError,
    DtypeError,
    LayoutError,
    LeakError,
    LengthsError,
    RnnkitError,
    ShapeError,
    StateError,
)
from rnnkit._layers import GRU, LSTM, RNN
from rnnkit._recurrent import Recurrent
from rnnkit._report import Check, Report
from rnnkit._trace import Row, Trace, trace
from rnnkit._unroll import unroll
from rnnkit._verify import verify
from rnnkit.states import LSTMState

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "ArgumentError",
    "CellError",
    "Check",
    "Converted",
    "DependencyMap",
    "DeviceError",
    "DtypeError",
    "GRUCell",
    "LSTMCell",
    "LSTMState",
    "LayoutError",
    "LeakError",
    "LengthsError",
    "RNNCell",
    "Recurrent",
    "Report",
    "RnnkitError",
    "Row",
    "ShapeError",
    "StateError",
    "Trace",
    "convert",
    "dependency_map",
    "nn",
    "revert",
    "states",
    "testing",
    "trace",
    "typing",
    "unroll",
    "verify",
]
