"""The guards: whether a call fits, as the completed state or MISFIT; they explain nothing.

Plain Python on sizes, which costs next to nothing and which ``torch.compile`` traces. They must be
exact: torch's checks of the same things are off. What does not fit goes to ``diagnosis.diagnose``.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import proj_size_of
from rnnkit._base.state import PAIR, filled, has_missing_part, layers_first, zeros
from rnnkit._base.torch_tools import is_fake, is_jit_traced, values_are_abstract
from rnnkit._checks.call_spec import SEQUENCE, SEQUENCES, agree, is_autocast, packed_batch
from rnnkit._checks.objects import has_batch, is_callable_cell, is_state_of_layer

#: What a guard returns of a call that does not fit: a constant, which every compiler compares.
MISFIT: Any = False
STRIDED = torch.strided


def fitting_layer(layer: Any, input: Any, hx: Any, weight: Tensor | None) -> Any:
    """Return the state of a layer's call as torch's layer takes it, its pair complete, or MISFIT.

    ``weight``, the layer's first, is None where torch's forward runs, with overridden checks.
    """
    if is_jit_traced() or (weight is None and isinstance(input, Tensor)):
        # Under a tracer sizes are tensors: a comparison would be recorded, with a warning.
        hx = completed(layer, hx)
        return layers_first(hx) if hx is not None and layer.state_batch_first else hx
    data: Any = input
    batched = SEQUENCES
    packed = 0
    if isinstance(input, PackedSequence):
        fields = fitting_fields(input, given=hx is not None)
        # torch takes memory in strides for a row; its own class gets a copy in one piece.
        if isinstance(fields, str) or not input.batch_sizes.is_contiguous():
            return MISFIT
        data = input.data
        batched = SEQUENCE
        packed = fields
    elif not isinstance(input, Tensor):
        return MISFIT
    try:
        shape = data.shape
    except RuntimeError:  # a nested tensor has none
        return MISFIT
    rank = len(shape)
    if not (
        rank in (batched, SEQUENCE)
        and shape[-1] == layer.input_size
        and shape[1 if rank == SEQUENCES and layer.batch_first else 0] != 0
        and data.layout is STRIDED
        and (weight is None or (weight.dtype is data.dtype and weight.device == data.device)
             or _is_like(data, weight))
    ):  # fmt: skip
        return MISFIT
    if hx is None:
        return None
    front: tuple[int, ...] = (layer.num_layers * 2 if layer.bidirectional else layer.num_layers,)
    if rank == SEQUENCES:
        front = (*front, shape[0 if layer.batch_first else 1])
    elif packed:
        front = (*front, packed if packed > 0 else packed_batch(input))
    by_batch = layer.state_batch_first
    state = fitting_state(layer, hx, front[::-1] if by_batch else front, data)
    return layers_first(state) if by_batch and state is not MISFIT else state


def fitting_cell(cell: Any, input: Any, hx: Any, weight: Tensor | None) -> Any:
    """Return the state of a cell's call, its pair complete, or MISFIT; a weight may be unknown."""
    if is_jit_traced():
        return completed(cell, hx)
    if not isinstance(input, Tensor):
        return MISFIT
    try:
        shape = input.shape
    except RuntimeError:  # a nested tensor has none
        return MISFIT
    if not (
        len(shape) in (2, 1)
        and shape[-1] == cell.input_size
        and (weight is None or (weight.dtype is input.dtype and weight.device == input.device)
             or _is_like(input, weight))
    ):  # fmt: skip
        return MISFIT
    if hx is None:
        return None
    front = (shape[0],) if len(shape) == 2 else ()
    return fitting_state(cell, hx, front, input, any_c=True)


def fitting_unrolled(
    cell: Any, input: Any, hx: Any, weight: Tensor | None, *, batch_first: bool
) -> Any:
    """Return the state of a cell over a sequence, complete, or MISFIT; a user's has no weight."""
    if not isinstance(input, Tensor) or input.is_nested or input.layout is not torch.strided:
        return MISFIT
    shape = input.shape
    batched = len(shape) == SEQUENCES
    if not (len(shape) in (SEQUENCE, SEQUENCES) and shape[1 if batched and batch_first else 0]):
        return MISFIT
    front = (shape[0 if batch_first else 1],) if batched else ()
    if weight is None:
        fits = is_callable_cell(cell) and (not batched or hx is None or has_batch(hx, *front))
        return hx if fits else MISFIT
    if shape[-1] != cell.input_size or not _is_like(input, weight):
        return MISFIT
    return None if hx is None else fitting_state(cell, hx, front, input)


