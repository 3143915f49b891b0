"""A stack over a padded batch, by the path that is expected to be fastest.

Whichever it is, each piece of each sample gives what it gives alone.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rnnkit._kernels import choice
from rnnkit._kernels.choice import Choice, Facts
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.padded import run_groups, run_stack
from rnnkit._kernels.pieces import Pieces, Rows, pieces_of
from rnnkit._kernels.resets import blanks_of, run_blank
from rnnkit._kernels.rows import run_rows
from rnnkit._kernels.stack import KERNELS, Stack, States


def run_lengths(
    stack: Stack, input: Tensor, state: States, lengths: Lengths
) -> tuple[Tensor, States]:
    """Run a stack over a padded batch, as if over each sample alone.

    Args:
        stack: the layers.
        input: ``(seq, batch, feature)``; what lies beyond a length is not read.
        state: the tensors of the first state, each ``(layers * directions, batch, hidden)``.
        lengths: the samples' valid steps.

    Returns:
        The output ``(seq, batch, directions * hidden)``, zero on padding, and the state after
        each sample's own last step.
    """
    facts = choice.facts_of(stack, input, state)
    path, groups = choice.for_lengths(facts, lengths.values)
    if path != choice.PADDED:
        return _run_pieces(path, stack, input, state, None, pieces_of(lengths.each.cpu()))
    if groups:
        return run_groups(stack, input, state, lengths, groups)
    return run_stack(stack, input, state, lengths)


def run_resets(
    stack: Stack,
    input: Tensor,
    state: States,
    lengths: Lengths | None,
    reset: Tensor,
    initial: States | None = None,
) -> tuple[Tensor, States]:
    """Run a stack over a batch whose samples start anew on the way, as if over each piece alone.

    Args:
        stack: the layers.
        input: ``(seq, batch, feature)``; what lies beyond a length is not read.
        state: the tensors of the first state, each ``(layers * directions, batch, hidden)``.
        lengths: the samples' valid steps; None for all.
        reset: ``(seq, batch)``, booleans, true where a sample starts anew before that step.
        initial: what it starts anew from, as ``state``; None for zeros.

    Returns:
        The output ``(seq, batch, directions * hidden)``, zero on padding, and the state of each
        sample's last piece, or of its first one where the steps are run backward.
    """
    seq, batch = input.shape[:2]
    counts = torch.full((batch,), seq) if lengths is None else lengths.each.cpu()
    starts = reset.cpu()
    pieces = pieces_of(counts, starts)
    if len(pieces.sample) <= batch:
        state = _renewed(stack, state, initial, pieces, input.device)
        if lengths is not None:
            return run_lengths(stack, input, state, lengths)
        return run_whole(stack, input, state)
    facts = choice.facts_of(stack, input, state)
    path = choice.for_resets(facts, int(pieces.steps[0]), int(pieces.steps.sum()), None)
    return _run_pieces(path, stack, input, state, initial, pieces)
