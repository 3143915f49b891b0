"""``torch.nn``, with rnnkit's RNN, LSTM, GRU, RNNCell, LSTMCell and GRUCell instead of torch's.

Write ``from rnnkit import nn`` instead of ``from torch import nn``.
"""

import typing as _typing

import torch.nn as _torch_nn

if _typing.TYPE_CHECKING:
    # For mypy the first import of a name holds, for Python and pyright the last.
    from rnnkit._modules.cells import GRUCell as GRUCell, LSTMCell as LSTMCell, RNNCell as RNNCell
    from rnnkit._modules.layers import GRU as GRU, LSTM as LSTM, RNN as RNN

from torch.nn import *  # type: ignore[assignment]  # pyright: ignore[reportWildcardImportFromLibrary]
from torch.nn import functional as functional, init as init, modules as modules
from torch.nn import parallel as parallel, parameter as parameter, utils as utils

from rnnkit._modules.cells import GRUCell as GRUCell, LSTMCell as LSTMCell, RNNCell as RNNCell
from rnnkit._modules.layers import GRU as GRU, LSTM as LSTM, RNN as RNN

if not _typing.TYPE_CHECKING:

    def __getattr__(name: str) -> _typing.Any:
        """Look up what torch.nn gains after this import, and its private names."""
        if name == "__path__":
            # With it, Python would import torch.nn's files again under our name: other classes.
            raise AttributeError(name)
        return getattr(_torch_nn, name)

    def __dir__() -> list[str]:
        """List what torch.nn has."""
        return sorted({*globals(), *dir(_torch_nn)})
