"""Functions on hidden states: select or repeat samples, reset or join them, convert layouts.

Each function takes a state as a recurrent module returns it, and returns a new state of the same
kind. A state is a tensor (RNN, GRU), a pair ``(h, c)`` (LSTM), or a tuple of cells' states
(:class:`rnnkit.Recurrent`). None, which means a state of zeros, stays None.

The number of axes shows where the batch is. A layer's state, ``(layers * directions, batch,
hidden)``, has it on axis 1, even if the layer has ``batch_first=True``. A cell's state, ``(batch,
hidden)``, has it on axis 0. Pass ``state_batch_first=True`` for a state of a layer that has this
option: ``(batch, layers * directions, hidden)``.
"""

import typing as _typing

from rnnkit._base.state import LSTMState
from rnnkit.states._layers import batch_first, bridge, from_batch_first, from_layers, to_layers
from rnnkit.states._samples import cat, detach, expand, repeat, reset, select, to

__all__ = [
    "LSTMState",
    "batch_first",
    "bridge",
    "cat",
    "detach",
    "expand",
    "from_batch_first",
    "from_layers",
    "repeat",
    "reset",
    "select",
    "to",
    "to_layers",
]

for _name in __all__[1:]:
    globals()[_name].__module__ = "rnnkit.states"

#: What people look for here, and where it is.
_ELSEWHERE = {
    "zeros": "layer.initial_state(batch_size) returns zeros",
    "stack": "rnnkit.states.cat(states) joins states along the batch",
}

if not _typing.TYPE_CHECKING:

    def __getattr__(name: str) -> _typing.NoReturn:
        """Say where something is that people look for here."""
        sentence = f"module 'rnnkit.states' has no attribute {name!r}"
        if name in _ELSEWHERE:
            sentence = f"{sentence}: {_ELSEWHERE[name]}"
        raise AttributeError(sentence, name=name)
