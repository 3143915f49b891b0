"""The guards: whether a call fits, as the completed state or MISFIT; they explain nothing.

Plain Python on sizes, which costs next to nothing and which ``torch.compile`` traces. They must be
exact: torch's checks of the same things are off. What does not fit goes to ``diagnosis.diagnose``.
"""

import enum
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import proj_size_of, state_rows
from rnnkit._base.state import PAIR, filled, has_missing_part, layers_first, zeros
from rnnkit._base.torch_tools import is_jit_traced, lacks_values, values_are_abstract
from rnnkit._checks.call_spec import (
    SEQUENCE,
    SEQUENCES,
    dtypes_agree,
    is_autocast,
    is_dense,
    packed_batch,
)
from rnnkit._checks.objects import has_batch, is_callable_cell, is_state_of_layer, tensors_in


class Misfit(enum.Enum):
    """The result of a guard where a call does not fit: a type of its own, and one constant."""

    MISFIT = enum.auto()


MISFIT: Final = Misfit.MISFIT

#: A state as torch's class takes it, its pair complete; None is zeros. The pair is not spelled out,
#: since what checks annotations then draws one of it at random, which no compiler traces.
State: TypeAlias = Tensor | tuple[Any, ...] | None

#: What torch's index_select takes.
INDEX_DTYPES = (torch.int64, torch.int32)


def fitting_layer(layer: Any, input: Any, hx: Any, weight: Tensor | None) -> State | Misfit:
    """Return the state of a layer's call as torch's layer takes it, its pair complete, or MISFIT.

    That state is None, for zeros, or has its layers first. ``weight``, the layer's first, is None
    where torch's forward runs, with overridden checks: a padded input is then not checked here.
    """
    if is_jit_traced() or (weight is None and isinstance(input, Tensor)):
        # Under a tracer sizes are tensors: a comparison would be recorded, with a warning.
        state: State = completed(layer, hx)
        if state is not None and layer.state_batch_first:
            state = layers_first(state)
        return state
    if isinstance(input, PackedSequence):
        return _fitting_packed(layer, input, hx, weight)
    axes = _axes_of(input, batch_first=layer.batch_first)
    if axes is None:
        return MISFIT
    seq, samples, width = axes
    if seq == 0 or width != layer.input_size or not _is_like(input, weight):
        return MISFIT
    return _state_of_layer(layer, hx, samples, input)


def _fitting_packed(
    layer: Any, input: PackedSequence, hx: Any, weight: Tensor | None
) -> State | Misfit:
    """Return the state of a layer's call on packed input, layers first, or MISFIT; None is zeros.

    ``weight`` is the layer's first, or None if dtype and device need not be compared.
    """
    if broken_rule(input):
        return MISFIT
    shape = _dense_shape(input.data)
    if len(shape) != SEQUENCE or shape[0] == 0 or shape[1] != layer.input_size:
        return MISFIT
    if not _is_like(input.data, weight):
        return MISFIT
    samples = () if hx is None else (packed_batch(input),)
    return _state_of_layer(layer, hx, samples, input.data)


def _state_of_layer(layer: Any, hx: Any, samples: tuple[int, ...], like: Tensor) -> State | Misfit:
    """Return a layer's state, layers first, or MISFIT; None is zeros, and stays so.

    ``samples`` is ``(batch,)``, or empty for an unbatched input, whose state has no batch axis; the
    state must have the dtype and the device of the tensor ``like``.
    """
    if hx is None:
        return None
    rows = state_rows(layer)
    if not layer.state_batch_first:
        return fitting_state(layer, hx, (rows, *samples), like)
    state = fitting_state(layer, hx, (*samples, rows), like)
    return MISFIT if state is MISFIT else layers_first(state)


def _axes_of(input: Any, *, batch_first: bool) -> tuple[int, tuple[int, ...], int] | None:
    """Return an input's seq, its ``(batch,)`` or ``()`` if unbatched, and its number of features.

    None is returned if it is no dense tensor of two or three axes.
    """
    shape = _dense_shape(input)
    if len(shape) == SEQUENCE:
        seq, width = shape
        return seq, (), width
    if len(shape) != SEQUENCES:
        return None
    first, second, width = shape
    if batch_first:
        return second, (first,), width
    return first, (second,), width


