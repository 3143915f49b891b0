"""The state of an LSTM, and functions on the tensors of any state."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar, overload

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.utils import _pytree as pytree

from rnnkit._base.class_facts import proj_size_of
from rnnkit._base.errors import StateError
from rnnkit._base.message import brief, refuse
from rnnkit._base.torch_tools import is_proxy

#: How many axes a layer's state has, of a batch; how many tensors an LSTM carries.
BATCHED = 3
PAIR = 2

StateT = TypeVar("StateT")

#: Any module's state: a tensor, or a tuple of tensors, which a caller may write as a list. Parts
#: are not spelled, since beartype would check one at random, and no compiler traces that.
State: TypeAlias = Tensor | tuple[Any, ...] | list[Any]


class _Pair(NamedTuple):
    """The two tensors by name."""

    h: Tensor
    c: Tensor


#: Stands for a ``c`` that was not given.
_NOTHING: Any = object()


class LSTMState(_Pair):
    """The state of an LSTM: torch's tuple ``(h, c)``, whose members also have names.

    A layer's h and c are ``(layers * directions, batch, hidden)``, or without the batch axis for
    one sequence. A cell's are ``(batch, hidden)``. With ``proj_size``, the last axis of h has that
    size. Make one with ``LSTMState(h, c)`` or ``LSTMState(pair)``.

    Attributes:
        h: the hidden state, which the LSTM also outputs at each step.
        c: the cell state, which the LSTM does not output.

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
        if c is _NOTHING and not isinstance(h, Tensor):
            return cls._make(h)
        return super().__new__(cls, *((h,) if c is _NOTHING else (h, c)))

    def detach(self) -> "LSTMState":
        """Return the state without its autograd graph: ``Tensor.detach`` of h and of c.

        >>> _, state = rnnkit.LSTM(3, 4)(torch.ones(7, 5, 3))
        >>> state.detach().h.requires_grad
        False
        """
        return map_state(Tensor.detach, self)

    def to(self, *args: Any, **kwargs: Any) -> "LSTMState":
        """Return the state on another device or in another dtype: ``Tensor.to`` of h and of c.

        >>> rnnkit.LSTM(3, 4).initial_state(5).to(torch.float64).c.dtype
        torch.float64
        """
        return map_state(lambda tensor: tensor.to(*args, **kwargs), self)


# A bare tuple needs neither: torch.export.save asks a named tuple for a name to write down,
# torch.load(weights_only=True) builds no class that it was not told of.
pytree._register_namedtuple(LSTMState, serialized_type_name="rnnkit.LSTMState")  # noqa: SLF001
torch.serialization.add_safe_globals([LSTMState])


def map_state(function: Callable[..., Any], state: StateT, *others: Any) -> StateT:
    """Apply a function to each tensor of a state; return a state of the same kind.

    A state is a tensor, or a tuple or list of states. Each of ``others`` has the same structure,
    and the function takes its tensor at the same place as a further argument. A None in the state
    stands for zeros: it stays None, and the function is not called for it. Raises a StateError if
    the structures differ, or a part is not a tensor.
    """
    whole: Any = state
    for other in others:
        if _kind(other) != _kind(whole):
            refuse(
                StateError,
                "state",
                f"the states differ in structure: {_named(whole)} and {_named(other)}",
                fix="pass states that one layer, or one cell, returned",
                code="states-differ",
            )
    if isinstance(whole, (tuple, list)):
        parts = [map_state(function, *part) for part in zip(whole, *others, strict=True)]
        return _like(whole, parts)  # type: ignore[no-any-return]
    if whole is None:
        return state
    if not _kind(whole):
        refuse(
            StateError,
            "state",
            f"a state must be a tensor or a tuple of tensors, got {brief(whole)}",
            fix="pass the state that a layer or a cell returned",
            code="state-kind",
        )
    return function(whole, *others)  # type: ignore[no-any-return]


def _named(state: Any) -> str:
    """Name a state for a message: ``a tuple of 2``, or the kind of a single part."""
    return f"a tuple of {len(state)}" if isinstance(state, tuple | list) else brief(state)


def _kind(state: Any) -> Any:
    """Return a value by which two states are compared: they are alike where it is equal.

    It is the number of parts, in a list, for a tuple or a list; else whether it is a tensor.
    """
    if isinstance(state, (tuple, list)):
        return [len(state)]
    return isinstance(state, Tensor) or is_proxy(state)


def _like(state: Any, parts: list[Any]) -> Any:
    """Return these parts as a tuple or list of the state's class, which may be a named tuple."""
    return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)


def zeros(module: Any, like: Tensor, *front: Any) -> Any:
    """Return a layer's or cell's state of zeros, with the dtype and device of ``like``.

    ``front`` is the sizes before the last axis: a tensor is ``(*front, hidden)``. It is one tensor,
    or an LSTM's pair of h and c, which are the same tensor if they have the same width: a caller
    that writes into it copies it before.
    """
    options: Any = {"dtype": like.dtype, "device": like.device}
    c = torch.zeros(*front, module.hidden_size, **options)
    if len(module.__rnnkit__.state_names) == 1:
        return c
    proj_size = proj_size_of(module)
    return state_of([torch.zeros(*front, proj_size, **options) if proj_size else c, c])


def filled(state: Any, first: Any) -> Any:
    """Return a state whose missing parts, each None, are taken from ``first``.

    A state that is None is ``first`` itself; one of another structure is returned as it is.
    """
    if state is None:
        return first
    if not isinstance(state, (tuple, list)) or _kind(state) != _kind(first):
        return state
    return _like(state, [filled(*parts) for parts in zip(state, first, strict=True)])


def tensors_of(state: Any) -> tuple[Any, ...]:
    """Return the tensors of a module's state in torch's order, and ``state_of`` them again."""
    return tuple(state) if isinstance(state, (tuple, list)) else (state,)


def state_of(tensors: Sequence[Tensor]) -> Any:
    """Return a module's state from its tensors: the only one as it is, an LSTM's two as a pair."""
    if len(tensors) == 1:
        return tensors[0]
    # A step is paid by the microsecond, and a call of a class costs more than its tuple.
    return LSTMState(*tensors) if is_compiling() else tuple.__new__(LSTMState, tensors)


def has_missing_part(state: Any) -> bool:
    """Return whether a state, or a part of it, is None, which stands for the initial one."""
    return state is None or (isinstance(state, (tuple, list)) and any(map(has_missing_part, state)))


def layers_first(state: Any) -> Any:
    """Exchange axes 0 and 1 of a layer's state: layers and batch. Its own inverse.

    A tensor ``(layers * directions, batch, hidden)`` becomes ``(batch, layers * directions,
    hidden)``, contiguous, or the other way round; without a batch it stays as it is. A pair becomes
    an LSTMState.
    """
    if not isinstance(state, Tensor):
        return LSTMState(*map(layers_first, state))
    return state.transpose(0, 1).contiguous() if state.dim() == BATCHED else state
