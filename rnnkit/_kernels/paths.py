"""A stack over a padded batch, by the path that is expected to be fastest.

Whichever it is, each piece of each sample gives what it gives alone.
"""

from typing import Any

import torch
from torch import Tensor

from rnnkit._kernels import choice
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.padded import run_padded
from rnnkit._kernels.pieces import Pieces, Rows, pieces_of, whole_pieces
from rnnkit._kernels.resets import blanks_of, run_blank
from rnnkit._kernels.rows import run_rows
from rnnkit._kernels.stack import KERNELS, Direction, Run, Stack, States
from rnnkit._kernels.steps import Cuts


def run(
    stack: Stack,
    input: Tensor,
    state: States,
    lengths: Lengths | None = None,
    reset: Tensor | None = None,
    initial: States | None = None,
) -> tuple[Tensor, States]:
    """Run a stack over a padded batch ``(seq, batch, feature)``, each piece as if alone.

    ``reset`` ``(seq, batch)`` is contiguous; ``initial`` is what a sample is reset to, as
    ``state``, None for zeros. Returns the output, zero on padding, and the state of the piece of
    each sample that is run last.
    """
    if reset is not None:
        return _run_resets(stack, input, state, lengths, reset, initial)
    if lengths is not None:
        return _run_lengths(stack, input, state, lengths)
    return _run_whole(stack, input, state)


def _run_lengths(
    stack: Stack, input: Tensor, state: States, lengths: Lengths
) -> tuple[Tensor, States]:
    values = lengths.values
    # Without a valid step there is no row; over the padding the result still has a gradient.
    if not values or not lengths.longest:
        return run_padded(stack, input, state, lengths)
    path = choice.for_lengths(choice.facts_of(stack, input, state), values)
    if path == choice.PADDED:
        return run_padded(stack, input, state, lengths)
    return _run_pieces(path, stack, input, state, None, whole_pieces(values))


def _run_resets(
    stack: Stack,
    input: Tensor,
    state: States,
    lengths: Lengths | None,
    reset: Tensor,
    initial: States | None,
) -> tuple[Tensor, States]:
    seq, batch = input.shape[:2]
    starts, values = reset.cpu(), [seq] * batch
    if lengths is not None:
        values = lengths.values or values
        starts = starts & (torch.arange(seq, device="cpu").unsqueeze(1) < _counts(values))
    cuts = int(starts[1:].sum())
    if not cuts:
        # No sample is cut after its first step: whatever runs the batch can do that.
        return run(stack, input, _apply_reset_at_start(stack, state, initial, starts), lengths)
    facts = choice.facts_of(stack, input, state)
    path = choice.for_resets(
        facts, batch, cuts, is_full=lengths is None, from_zeros=initial is None
    )
    if path == choice.STEPS:
        return _run_steps(stack, input, state, Cuts(starts))
    if path == choice.BLANK:
        begun = _apply_reset_at_start(stack, state, None, starts)
        counts = None if lengths is None else _counts(values)
        output, ends = run_blank(stack, input, begun, blanks_of(counts, starts, input.device))
        # One look is enough: a NaN in any layer is one in the output. A half's sum may overflow.
        precise = torch.promote_types(output.dtype, torch.float32)
        if bool(output.detach().sum(dtype=precise).isfinite()):
            return output, ends
    return _run_pieces(path, stack, input, state, initial, pieces_of(_counts(values), starts))


def _counts(values: list[int]) -> Tensor:
    return torch.tensor(values, device="cpu")


def _run_steps(stack: Stack, input: Tensor, state: States, cuts: Cuts) -> tuple[Tensor, States]:
    output, ends = _run_by_hand(stack, input.flatten(0, 1), state, cuts)
    if output.requires_grad:
        # The backward pass reads the output, into which the caller may write, as into torch's.
        output = output.clone()
    return output.view(*input.shape[:2], -1), ends


