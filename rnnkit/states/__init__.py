"""Hidden states: what a recurrent module carries from one step to the next.

Every function here takes a state as modules return it: a tensor (RNN, GRU), an
:class:`rnnkit.LSTMState` or plain ``(h, c)`` pair, or the tuple of states that
:class:`rnnkit.Recurrent` carries; and returns a new one of the same kind. None, which stands for
zeros everywhere, stays None. The batch axis follows from the rank. A layer's state,
``(layers * directions, batch, hidden)``, has it at axis 1, whatever the layer's ``batch_first`` is,
or at axis 0 with ``state_batch_first=True``, for layers that have this option; a cell's state,
``(batch, hidden)``, at axis 0.
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
