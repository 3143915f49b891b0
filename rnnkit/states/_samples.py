"""A state's samples: picked, repeated, joined, reset; or all of it moved."""

from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, DeviceError, DtypeError, StateError
from rnnkit._base.message import Row, brief, refuse, wanted
from rnnkit._base.state import BATCHED, filled, map_state
from rnnkit._checks.arguments import known_options
from rnnkit._checks.arrays import positions_of
from rnnkit._checks.constructors import check_count
from rnnkit._checks.mask_checks import as_mask
from rnnkit._checks.objects import listed_states

State = TypeVar("State", bound=Tensor | tuple[Any, ...] | None)


def refuse_axes(
    tensor: Tensor, sentence: str, why: str, *rows: Row, axes: int = BATCHED, **options: Any
) -> NoReturn:
    """Raise a StateError for a tensor of a state with wrong axes or a wrong size of one of them.

    ``sentence`` says what is taken and ``why`` what came; ``rows`` are further lines of the
    message, a label and a text each. ``axes`` is how many axes the tensor should have; ``options``
    are those of ``refuse``: the error's ``code``, and a ``fix``.
    """
    sizes: Any = {"expected": (None,) * axes, "actual": tuple(tensor.shape)}
    refuse(StateError, "state", sentence, why, *rows, **sizes, **options)


def batch_axis(tensor: Tensor, state_batch_first: bool) -> int:
    """Return the batch axis of one tensor of a state, 0 or 1; refuse a rank that no state has.

    Three axes are a layer's, ``(layers * directions, batch, hidden)``, or ``(batch, layers *
    directions, hidden)`` with ``state_batch_first``; two are a cell's, ``(batch, hidden)``.
    """
    if tensor.dim() not in (2, BATCHED):
        sentence = f"a state must have 2 or 3 axes, got {tensor.dim()}"
        row = (
            "state",
            wanted(
                "(layers * directions, batch, hidden) or (batch, hidden)", f"{tuple(tensor.shape)}"
            ),
        )
        why = "rnnkit.states finds the batch axis from the number of axes"
        refuse_axes(tensor, sentence, why, row, code="state-axes")
    return 1 if tensor.dim() == BATCHED and not state_batch_first else 0


def check_alike(name: str, tensors: Sequence[Tensor]) -> None:
    """Raise a DeviceError unless tensors are on one device; shapes and dtypes are not compared.

    ``name`` is the public function that was called.
    """
    devices = [str(tensor.device) for tensor in tensors]
    if len({*devices}) > 1:
        sentence = f"{name} requires states on one device, got {', '.join(devices)}"
        fix = f"rnnkit.states.to(state, {devices[0]!r}), for each state"
        refuse(DeviceError, "states", sentence, fix=fix, code="states-device")


def detach(state: State) -> State:
    """Return a state without its autograd graph, for training on windows of a long sequence.

    Call it between two windows: gradients of the second one then end at its start.

    >>> _, state = rnnkit.GRU(3, 4)(torch.ones(7, 2, 3))
    >>> rnnkit.states.detach(state).requires_grad
    False
    """
    return map_state(Tensor.detach, state)


def to(state: State, *args: Any, **kwargs: Any) -> State:
    """Return a state on another device or in another dtype.

    The arguments after ``state`` are those of ``Tensor.to``.

    >>> state = rnnkit.states.to(rnnkit.LSTM(3, 4).initial_state(2), torch.float64)
    >>> state.h.dtype
    torch.float64
    """
    return map_state(lambda tensor: tensor.to(*args, **kwargs), state)


@known_options
def select(
    state: State, index: Tensor | Sequence[int] | slice, *, state_batch_first: bool = False
) -> State:
    """Pick samples of a state, or reorder them, for example for beam search.

    ``state`` is a tensor or a tuple of tensors: ``(layers * directions, batch, hidden)`` of a
    layer, or ``(batch, hidden)`` of a cell. ``index`` selects along the batch axis: a list or
    tensor of positions, which may repeat; a boolean mask ``(batch,)``; or a slice with a positive
    step.

    Pass ``state_batch_first=True`` for a state whose layer has this option: its batch is on axis 0.

    Raises:
        ArgumentError: if ``index`` is none of these, or has a position out of range. Positions on a
            GPU are not checked: there, one that is out of range triggers a device-side assert.
        StateError: if a tensor of the state does not have 2 or 3 axes.

    >>> _, state = rnnkit.GRU(3, 4)(torch.ones(7, 5, 3))
    >>> rnnkit.states.select(state, [4, 0, 0]).shape
    torch.Size([1, 3, 4])
    """

    def pick(tensor: Tensor) -> Tensor:
        axis = batch_axis(tensor, state_batch_first)
        batch = tensor.shape[axis]
        if isinstance(index, slice):
            return tensor[(slice(None),) * axis + (index,)]
        return tensor.index_select(axis, positions_of(index, batch, tensor.device))

    return map_state(pick, state)


