"""The guards: a few comparisons on every call, and a diagnosis when one fails.

They are plain Python on sizes, so that they cost next to nothing and ``torch.compile`` traces
them. A guard that has spoken makes torch's own check of the same things redundant.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._diagnosis import diagnose_input, refuse_type
from rnnkit._reading import (
    BATCHED,
    UNBATCHED,
    Cell,
    Layer,
    agree,
    packed_batch,
    read_cell,
    read_layer,
)
from rnnkit._state_diagnosis import diagnose_state, refuse_structure
from rnnkit.states import LSTMState

PAIR = 2


def check_layer(layer: Layer, input: Any, hx: Any) -> Any:
    """Hold a layer's call to what the layer reads; return the state as torch's layer takes it.

    Args:
        layer: an RNN, LSTM or GRU.
        input: what the caller gave as input: of the right kind it is a Tensor ``(seq, batch,
            input_size)``, in the other order with ``batch_first``, without batch if unbatched,
            or a PackedSequence.
        hx: what the caller gave as state, or None.

    Raises:
        RnnkitError: the child that fits, with what to type.
    """
    packed = isinstance(input, PackedSequence)
    if not packed and not isinstance(input, Tensor):
        refuse_type(layer, input)
    data = input.data if packed else input
    shape = data.shape
    rank = len(shape)
    # functional_call and pruning swap the weight itself; a parametrized one is not computed here.
    weight = layer._parameters.get("weight_ih_l0")  # noqa: SLF001
    if weight is None:
        weight = layer._flat_weights[0]  # noqa: SLF001
    if not (
        (rank == UNBATCHED or (rank == BATCHED and not packed))
        and shape[-1] == layer.input_size
        and shape[1 if rank == BATCHED and layer.batch_first else 0] != 0
        and (data.dtype == weight.dtype or agree(data.dtype, weight.dtype))
        and data.device == weight.device
    ):
        diagnose_input(read_layer(layer, input), data, weight)
    return None if hx is None else _check_layer_state(layer, input, data, hx)


def _check_layer_state(layer: Layer, input: Any, data: Tensor, hx: Any) -> Any:
    rows = layer.num_layers * 2 if layer.bidirectional else layer.num_layers
    if data is not input:
        front: tuple[int, ...] = (rows, packed_batch(input))
    elif data.dim() == BATCHED:
        front = (rows, data.shape[0 if layer.batch_first else 1])
    else:
        front = (rows,)
    batch_first = layer.state_batch_first and len(front) == PAIR
    if batch_first:
        front = front[::-1]
    hidden = (*front, layer.hidden_size)
    if len(layer.STATE_NAMES) == 1:
        if not isinstance(hx, Tensor):
            refuse_structure(read_layer(layer, input), hx)
        if not _fits(hx, hidden, data):
            diagnose_state(read_layer(layer, input), (hx,), data)
        return hx.transpose(0, 1).contiguous() if batch_first else hx
    visible = (*front, layer.proj_size) if layer.proj_size else hidden
    pair = _complete(hx, visible, hidden, data)
    if pair is None:
        refuse_structure(read_layer(layer, input), hx)
    if not (_fits(pair.h, visible, data) and _fits(pair.c, hidden, data)):
        diagnose_state(read_layer(layer, input), pair, data)
    if batch_first:
        return LSTMState(*(member.transpose(0, 1).contiguous() for member in pair))
    return pair


def check_cell(cell: Cell, input: Any, hx: Any) -> Any:
    """Hold a cell's call to what the cell reads; return the state as torch's cell takes it.

    Args:
        cell: an RNNCell, LSTMCell or GRUCell.
        input: what the caller gave as input: of the right kind it is a Tensor
            ``(batch, input_size)``, or ``(input_size,)`` if unbatched.
        hx: what the caller gave as state, or None.

    Raises:
        RnnkitError: the child that fits, with what to type.
    """
    if not isinstance(input, Tensor):
        refuse_type(cell, input)
    shape = input.shape
    rank = len(shape)
    weight = cell._parameters.get("weight_ih")  # noqa: SLF001
    if weight is None:
        weight = input
    if not (
        (rank == UNBATCHED or rank == 1)
        and shape[-1] == cell.input_size
        and (input.dtype == weight.dtype or agree(input.dtype, weight.dtype))
        and input.device == weight.device
    ):
        diagnose_input(read_cell(cell, input), input, weight)
    if hx is None:
        return None
    hidden = (*shape[:-1], cell.hidden_size)
    if len(cell.STATE_NAMES) == 1:
        if not isinstance(hx, Tensor):
            refuse_structure(read_cell(cell, input), hx)
        if not _fits(hx, hidden, input):
            diagnose_state(read_cell(cell, input), (hx,), input)
        return hx
    pair = _complete(hx, hidden, hidden, input)
    if pair is None:
        refuse_structure(read_cell(cell, input), hx)
    if not (_fits(pair.h, hidden, input) and _fits(pair.c, hidden, input)):
        diagnose_state(read_cell(cell, input), pair, input)
    return pair


def _fits(tensor: Tensor, shape: tuple[int, ...], input: Tensor) -> bool:
    return (
        tensor.shape == shape
        and (tensor.dtype == input.dtype or agree(tensor.dtype, input.dtype))
        and tensor.device == input.device
    )


def _complete(
    hx: Any, visible: tuple[int, ...], hidden: tuple[int, ...], input: Tensor
) -> LSTMState | None:
    if not isinstance(hx, tuple | list) or len(hx) != PAIR:
        return None
    h, c = hx
    if h is None:
        h = torch.zeros(visible, dtype=input.dtype, device=input.device)
    if c is None:
        c = torch.zeros(hidden, dtype=input.dtype, device=input.device)
    if not isinstance(h, Tensor) or not isinstance(c, Tensor):
        return None
    return LSTMState(h, c)
