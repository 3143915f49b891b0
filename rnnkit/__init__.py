"""PyTorch's recurrent modules with their shapes checked."""

from rnnkit import nn, states, testing, typing
from rnnkit._base.errors import (
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
    hide_frames,
)
from rnnkit._diagnostics.dependency_map import DependencyMap, dependency_map
from rnnkit._diagnostics.report import Check, Report
from rnnkit._diagnostics.trace import Row, Trace, trace
from rnnkit._diagnostics.verify import verify
from rnnkit._modules.cells import GRUCell, LSTMCell, ProjectedLSTMCell, RNNCell
from rnnkit._modules.convert import Converted, convert, revert
from rnnkit._modules.layers import GRU, LSTM, RNN
from rnnkit._modules.recurrent import Recurrent
from rnnkit._modules.unroll import unroll
from rnnkit.states import LSTMState

__version__ = "0.1.0"

hide_frames()
del hide_frames

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
    "ProjectedLSTMCell",
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