@known_options
def repeat(state: State, times: int, *, state_batch_first: bool = False) -> State:
    """Repeat each sample ``times`` times, for example once for each beam of a beam search.

    Samples s0, s1 become s0, s0, s1, s1, as with ``torch.repeat_interleave``. ``state`` is a tensor
    or a tuple of tensors: ``(layers * directions, batch, hidden)`` of a layer, or ``(batch,
    hidden)`` of a cell.
    Pass ``state_batch_first=True`` for a state whose layer has this option: its batch is on axis 0.

    Raises:
        ArgumentError: if ``times`` is not an integer of at least 0.
        StateError: if a tensor of the state does not have 2 or 3 axes.

    >>> h = torch.tensor([[1.0], [2.0]])
    >>> rnnkit.states.repeat(h, 2).flatten().tolist()
    [1.0, 1.0, 2.0, 2.0]
    """
    check_count("times", times, code="repeat-times", fix="times=3, for three copies of each sample")

    def interleave(tensor: Tensor) -> Tensor:
        axis = batch_axis(tensor, state_batch_first)
        return tensor.repeat_interleave(times, dim=axis)

    return map_state(interleave, state)


@known_options
def expand(state: State, batch_size: int | None, *, state_batch_first: bool = False) -> State:
    """Expand the state of one sample to a batch, for example a learned initial state.

    ``state`` is a layer's ``(layers * directions, 1, hidden)`` or a cell's ``(1, hidden)``. In the
    result, ``batch_size`` replaces the 1; with ``batch_size`` None, the axis is removed. A state
    that already has ``batch_size`` samples does not change. The result may share memory with
    ``state``.

    Pass ``state_batch_first=True`` for a state whose layer has this option: its batch is on axis 0.

    Raises:
        ArgumentError: if ``batch_size`` is neither None nor an integer of at least 0.
        StateError: if a tensor of the state has neither 1 nor ``batch_size`` samples.

    >>> h0 = torch.nn.Parameter(torch.zeros(2, 1, 4))
    >>> rnnkit.states.expand(h0, 5).shape
    torch.Size([2, 5, 4])
    """
    if batch_size is not None:
        check_count(
            "batch_size", batch_size, code="expand-size", fix="batch_size=5, for five samples"
        )

    def widen(tensor: Tensor) -> Tensor:
        axis = batch_axis(tensor, state_batch_first)
        batch = tensor.shape[axis]
        if batch_size is None and batch == 1:
            return tensor.squeeze(axis)
        if batch_size is None or batch not in (1, batch_size):
            sentence = f"expand requires the state of one sample, got shape {tuple(tensor.shape)}"
            headline = f"axis {axis} is the batch axis, and its size is {batch}"
            fix = "rnnkit.states.select(state, [0]), for the state of the first sample"
            if tensor.dim() < BATCHED:
                fix = "state.unsqueeze(1), if it is (layers * directions, hidden)"
            axes = tensor.dim()
            refuse_axes(tensor, sentence, headline, fix=fix, axes=axes, code="expand-batch")
        sizes = [-1] * tensor.dim()
        sizes[axis] = batch_size
        # cuDNN takes a state in one piece only.
        return tensor.expand(sizes).contiguous()

    return map_state(widen, state)


@known_options
def cat(states: Sequence[State], *, state_batch_first: bool = False) -> State:
    """Join a list of states along the batch axis into the state of one larger batch.

    Each state is a tensor, or an LSTM's pair ``(h, c)``. A tensor is ``(layers * directions, batch,
    hidden)`` of a layer, or ``(batch, hidden)`` of a cell. Only the batch sizes may differ. If all
    states are None, the result is None.
    Pass ``state_batch_first=True`` for a state whose layer has this option: its batch is on axis 0.

    Raises:
        ArgumentError: if ``states`` is empty or not a list, or mixes tensors, pairs and None.
        StateError: if the states differ in structure, or in the size of another axis.
        DtypeError, DeviceError: if the states differ in dtype or device.

    >>> gru = rnnkit.GRU(3, 4)
    >>> rnnkit.states.cat([gru.initial_state(5), gru.initial_state(2)]).shape
    torch.Size([1, 7, 4])
    """
    listed = listed_states("cat", states)

    def join(*tensors: Tensor) -> Tensor:
        return _joined(tensors, batch_axis(tensors[0], state_batch_first))

    return map_state(join, *listed)  # type: ignore[no-any-return]


