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

from rnnkit._base.class_facts import proj_size_of
from rnnkit._base.state import PAIR, filled, has_missing_part, layers_first, zeros
from rnnkit._base.torch_tools import is_fake, is_jit_traced, values_are_abstract
from rnnkit._checks.call_spec import SEQUENCE, SEQUENCES, dtypes_agree, is_autocast, packed_batch
from rnnkit._checks.objects import has_batch, is_callable_cell, is_state_of_layer


class Misfit(enum.Enum):
    """The result of a guard where a call does not fit: a type of its own, and one constant."""

    MISFIT = enum.auto()


MISFIT: Final = Misfit.MISFIT

#: A state as torch's class takes it, its pair complete; None is zeros. The pair is not spelled out,
#: since what checks annotations then draws one of it at random, which no compiler traces.
State: TypeAlias = Tensor | tuple[Any, ...] | None

STRIDED = torch.strided
#: The number of packed sequences where no value may be read.
UNREAD = -1
#: What torch's index_select takes.
INDEX_DTYPES = (torch.int64, torch.int32)


def fitting_layer(layer: Any, input: Any, hx: Any, weight: Tensor | None) -> State | Misfit:
    """Return the state of a layer's call as torch's layer takes it, its pair complete, or MISFIT.

    ``weight``, the layer's first, is None where torch's forward runs, with overridden checks.
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
    if axes is None or input.is_nested:
        return MISFIT
    seq, samples, width = axes
    if seq == 0 or width != layer.input_size or not _is_like(input, weight):
        return MISFIT
    return _state_of_layer(layer, hx, samples, input)


def _fitting_packed(
    layer: Any, input: PackedSequence, hx: Any, weight: Tensor | None
) -> State | Misfit:
    """Return the state of a layer's call on packed input, or MISFIT."""
    batch = fitting_fields(input, has_state=hx is not None)
    if isinstance(batch, str):
        return MISFIT
    shape = _dense_shape(input.data)
    if len(shape) != SEQUENCE or shape[0] == 0 or shape[1] != layer.input_size:
        return MISFIT
    if not _is_like(input.data, weight):
        return MISFIT
    if hx is not None and batch == UNREAD:
        batch = packed_batch(input)
    return _state_of_layer(layer, hx, (batch,), input.data)


def _state_of_layer(layer: Any, hx: Any, samples: tuple[int, ...], like: Tensor) -> State | Misfit:
    """Return a layer's state, layers first, or MISFIT; ``samples`` is ``(batch,)``, or empty."""
    if hx is None:
        return None
    rows = layer.num_layers * 2 if layer.bidirectional else layer.num_layers
    if not layer.state_batch_first:
        return fitting_state(layer, hx, (rows, *samples), like)
    state = fitting_state(layer, hx, (*samples, rows), like)
    return MISFIT if state is MISFIT else layers_first(state)


def _axes_of(input: Any, *, batch_first: bool) -> tuple[int, tuple[int, ...], int] | None:
    """Return seq, ``(batch,)`` or ``()``, and feature of an input; None if it has no such axes."""
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


def _dense_shape(tensor: Any) -> tuple[int, ...]:
    """Return the shape of a tensor that stores its numbers in strides; else (), which fits none."""
    if not isinstance(tensor, Tensor) or tensor.layout is not STRIDED:
        return ()
    try:
        return tensor.shape
    except RuntimeError:  # a nested tensor has none
        return ()


def fitting_cell(cell: Any, input: Any, hx: Any, weight: Tensor | None) -> State | Misfit:
    """Return the state of a cell's call, its pair complete, or MISFIT; a weight may be unknown."""
    if is_jit_traced():
        state: State = completed(cell, hx)
        return state
    if not isinstance(input, Tensor):
        return MISFIT
    try:
        shape = input.shape
    except RuntimeError:  # a nested tensor has none
        return MISFIT
    if len(shape) not in (1, 2) or shape[-1] != cell.input_size or not _is_like(input, weight):
        return MISFIT
    if hx is None:
        return None
    samples = (shape[0],) if len(shape) == 2 else ()
    return fitting_state(cell, hx, samples, input, any_c=True)


def fitting_unrolled(
    cell: Any, input: Any, hx: Any, weight: Tensor | None, *, batch_first: bool
) -> Any | Misfit:
    """Return the state of a cell over a sequence, complete, or MISFIT; a user's has no weight."""
    axes = _axes_of(input, batch_first=batch_first)
    if axes is None or input.is_nested:
        return MISFIT
    seq, samples, width = axes
    if seq == 0:
        return MISFIT
    if weight is None:
        fits = hx is None or samples == () or has_batch(hx, *samples)
        return hx if fits and is_callable_cell(cell) else MISFIT
    if width != cell.input_size or not _is_like(input, weight):
        return MISFIT
    return None if hx is None else fitting_state(cell, hx, samples, input)


def fitting_state(
    module: Any, hx: Any, front: tuple[int, ...], like: Tensor, *, any_c: bool = False
) -> State | Misfit:
    """Return a state like the input, its pair complete, or MISFIT; a cell takes ``any_c``."""
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
    # Most are like h; the others are asked more.
    is_like_h = c is None or _is_state(c, shape, dtype, device)
    if not is_like_h and not _is_own_c(c, shape, like, any_c=any_c):
        return MISFIT
    if h is None or c is None:
        h, c = filled(hx, zeros(module, like, *front))
    return h, c


