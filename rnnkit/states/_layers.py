"""A state's layers and directions: their axis moved, taken apart, joined."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NoReturn, TypeVar, overload

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._base.errors import ArgumentError, StateError
from rnnkit._base.message import brief, refuse
from rnnkit._base.state import BATCHED, layers_first, map_state
from rnnkit._checks.arguments import known_options
from rnnkit._checks.objects import listed_states
from rnnkit.states._samples import State, batch_axis, check_alike, refuse_axes

Parts = TypeVar("Parts", bound=Tensor | tuple[Any, ...])


def batch_first(state: State) -> State:
    """Convert a layer's state to ``(batch, layers * directions, hidden)``, with the batch first.

    ``state`` is ``(layers * directions, batch, hidden)``. A state without a batch axis is returned
    as it is. :func:`from_batch_first` converts back.

    Raises:
        StateError: if a tensor of the state does not have 2 or 3 axes.

    >>> _, state = rnnkit.GRU(3, 4, num_layers=2)(torch.ones(7, 5, 3))
    >>> rnnkit.states.batch_first(state).shape
    torch.Size([5, 2, 4])
    """

    def exchange(tensor: Tensor) -> Tensor:
        batch_axis(tensor, False)
        return layers_first(tensor)  # type: ignore[no-any-return]

    return map_state(exchange, state)


def from_batch_first(state: State) -> State:
    """Convert a state ``(batch, layers * directions, hidden)`` to the layout that layers expect.

    The result is ``(layers * directions, batch, hidden)``. A state without a batch axis is returned
    as it is. The function undoes :func:`batch_first`.

    Raises:
        StateError: if a tensor of the state does not have 2 or 3 axes.

    >>> rnnkit.states.from_batch_first(torch.ones(5, 2, 4)).shape
    torch.Size([2, 5, 4])
    """
    return batch_first(state)


def from_layers(states: Sequence[State]) -> State:
    """Stack cells' states into the state of a layer, ``(layers * directions, batch, hidden)``.

    ``states`` is a list: layer by layer, the forward direction first. Each state is a tensor, or an
    LSTM's pair ``(h, c)``. A tensor is ``(batch, hidden)``, or ``(hidden,)`` without a batch. The
    list may also have the state of a whole layer, ``(layers * directions, batch, hidden)``: its
    rows go into the result one after another. :func:`to_layers` does the opposite.

    Raises:
        ArgumentError: if ``states`` is empty or not a list, or mixes tensors and pairs.
        StateError: if the states differ in batch size or hidden size, or one has more than 3 axes.
        DeviceError: if the states are on different devices.

    >>> cells = rnnkit.GRU(3, 4, num_layers=2).cells()
    >>> rnnkit.states.from_layers([cell.initial_state(5) for cell in cells]).shape
    torch.Size([2, 5, 4])
    """
    listed = listed_states("from_layers", states)
    return map_state(_joined_rows, *listed)  # type: ignore[no-any-return]


def _joined_rows(*tensors: Tensor) -> Tensor:
    """Put the states of cells, or of layers, one below the other: ``(rows, batch, hidden)``.

    A cell's tensor is ``(batch, hidden)``, or ``(hidden,)`` without a batch, and gives one row; a
    layer's is ``(rows, batch, hidden)``. Raises a StateError if they differ in batch or hidden, and
    a DeviceError if they are on several devices.
    """
    rows = []
    for tensor in tensors:
        if tensor.dim() != 1:
            batch_axis(tensor, False)
        rows.append(tensor if tensor.dim() == BATCHED else tensor.unsqueeze(0))
    first, *others = rows
    if any(row.shape[1:] != first.shape[1:] for row in others):  # a set would fix a free size
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        sentence = f"from_layers requires states with equal batch and hidden sizes, got {shapes}"
        fix = "keep states of several sizes in a tuple, as rnnkit.Recurrent does"
        refuse(StateError, "states", sentence, fix=fix, code="from-layers-sizes")
    check_alike("from_layers", rows)
    return torch.cat(rows)


@overload
def to_layers(state: None, *, state_batch_first: bool = ...) -> None: ...
@overload
def to_layers(state: Parts, *, state_batch_first: bool = ...) -> tuple[Parts, ...]: ...
@known_options
def to_layers(state: Any, *, state_batch_first: bool = False) -> Any:
    """Split a layer's state into a tuple with the state of each of its cells.

    From ``(layers * directions, batch, hidden)`` it makes one ``(batch, hidden)`` for each layer
    and direction: layer by layer, the forward direction first. For an LSTM, each is a pair
    ``(h, c)``. ``Recurrent.of(layer)`` takes this tuple as its state. :func:`from_layers` does the
    opposite.

    Pass ``state_batch_first=True`` for a state whose layer has this option: its batch is on axis 0.

    Raises:
        StateError: if a tensor of the state does not have 3 axes, or if h and c have different
            numbers of layers.

    >>> lstm = rnnkit.LSTM(3, 4, num_layers=2)
    >>> (h, c), _ = rnnkit.states.to_layers(lstm.initial_state(5))
    >>> h.shape
    torch.Size([5, 4])
    """
    tensors = pytree.tree_leaves(map_state(_checked_rows, state))
    if not tensors or tensors[0] is None:
        return state
    axis = 1 if state_batch_first else 0
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if len({shape[axis] for shape in shapes}) > 1:
        sentence = "to_layers requires h and c with the same number of layers * directions"
        came = f"got {', '.join(map(str, shapes))}"
        fix = "pass the pair (h, c) that one layer returned"
        refuse(StateError, "state", sentence, came, fix=fix, code="to-layers-rows")
    rows = range(shapes[0][axis])
    return tuple([map_state(partial(Tensor.select, dim=axis, index=row), state) for row in rows])


def _checked_rows(tensor: Tensor) -> Tensor:
    """Return a tensor of a layer's state as it is, or raise a StateError if it has not 3 axes."""
    if tensor.dim() != BATCHED:
        sentence = "to_layers requires a layer's state, (layers * directions, batch, hidden)"
        fix = "pass the state that a layer returned for a batch"
        refuse_axes(tensor, sentence, f"got {tuple(tensor.shape)}", fix=fix, code="to-layers-axes")
    return tensor