def _joined(tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Join tensors along their batch axis, or refuse those that differ in more than its size.

    Raises a StateError for other shapes, a DeviceError or DtypeError for other devices or dtypes.
    """
    shapes = [tuple(tensor.shape) for tensor in tensors]
    others = [(*shape[:axis], *shape[axis + 1 :]) for shape in shapes]
    if any(other != others[0] for other in others):
        sentence = "cat requires states that differ only in their batch size"
        came = f"their shapes are {', '.join(map(str, shapes))}, and the batch axis is {axis}"
        refuse(
            StateError,
            "states",
            sentence,
            came,
            fix="pass states that one layer, or one cell, returned",
            code="cat-sizes",
        )
    check_alike("cat", tensors)
    dtypes = [str(tensor.dtype) for tensor in tensors]
    if len({*dtypes}) > 1:
        sentence = f"cat requires states of one dtype, got {', '.join(dtypes)}"
        fix = f"rnnkit.states.to(state, {dtypes[0]}), for each state"
        refuse(DtypeError, "states", sentence, fix=fix, code="states-dtype")
    return torch.cat([*tensors], dim=axis)


@known_options
def reset(
    state: State,
    mask: Tensor | Sequence[bool] | Sequence[int],
    initial: Any = None,
    *,
    state_batch_first: bool = False,
) -> State:
    """Reset the state of some samples, for example where an episode has ended.

    ``mask``, booleans or 0 and 1 of shape ``(batch,)``, is true for the samples to reset. They get
    their state from ``initial``, which has the same shape as ``state``, or zeros if it is None.
    The other samples keep their state.
    Pass ``state_batch_first=True`` for a state whose layer has this option: its batch is on axis 0.

    Raises:
        ArgumentError: if ``mask`` does not have one flag for each sample, or holds other values
            than 0 and 1; if ``initial`` has another shape, dtype or device than ``state``.
        StateError: if only one of ``state`` and ``initial`` is a pair.

    >>> h = torch.ones(3, 1)
    >>> rnnkit.states.reset(h, torch.tensor([0, 1, 0])).flatten().tolist()
    [1.0, 0.0, 1.0]
    """

    def renew(tensor: Tensor, fresh: Any) -> Tensor:
        axis = batch_axis(tensor, state_batch_first)
        _check_like(tensor, fresh, axis)
        shape = [1] * tensor.dim()
        shape[axis] = tensor.shape[axis]
        flags = as_mask("mask", mask, (tensor.shape[axis],), tensor.device).view(shape)
        return torch.where(flags, fresh, tensor)

    state = filled(state, map_state(torch.zeros_like, initial))
    return map_state(renew, state, filled(initial, map_state(torch.zeros_like, state)))


def _check_like(tensor: Tensor, initial: Tensor, axis: int) -> None:
    """Raise an ArgumentError unless ``initial`` has the shape, dtype and device of a tensor.

    The tensor is a state's, and ``axis`` is its batch axis. The error names what differs, and how
    to repair it: by moving, by casting, or by giving every sample the state of one.
    """
    shape = tensor.shape
    dtype = tensor.dtype
    device = tensor.device
    if (initial.shape, initial.dtype, initial.device) == (shape, dtype, device):
        return
    wanted = f"have the shape and dtype of state, {tuple(shape)} and {dtype}"
    came = f"{tuple(initial.shape)} and {initial.dtype}"
    if initial.shape == shape and initial.dtype == dtype:
        wanted = f"be on the device of state, {device}"
        came = f"{initial.device}"
        fix = f"rnnkit.states.to(initial, {str(device)!r})"
        if initial.is_meta:  # it has no numbers to move
            fix = f"pass an initial state that is made on {str(device)!r}"
    elif initial.shape == shape:
        fix = f"rnnkit.states.to(initial, {dtype})"
    elif initial.shape == (*shape[:axis], 1, *shape[axis + 1 :]):
        fix = f"rnnkit.states.expand(initial, {shape[axis]}), if all samples start from it"
    else:
        came = brief(initial)
        fix = f"pass an initial state of shape {tuple(shape)}"
    sentence = f"initial must {wanted}; got {came}"
    refuse(ArgumentError, "initial", sentence, fix=fix, code="initial-shape")