def _is_state(
    tensor: Any, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> bool:
    """Return whether this is a dense tensor of a shape and device, whose dtype a kernel takes."""
    try:
        return (
            isinstance(tensor, Tensor)
            and tensor.layout is STRIDED
            and tensor.shape == shape
            and (tensor.dtype is dtype or dtypes_agree(tensor, dtype))
            and tensor.device == device
        )
    except RuntimeError:  # a nested tensor has no shape
        return False


def _is_own_c(c: Any, shape: tuple[int, ...], like: Tensor, *, any_c: bool) -> bool:
    """Return whether this is a c of a dtype of its own that torch takes."""
    if not isinstance(c, Tensor) or not has_own_dtype(c, like.dtype, is_cell=any_c):
        return False
    return _is_state(c, shape, c.dtype, like.device)


def _is_like(tensor: Tensor, weight: Tensor | None) -> bool:
    """Return whether a kernel takes an input beside a weight, if that is known."""
    if weight is None:
        return True
    fits = tensor.dtype is weight.dtype or dtypes_agree(tensor, weight.dtype)
    return fits and tensor.device == weight.device


def has_own_dtype(c: Tensor, dtype: torch.dtype, *, is_cell: bool) -> bool:
    """Return whether torch's kernel takes this c beside an input of a different dtype.

    A cell's does; a layer's does for float64 under autocast, since c is only multiplied.
    """
    own = is_cell or (dtype is torch.float64 and is_autocast(c))
    return own and c.is_floating_point() and c.device.type == "cpu"


def completed(module: Any, hx: Any) -> Any:
    """Complete a pair by zeros as a tracer must see them: their sizes come from the other one."""
    is_pair = isinstance(hx, (tuple, list)) and len(hx) == PAIR
    if len(module.__rnnkit__.state_names) == 1 or not is_pair or not has_missing_part(hx):
        return hx
    given = hx[0] if hx[1] is None else hx[1]
    return None if given is None else filled(hx, zeros(module, given, *given.shape[:-1]))


def fitting_states(cells: list[Any], hx: Any) -> Sequence[Any] | Misfit:
    """Return one state for each cell of a ``Recurrent``, or MISFIT; of None, None for each."""
    if hx is None:
        return [None] * len(cells)
    if not isinstance(hx, tuple | list) or len(hx) != len(cells):
        return MISFIT
    # A user's cell may have a state of three axes.
    known = all(isinstance(cell, torch.nn.RNNCellBase) for cell in cells)
    return MISFIT if known and is_state_of_layer(hx, len(cells)) else hx


def fitting_fields(input: PackedSequence, *, has_state: bool) -> int | str:
    """Return how many sequences are packed, UNREAD if values may not be read, or the broken rule.

    Values are read on the CPU only; ``sorted_indices`` order a state, if there is one.
    """
    rule = _rule_of_types(input)
    if rule:
        return rule
    data, sizes, order, back = input
    if values_are_abstract() or is_fake(sizes):
        return UNREAD
    counts = sizes.tolist()
    if not counts or counts[-1] < 1 or sorted(counts, reverse=True) != counts:
        return "batch_sizes must fall from the number of sequences, and be 1 or more"
    if data.dim() and sum(counts) != data.shape[0]:
        return f"batch_sizes count {sum(counts)} steps, the data have {data.shape[0]}"
    batch: int = counts[0]
    return _rule_of_order(order, back, batch, has_state=has_state) or batch


def _rule_of_types(input: PackedSequence) -> str:
    """Return the rule that the fields break by what they are, or nothing."""
    data, sizes, order, back = input
    if not isinstance(data, Tensor):
        return "data must be a Tensor"
    if not _is_vector(sizes) or sizes.dtype is not torch.int64 or not sizes.is_cpu:
        return "batch_sizes must be a Tensor (steps,) of int64, on the CPU"
    if not sizes.is_contiguous():  # torch would read other memory
        return "batch_sizes must lie in one piece, as batch_sizes.contiguous() does"
    for index in (order, back):
        if index is None:
            continue
        is_taken = _is_vector(index) and index.dtype in INDEX_DTYPES
        if not is_taken or index.device != data.device:
            return "sorted_indices, unsorted_indices must be int64 Tensors (batch,) beside the data"
    return ""


def _is_vector(value: Any) -> bool:
    """Return whether this is a dense tensor of one axis."""
    if not isinstance(value, Tensor) or value.is_nested or value.layout is not STRIDED:
        return False
    return value.dim() == 1


def _rule_of_order(order: Any, back: Any, batch: int, *, has_state: bool) -> str:
    """Return the rule that the indices of the order break, or nothing."""
    if order is None and back is None:
        return ""
    if order is None and not has_state:
        # Without a state torch brings only the last one back, with any places that there are.
        if not back.is_cpu or is_fake(back) or all(0 <= place < batch for place in back.tolist()):
            return ""
        return f"unsorted_indices must be positions among the {batch} sequences"
    if order is None or back is None:
        return "sorted_indices and unsorted_indices must come together"
    if len(order) != batch or len(back) != batch:
        return f"both indices must have one position for each of the {batch} sequences"
    if not order.is_cpu or is_fake(order) or is_fake(back):
        return ""
    places = order.tolist()
    inverse = back.tolist()
    ends = list(range(batch))
    if sorted(places) == ends and [inverse[place] for place in places] == ends:
        return ""
    return "unsorted_indices must undo sorted_indices, each position once"
