"""How a layer runs once its call is checked: as one or, with lengths or resets, in pieces."""

from typing import Any

from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.class_facts import mode_of, overrides_initial_state
from rnnkit._base.state import map_state, tensors_of, zeros
from rnnkit._base.torch_tools import (
    hard_codes_steps,
    is_batched,
    is_jit_traced,
    is_meta_or_fake,
    is_transformed,
    lacks_kernel,
    uses_custom_op,
)
from rnnkit._checks.call_spec import SEQUENCE, spec_of
from rnnkit._checks.diagnosis import diagnose_initial_state
from rnnkit._checks.guards import MISFIT, fitting_layer
from rnnkit._checks.length_checks import check_lengths
from rnnkit._checks.mask_checks import check_reset
from rnnkit._kernels import paths
from rnnkit._kernels.compiled.resets import run_reset_operators, takes_reset_operator
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.padded import run_padded
from rnnkit._kernels.stack import KERNELS, Direction, Run, Stack, States
from rnnkit._modules.loop import loop_stack

#: The lengths, the mask of resets ``(seq, batch)``, and the layer's state that they return to.
Pieces = tuple[Lengths | None, Tensor | None, Any]


def first_weight(layer: Any) -> Tensor:
    """Return a layer's first weight as the call will read it."""
    weight: Any = layer._parameters.get("weight_ih_l0")  # noqa: SLF001
    if not is_compiling():  # what torch's forward does first is not recorded twice
        layer._update_flat_weights()  # noqa: SLF001
        weight = None
    return layer._flat_weights[0] if weight is None else weight  # type: ignore[no-any-return]  # noqa: SLF001


def rows_of(layer: Any) -> int:
    """Return how many states a layer has, one for each direction of each of its layers."""
    return layer.num_layers * 2 if layer.bidirectional else layer.num_layers  # type: ignore[no-any-return]


def checked_pieces(layer: Any, input: Any, weight: Any, lengths: Any, reset: Any) -> Pieces:
    """Check lengths and resets, and ask a layer that overrides it for the state after a reset."""
    spec = spec_of(layer, input, "layer")
    counts = None if lengths is None else check_lengths(spec, lengths, input)
    if reset is None:
        return counts, None, None
    mask = check_reset(spec, reset, input)
    initial = None
    if overrides_initial_state(layer):
        given = layer.initial_state(spec.batch)
        initial = fitting_layer(layer, input, given, weight)
        if initial is MISFIT:
            diagnose_initial_state(spec, given, input)
    return counts, mask, initial


def run_layer(
    layer: Any, input: Any, hx: Any, pieces: Pieces | None, *, overrides_checks: bool
) -> tuple[Any, Any]:
    """Run a layer on a checked call, its weights up to date, and return what torch's returns."""
    mode = mode_of(layer)
    compiling = is_compiling()
    counts, mask, initial = pieces or (None, None, None)
    ends: Any
    by_torch = pieces is None and (overrides_checks or mode not in KERNELS)
    packed = not isinstance(input, Tensor)
    if packed and not (by_torch or compiling):
        return _run_packed(layer, input, hx)
    unbatched = not packed and input.dim() == SEQUENCE
    by_batch = layer.batch_first
    axis = 0 if layer.batch_first else 1  # also of a batch of one
    seq_axis = 1 if by_batch and not unbatched else 0
    by_operator = compiling and not packed and uses_custom_op(input.shape[seq_axis])
    by_loop = compiling and not packed and hard_codes_steps(input.shape[seq_axis])
    lacks = not (pieces is None or compiling) and lacks_kernel(mode, layer.proj_size, input)
    if by_torch or (pieces is None and compiling and not by_operator and not by_loop):
        return layer.__rnnkit__.torch_class.forward(layer, input, hx)  # type: ignore[no-any-return]
    if unbatched:
        input, mask = input.unsqueeze(axis), None if mask is None else mask.unsqueeze(1)
        hx, initial = (map_state(lambda t: t.unsqueeze(1), given) for given in (hx, initial))
    if hx is None:
        hx = zeros(layer, input, rows_of(layer), input.shape[axis])
    if pieces is None and not compiling:
        output, *ends = KERNELS[mode](input, hx, *_options(layer), by_batch)
    else:
        input = input.transpose(0, 1) if by_batch else input
        restart = None if initial is None else tensors_of(initial)
        counts = None if counts is None or counts.is_full() else counts
        stack = stack_of(layer, by_operator=by_operator, lacks=lacks)
        output, ends = run_stack(stack, input, tensors_of(hx), (counts, mask, restart))
        output = output.transpose(0, 1) if by_batch else output
    if unbatched:
        output, ends = output.squeeze(axis), [part.squeeze(1) for part in ends]
    return output, ends


def _options(layer: Any) -> tuple[Any, ...]:
    """Return what torch's kernels take after input and state."""
    options = (layer.bias, layer.num_layers, layer.dropout, layer.training, layer.bidirectional)
    return layer._flat_weights, *options  # noqa: SLF001


def _run_packed(layer: Any, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
    data, sizes, order, back = input
    if hx is None:
        hx = zeros(layer, data, rows_of(layer), sizes[0])  # a tensor, which a tracer can follow
    elif order is not None:
        hx = map_state(lambda tensor: tensor.index_select(1, order), hx)
    output, *ends = KERNELS[mode_of(layer)](data, sizes, hx, *_options(layer))
    if back is not None:
        ends = [end.index_select(1, back) for end in ends]
    return PackedSequence(output, sizes, order, back), ends


def run_stack(stack: Stack, input: Tensor, state: States, pieces: Pieces) -> Run:
    """Run a stack over ``(seq, batch, feature)`` by a path that works for whoever traces."""
    counts, mask, _ = pieces
    if mask is None and stack.layers[0][0].by_operator:  # torch 2.8 traces no property
        return run_padded(stack, input, state, counts)
    if mask is not None and takes_reset_operator(stack, input):
        return run_reset_operators(stack, input, state, counts, mask, pieces[2])
    # Pieces are found by the values of a mask, and a relu may not run over padding.
    by_values = mask is not None or (stack.mode == "RNN_RELU" and counts is not None)
    traced = is_transformed() or is_jit_traced() or (mask is not None and is_meta_or_fake(mask))
    # torch's kernels have no rule for the examples of a vmap.
    by_example = not is_compiling() and (is_batched(input) or (counts and is_batched(counts.each)))
    by_step = is_compiling() and hard_codes_steps(input.shape[0])
    run = loop_stack if by_example or by_step or (by_values and traced) else paths.run
    return run(stack, input, state, *pieces)


def stack_of(layer: Any, *, by_operator: bool = False, lacks: bool = False) -> Stack:
    """Return a layer's directions, layer by layer, starting with the forward one."""
    weights = layer._flat_weights  # noqa: SLF001
    if is_compiling():
        # By their names: a graph then holds no list that has to be kept up to date.
        weights = [getattr(layer, name) for name in layer._flat_weights_names]  # noqa: SLF001
    rows = rows_of(layer)
    directions = 2 if layer.bidirectional else 1
    size = len(weights) // rows
    mode = mode_of(layer)
    options = (layer.bias, layer.training)
    each = [
        Direction(mode, part, *options, row % directions > 0, by_operator)
        for row, part in enumerate(weights[k : k + size] for k in range(0, len(weights), size))
    ]
    layers = [each[row : row + directions] for row in range(0, rows, directions)]
    return Stack(layers, layer.dropout, lacks)
