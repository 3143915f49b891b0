"""The state of an LSTM, and the way into any state's tensors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._base.errors import StateError
from rnnkit._base.message import brief, refusal
from rnnkit._base.torch_tools import is_proxy

#: How many axes a layer's state has, of a batch.
BATCHED = 3

#: How many tensors an LSTM carries.
PAIR = 2


class LSTMState(NamedTuple):
    """What an LSTM carries: still the tuple ``(h, c)`` that torch takes and gives.

    Of a layer, both are ``(layers * directions, batch, hidden)``, without the batch axis for
    unbatched input; of a cell, ``(batch, hidden)``. With ``proj_size`` the last axis of ``h``
    is ``proj_size`` wide.

    >>> out, state = rnnkit.LSTM(3, 4)(torch.ones(7, 5, 3))
    >>> state.h.shape, state.c.shape
    (torch.Size([1, 5, 4]), torch.Size([1, 5, 4]))
    """

    #: The hidden state, which is also the output of the last step.
    h: Tensor
    #: The cell state, which the LSTM keeps to itself.
    c: Tensor


LSTMState.__module__ = "rnnkit"


# A bare tuple needs neither: torch.export.save asks a named tuple for a name to write down,
# torch.load(weights_only=True) builds no class that it was not told of.
pytree._register_namedtuple(LSTMState, serialized_type_name="rnnkit.LSTMState")  # noqa: SLF001


torch.serialization.add_safe_globals([LSTMState])


def map_state(function: Callable[..., Tensor], state: Any, *others: Any) -> Any:
    """Apply a function to each tensor of a state, together with those of others beside it."""
    if isinstance(state, Tensor) or is_proxy(state):
        return function(state, *others)
    if not isinstance(state, tuple | list):
        sentence = f"a state is a tensor or a tuple of tensors, got {brief(state)}"
        refusal(StateError, "state", sentence)
    for other in others:
        if not isinstance(other, tuple | list) or len(other) != len(state):
            sentence = f"states are not of one kind: {_kind(state)} and {_kind(other)}"
            refusal(StateError, "state", sentence)
    parts = [map_state(function, *members) for members in zip(state, *others, strict=True)]
    return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)


def _kind(state: Any) -> str:
    return f"a tuple of {len(state)}" if isinstance(state, tuple | list) else brief(state)


def layers_first(state: Any) -> Any:
    """Exchange axes 0 and 1 of a layer's state: from batch-first to torch's order, and back.

    A state without a batch axis stays as it is.
    """
    if not isinstance(state, Tensor):
        return LSTMState(*map(layers_first, state))
    return state.transpose(0, 1).contiguous() if state.dim() == BATCHED else state
