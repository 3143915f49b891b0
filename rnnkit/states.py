"""Hidden states: what a recurrent module carries from one step to the next.

Every function here takes a state as modules return it: a tensor (RNN, GRU), an
:class:`rnnkit.LSTMState` or plain ``(h, c)`` pair, or the tuple of states that
:class:`rnnkit.Recurrent` carries; and returns a new one of the same kind. The batch axis follows
from the rank. A layer's state, ``(layers * directions, batch, hidden)``, has it at axis 1, or at
axis 0 with ``batch_first=True``; a cell's state, ``(batch, hidden)``, at axis 0.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, StateError
from rnnkit._base.message import brief, refusal, wanted
from rnnkit._base.state import BATCHED, LSTMState, layers_first, map_state
from rnnkit._checks.arguments import as_mask, positions_of

__all__ = [
    "LSTMState",
    "batch_first",
    "bridge",
    "detach",
    "from_batch_first",
    "from_layers",
    "repeat",
    "reset",
    "select",
    "to",
]

State = TypeVar("State", bound=Tensor | tuple[Any, ...])


def _batch_axis(tensor: Tensor, *, batch_first: bool) -> int:
    """Return the batch axis of one tensor of a state.

    Raises:
        StateError: if its rank is that of no state.
    """
    if tensor.dim() not in (2, BATCHED):
        refusal(
            StateError,
            "state",
            f"a state has 2 or 3 axes, got {tensor.dim()}",
            "rnnkit.states tells the batch axis by the rank",
            ("state", wanted("(layers * directions, batch, hidden)", f"{tuple(tensor.shape)}")),
            facts=((None, None, None), tuple(tensor.shape)),
        )
    return 1 if tensor.dim() == BATCHED and not batch_first else 0


def detach(state: State) -> State:
    """Cut a state from the graph that made it, as between two windows of a long sequence.

    >>> _, state = rnnkit.GRU(3, 4)(torch.ones(7, 2, 3))
    >>> rnnkit.states.detach(state).requires_grad
    False
    """
    result: State = map_state(Tensor.detach, state)
    return result


def to(state: State, *args: Any, **kwargs: Any) -> State:
    """Move a state to a device or dtype; the arguments are those of ``Tensor.to``.

    Raises:
        StateError: if it is no state.

    >>> state = rnnkit.states.to(rnnkit.LSTM(3, 4).initial_state(2), torch.float64)
    >>> state.h.dtype
    torch.float64
    """
    result: State = map_state(lambda tensor: tensor.to(*args, **kwargs), state)
    return result


def select(
    state: State, index: Tensor | Sequence[int] | slice, *, batch_first: bool = False
) -> State:
    """Pick samples of a state, or put them in another order: beams, environments.

    Args:
        state: of any batch size.
        index: positions on the batch axis, each as often as it is wanted: a list, an integer
            tensor ``(new_batch,)``, or a slice; or a boolean tensor ``(batch,)``.
        batch_first: whether the tensors of a layer's state have the batch on axis 0.

    Raises:
        ArgumentError: if ``index`` is none of these, or out of range.
        StateError: if a tensor of the state has another rank than a state has.

    >>> _, state = rnnkit.GRU(3, 4)(torch.ones(7, 5, 3))
    >>> rnnkit.states.select(state, [4, 0, 0]).shape
    torch.Size([1, 3, 4])
    """

    def pick(tensor: Tensor) -> Tensor:
        axis = _batch_axis(tensor, batch_first=batch_first)
        batch = tensor.shape[axis]
        if isinstance(index, slice):
            return tensor[(slice(None),) * axis + (index,)]
        return tensor.index_select(axis, positions_of(index, batch, tensor.device))

    result: State = map_state(pick, state)
    return result


def repeat(state: State, times: int, *, batch_first: bool = False) -> State:
    """Repeat each sample ``times`` times in a row: s0 s0 s1 s1 ..., the order of beams.

    Args:
        state: of any batch size.
        times: how often each sample comes.
        batch_first: whether the tensors of a layer's state have the batch on axis 0.

    Returns:
        A state of ``times * batch`` samples.

    Raises:
        ArgumentError: if ``times`` is no count.
        StateError: if a tensor of the state has another rank than a state has.

    >>> h = torch.tensor([[1.0], [2.0]])
    >>> rnnkit.states.repeat(h, 2).flatten().tolist()
    [1.0, 1.0, 2.0, 2.0]
    """
    if not isinstance(times, Integral) or isinstance(times, bool) or times < 0:
        sentence = f"times must be an int from 0, got {brief(times)}"
        refusal(ArgumentError, "times", sentence)

    def interleave(tensor: Tensor) -> Tensor:
        axis = _batch_axis(tensor, batch_first=batch_first)
        return tensor.repeat_interleave(int(times), dim=axis)

    result: State = map_state(interleave, state)
    return result


def reset(
    state: State,
    mask: Tensor | Sequence[bool] | Sequence[int],
    initial: Any = None,
    *,
    batch_first: bool = False,
) -> State:
    """Start some samples anew, as at the end of an episode.

    Args:
        state: of any batch size.
        mask: ``(batch,)``: true, or 1, for a sample that starts anew.
        initial: the state that it starts from, in the shape of ``state``; None for zeros.
        batch_first: whether the tensors of a layer's state have the batch on axis 0.

    Raises:
        ArgumentError: if ``mask`` is not as long as the batch, or holds anything but 0 and 1:
            positions, say, which would reset other samples than those meant; or if ``initial``
            is no state like ``state``.

    >>> h = torch.ones(3, 1)
    >>> rnnkit.states.reset(h, torch.tensor([0, 1, 0])).flatten().tolist()
    [1.0, 0.0, 1.0]
    """

    def renew(tensor: Tensor, fresh: Any = None) -> Tensor:
        if fresh is not None and not _alike(tensor, fresh):
            wanted, came = _size_and_dtype(tensor), _size_and_dtype(fresh)
            sentence = f"initial must have the shape and dtype of state, {wanted}; got {came}"
            refusal(ArgumentError, "initial", sentence)
        axis = _batch_axis(tensor, batch_first=batch_first)
        shape = [1] * tensor.dim()
        shape[axis] = tensor.shape[axis]
        flags = as_mask(mask, (tensor.shape[axis],), tensor.device).view(shape)
        return tensor.masked_fill(flags, 0) if fresh is None else torch.where(flags, fresh, tensor)

    if initial is not None and isinstance(initial, Tensor) != isinstance(state, Tensor):
        sentence = f"initial must be a state of the same kind as state, got {brief(initial)}"
        refusal(ArgumentError, "initial", sentence)
    result: State = map_state(renew, state, *(() if initial is None else (initial,)))
    return result


def _alike(one: Tensor, other: Any) -> bool:
    return isinstance(other, Tensor) and one.shape == other.shape and one.dtype == other.dtype


def _size_and_dtype(value: Any) -> str:
    return f"{tuple(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else brief(value)


def batch_first(state: State) -> State:
    """Bring a layer's state to ``(batch, layers * directions, hidden)``.

    >>> _, state = rnnkit.GRU(3, 4, num_layers=2)(torch.ones(7, 5, 3))
    >>> rnnkit.states.batch_first(state).shape
    torch.Size([5, 2, 4])
    """

    def exchange(tensor: Tensor) -> Tensor:
        _batch_axis(tensor, batch_first=False)
        exchanged: Tensor = layers_first(tensor)
        return exchanged

    result: State = map_state(exchange, state)
    return result


def from_batch_first(state: State) -> State:
    """Bring a state ``(batch, layers * directions, hidden)`` to the order that layers take.

    Raises:
        StateError: if a tensor of it has another rank.

    >>> rnnkit.states.from_batch_first(torch.ones(5, 2, 4)).shape
    torch.Size([2, 5, 4])
    """
    return batch_first(state)


def from_layers(states: Sequence[State]) -> State:
    """Join a list of states, layer by layer, into the state of one layer of all of them.

    Args:
        states: of each layer, and of each direction of it, the forward one first: a cell's state
            ``(batch, hidden)``, or a layer's ``(rows, batch, hidden)``.

    Returns:
        Tensors ``(layers * directions, batch, hidden)``.

    Raises:
        ArgumentError: if the list is empty, or has tensors and pairs.
        StateError: if the states differ in batch or width.

    >>> cells = rnnkit.GRU(3, 4, num_layers=2).cells()
    >>> rnnkit.states.from_layers([cell.initial_state(5) for cell in cells]).shape
    torch.Size([2, 5, 4])
    """
    listed = list(states)
    kinds = {isinstance(state, Tensor) for state in listed}
    if len(kinds) != 1:
        what = "of at least one layer" if not listed else "of one kind: all tensors, or all pairs"
        sentence = f"from_layers takes a list of states {what}"
        refusal(ArgumentError, "states", sentence)

    def join(*tensors: Tensor) -> Tensor:
        rows = [t if t.dim() == BATCHED else t.unsqueeze(0) for t in tensors]
        if len({row.shape[1:] for row in rows}) != 1:
            shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
            sentence = f"from_layers takes states of one batch and width, got {shapes}"
            refusal(StateError, "states", sentence)
        return torch.cat(rows)

    result: State = map_state(join, *listed)
    return result


def bridge(
    state: State, how: Literal["concat", "sum"] = "concat", *, batch_first: bool = False
) -> State:
    """Bring a bidirectional encoder's state to a decoder that runs in one direction.

    Args:
        state: tensors ``(layers * 2, batch, hidden)``.
        how: ``"concat"`` puts the two directions of a layer side by side, for a decoder twice as
            wide; ``"sum"`` adds them, for one as wide.
        batch_first: whether the tensors have the batch on axis 0.

    Returns:
        Tensors ``(layers, batch, 2 * hidden)``, or ``(layers, batch, hidden)``.

    Raises:
        StateError: if a tensor has an odd number of rows, or no such axis.
        ArgumentError: if ``how`` is neither.

    >>> _, state = rnnkit.GRU(3, 4, bidirectional=True)(torch.ones(7, 5, 3))
    >>> rnnkit.states.bridge(state).shape
    torch.Size([1, 5, 8])
    """
    if how not in ("concat", "sum"):
        sentence = f"how must be 'concat' or 'sum', got {how!r}"
        refusal(ArgumentError, "how", sentence)

    def join(tensor: Tensor) -> Tensor:
        rows = 1 if batch_first else 0
        if tensor.dim() != BATCHED or tensor.shape[rows] % 2:
            wants = "(batch, layers * 2, hidden)" if batch_first else "(layers * 2, batch, hidden)"
            sentence = f"bridge takes the state of a bidirectional layer, {wants}"
            refusal(
                StateError,
                "state",
                sentence,
                f"got {tuple(tensor.shape)}",
                ("fix", "pass it as it is"),
                facts=((None, None, None), tuple(tensor.shape)),
            )
        pairs: Tensor = tensor.unflatten(rows, (-1, 2))  # type: ignore[no-untyped-call]
        forward, backward = pairs.unbind(rows + 1)
        return forward + backward if how == "sum" else torch.cat([forward, backward], dim=-1)

    result: State = map_state(join, state)
    return result