def _dense_shape(tensor: Any) -> torch.Size:
    """Return the shape of a tensor that stores its numbers in strides; else (), which fits none."""
    return tensor.shape if is_dense(tensor) else torch.Size()


def fitting_cell(cell: Any, input: Any, hx: Any, weight: Tensor | None) -> State | Misfit:
    """Return the state of a cell's call, its pair complete, or MISFIT; None is zeros.

    The input is ``(batch, input_size)`` or ``(input_size,)``. ``weight`` is one of the cell's, or
    None if dtype and device need not be compared.
    """
    if is_jit_traced():
        return completed(cell, hx)  # type: ignore[no-any-return]
    shape = _dense_shape(input)
    if len(shape) not in (1, 2) or shape[-1] != cell.input_size or not _is_like(input, weight):
        return MISFIT
    if hx is None:
        return None
    samples = (shape[0],) if len(shape) == 2 else ()
    return fitting_state(cell, hx, samples, input, any_c=True)


def fitting_unrolled(
    cell: Any, input: Any, hx: Any, weight: Tensor | None, *, batch_first: bool
) -> Any | Misfit:
    """Return the state of a cell over a sequence, its pair complete, or MISFIT; None is zeros.

    ``weight`` is None of a user's cell, whose widths are not known: then only the batch is
    compared.
    """
    axes = _axes_of(input, batch_first=batch_first)
    if axes is None:
        return MISFIT
    seq, samples, width = axes
    if seq == 0:
        return MISFIT
    if weight is None:
        if hx is not None and samples and not _is_state_of_users(cell, hx, *samples):
            return MISFIT
        return hx if is_callable_cell(cell) else MISFIT
    if width != cell.input_size or not _is_like(input, weight):
        return MISFIT
    return None if hx is None else fitting_state(cell, hx, samples, input)


def _is_state_of_users(cell: Any, hx: Any, batch: int) -> bool:
    """Return whether each tensor of a user's state has the batch on axis 0.

    Only of torch's cells may the state be without any tensor.
    """
    has_tensors = isinstance(cell, torch.nn.RNNCellBase) or bool(tensors_in(hx))
    return has_tensors and has_batch(hx, batch)


def fitting_state(
    module: Any, hx: Any, front: tuple[int, ...], like: Tensor, *, any_c: bool = False
) -> State | Misfit:
    """Return a state, a tensor or an LSTM's pair without None in it, or MISFIT if it does not fit.

    ``front`` are the sizes of its axes before the features, and ``like`` is the input, whose dtype
    and device it must have. With ``any_c``, as torch's LSTMCell, c may have a dtype of its own.
    """
    shape = (*front, module.hidden_size)
    dtype = like.dtype
    device = like.device
    if len(module.__rnnkit__.state_names) == 1:
        return hx if _is_state(hx, shape, dtype, device) else MISFIT
    if not isinstance(hx, (tuple, list)) or len(hx) != PAIR:
        return MISFIT
    h, c = hx
    proj_size = proj_size_of(module)
    h_shape = (*front, proj_size) if proj_size else shape
    if h is not None and not _is_state(h, h_shape, dtype, device):
        return MISFIT
    c_dtype = c.dtype if has_own_dtype(c, dtype, is_cell=any_c) else dtype
    if c is not None and not _is_state(c, shape, c_dtype, device):
        return MISFIT
    if h is None or c is None:
        h, c = filled(hx, zeros(module, like, *front))
    return h, c


