"""A layer's call with ``lengths``: padded where that is faster, else packed and padded again."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_packed_sequence

from rnnkit._base.class_facts import mode_of
from rnnkit._base.state import map_state
from rnnkit._base.torch_tools import lacks_kernel
from rnnkit._checks.call_spec import spec_of_layer
from rnnkit._checks.lengths import check_lengths
from rnnkit._kernels.lengths import Lengths, pack
from rnnkit._kernels.padded import Direction, padding_pays, run_stack
from rnnkit._modules.whole import run_whole, zeros


def run_lengths(layer: Any, input: Any, hx: Any, lengths: Any) -> tuple[Tensor, Any]:
    """Run a layer on a checked input, and each sample up to its own length.

    Raises:
        LengthsError: if the lengths are no counts of the input's steps.
    """
    counts = check_lengths(spec_of_layer(layer, input), lengths, input)
    mode, proj_size = mode_of(layer), layer.proj_size
    if lacks_kernel(mode, proj_size, input):
        # Autocast leaves packed input alone, but for lengths that are all equal.
        weight: Any = layer._flat_weights[0]  # noqa: SLF001
        hx = None if hx is None else map_state(lambda tensor: tensor.to(weight.dtype), hx)
        with torch.autocast("cpu", enabled=False):
            return _run_packed(layer, input.to(weight.dtype), hx, counts)
    if counts.is_full:
        return run_whole(layer, input, hx)
    if padding_pays(mode, layer.hidden_size, proj_size, input, counts):
        return _run_padded(layer, input, hx, counts)
    return _run_packed(layer, input, hx, counts)


def _run_packed(layer: Any, input: Tensor, hx: Any, counts: Lengths) -> tuple[Tensor, Any]:
    empty = counts.empty
    if hx is None and empty is not None:
        hx = zeros(layer, input, len(counts.each))
    packed = pack(input, counts, batch_first=layer.batch_first)
    output, state = run_whole(layer, packed, hx)
    output, _ = pad_packed_sequence(output, layer.batch_first, total_length=counts.seq)
    if empty is None:
        return output, state
    output = output.masked_fill(empty.view((-1, 1, 1) if layer.batch_first else (1, -1, 1)), 0)
    empty = empty.view(1, -1, 1)
    return output, map_state(
        lambda end, start: torch.where(empty, start.to(end.dtype), end), state, hx
    )


def _run_padded(layer: Any, input: Tensor, hx: Any, lengths: Lengths) -> tuple[Tensor, Any]:
    if hx is None:
        hx = zeros(layer, input, len(lengths.each))
    steps = max(lengths.longest, 1)
    padded = (input.transpose(0, 1) if layer.batch_first else input)[:steps]
    state = hx if isinstance(hx, tuple) else (hx,)
    output, ends = run_stack(stack_of(layer), padded, state, lengths, layer.dropout)
    output = functional.pad(output, (0, 0, 0, 0, 0, lengths.seq - steps))
    if layer.batch_first:
        output = output.transpose(0, 1)
    return output, ends if len(ends) > 1 else next(iter(ends))


def stack_of(layer: Any) -> list[list[Direction]]:
    """Return what a layer is made of, layer by layer, the forward direction first."""
    layer._update_flat_weights()  # noqa: SLF001
    weights: Any = layer._flat_weights  # noqa: SLF001
    directions = 2 if layer.bidirectional else 1
    per_direction = len(weights) // (layer.num_layers * directions)
    mode = mode_of(layer)
    kernels = [
        Direction(mode, weights[start : start + per_direction], layer.bias, layer.training)
        for start in range(0, len(weights), per_direction)
    ]
    return [kernels[k : k + directions] for k in range(0, len(kernels), directions)]