def _run_whole(stack: Stack, input: Tensor, state: States) -> tuple[Tensor, States]:
    """Run a stack over a batch of which all steps are valid, as torch's layer does."""
    backward = _is_backward(stack)
    if backward:
        input = input.flip(0)
    hx: Any = state[0] if len(state) == 1 else state
    output, *ends = KERNELS[stack.mode](input, hx, *stack.arguments, False)
    return output.flip(0) if backward else output, tuple(ends)


def _run_pieces(
    path: str, stack: Stack, input: Tensor, state: States, initial: States | None, pieces: Pieces
) -> tuple[Tensor, States]:
    seq, batch = input.shape[:2]
    rows = Rows(pieces, batch, input.device)
    data = rows.take(input)
    run = _run_by_hand if path == choice.ROWS else _run_by_torch
    first = _begin(stack, state, initial, rows.pieces)
    output, last = _as_padded(stack, *run(stack, data, first, rows))
    return rows.put(output, seq, batch), _finish(stack, state, last, rows.pieces)


def _as_padded(stack: Stack, output: Tensor, ends: States) -> tuple[Tensor, States]:
    """Lower what autocast would have lowered, had the LSTM not been packed."""
    if stack.mode != "LSTM" or output.dtype is not torch.float32:
        return output, ends
    if output.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return output, ends
    dtype = torch.get_autocast_dtype("cpu")
    return output.to(dtype), tuple(end.to(dtype) for end in ends)


def _begin(stack: Stack, state: States, initial: States | None, pieces: Pieces) -> States:
    """Return each piece's first states, ``(layers * directions, pieces, hidden)``."""
    if pieces.are_whole:
        return tuple(given.index_select(1, pieces.sample) for given in state)
    restart = [None] * len(state) if initial is None else initial
    return tuple(
        torch.stack(
            [
                pieces.begin(direction.reverse, given, None if new is None else new[place])
                for place, (direction, given) in enumerate(zip(stack.directions, each, strict=True))
            ]
        )
        for each, new in zip(state, restart, strict=True)
    )


def _finish(stack: Stack, state: States, last: States, pieces: Pieces) -> States:
    """Return each sample's last states, of those of all pieces."""
    pairs = zip(state, last, strict=True)
    if pieces.are_whole:
        return tuple(
            given.to(ends.dtype).index_copy(1, pieces.sample, ends) for given, ends in pairs
        )
    return tuple(
        torch.stack(
            [
                pieces.finish(direction.reverse, *each)
                for direction, *each in zip(stack.directions, given, ends, strict=True)
            ]
        )
        for given, ends in pairs
    )


def _run_by_hand(
    stack: Stack, data: Tensor, first: States, rows: Rows | Cuts
) -> tuple[Tensor, States]:
    def run(direction: Direction, data: Tensor, start: States) -> Run:
        return run_rows(direction, data, start, rows)

    return stack.run_each(data, run, first)


def _run_by_torch(stack: Stack, data: Tensor, first: States, rows: Rows) -> tuple[Tensor, States]:
    """Run all layers in one call, which cuDNN takes as a whole."""
    backward = _is_backward(stack)
    if backward:
        data = data.index_select(0, rows.mirror)
    hx: Any = first[0] if len(first) == 1 else first
    output, *ends = KERNELS[stack.mode](data, rows.batch_sizes, hx, *stack.arguments)
    return output.index_select(0, rows.mirror) if backward else output, tuple(ends)


def _is_backward(stack: Stack) -> bool:
    """Say whether the stack is one layer that runs backward alone, which torch has not."""
    return stack.layers[0][0].reverse


def _apply_reset_at_start(
    stack: Stack, state: States, initial: States | None, starts: Tensor
) -> States:
    """Apply resets at step 0, where that is the first step to be run."""
    fresh = starts[0].unsqueeze(1)
    if not fresh.any():
        return state
    fresh = fresh.to(state[0].device)
    forward = [not direction.reverse for direction in stack.directions]
    restart = [torch.zeros_like(each) for each in state] if initial is None else initial
    return tuple(
        torch.stack(
            [
                torch.where(fresh, new, given) if turn else given
                for turn, new, given in zip(forward, news, each, strict=True)
            ]
        )
        for news, each in zip(restart, state, strict=True)
    )
