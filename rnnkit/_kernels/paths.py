"""A stack over a padded batch, by the path that is expected to be fastest.

On each of them, a piece of a sample returns what it returns by itself.
"""

from functools import partial

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._base.torch_tools import moved
from rnnkit._kernels import choice
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.padded import run_blank, run_padded
from rnnkit._kernels.pieces import Cuts, Pieces, Rows, pieces_of, whole_pieces
from rnnkit._kernels.rows import run_rows
from rnnkit._kernels.stack import Direction, Run, Stack, States


def run(
    stack: Stack,
    input: Tensor,
    state: States,
    lengths: Lengths | None = None,
    reset: Tensor | None = None,
    initial: States | None = None,
) -> Run:
    """Run a stack over a padded batch ``(seq, batch, feature)``, each piece as if by itself.

    A stack is a layer's directions, layer by layer; a piece is a stretch of a sample between two
    resets. ``state`` is h and an LSTM's c, ``(layers * directions, batch, hidden)``. ``lengths``
    None: every step is valid. ``reset`` ``(seq, batch)`` is contiguous; ``initial`` is what a
    sample is reset to, as ``state``, None for zeros. Returns the output, zero on padding, and the
    state of the piece of each sample that is run last. So does every path; ``choice`` picks the one
    that is expected to be fastest.
    """
    if stack.lacks_kernel:
        # Autocast asks for a fused LSTM in half precision, which this CPU does not have. All runs
        # in the weights' dtype instead, without autocast. A packed LSTM would run so of itself,
        # except where lengths are all equal. The stack of the second call has no such mark.
        dtype = stack.directions[0].weights[0].dtype
        input, state, initial = pytree.tree_map_only(
            Tensor, lambda one: one.to(dtype), (input, state, initial)
        )
        with torch.autocast("cpu", enabled=False):
            return run(Stack(*stack[:2]), input, state, lengths, reset, initial)
    if reset is not None:
        return _run_resets(stack, input, state, lengths, reset, initial)
    if lengths is None:
        output, ends = stack.run(input.flip(0) if stack.is_backward else input, state)
        return output.flip(0) if stack.is_backward else output, ends
    values = lengths.values
    # Without a valid step there are no rows, and over the padding the result still has a gradient.
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
) -> Run:
    """Do what ``run`` does of a call with resets, whose values are read here.

    ``reset`` ``(seq, batch)`` is true where a sample starts again, from ``initial`` or, for None,
    zeros. Without a reset after the first step it is a call without resets. BLANK puts a step that
    sets the state to zero before each reset. A NaN would pass it: if one appears, pieces are run.
    """
    seq, batch = input.shape[:2]
    values = (lengths and lengths.values) or [seq] * batch
    starts = reset.cpu()
    counts = torch.tensor(values, device="cpu")
    if lengths is not None:
        starts = starts & (torch.arange(seq, device="cpu").unsqueeze(1) < counts)
    cuts = int(starts[1:].sum())
    if not cuts:
        # A reset at the first step only changes the state that is given.
        return run(stack, input, _apply_reset_at_start(stack, state, initial, starts), lengths)
    path = choice.for_resets(
        choice.facts_of(stack, input, state),
        batch,
        cuts,
        is_full=lengths is None,
        from_zeros=initial is None,
    )
    if path == choice.STEPS:
        rows = Cuts(starts)
        output, ends = stack.run_each(input.flatten(0, 1), partial(run_rows, rows=rows), state)
        # The backward pass reads the output, into which the caller may write, as into torch's.
        output = output.clone() if output.requires_grad else output
        return output.view(seq, batch, -1), ends
    if path == choice.BLANK:
        begun = _apply_reset_at_start(stack, state, None, starts)
        output, ends = run_blank(stack, input, begun, None if lengths is None else counts, starts)
        # One look is enough: a NaN in any layer is one in the output. A half's sum may overflow.
        precise = torch.promote_types(output.dtype, torch.float32)
        if bool(output.detach().sum(dtype=precise).isfinite()):
            return output, ends
    return _run_pieces(path, stack, input, state, initial, pieces_of(counts, starts))


def _run_pieces(
    path: str, stack: Stack, input: Tensor, state: States, initial: States | None, pieces: Pieces
) -> Run:
    """Run the pieces of samples as one batch, packed, and put the rows back where they were.

    ``pieces`` says from which sample each is cut, where it starts and how many steps it has. The
    path is ROWS, rnnkit's own loop, or else torch's kernel for a PackedSequence. The states are h
    and an LSTM's c, ``(layers * directions, batch, hidden)``; ``initial`` begins pieces after a
    reset, None for zeros. Returns output and last states.
    """
    rows = Rows(pieces, input.shape[1], input.device)
    data = rows.take(input)
    pieces = rows.pieces
    first = pieces.begin(stack, state, initial)
    if path == choice.ROWS:
        output, last = stack.run_each(data, partial(run_rows, rows=rows), first)
    else:
        # All layers in one call, which cuDNN takes as a whole.
        output, last = _lowered(stack, *rows.run_differentiable(stack, data, first))
    return rows.put(output, *input.shape[:2]), pieces.finish(stack, state, last)


def _lowered(stack: Stack, output: Tensor, ends: States) -> Run:
    """Lower the results of a packed LSTM as autocast lowers those of a padded one.

    torch runs a packed LSTM on a CPU in float32 whatever autocast asks for: its output and last
    states get autocast's dtype here. All other results stay as they are.
    """
    if stack.recurrence.name != "LSTM" or output.dtype is not torch.float32:
        return output, ends
    if not output.is_cpu or not torch.is_autocast_enabled("cpu"):
        return output, ends
    dtype = torch.get_autocast_dtype("cpu")
    return output.to(dtype), tuple(end.to(dtype) for end in ends)


def _apply_reset_at_start(
    stack: Stack, state: States, initial: States | None, starts: Tensor
) -> States:
    """Return the state after the resets at step 0, where that is the first step to be run.

    ``starts`` ``(seq, batch)`` is true at resets, and ``initial`` is what a sample is reset to,
    None for zeros. The state ``(layers * directions, batch, hidden)`` of a backward direction stays
    as it is: step 0 is the last one that it runs.
    """
    if not starts[0].any():
        return state
    fresh = moved(starts[0].unsqueeze(1), state[0].device)

    def run(direction: Direction, given: Tensor, new: Tensor | None) -> Tensor:
        if direction.reverse:
            return given
        return torch.where(fresh, 0 if new is None else new, given)

    return stack.map_state(run, state, initial)