@known_options
def bridge(
    state: State, how: Literal["concat", "sum"] = "concat", *, state_batch_first: bool = False
) -> State:
    """Convert a bidirectional encoder's state for a decoder that runs in one direction.

    The state is ``(layers * 2, batch, hidden)``. ``how="concat"`` puts the two directions of each
    layer side by side, ``(layers, batch, 2 * hidden)``; ``how="sum"`` adds them, ``(layers, batch,
    hidden)``.
    Pass ``state_batch_first=True`` for a state whose layer has this option: its batch is on axis 0.

    Do not pass the state of a unidirectional layer. With an even number of layers it has the same
    shape, so rnnkit cannot detect this mistake.

    Raises:
        StateError: if a tensor does not have 3 axes, or its number of rows (layers times
            directions) is odd.
        ArgumentError: if ``how`` is neither ``"concat"`` nor ``"sum"``.

    >>> _, state = rnnkit.GRU(3, 4, bidirectional=True)(torch.ones(7, 5, 3))
    >>> rnnkit.states.bridge(state).shape
    torch.Size([1, 5, 8])
    """
    if how not in ("concat", "sum"):
        refuse(
            ArgumentError,
            "how",
            f"how must be 'concat' or 'sum', got {brief(how)}",
            fix="how='concat' to put the directions side by side, or how='sum' to add them",
            code="bridge-how",
        )

    def join(tensor: Tensor) -> Tensor:
        rows = 1 if state_batch_first else 0
        if tensor.dim() != BATCHED or tensor.shape[rows] % 2:
            _refuse_rows(tensor, how, rows)
        pairs: Tensor = tensor.unflatten(rows, (-1, 2))  # type: ignore[no-untyped-call]
        forward, backward = pairs.unbind(rows + 1)
        return forward + backward if how == "sum" else torch.cat([forward, backward], dim=-1)

    return map_state(join, state)


def _refuse_rows(tensor: Tensor, how: str, axis: int) -> NoReturn:
    """Raise a StateError for a state without two rows for each layer, as two directions have.

    ``axis``, 0 or 1, is the one that should have the rows, and ``how`` is the caller's argument,
    for the fix. Where the other of the two axes could have them, a second fix says how to pass the
    state if its axes are in the other order.
    """
    shape = tuple(tensor.shape)
    orders = ("(layers * 2, batch, hidden)", "(batch, layers * 2, hidden)")
    fixes = ["pass the state as it is, if its layer is unidirectional"]
    if len(shape) == BATCHED and shape[1 - axis] % 2 == 0:
        option = "" if axis else ", state_batch_first=True"
        bridged = f"rnnkit.states.bridge(state, {how!r}{option})"
        fixes.insert(0, f"{bridged}, if it is {orders[1 - axis]}")
    sentence = f"bridge requires a bidirectional layer's state, with rows for both: {orders[axis]}"
    refuse_axes(tensor, sentence, f"got {shape}", fix=fixes, code="bridge-rows")
