"""PyTorch's recurrent modules with checked shapes, and checks for mistakes that shapes do not show.

Write ``from rnnkit import nn`` instead of ``from torch import nn``, or ``rnnkit.convert(model)``.
Then ``rnnkit.verify(model, batch)`` runs the model on changed inputs to find mixed samples, outputs
that read padding or later steps, and similar mistakes.
"""

import importlib as _importlib
import sys as _sys
import typing as _typing

from rnnkit import masked, nn, states, typing
from rnnkit._base import errors as _errors
from rnnkit._base.errors import (
    ArgumentError,
    CellError,
    DeviceError,
    DtypeError,
    LayoutError,
    LeakError,
    LengthsError,
    RnnkitError,
    RnnkitWarning,
    ShapeError,
    StateError,
)
from rnnkit._modules.cells import GRUCell, LSTMCell, ProjectedLSTMCell, RNNCell
from rnnkit._modules.convert import Converted, convert, revert
from rnnkit._modules.layers import GRU, LSTM, RNN
from rnnkit._modules.recurrent import Recurrent
from rnnkit._modules.unroll import unroll
from rnnkit.states import LSTMState

if _typing.TYPE_CHECKING:
    from rnnkit import testing
    from rnnkit._diagnostics.dependency_map import dependency_map
    from rnnkit._diagnostics.tell.picture import DependencyMap
    from rnnkit._diagnostics.tell.report import Check, Report
    from rnnkit._diagnostics.trace import trace
    from rnnkit._diagnostics.trace_table import Row, Trace
    from rnnkit._diagnostics.verify import verify

__version__ = "0.1.0"

# fmt: off
__all__ = [
    "GRU", "LSTM", "RNN", "ArgumentError", "CellError", "Check", "Converted", "DependencyMap",
    "DeviceError", "DtypeError", "GRUCell", "LSTMCell", "LSTMState", "LayoutError", "LeakError",
    "LengthsError", "ProjectedLSTMCell", "RNNCell", "Recurrent", "Report", "RnnkitError",
    "RnnkitWarning", "Row", "ShapeError", "StateError", "Trace", "convert", "dependency_map",
    "masked", "nn", "revert", "states", "testing", "trace", "typing", "unroll", "verify",
]

#: Where each diagnostic is, and is imported from when it is first asked for: half of this package,
#: which a program that only computes does not need.
_DIAGNOSTICS = {
    "Check": "tell.report", "DependencyMap": "tell.picture", "Report": "tell.report",
    "Row": "trace_table", "Trace": "trace_table", "dependency_map": "dependency_map",
    "trace": "trace", "verify": "verify",
}
# fmt: on

_errors.hide_frames()

if not _typing.TYPE_CHECKING:

    def __getattr__(name: str) -> _typing.Any:
        """Import a diagnostic when it is first asked for."""
        if name == "testing":
            return _importlib.import_module("rnnkit.testing")  # which sets the attribute
        if name not in _DIAGNOSTICS:
            sentence = f"module 'rnnkit' has no attribute {name!r}"
            raise AttributeError(sentence, name=name, obj=_sys.modules[__name__])
        home = _importlib.import_module(f"rnnkit._diagnostics.{_DIAGNOSTICS[name]}")
        _errors.hide_frames()
        globals()[name] = getattr(home, name)
        return globals()[name]

    def __dir__() -> list[str]:
        """List every name, imported or not."""
        return sorted({*globals(), *__all__})
