"""The guards: whether a call fits, as the completed state or MISFIT; they explain nothing.

They are plain Python on sizes, so that they cost next to nothing and ``torch.compile`` traces them.
They must be exact, since torch's own checks of the same things are switched off. A call that does
not fit goes once, as a whole, to ``diagnosis.diagnose`` and, if that finds nothing, to torch's
class with torch's checks.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import proj_size_of
from rnnkit._base.state import PAIR, filled, has_missing_part, layers_first, zeros
from rnnkit._base.torch_tools import is_jit_traced
from rnnkit._checks.call_spec import SEQUENCE, SEQUENCES, agree, is_autocast, packed_batch
from rnnkit._checks.cell_guards import MISFIT, has_batch, is_callable_cell
from rnnkit._checks.packed_fields import fitting_fields

#: Bound once, since each guard compares it.
STRIDED = torch.strided


def fitting_layer(layer: Any, input: Any, hx: Any, weight: Tensor | None) -> Any:
    """Return the state of a layer's call as torch's layer takes it, its pair complete, or MISFIT.

    ``weight`` is the layer's first weight, as the call will read it; None where torch's own forward
    runs, with the checks that a subclass overrides.
    """
    if is_jit_traced() or (weight is None and isinstance(input, Tensor)):
        # Under a tracer sizes are tensors: a comparison would be recorded, with a warning.
        hx = _completed(layer, hx)
        return layers_first(hx) if hx is not None and layer.state_batch_first else hx
    data: Any = input
    batched, packed = SEQUENCES, 0
    if isinstance(input, PackedSequence):
        fields = fitting_fields(input, given=hx is not None)
        # torch takes memory in strides for a row; its own class gets a copy in one piece.
        if isinstance(fields, str) or not input.batch_sizes.is_contiguous():
            return MISFIT
        data, batched, packed = input.data, SEQUENCE, fields
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
    """Return the state of a cell's call as torch's cell takes it, its pair complete, or MISFIT.

    ``weight`` is the cell's first weight, as the call will read it; None if that is not known.
    """
    if is_jit_traced():
        return _completed(cell, hx)
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
    """Return the state of a cell that is run over a sequence, its pair complete, or MISFIT.

    ``weight`` is the first weight of a cell that computes what rnnkit's do, so that its widths and
    state are known; None for any other, which may read integers, too.
    """
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
    """Return a state ``(*front, hidden)``, its pair complete, or MISFIT.

    It has the dtype and the device of the input, ``like``. With ``any_c`` an LSTM's c may have a
    different floating-point dtype, as torch's cells take it.
    """
    shape, dtype, device = (*front, module.hidden_size), like.dtype, like.device
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
    one, two = tensor.dtype, weight.dtype
    return (one is two or agree(one, two)) and tensor.device == weight.device


def has_own_dtype(c: Tensor, dtype: torch.dtype, *, is_cell: bool) -> bool:
    """Return whether torch's kernel takes this c beside an input of a different dtype.

    A cell's does; a layer's does under autocast, which leaves float64 as it is and brings other
    floats together, and c is only multiplied.
    """
    own = is_cell or (dtype is torch.float64 and is_autocast())
    return own and c.is_floating_point() and c.device.type == "cpu"


def _completed(module: Any, hx: Any) -> Any:
    """Complete a pair by zeros as a tracer must see them: their sizes come from the other one."""
    is_pair = isinstance(hx, (tuple, list)) and len(hx) == PAIR
    if len(module.__rnnkit__.state_names) == 1 or not is_pair or not has_missing_part(hx):
        return hx
    given = hx[0] if hx[1] is None else hx[1]
    return None if given is None else filled(hx, zeros(module, given, *given.shape[:-1]))
