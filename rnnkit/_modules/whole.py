"""torch's kernel over all steps and layers at once: a layer's call without lengths.

It is what torch's ``forward`` comes to once the checks are made. Where a subclass has checks of
its own, and where a compiler traces, torch's ``forward`` itself runs.
"""

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import mode_of
from rnnkit._base.state import LSTMState
from rnnkit._checks.call_spec import SEQUENCE
from rnnkit._kernels.stack import KERNELS


def run_whole(layer: Any, input: Any, hx: Any, *, own: bool) -> tuple[Any, Any]:
    """Run a layer on a checked call, its weights up to date.

    Args:
        layer: an RNN, LSTM or GRU.
        input: a Tensor or a PackedSequence.
        hx: the state as torch's layer takes it, or None for zeros.
        own: whether torch's own forward runs, and with it checks that somebody put in.

    Returns:
        What torch's layer returns.
    """
    if isinstance(input, PackedSequence) and not input.batch_sizes.is_contiguous():
        # torch reads them in memory, whatever their strides, and beyond their end.
        input = input._replace(batch_sizes=input.batch_sizes.contiguous())
    facts, mode = layer.__rnnkit__, mode_of(layer)
    # A line of its own: Dynamo may stop at the one above, and compiles again for whatever object is
    # on the stack there and new in each call, as a bound method is.
    kernel = KERNELS.get(mode)
    if kernel is None or is_compiling() or own:
        return facts.torch_class.forward(layer, input, hx)  # type: ignore[no-any-return]
    one = len(facts.state_names) == 1
    options = (layer.bias, layer.num_layers, layer.dropout, layer.training, layer.bidirectional)
    if isinstance(input, PackedSequence):
        data, sizes, order, back = input
        if hx is None:
            hx = zeros(layer, data, sizes[0])  # a tensor, which a tracer can follow
        elif order is not None:
            hx = _permuted(hx, order)
        output, *ends = kernel(data, sizes, hx, layer._flat_weights, *options)  # noqa: SLF001
        end: Any = ends[0] if one else tuple(ends)
        packed = PackedSequence(output, sizes, order, back)
        return packed, end if back is None else _permuted(end, back)
    unbatched = input.dim() == SEQUENCE
    axis = 0 if layer.batch_first else 1
    if unbatched:
        input = input.unsqueeze(axis)
        if hx is not None:
            hx = hx.unsqueeze(1) if one else (hx[0].unsqueeze(1), hx[1].unsqueeze(1))
    if hx is None:
        hx = zeros(layer, input, input.size(axis))
    output, *ends = kernel(input, hx, layer._flat_weights, *options, layer.batch_first)  # noqa: SLF001
    if unbatched:
        output, ends = output.squeeze(axis), [part.squeeze(1) for part in ends]
    return output, ends[0] if one else ends


def zeros(layer: Any, like: Tensor, *batch: Any) -> Any:
    """Make the zeros that a call without a state begins from, as torch makes them."""
    rows = layer.num_layers * 2 if layer.bidirectional else layer.num_layers
    options: Any = {"dtype": like.dtype, "device": like.device}
    hidden = torch.zeros(rows, *batch, layer.hidden_size, **options)
    if len(layer.__rnnkit__.state_names) == 1:
        return hidden
    width = layer.proj_size or layer.hidden_size
    return LSTMState(torch.zeros(rows, *batch, width, **options), hidden)


def _permuted(state: Any, order: Tensor) -> Any:
    if isinstance(state, Tensor):
        return state.index_select(1, order)
    h, c = state
    return h.index_select(1, order), c.index_select(1, order)