def _is_state(
    tensor: Any, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> bool:
    """Return whether this is a dense tensor of a shape and device, whose dtype a kernel takes."""
    return (
        is_dense(tensor)
        and tensor.shape == shape
        and (tensor.dtype is dtype or dtypes_agree(tensor, dtype))
        and tensor.device == device
    )


def has_own_dtype(c: Any, dtype: torch.dtype, *, is_cell: bool) -> bool:
    """Return whether torch's kernel takes this c beside an input of a different dtype.

    A cell's does; a layer's does for float64 under autocast, since c is only multiplied.
    """
    if not isinstance(c, Tensor) or not c.is_floating_point() or c.device.type != "cpu":
        return False
    return is_cell or (dtype is torch.float64 and is_autocast(c))


def _is_like(tensor: Tensor, weight: Tensor | None) -> bool:
    """Return whether a kernel takes an input beside a weight, if that is known."""
    if weight is None:
        return True
    fits = tensor.dtype is weight.dtype or dtypes_agree(tensor, weight.dtype)
    return fits and tensor.device == weight.device


def completed(module: Any, hx: Any) -> Any:
    """Return a state with zeros for a None in an LSTM's pair, as a tracer must see them.

    Their sizes come from the other one of the pair; if both are None, so is the state.
    """
    is_pair = isinstance(hx, (tuple, list)) and len(hx) == PAIR
    if len(module.__rnnkit__.state_names) == 1 or not is_pair or not has_missing_part(hx):
        return hx
    given = hx[0] if hx[1] is None else hx[1]
    return None if given is None else filled(hx, zeros(module, given, *given.shape[:-1]))


def fitting_states(cells: list[Any], hx: Any) -> Sequence[Any] | Misfit:
    """Return one state for each cell of a ``Recurrent``, or MISFIT; of None, None for each.

    MISFIT is also returned of a layer's state, which has the states of all cells on its first axis.
    """
    if hx is None:
        return [None] * len(cells)
    if not isinstance(hx, tuple | list) or len(hx) != len(cells):
        return MISFIT
    # A user's cell may have a state of three axes.
    known = all(isinstance(cell, torch.nn.RNNCellBase) for cell in cells)
    return MISFIT if known and is_state_of_layer(hx, len(cells)) else hx


def broken_rule(input: PackedSequence) -> str:
    """Return the rule that the fields of packed input break, in words; "" if they break none.

    Values are read on the CPU only, and not under a tracer.
    """
    data, sizes, order, back = input
    if not isinstance(data, Tensor):
        return "data must be a Tensor"
    if not _is_vector(sizes) or sizes.dtype is not torch.int64 or not sizes.is_cpu:
        return "batch_sizes must be an int64 Tensor of shape (steps,), on the CPU"
    if not sizes.is_contiguous():  # torch would read other memory
        return "batch_sizes must be contiguous in memory, as batch_sizes.contiguous() is"
    if not _is_index(order, data) or not _is_index(back, data):
        return "sorted_indices, unsorted_indices must be int64 or int32 (batch,) on data's device"
    if values_are_abstract() or lacks_values(sizes):
        return ""
    counts = sizes.tolist()
    if not counts or counts[-1] < 1 or sorted(counts, reverse=True) != counts:
        return "batch_sizes must not be empty, must never increase, and must stay above 0"
    if data.dim() and sum(counts) != data.shape[0]:
        return f"batch_sizes count {sum(counts)} steps, but data has {data.shape[0]}"
    return _rule_of_order(order, back, counts[0])


def _is_index(index: Any, data: Tensor) -> bool:
    """Return whether torch's index_select takes this beside the data; None selects nothing."""
    if index is None:
        return True
    return _is_vector(index) and index.dtype in INDEX_DTYPES and index.device == data.device


def _is_vector(value: Any) -> bool:
    """Return whether this is a dense tensor of one axis."""
    return is_dense(value) and value.dim() == 1


def _rule_of_order(order: Tensor | None, back: Tensor | None, batch: int) -> str:
    """Return the rule that the orders of packed sequences break, in words; "" if they break none.

    ``order`` sorts the sequences and ``back`` undoes it, both ``(batch,)``; None is the order as it
    is.
    """
    if order is None:  # torch takes any positions back, and checks them
        return ""
    rule = f"sorted_indices must order all {batch} sequences, and unsorted_indices must undo it"
    # Not by len(): of a tensor that is a function in Python, which takes as long as all the rest.
    if back is None or not order.shape == back.shape == (batch,):
        return rule
    if not order.is_cpu:
        return ""
    places = order.tolist()
    inverse = back.tolist()
    ends = list(range(batch))
    fits = sorted(places) == ends and [inverse[place] for place in places] == ends
    return "" if fits else rule
