"""``unroll``: any cell, run over a sequence.

rnnkit's own cells over a sequence by torch's fused kernels.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from rnnkit._base.class_facts import mode_of, proj_size_of
from rnnkit._base.state import LSTMState, map_state
from rnnkit._base.torch_tools import is_one_graph, is_transformed, lacks_kernel
from rnnkit._checks.calls import check_unrolled
from rnnkit._checks.lengths import check_lengths
from rnnkit._checks.masks import as_mask
from rnnkit._checks.objects import check_cell_object, refuse_stateless
from rnnkit._kernels.lengths import Lengths, pack
from rnnkit._kernels.padded import KERNELS, Direction, padding_pays, places_of, run_padded, take
from rnnkit._modules.cell_base import sequence_weights, weights_of
from rnnkit._modules.loop import is_plain, run_loop
from rnnkit.typing import Cell


def unroll(
    cell: Cell,
    input: Tensor,
    hx: Any = None,
    *,
    batch_first: bool = False,
    lengths: Any = None,
    reverse: bool = False,
    reset: Any = None,
    return_states: bool = False,
    fused: bool = True,
) -> tuple[Tensor, Any]:
    """Run a cell over a sequence.

    ::

        for x_t in input:
            hx = cell(x_t, hx)
            output.append(hx, or hx[0] of a tuple)

    rnnkit's own cells run torch's fused kernel, at the price of the layer, unless
    ``return_states`` asks for what the kernel does not give. A compiler's trace, ``torch.func``
    and cells with hooks get the loop.

    Args:
        cell: an rnnkit cell, or any module as :class:`rnnkit.typing.Cell` describes it.
        input: ``(seq, batch, feature)``, with ``batch_first`` ``(batch, seq, feature)``, or
            ``(seq, feature)`` for one sequence without batch.
        hx: the state before the first step, as the cell takes it; None for the cell's
            ``initial_state``.
        batch_first: whether input, output and ``reset`` have the batch on axis 0.
        lengths: ``(batch,)``, the valid steps of each sample, 0 to seq. The output is zero beyond
            them, the state the one after each sample's own last step.
        reverse: whether to run from the last valid step to the first; the output stays in the
            input's order.
        reset: ``(seq, batch)``, booleans or 0 and 1, true where a sample starts anew from
            ``initial_state`` before that step.
        return_states: whether to return the state after every step, each tensor with a seq axis
            in front, instead of the last one.
        fused: whether torch's fused kernel may run. False keeps to the loop, whose gradients can
            be differentiated again.

    Returns:
        The output, in the input's layout, and the last state (or all).

    Raises:
        RnnkitError: the child that fits, if input, state, lengths or mask are not as above.
        CellError: if the cell returns no state, or has none to begin with. Its own exceptions
            go on as they are, with a note that names the step.

    >>> cell = rnnkit.GRUCell(3, 4)
    >>> output, state = rnnkit.unroll(cell, torch.ones(7, 2, 3), lengths=[7, 5])
    >>> output.shape, state.shape
    (torch.Size([7, 2, 4]), torch.Size([2, 4]))
    """
    return run(
        cell, input, hx, "unroll",
        batch_first=batch_first, lengths=lengths, reverse=reverse, reset=reset,
        return_states=return_states, fused=fused,
    )  # fmt: skip


unroll.__module__ = "rnnkit"


def run(
    cell: Any,
    input: Any,
    hx: Any,
    caller: str,
    *,
    batch_first: bool,
    lengths: Any,
    reverse: bool,
    reset: Any = None,
    return_states: bool = False,
    fused: bool = True,
) -> tuple[Tensor, Any]:
    """Do what :func:`unroll` does, under the name of its caller.

    Raises:
        RnnkitError: the child that fits.
    """
    plain = is_plain(cell)
    if not plain:
        check_cell_object(cell, input)
    weight = weights_of(cell)[0] if plain else None
    spec, hx = check_unrolled(cell, input, hx, caller, weight, batch_first=batch_first)
    counts = None if lengths is None else check_lengths(spec, lengths, input)
    if counts is not None and counts.is_full:
        counts = None
    if spec.batch is None:
        output, state = run(
            cell, input.unsqueeze(1), None if hx is None else map_state(_add_batch, hx), caller,
            batch_first=False, lengths=None, reverse=reverse,
            reset=None if reset is None else torch.as_tensor(reset).unsqueeze(1),
            return_states=return_states, fused=fused,
        )  # fmt: skip
        batch_axis = 1 if return_states else 0
        return output.squeeze(1), map_state(lambda tensor: tensor.squeeze(batch_axis), state)
    if batch_first:
        input = input.transpose(0, 1)
    mask = None
    if reset is not None:
        shape = (spec.batch, input.shape[0]) if batch_first else (input.shape[0], spec.batch)
        mask = as_mask(reset, shape, input.device, "reset")
        mask = mask.transpose(0, 1) if batch_first else mask
    initial = initial_state(cell, spec.batch) if hx is None or mask is not None else None
    start = initial if hx is None else hx
    if fused and not return_states and plain and mask is None and is_one_graph():
        output, state = run_traced(cell, input, start, counts, reverse=reverse)
    elif (
        fused
        and not return_states
        and plain
        and not is_transformed()
        and not lacks_kernel(mode_of(cell), proj_size_of(cell), input)
    ):
        output, state = run_fused(cell, input, start, counts, mask, initial, reverse=reverse)
    else:
        output, state = run_loop(
            cell, input, start, counts, mask, initial,
            reverse=reverse, return_states=return_states,
        )  # fmt: skip
    return output.transpose(0, 1) if batch_first else output, state


def _add_batch(tensor: Tensor) -> Tensor:
    return tensor.unsqueeze(0)


def initial_state(cell: Any, batch: int) -> Any:
    """Ask a cell for its first state.

    Raises:
        CellError: if it has none to give.
    """
    if not hasattr(cell, "initial_state"):
        refuse_stateless(cell)
    return cell.initial_state(batch)


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
    mode, weights = mode_of(cell), sequence_weights(cell)
    direction = Direction(mode, weights, bool(cell.bias), cell.training)
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


def run_traced(
    cell: Any, input: Tensor, hx: Any, lengths: Lengths | None, *, reverse: bool
) -> tuple[Tensor, Any]:
    """Run a cell as an operator that a compiler leaves whole."""
    direction = Direction(mode_of(cell), sequence_weights(cell), bool(cell.bias), cell.training)
    state = tuple(tensor.unsqueeze(0) for tensor in ((hx,) if isinstance(hx, Tensor) else hx))
    if lengths is None:
        output, state = direction.run(input, state, reverse=reverse)
    else:
        places = places_of(lengths, input.shape[0])
        input = input.masked_fill(places.beyond, 0)
        output, state = run_padded(direction, input, state, lengths, places, reverse=reverse)
        output = output.masked_fill(places.beyond, 0)
    tensors = [tensor.squeeze(0) for tensor in state]
    return output, tensors[0] if len(tensors) == 1 else LSTMState(*tensors)


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
    elif padding_pays(direction.mode, cell.hidden_size, proj_size_of(cell), input, lengths):
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
