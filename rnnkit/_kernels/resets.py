"""Samples that start again between two steps, in a padded LSTM: a blank step in between.

On a blank step a further feature closes the gates i, f and o, so that c = 0 and h = 0 exactly and
no gradient passes. The fast kernel then runs over all of a sample at once. Two things it cannot
do: start from anything but zeros, and stop what is no number, since 0 times NaN is NaN.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.padded import run_padded
from rnnkit._kernels.stack import Stack, States


class Blanks(NamedTuple):
    """A padded batch with a blank step before each step at which a sample starts again."""

    #: Steps of the longest sample, the blank ones included.
    steps: int
    #: ``(steps, batch, 1)``: true on blank steps.
    blank: Tensor
    #: Valid steps of each sample, the blank ones included.
    lengths: Lengths
    #: ``(rows,)``: the places of all valid steps in the batch, flattened; None if all are valid.
    places: Tensor | None
    #: Where they go.
    moved: Tensor


def blanks_of(lengths: Tensor | None, starts: Tensor, device: torch.device) -> Blanks:
    """Put a blank step before each reset but at the first step; arguments as in ``pieces_of``."""
    seq, batch = starts.shape
    cut = starts.clone()
    cut[0] = False
    added = cut.cumsum(0)
    moved = torch.arange(seq * batch, device="cpu").add_(added.view(-1), alpha=batch)
    counts = added[-1] + (seq if lengths is None else lengths)
    values: list[int] = counts.tolist()
    steps = max(values)
    blank = torch.zeros(steps * batch, 1, dtype=torch.bool, device="cpu")
    blank.index_fill_(0, moved[cut.view(-1)] - batch, value=True)
    places = None
    if lengths is not None:
        valid = torch.arange(seq, device="cpu").unsqueeze(1) < lengths
        places = valid.view(-1).nonzero().squeeze(1)
        moved = moved.index_select(0, places)
    return Blanks(
        steps,
        blank.view(steps, batch, 1).to(device),
        Lengths(counts.to(device), values, steps),
        None if places is None else places.to(device),
        moved.to(device),
    )


def run_blank(stack: Stack, input: Tensor, state: States, blanks: Blanks) -> tuple[Tensor, States]:
    """Run a stack of LSTMs over a padded batch, with blank steps added."""
    seq, batch = input.shape[:2]
    rows, places = input.flatten(0, 1), blanks.places
    if places is not None:
        rows = rows.index_select(0, places)
    longer = input.new_zeros(blanks.steps * batch, input.shape[2])
    longer = longer.index_copy_(0, blanks.moved, rows).view(blanks.steps, batch, -1)
    output, ends = run_padded(stack, longer, state, blanks.lengths, blanks.blank)
    rows = output.flatten(0, 1).index_select(0, blanks.moved)
    if places is not None:
        rows = rows.new_zeros(seq * batch, rows.shape[1]).index_copy_(0, places, rows)
    return rows.view(seq, batch, -1), ends
