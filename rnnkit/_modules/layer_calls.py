"""A layer's call: its state checked, torch's kernel over all its steps, what torch fails at.

The kernel without lengths is what torch's ``forward`` comes to once the checks are made. Where a
subclass has checks of its own, and where a compiler traces, torch's ``forward`` itself runs.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import mode_of
from rnnkit._base.errors import RnnkitError
from rnnkit._base.state import LSTMState, layers_first
from rnnkit._base.torch_tools import is_fx_call, leaf_node
from rnnkit._checks.arguments import check_step
from rnnkit._checks.call_spec import SEQUENCE, batch_of
from rnnkit._checks.calls import check_layer
from rnnkit._kernels.stack import KERNELS
from rnnkit._modules.cell_base import lacks_state, started


def checked_state(layer: Any, input: Any, hx: Any, *, own: bool) -> Any:
    """Hold a call to what the layer reads; return the state as torch's layer takes it.

    With ``own`` torch's own forward runs, and with it checks that somebody has put in the place of
    torch's.
    """
    weight: Any = None
    # torch's forward runs where somebody has checks of their own, and computes the weights itself:
    # one that draws random numbers would draw them twice.
    if not own:
        if is_compiling():
            # What torch's forward does first is not written down twice.
            weight = layer._parameters.get("weight_ih_l0")  # noqa: SLF001
        else:
            layer._update_flat_weights()  # noqa: SLF001
        if weight is None:
            weight = layer._flat_weights[0]  # noqa: SLF001
    state = check_layer(layer, input, hx, weight)
    if lacks_state(layer, hx) and not is_fx_call(input, hx):
        first = started(layer, hx, *batch_of(layer, input))
        state = check_layer(layer, input, first, weight)
    return state


def delegated(layer: Any, input: Any, hx: Any, **options: Any) -> Any:
    """Hand torch.fx a call to record, or torch's class one with a tensor that is not dense."""
    if is_fx_call(input, hx):
        return leaf_node(layer, input, hx, **options)
    if lacks_state(layer, hx):
        hx = started(layer, hx, *batch_of(layer, input))
    if layer.state_batch_first and hx is not None:
        hx = layers_first(hx)
    # torch's class has no lengths and no resets, and says so.
    given = {name: value for name, value in options.items() if value is not None}
    torch_class = layer.__rnnkit__.torch_class
    output, state = torch_class.forward(layer, _in_one_piece(input), hx, **given)
    return output, returned(layer, state)


def returned(layer: Any, state: Any) -> Any:
    """Return the state that torch's class or its kernel returned as the layer returns it."""
    if len(layer.__rnnkit__.state_names) > 1:
        state = LSTMState(*state)
    return layers_first(state) if layer.state_batch_first else state


def _in_one_piece(input: Any) -> Any:
    """Return packed input whose sizes torch can read: it takes memory in strides for a row."""
    if isinstance(input, PackedSequence) and not input.batch_sizes.is_contiguous():
        return input._replace(batch_sizes=input.batch_sizes.contiguous())
    return input


def run_whole(layer: Any, input: Any, hx: Any, *, own: bool) -> tuple[Any, Any]:
    """Run a layer on a checked call, its weights up to date, and return what torch's returns.

    With ``own`` torch's own forward runs, and with it checks that somebody put in.
    """
    input = _in_one_piece(input)
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


def run_step(
    layer: Any, x_t: Any, state: Any, explain: Callable[[Any, Any, Any], None]
) -> tuple[Any, Any]:
    """Run one step as a sequence of one; ``explain`` refuses what is wrong in a step's words."""
    check_step(layer, x_t)
    seq_axis = x_t.dim() - 1 if layer.batch_first else 0  # no question, for torch.fx
    try:
        output, state_after = layer(x_t.unsqueeze(seq_axis), state)
    except RnnkitError:
        # A subclass with a forward of its own may take what ours refuses.
        if not is_compiling() and type(layer).forward.__module__.startswith("rnnkit."):
            explain(layer, x_t, state)
        raise
    return output.squeeze(seq_axis), state_after


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
