"""A layer's call with ``lengths`` or ``reset``, where each piece of each sample runs by itself.

The paths of the kernels run it; while a compiler traces, operators, one for each direction.
"""

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.class_facts import mode_of, overrides_initial_state, overrides_torch_checks
from rnnkit._base.state import map_state, tensors_of, zeros
from rnnkit._base.torch_tools import (
    is_jit_traced,
    is_meta_or_fake,
    is_transformed,
    lacks_kernel,
    uses_custom_op,
)
from rnnkit._checks.call_spec import SEQUENCE, spec_of_layer
from rnnkit._checks.cell_guards import MISFIT
from rnnkit._checks.diagnosis import diagnose_initial_state
from rnnkit._checks.guards import fitting_layer
from rnnkit._checks.lengths import check_lengths, check_reset
from rnnkit._kernels import paths
from rnnkit._kernels.compiled.resets import run_reset_operators, takes_reset_operator
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.padded import run_padded
from rnnkit._kernels.stack import KERNELS, Direction, Run, Stack, States
from rnnkit._modules.layer_calls import rows_of, run_without_lengths
from rnnkit._modules.loop import loop_stack

#: The lengths, the mask of resets ``(seq, batch)``, and the layer's state that they return to.
Pieces = tuple[Lengths | None, Tensor | None, Any]


def checked_pieces(layer: Any, input: Any, weight: Any, lengths: Any, reset: Any) -> Pieces:
    """Check lengths and resets, and ask a layer that overrides it for the state after a reset."""
    spec = spec_of_layer(layer, input)
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


def uses_operator(layer: Any, input: Any) -> bool:
    """Return whether a compiled call without lengths runs rnnkit's operator."""
    if not is_compiling() or not isinstance(input, Tensor) or overrides_torch_checks(layer):
        return False
    seq_axis = 1 if layer.batch_first and input.dim() > SEQUENCE else 0
    return mode_of(layer) in KERNELS and uses_custom_op(input.shape[seq_axis])


def run_with_lengths_or_reset(
    layer: Any, input: Tensor, hx: Any, pieces: Pieces | None
) -> tuple[Tensor, Any]:
    """Run a layer on a checked input: each sample up to its length, cut where it is reset."""
    counts, mask, initial = pieces or (None, None, None)
    if not is_compiling() and lacks_kernel(mode_of(layer), layer.proj_size, input):
        # Autocast leaves packed input as it is, except lengths that are all equal.
        dtype = layer._flat_weights[0].dtype  # noqa: SLF001
        hx, initial = (map_state(lambda tensor: tensor.to(dtype), state) for state in (hx, initial))
        with torch.autocast("cpu", enabled=False):
            pieces = (counts, mask, initial)
            return run_with_lengths_or_reset(layer, input.to(dtype), hx, pieces)
    if counts is not None and counts.is_full():
        counts = None
    if counts is None and mask is None and not is_compiling():
        return run_without_lengths(layer, input, hx, overrides_torch_checks(layer))
    unbatched = input.dim() == SEQUENCE
    if unbatched:
        input = input.unsqueeze(1)
        hx, initial = (map_state(lambda t: t.unsqueeze(1), given) for given in (hx, initial))
        mask = None if mask is None else mask.unsqueeze(1)
    elif layer.batch_first:
        input = input.transpose(0, 1)
    if hx is None:
        hx = zeros(layer, input, rows_of(layer), input.shape[1])
    restart = None if initial is None else tensors_of(initial)
    output, ends = run_stack(stack_of(layer), input, tensors_of(hx), counts, mask, restart)
    if unbatched:
        output, ends = output.squeeze(1), tuple(tensor.squeeze(1) for tensor in ends)
    elif layer.batch_first:
        output = output.transpose(0, 1)
    return output, ends[0] if len(ends) == 1 else ends


def run_stack(
    stack: Stack,
    input: Tensor,
    state: States,
    counts: Lengths | None,
    mask: Tensor | None,
    initial: States | None,
) -> Run:
    """Run a stack over ``(seq, batch, feature)`` by a path that works for whoever traces."""
    if mask is None and uses_custom_op(input.shape[0]):
        return run_padded(stack, input, state, counts)
    if mask is not None and takes_reset_operator(input):
        return run_reset_operators(stack, input, state, counts, mask, initial)
    # Pieces are found by the values of a mask, and a relu may not run over padding.
    by_values = mask is not None or (stack.mode == "RNN_RELU" and counts is not None)
    traced = is_transformed() or is_jit_traced() or (mask is not None and is_meta_or_fake(mask))
    run = loop_stack if by_values and traced else paths.run
    return run(stack, input, state, counts, mask, initial)


def stack_of(layer: Any) -> Stack:
    """Return a layer's directions, layer by layer, starting with the forward one."""
    weights = layer._flat_weights  # noqa: SLF001
    if is_compiling():
        # By their names: a graph then holds no list that has to be kept up to date.
        weights = [getattr(layer, name) for name in layer._flat_weights_names]  # noqa: SLF001
    rows, directions = rows_of(layer), 2 if layer.bidirectional else 1
    size, mode, options = len(weights) // rows, mode_of(layer), (layer.bias, layer.training)
    each = [
        Direction(mode, weights[row * size : (row + 1) * size], *options, row % directions > 0)
        for row in range(rows)
    ]
    layers = [each[row : row + directions] for row in range(0, rows, directions)]
    return Stack(layers, layer.dropout)
