"""Resets of a padded LSTM by blank steps.

On a blank step a further feature closes the gates i, f and o, so that c = 0 and h = 0 exactly and
no gradient passes. The fast kernel then runs over each whole sample. This can only reset to zeros,
and does not stop a NaN, since 0 times NaN is NaN.
"""

import torch
from torch import Tensor

from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.padded import run_padded
from rnnkit._kernels.stack import Run, Stack, States


def run_blank(
    stack: Stack, input: Tensor, state: States, counts: Tensor | None, starts: Tensor
) -> Run:
    """Run a stack of LSTMs over a padded batch, with a blank step before each reset.

    ``counts`` ``(batch,)`` and ``starts`` ``(seq, batch)`` are on the CPU; step 0 is no reset here.
    The result is that of ::

        for t, x_t in enumerate(input):
            if starts[t].any() and t > 0:
                state = [torch.where(starts[t].unsqueeze(1), 0, tensor) for tensor in state]
            output_t, state = step(x_t, state)
    """
    seq, batch = starts.shape
    cut = starts.clone()
    cut[0] = False
    added = cut.cumsum(0)
    moved = torch.arange(seq * batch, device="cpu").add_(added.view(-1), alpha=batch)
    longer = added[-1] + (seq if counts is None else counts)
    values: list[int] = longer.tolist()
    steps = max(values)
    device = input.device
    blank = torch.zeros(steps * batch, 1, dtype=torch.bool, device="cpu")
    blank.index_fill_(0, moved[cut.view(-1)] - batch, value=True)
    blank = blank.view(steps, batch, 1).to(device)
    rows = input.flatten(0, 1)
    places = None
    if counts is not None:
        valid = torch.arange(seq, device="cpu").unsqueeze(1) < counts
        places = valid.view(-1).nonzero().squeeze(1)
        moved, places = moved.index_select(0, places), places.to(device)
        rows = rows.index_select(0, places)
    moved = moved.to(device)
    lengths = Lengths(longer.to(device), values, steps)
    spread = input.new_zeros(steps * batch, input.shape[2]).index_copy_(0, moved, rows)
    output, ends = run_padded(stack, spread.view(steps, batch, -1), state, lengths, blank)
    rows = output.flatten(0, 1).index_select(0, moved)
    if places is not None:
        rows = rows.new_zeros(seq * batch, rows.shape[1]).index_copy_(0, places, rows)
    return rows.view(seq, batch, -1), ends