def fitting_state(
    module: Any, hx: Any, front: tuple[int, ...], like: Tensor, *, any_c: bool = False
) -> Any:
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
    if not (
        (h is None or _is_state(h, h_shape, dtype, device))
        and (c is None or _is_state(c, shape, dtype, device)
             or (isinstance(c, Tensor) and has_own_dtype(c, dtype, is_cell=any_c)
                 and _is_state(c, shape, c.dtype, device)))
    ):  # fmt: skip
        return MISFIT
    if h is None or c is None:
        h, c = filled(hx, zeros(module, like, *front))
    return h, c


def _is_state(
    tensor: Any, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> bool:
    try:
        return (
            isinstance(tensor, Tensor)
            and tensor.layout is STRIDED
            and tensor.shape == shape
            and (tensor.dtype is dtype or agree(tensor.dtype, dtype))
            and tensor.device == device
        )
    except RuntimeError:  # a nested tensor has no shape
        return False


def _is_like(tensor: Tensor, weight: Tensor) -> bool:
    """Return whether a kernel takes an input beside a weight: their dtypes and devices."""
    one = tensor.dtype
    two = weight.dtype
    return (one is two or agree(one, two)) and tensor.device == weight.device


def has_own_dtype(c: Tensor, dtype: torch.dtype, *, is_cell: bool) -> bool:
    """Return whether torch's kernel takes this c beside an input of a different dtype.

    A cell's does; a layer's does for float64 under autocast, since c is only multiplied.
    """
    own = is_cell or (dtype is torch.float64 and is_autocast())
    return own and c.is_floating_point() and c.device.type == "cpu"


def completed(module: Any, hx: Any) -> Any:
    """Complete a pair by zeros as a tracer must see them: their sizes come from the other one."""
    is_pair = isinstance(hx, (tuple, list)) and len(hx) == PAIR
    if len(module.__rnnkit__.state_names) == 1 or not is_pair or not has_missing_part(hx):
        return hx
    given = hx[0] if hx[1] is None else hx[1]
    return None if given is None else filled(hx, zeros(module, given, *given.shape[:-1]))


def fitting_states(cells: list[Any], hx: Any) -> Any:
    """Return one state for each cell of a ``Recurrent``, or MISFIT; None is one for all."""
    if hx is None:
        return [None] * len(cells)
    if not isinstance(hx, tuple | list) or len(hx) != len(cells):
        return MISFIT
    # A user's cell may have a state of three axes.
    known = all(isinstance(cell, torch.nn.RNNCellBase) for cell in cells)
    return MISFIT if known and is_state_of_layer(hx, len(cells)) else hx


def fitting_fields(input: PackedSequence, *, given: bool) -> int | str:
    """Return how many sequences are packed, -1 if values may not be read, or the broken rule.

    Values are read on the CPU only; ``sorted_indices`` order a state that is ``given``.
    """
    data, sizes, order, back = input
    if not isinstance(data, Tensor):
        return "data must be a Tensor"
    if not (
        isinstance(sizes, Tensor) and sizes.dtype is torch.int64 and sizes.layout is STRIDED
        and sizes.is_cpu and sizes.dim() == 1
    ):  # fmt: skip
        return "batch_sizes must be a Tensor (steps,) of int64, on the CPU"
    for index in (order, back):
        if index is not None and not (
            isinstance(index, Tensor) and not index.is_nested and index.layout is STRIDED
            and index.dtype in (torch.int64, torch.int32)  # which index_select takes
            and index.dim() == 1 and index.device == data.device
        ):  # fmt: skip
            return "sorted_indices, unsorted_indices must be int64 Tensors (batch,) beside the data"
    if values_are_abstract() or is_fake(sizes):
        return -1
    counts = sizes.tolist()
    if not counts or counts[-1] < 1 or sorted(counts, reverse=True) != counts:
        return "batch_sizes must fall from the number of sequences, and be 1 or more"
    if data.dim() and sum(counts) != data.shape[0]:
        return f"batch_sizes count {sum(counts)} steps, the data have {data.shape[0]}"
    batch: int = counts[0]
    if order is None and (back is None or not given):
        # Without a state torch brings only the last one back, with any places that there are.
        if back is None or not back.is_cpu or is_fake(back):
            return batch
        fits = all(0 <= place < batch for place in back.tolist())
        return batch if fits else f"unsorted_indices must be positions among the {batch} sequences"
    if order is None or back is None:
        return "sorted_indices and unsorted_indices must come together"
    if len(order) != batch or len(back) != batch:
        return f"both indices must have one position for each of the {batch} sequences"
    if not order.is_cpu or is_fake(order) or is_fake(back):
        return batch
    places = order.tolist()
    inverse = back.tolist()
    ends = list(range(batch))
    if sorted(places) == ends and [inverse[place] for place in places] == ends:
        return batch
    return "unsorted_indices must undo sorted_indices, each position once"
