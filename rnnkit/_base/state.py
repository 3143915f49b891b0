"""The state of an LSTM, and the way into any state's tensors."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, NoReturn, overload

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


class _Pair(NamedTuple):
    """The two tensors by name."""

    h: Tensor
    c: Tensor


_NOTHING: Any = object()


class LSTMState(_Pair):
    """What an LSTM carries: still the tuple ``(h, c)`` that torch takes and returns.

    ``LSTMState(h, c)``, or ``LSTMState(pair)`` as ``tuple(pair)``. Of a layer, both are
    ``(layers * directions, batch, hidden)``, without the batch axis for unbatched input; of a
    cell, ``(batch, hidden)``. With ``proj_size`` the last axis of ``h`` is ``proj_size`` wide.

    Attributes:
        h: the hidden state, which is also the output of the last step.
        c: the cell state, which the LSTM keeps to itself.

    >>> out, state = rnnkit.LSTM(3, 4)(torch.ones(7, 5, 3))
    >>> state.h.shape, state.c.shape
    (torch.Size([1, 5, 4]), torch.Size([1, 5, 4]))
    """

    __slots__ = ()
    __module__ = "rnnkit"

    @overload
    def __new__(cls, h: Tensor, c: Tensor) -> "LSTMState": ...
    @overload
    def __new__(cls, h: Iterable[Tensor]) -> "LSTMState": ...
    def __new__(cls, h: Any, c: Any = _NOTHING) -> "LSTMState":  # noqa: PYI034 - beartype reads Self on classes only
        """Take h and c, or an iterable of the two, as ``tuple`` does."""
        if c is not _NOTHING:
            return super().__new__(cls, h, c)
        if isinstance(h, Tensor) or not isinstance(h, Iterable):
            return super().__new__(cls, h)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        return cls._make(h)

    def detach(self) -> "LSTMState":
        """Return the state cut from the graph that made it, as ``Tensor.detach`` does.

        >>> _, state = rnnkit.LSTM(3, 4)(torch.ones(7, 5, 3))
        >>> state.detach().h.requires_grad
        False
        """
        detached: LSTMState = map_state(Tensor.detach, self)
        return detached

    def to(self, *args: Any, **kwargs: Any) -> "LSTMState":
        """Return the state on another device or in another dtype, as ``Tensor.to`` does.

        >>> rnnkit.LSTM(3, 4).initial_state(5).to(torch.float64).c.dtype
        torch.float64
        """
        moved: LSTMState = map_state(lambda tensor: tensor.to(*args, **kwargs), self)
        return moved


# A bare tuple needs neither: torch.export.save asks a named tuple for a name to write down,
# torch.load(weights_only=True) builds no class that it was not told of.
pytree._register_namedtuple(LSTMState, serialized_type_name="rnnkit.LSTMState")  # noqa: SLF001


torch.serialization.add_safe_globals([LSTMState])


def map_state(function: Callable[..., Tensor], state: Any, *others: Any) -> Any:
    """Apply a function to each tensor of a state, together with those of others beside it.

    A None, which stands for zeros, stays None.
    """
    if state is None:
        return None
    if isinstance(state, Tensor) or is_proxy(state):
        return function(state, *others)
    if not isinstance(state, (tuple, list)):
        sentence = f"a state is a tensor or a tuple of tensors, got {brief(state)}"
        refusal(StateError, "state", sentence, code="state-kind")
    for other in others:
        if not isinstance(other, (tuple, list)) or len(other) != len(state):
            _refuse_kinds(state, other)
    return _like(state, [map_state(function, *parts) for parts in zip(state, *others, strict=True)])


def _like(state: Any, parts: list[Any]) -> Any:
    """Return these members as a tuple or list of the same class."""
    return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)


def filled(state: Any, first: Any) -> Any:
    """Return a state with the members of a first state where it has None."""
    if state is None:
        return first
    both = (state, first)
    if not all(isinstance(one, (tuple, list)) for one in both) or len(state) != len(first):
        return state
    return _like(state, [filled(*parts) for parts in zip(state, first, strict=True)])


def tensors_of(state: Any) -> tuple[Tensor, ...]:
    """Return the tensors of a module's state in torch's order, and ``state_of`` them again."""
    return tuple(state) if isinstance(state, (tuple, list)) else (state,)


def state_of(tensors: Sequence[Tensor]) -> Any:
    """Return one tensor as it is, and an LSTM's two as an LSTMState."""
    return tensors[0] if len(tensors) == 1 else LSTMState(*tensors)


def with_batch(state: Any, axis: int) -> Any:
    """Give an unbatched state a batch axis, of one sample: axis 1 of a layer's, 0 of a cell's."""
    return map_state(lambda tensor: tensor.unsqueeze(axis), state)


def has_missing_part(state: Any) -> bool:
    """Return whether a state, or a part of it, is None, which stands for the initial one."""
    return state is None or (isinstance(state, (tuple, list)) and any(map(has_missing_part, state)))


def check_alike(state: Any, other: Any) -> None:
    """Hold two states to the same tensors, and to None in the same places."""
    if _members(state) != _members(other):
        _refuse_kinds(state, other)
    if isinstance(state, (tuple, list)):
        for pair in zip(state, other, strict=True):
            check_alike(*pair)


def _members(state: Any) -> int | None:
    """Return how many members a tuple has; -1 of a tensor, -2 of None, None of anything else."""
    if isinstance(state, (tuple, list)):
        return len(state)
    if state is None:
        return -2
    return -1 if isinstance(state, Tensor) or is_proxy(state) else None


def _refuse_kinds(state: Any, other: Any) -> NoReturn:
    sentence = f"states are not of one kind: {_kind(state)} and {_kind(other)}"
    refusal(StateError, "state", sentence, code="states-differ")


def _kind(state: Any) -> str:
    return f"a tuple of {len(state)}" if isinstance(state, tuple | list) else brief(state)


def layers_first(state: Any) -> Any:
    """Exchange axes 0 and 1 of a layer's state: from batch-first to torch's order, and back.

    A state without a batch axis stays as it is.
    """
    if not isinstance(state, Tensor):
        return LSTMState(*map(layers_first, state))
    return state.transpose(0, 1).contiguous() if state.dim() == BATCHED else state
