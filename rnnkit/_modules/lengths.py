"""A layer's call over ``(seq, batch, feature)``: each piece of each sample as if alone.

With ``lengths`` or ``reset`` by the kernels' paths; while a compiler traces, by operators that stay
whole, each a layer's direction.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.class_facts import has_own_checks, mode_of
from rnnkit._base.state import layers_first, map_state, with_batch
from rnnkit._base.torch_tools import (
    is_jit_traced,
    is_one_graph,
    is_transformed,
    lacks_kernel,
    lacks_numbers,
)
from rnnkit._checks.call_spec import SEQUENCE, CallSpec, spec_of_layer
from rnnkit._checks.lengths import check_lengths
from rnnkit._checks.masks import check_reset
from rnnkit._checks.state_guards import first_state
from rnnkit._kernels.compiled.resets import run_reset_operators, takes_reset_operator
from rnnkit._kernels.padded import run_padded
from rnnkit._kernels.paths import run
from rnnkit._kernels.stack import KERNELS, Direction, Run, Stack, States
from rnnkit._modules.cell_base import lacks_state
from rnnkit._modules.layer_calls import run_whole, zeros
from rnnkit._modules.loop import loop_stack


def run_pieces(layer: Any, input: Any, hx: Any, lengths: Any, reset: Any) -> tuple[Tensor, Any]:
    """Run a layer on a checked input: each sample up to its length, cut where it is reset."""
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
    mask = None if reset is None else check_reset(spec, reset, input)
    if counts is not None and counts.is_full():
        counts = None
    if counts is None and mask is None:
        return run_whole(layer, input, hx, own=has_own_checks(layer))
    initial = None
    if mask is not None and lacks_state(layer, None):
        initial = _first_state(layer, spec, input)
    if mask is not None and spec.batch is None:
        mask = mask.unsqueeze(1)

    def run_path(stack: Stack, input: Tensor, state: States) -> Run:
        if mask is not None and takes_reset_operator(input):
            return run_reset_operators(stack, input, state, counts, mask, initial)
        by_steps = mask is not None or stack.mode == "RNN_RELU"
        watched = is_transformed() or is_jit_traced() or (mask is not None and lacks_numbers(mask))
        if by_steps and watched:
            # Pieces are found by what a mask holds, and a relu may not run over padding.
            return loop_stack(stack, input, state, counts, mask, initial)
        return run(stack, input, state, counts, mask, initial)

    return _run_seq_first(layer, input, hx, run_path)


def _first_state(layer: Any, spec: CallSpec, input: Tensor) -> States:
    """Ask a layer that has one of its own for the state from which a sample starts again."""
    first = first_state(spec, layer.initial_state(spec.batch), input)
    if layer.state_batch_first:
        first = layers_first(first)
    return _tensors(first if spec.batch is not None else with_batch(first, 1))


def takes_operator(layer: Any, input: Any) -> bool:
    """Say whether a compiled call takes rnnkit's operator in the place of torch's forward."""
    if not isinstance(input, Tensor) or has_own_checks(layer) or mode_of(layer) not in KERNELS:
        return False
    return is_one_graph(input.shape[1 if layer.batch_first and input.dim() > SEQUENCE else 0])


def run_traced(layer: Any, input: Tensor, hx: Any, lengths: Any) -> tuple[Tensor, Any]:
    """Run a layer on a checked input by operators."""
    counts = None
    if lengths is not None:
        counts = check_lengths(spec_of_layer(layer, input), lengths, input)

    def run_operators(stack: Stack, input: Tensor, state: States) -> Run:
        return run_padded(stack, input, state, counts)

    return _run_seq_first(layer, input, hx, run_operators)


def _run_seq_first(
    layer: Any, input: Tensor, hx: Any, run: Callable[[Stack, Tensor, States], Run]
) -> tuple[Tensor, Any]:
    """Run a layer's stack over ``(seq, batch, feature)``; the result is as the layer lays it out.

    Without ``hx`` the state is zeros.
    """
    unbatched = input.dim() == SEQUENCE
    if unbatched:
        input = input.unsqueeze(1)
        hx = with_batch(hx, 1)
    elif layer.batch_first:
        input = input.transpose(0, 1)
    if hx is None:
        hx = zeros(layer, input, input.shape[1])
    output, ends = run(stack_of(layer), input, _tensors(hx))
    if unbatched:
        output, ends = output.squeeze(1), tuple(tensor.squeeze(1) for tensor in ends)
    elif layer.batch_first:
        output = output.transpose(0, 1)
    return output, ends if len(ends) > 1 else next(iter(ends))


def _tensors(state: Any) -> States:
    return (state,) if isinstance(state, Tensor) else tuple(state)


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
