"""``torch.nn`` with the six recurrent classes replaced: a drop-in for ``from torch import nn``."""

from typing import TYPE_CHECKING, Any

import torch.nn
from torch.nn import *  # pyright: ignore[reportWildcardImportFromLibrary]
from torch.nn import functional as functional
from torch.nn import init as init
from torch.nn import modules as modules
from torch.nn import parallel as parallel
from torch.nn import parameter as parameter
from torch.nn import utils as utils

from rnnkit._cells import GRUCell as GRUCell
from rnnkit._cells import LSTMCell as LSTMCell
from rnnkit._cells import RNNCell as RNNCell
from rnnkit._layers import GRU as GRU
from rnnkit._layers import LSTM as LSTM
from rnnkit._layers import RNN as RNN

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Look up what torch.nn gains after this import, and its private names."""
        return getattr(torch.nn, name)

    def __dir__() -> list[str]:
        """List what torch.nn has."""
        return sorted({*globals(), *dir(torch.nn)})
