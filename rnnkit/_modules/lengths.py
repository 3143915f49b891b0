"""A layer's call with ``lengths`` or ``reset``: each piece of each sample as if alone."""

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.class_facts import has_own_checks, mode_of
from rnnkit._base.state import layers_first, map_state
from rnnkit._base.torch_tools import is_jit_traced, is_transformed, lacks_kernel
from rnnkit._checks.call_spec import spec_of_layer
from rnnkit._checks.lengths import check_lengths
from rnnkit._checks.resets import check_reset
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.paths import run
from rnnkit._kernels.reset_op import run_reset_operators, takes_reset_operator
from rnnkit._kernels.stack import Direction, Stack, States
from rnnkit._modules.loop import loop_stack
from rnnkit._modules.starts import lacks_state, started
from rnnkit._modules.whole import run_whole, zeros


def run_pieces(layer: Any, input: Any, hx: Any, lengths: Any, reset: Any) -> tuple[Tensor, Any]:
    """Run a layer on a checked input: each sample up to its length, cut where it is reset.

    Raises:
        LengthsError: if the lengths are no counts of the input's steps.
        ShapeError: if the mask of resets is not laid out as the input.
    """
    # Packed input brings its own lengths, and is refused where lengths are checked.
    is_packed = not isinstance(input, Tensor)
    if is_packed or not lacks_kernel(mode_of(layer), layer.proj_size, input):
        return _run(layer, input, hx, lengths, reset)
    # Autocast leaves packed input alone, but for lengths that are all equal.
    weight: Any = layer._flat_weights[0]  # noqa: SLF001
    hx = None if hx is None else map_state(lambda tensor: tensor.to(weight.dtype), hx)
    with torch.autocast("cpu", enabled=False):
        return _run(layer, input.to(weight.dtype), hx, lengths, reset)


def _run(layer: Any, input: Any, hx: Any, lengths: Any, reset: Any) -> tuple[Tensor, Any]:
    spec = spec_of_layer(layer, input)
    counts = None if lengths is None else check_lengths(spec, lengths, input)
    mask = None if reset is None else check_reset(spec, reset)
    if counts is not None and counts.is_full():
        counts = None
    if counts is None and mask is None:
        return run_whole(layer, input, hx, own=has_own_checks(layer))
    if hx is None:
        hx = zeros(layer, input, *(() if spec.batch is None else (spec.batch,)))
    state, initial = _tensors(hx), None
    if mask is not None and lacks_state(layer, None):
        initial = _first_state(layer, spec.batch)
    if spec.batch is None:
        input, state = input.unsqueeze(1), tuple(tensor.unsqueeze(1) for tensor in state)
        initial = None if initial is None else tuple(tensor.unsqueeze(1) for tensor in initial)
        mask = None if mask is None else mask.unsqueeze(1)
    elif layer.batch_first:
        input = input.transpose(0, 1)
    output, ends = _run_stack(stack_of(layer), input, state, counts, mask, initial)
    if spec.batch is None:
        output, ends = output.squeeze(1), tuple(tensor.squeeze(1) for tensor in ends)
    elif layer.batch_first:
        output = output.transpose(0, 1)
    return output, ends if len(ends) > 1 else next(iter(ends))


def _run_stack(
    stack: Stack,
    input: Tensor,
    state: States,
    counts: Lengths | None,
    mask: Tensor | None,
    initial: States | None,
) -> tuple[Tensor, States]:
    if mask is not None and takes_reset_operator(input):
        return run_reset_operators(stack, input, state, counts, mask, initial)
    by_steps = mask is not None or stack.mode == "RNN_RELU"
    if by_steps and (is_transformed() or is_jit_traced()):
        # Pieces are found by what a mask holds, and a relu may not run over padding.
        return loop_stack(stack, input, state, counts, mask, initial)
    return run(stack, input, state, counts, mask, initial)


def _tensors(state: Any) -> States:
    return (state,) if isinstance(state, Tensor) else tuple(state)


def _first_state(layer: Any, batch: int | None) -> States:
    """Ask a layer that has one of its own for the state from which a sample starts again."""
    first = started(layer, None, *(() if batch is None else (batch,)))
    return _tensors(layers_first(first) if layer.state_batch_first else first)


def stack_of(layer: Any) -> Stack:
    """Return what a layer is made of, layer by layer, the forward direction first."""
    if is_compiling():
        # By their names: a graph then holds no list that has to be kept up to date.
        weights: Any = [getattr(layer, name) for name in layer._flat_weights_names]  # noqa: SLF001
    else:
        layer._update_flat_weights()  # noqa: SLF001
        weights = layer._flat_weights  # noqa: SLF001
    directions = 2 if layer.bidirectional else 1
    rows = layer.num_layers * directions
    per_direction = len(weights) // rows
    mode = mode_of(layer)
    each = [
        Direction(
            mode,
            weights[place * per_direction : (place + 1) * per_direction],
            layer.bias,
            layer.training,
            bool(place % directions),
        )
        for place in range(rows)
    ]
    layers = [each[place : place + directions] for place in range(0, rows, directions)]
    return Stack(layers, layer.dropout)
