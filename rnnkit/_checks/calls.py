"""The guards: a few comparisons on every call, and a diagnosis when one fails.

They are plain Python on sizes, so that they cost next to nothing and ``torch.compile`` traces
them. The contract of a guard:

- No false negative. What torch would refuse, or read outside of its memory, passes no guard:
  torch's own check of the same things is switched off.
- A false positive is harmless. The diagnosis looks again, returns None where nothing is wrong,
  and the call goes on.
- A compiler traces the guard and, where it fails, the diagnosis, so that the same error is raised;
  at a right call it must see no diagnosis, which costs it time and may break the graph. There the
  guard is exact: sizes, dtypes and devices are all that decides.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.message import raise_for
from rnnkit._base.state import layers_first
from rnnkit._base.torch_tools import FOREIGN, is_fx_call, is_jit_traced
from rnnkit._checks.call_spec import (
    SEQUENCE,
    SEQUENCES,
    CallSpec,
    CheckedCell,
    CheckedLayer,
    agree,
    packed_batch,
    spec_of_cell,
    spec_of_layer,
    spec_of_unrolled,
)
from rnnkit._checks.dtype_errors import diagnose_dtype_and_device, refuse_type
from rnnkit._checks.input_errors import diagnose_input, diagnose_shape
from rnnkit._checks.odd_tensors import goes_to_torch, not_dense
from rnnkit._checks.packed import batch_of_fields, check_packed
from rnnkit._checks.state_errors import check_batch
from rnnkit._checks.state_guards import completed, diagnosed_state, fitting_state


def check_layer(layer: CheckedLayer, input: Any, hx: Any, weight: Tensor | None) -> Any:
    """Hold a layer's call to what the layer reads; return the state as torch's layer takes it.

    Args:
        layer: an RNN, LSTM or GRU.
        input: what the caller gave as input: of the right kind it is a Tensor ``(seq, batch,
            input_size)``, in the other order with ``batch_first``, without batch if unbatched,
            or a PackedSequence.
        hx: what the caller gave as state, or None.
        weight: the layer's first weight, as the call will read it; None where torch's own forward
            reads it, and runs checks that somebody has put in the place of torch's.

    Returns:
        The state; FOREIGN of a call that torch's class must have as it is.
    """
    if is_jit_traced() or (weight is None and isinstance(input, Tensor)):
        # Under a tracer sizes are tensors: what is compared is written down, with a warning.
        hx = completed(layer, hx)
        return layers_first(hx) if hx is not None and layer.state_batch_first else hx
    packed = 0
    # In one piece, since a call in Python costs as much as all these comparisons.
    if isinstance(input, Tensor):
        data, batched = input, SEQUENCES
    elif isinstance(input, PackedSequence):
        packed = batch_of_fields(input)
        if not packed:
            check_packed(layer, input, given=hx is not None)
        data, batched = input.data, SEQUENCE
    elif is_fx_call(input, hx):
        return FOREIGN
    else:
        refuse_type(layer, input, batch_first=layer.batch_first)
    try:
        shape = data.shape
    except RuntimeError:  # a nested tensor has none
        raise_for(not_dense(layer, data) if data.is_nested else None)
        raise
    odd, rank = False, len(shape)
    dtype = data.dtype
    device = data.device
    if not (
        rank in (batched, SEQUENCE)
        and shape[-1] == layer.input_size
        and shape[1 if rank == SEQUENCES and layer.batch_first else 0] != 0
        and (
            weight is None
            or ((weight.dtype is dtype or agree(dtype, weight.dtype)) and weight.device == device)
        )
        and data.layout is torch.strided
    ):
        odd = goes_to_torch(layer, input, hx)
        diagnose = diagnose_shape if odd else diagnose_input
        judge = data if odd or weight is None else weight
        raise_for(diagnose(spec_of_layer(layer, input), data, judge))
    state = None
    if hx is not None:
        state = _check_layer_state(layer, input, hx, data, shape, packed)
    return FOREIGN if odd else state


def _check_layer_state(
    layer: CheckedLayer, input: Any, hx: Any, data: Tensor, shape: tuple[int, ...], packed: int
) -> Any:
    rows = layer.num_layers * 2 if layer.bidirectional else layer.num_layers
    front: tuple[int, ...]
    if len(shape) == SEQUENCES:
        front = (rows, shape[0 if layer.batch_first else 1])
    else:
        front = (rows,) if isinstance(input, Tensor) else (rows, packed or packed_batch(input))
    if layer.state_batch_first:
        front = front[::-1]
    state = fitting_state(layer, hx, front, data)
    if state is None:
        if is_fx_call(input, hx):
            return FOREIGN
        odd = goes_to_torch(layer, input, hx)
        state = diagnosed_state(spec_of_layer(layer, input), hx, data, only_sizes=odd)
        if odd:
            return FOREIGN
    return layers_first(state) if layer.state_batch_first else state


def check_cell(  # noqa: C901 - in one piece, as check_layer is
    cell: CheckedCell, input: Any, hx: Any, weight: Tensor | None
) -> Any:
    """Hold a cell's call to what the cell reads; return the state as torch's cell takes it.

    Args:
        cell: an RNNCell, LSTMCell or GRUCell.
        input: what the caller gave as input: of the right kind it is a Tensor
            ``(batch, input_size)``, or ``(input_size,)`` if unbatched.
        hx: what the caller gave as state, or None.
        weight: the cell's first weight, as the call will read it; None if that is not known.

    Returns:
        The state; FOREIGN of a call that torch's class must have as it is.
    """
    if is_jit_traced():
        return completed(cell, hx)
    if not isinstance(input, Tensor):
        if is_fx_call(input, hx):
            return FOREIGN
        refuse_type(cell, input)
    try:
        shape = input.shape
    except RuntimeError:  # a nested tensor has none
        raise_for(not_dense(cell, input) if input.is_nested else None)
        raise
    odd, rank = False, len(shape)
    dtype = input.dtype
    device = input.device
    if weight is None:
        weight = input
    alike = (weight.dtype is dtype or agree(dtype, weight.dtype)) and weight.device == device
    if not (rank in (2, 1) and shape[-1] == cell.input_size and alike):
        odd = goes_to_torch(cell, input, hx)
        judge = input if odd else weight
        raise_for(diagnose_shape(spec_of_cell(cell, input), input, judge))
    state = None
    if hx is not None:
        state = fitting_state(cell, hx, shape[:-1], input, any_c=True)
        if state is None:
            if is_fx_call(input, hx):
                return FOREIGN
            odd = goes_to_torch(cell, input, hx)
            state = diagnosed_state(spec_of_cell(cell, input), hx, input, only_sizes=odd)
    if odd:
        return FOREIGN
    if not alike:
        # After the state: where both are wrong torch speaks of the state's size.
        raise_for(diagnose_dtype_and_device(spec_of_cell(cell, input), input, weight))
    return state


def check_unrolled(
    cell: Any,
    input: Any,
    hx: Any,
    caller: str,
    weight: Tensor | None,
    *,
    batch_first: bool,
    state: str = "hx",
) -> tuple[CallSpec, Any]:
    """Hold the call of something that runs a cell over a sequence to what the cell reads.

    Args:
        cell: an rnnkit cell, or any that follows the protocol.
        input: what the caller gave as input: of the right kind it is a Tensor ``(seq, batch,
            input_size)``, in the other order with ``batch_first``, or without batch.
        hx: what the caller gave as state, or None.
        caller: how the caller is called in messages.
        weight: the first weight of a cell that does what rnnkit's do, so that its widths and
            state are known; None of any other.
        batch_first: whether the batch is axis 0.
        state: how the caller writes the state.

    Returns:
        How the call reads, and the state with its tensors complete.
    """
    if not isinstance(input, Tensor):
        refuse_type(cell, input, unrolled=True, batch_first=batch_first)
    if input.is_nested:
        raise_for(not_dense(cell, input))
    known = weight is not None
    spec = spec_of_unrolled(cell, input, caller, known=known, batch_first=batch_first, state=state)
    # A third-party cell may take integers; of our own we know what they take.
    raise_for(diagnose_input(spec, input, input if weight is None else weight))
    if hx is None:
        return spec, None
    if known:
        hx = diagnosed_state(spec, hx, input)
    elif spec.batch is not None:
        check_batch(spec, hx)
    return spec, hx
