"""rnnkit's own cells over a sequence by torch's fused kernels."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules import module as nn_module
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from rnnkit._cell import Cell
from rnnkit._cells import ProjectedLSTMCell
from rnnkit._lengths import Lengths, pack
from rnnkit._padded import KERNELS, Direction, padding_pays, places_of, run_padded, take
from rnnkit._state import LSTMState, map_state

#: torch's hooks on all modules, those of each kind in a dictionary that stays the same object.
GLOBAL_HOOKS = (
    nn_module._global_forward_hooks,  # noqa: SLF001
    nn_module._global_forward_pre_hooks,  # noqa: SLF001
    nn_module._global_backward_hooks,  # noqa: SLF001
    nn_module._global_backward_pre_hooks,  # noqa: SLF001
)
OWN_FORWARDS = (Cell.forward, ProjectedLSTMCell.forward)


def is_plain(cell: Any) -> bool:
    """Say whether a call of the cell does what rnnkit's cells do, and nothing else."""
    return (
        isinstance(cell, Cell)
        and type(cell).forward in OWN_FORWARDS
        and "forward" not in cell.__dict__
        and not any(GLOBAL_HOOKS)
        and not (cell._forward_hooks or cell._forward_pre_hooks)  # noqa: SLF001
        and not (cell._backward_hooks or cell._backward_pre_hooks)  # noqa: SLF001
    )


def run_fused(
    cell: Any,
    input: Tensor,
    hx: Any,
    lengths: Lengths | None,
    reset: Tensor | None,
    initial: Any,
    *,
    reverse: bool,
) -> tuple[Tensor, Any]:
    """Run a cell over ``(seq, batch, feature)``; the state is a cell's ``(batch, hidden)``."""
    mode, weights = cell._mode, cell._weights()  # noqa: SLF001
    direction = Direction(mode, weights, cell.bias, cell.training)
    steps = len(input)
    flip = None
    if reverse:
        flip = _flipped_places(input, lengths)
        input = take(input, flip)
        reset = None if reset is None else take(reset, flip)
    if lengths is not None:
        input = input.masked_fill(lengths.beyond(steps), 0)
        reset = None if reset is None else reset & lengths.valid(steps)
    if reset is None:
        output, hx = _run_segment(direction, cell, input, hx, lengths)
        return output if flip is None else take(output, flip), hx
    outputs = []
    for start, stop in _segments(reset, steps):
        hx = _renew(reset[start], initial, hx)
        part = None if lengths is None else lengths.between(start, stop)
        output, hx = _run_segment(direction, cell, input[start:stop], hx, part)
        outputs.append(output)
    output = torch.cat(outputs)
    return output if flip is None else take(output, flip), hx


def _flipped_places(input: Tensor, lengths: Lengths | None) -> Tensor:
    steps, batch = input.shape[:2]
    if lengths is not None:
        return places_of(lengths, steps).flipped
    places = torch.arange(steps * batch, device=input.device).view(steps, batch)
    return places.flip(0).reshape(-1)


def _segments(reset: Tensor, steps: int) -> list[tuple[int, int]]:
    """Cut the steps before each one at which a sample starts anew."""
    cuts = reset.any(dim=1).nonzero().flatten().tolist()
    bounds = sorted({0, *cuts, steps})
    return list(pairwise(bounds))


def _renew(mask: Tensor, initial: Any, hx: Any) -> Any:
    return map_state(lambda new, old: torch.where(mask.unsqueeze(1), new, old), initial, hx)


def _run_segment(
    direction: Direction, cell: Any, input: Tensor, hx: Any, lengths: Lengths | None
) -> tuple[Tensor, Any]:
    state = tuple(tensor.unsqueeze(0) for tensor in ((hx,) if isinstance(hx, Tensor) else hx))
    if lengths is None:
        output, state = direction.run(input, state)
    elif padding_pays(cell, input, lengths):
        places = places_of(lengths, len(input))
        output, state = run_padded(direction, input, state, lengths, places, reverse=False)
        output = output.masked_fill(places.beyond, 0)
    else:
        output, state = _run_packed(direction, input, state, lengths)
    tensors = [tensor.squeeze(0) for tensor in state]
    return output, tensors[0] if len(tensors) == 1 else LSTMState(*tensors)


def _run_packed(
    direction: Direction, input: Tensor, state: tuple[Tensor, ...], lengths: Lengths
) -> tuple[Tensor, tuple[Tensor, ...]]:
    packed = pack(input, lengths, batch_first=False)
    sizes: Any = packed.batch_sizes
    order: Any = packed.sorted_indices
    back: Any = packed.unsorted_indices
    ordered = [tensor.index_select(1, order) for tensor in state]
    hx: Any = tuple(ordered) if len(ordered) > 1 else ordered[0]
    data, *ends = KERNELS[direction.mode](
        packed.data, sizes, hx, direction.weights, direction.bias, 1, 0.0, direction.training, False
    )
    packed = PackedSequence(data, sizes, order, back)
    output, _ = pad_packed_sequence(packed, total_length=len(input))
    ends = [tensor.index_select(1, back) for tensor in ends]
    if lengths.empty is not None:
        output = output.masked_fill(lengths.empty.view(1, -1, 1), 0)
        empty = lengths.empty.view(1, -1, 1)
        ends = [torch.where(empty, old, new) for old, new in zip(state, ends, strict=True)]
    return output, tuple(ends)
