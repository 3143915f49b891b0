"""What lengths and resets do to the inputs, states and outputs of a loop over steps."""

from typing import Any

import torch
from torch import Tensor

from rnnkit._base.state import State, map_state
from rnnkit._kernels.lengths import Lengths


def longest_sample(lengths: Lengths) -> Tensor:
    """Return the longest sample, ``(1,)``; of no samples ``(0,)``, where ``argmax`` would fail."""
    return lengths.each.argsort(descending=True)[:1]


def row_of(tensor: Tensor, sample: Tensor) -> Tensor:
    """Return the row of one sample, ``(1,)``, or what all samples share."""
    shared = tensor.dim() == 0 or tensor.shape[0] == 1
    return tensor if shared else tensor.index_select(0, sample)


def fill_padding(input: Tensor, lengths: Lengths, valid: Tensor) -> Tensor:
    """Fill padding with the sample's last valid step, or with the longest sample's first.

    A cell may be undefined at zeros, and a NaN that is masked still has a NaN for its gradient.
    """
    each = lengths.each
    sample = torch.arange(input.shape[1], device=input.device)
    sample = torch.where(each == 0, longest_sample(lengths), sample)
    filler = input.detach()[(each - 1).clamp(min=0), sample]
    if lengths.values is None:  # a graph runs even where no sample has a step
        filler = filler.masked_fill((each == 0).all(), 0)
    return torch.where(valid.unsqueeze(-1), input, filler)


def before_each(reset: Tensor, valid: Tensor | None, *, reverse: bool) -> Tensor:
    """Return before which steps a sample is reset, in the order in which they run.

    A reset at t cuts between t - 1 and t: run backward, that is before step t - 1.
    """
    if valid is not None:
        reset = reset & valid
    if not reverse:
        return reset
    # Not by a slice from step 1, which would forbid an exporter a sequence of two steps.
    steps = reset.shape[0]
    return reset.roll(-1, 0) & (torch.arange(steps, device=reset.device) < steps - 1).unsqueeze(1)


def where_state(mask: Tensor, new: State | None, old: State | None) -> Any:
    """Return the new state where a mask ``(batch,)`` or ``(seq, batch)`` is true, else the old."""
    views: dict[int, Tensor] = {}  # one for all tensors of a rank

    def pick(one: Tensor, other: Tensor) -> Tensor:
        rank = one.dim()
        if rank not in views:
            # By an index, without sizes: torch saves no exported program that asks for them here.
            views[rank] = mask[(..., *[None] * (rank - mask.dim()))]
        return torch.where(views[rank], one, other)

    return map_state(pick, new, old)


def state_after(valid: Tensor, new: State, old: State | None) -> State:
    """Return the state after valid steps, in the dtype of the new one, which autocast may lower."""
    return map_state(lambda one, both: both.to(one.dtype), new, where_state(valid, new, old))


def without_padding(output: Tensor, valid: Tensor | None) -> Tensor:
    """Return an output that is zero on padding."""
    if valid is None:
        return output
    return output.masked_fill(~valid.view(*valid.shape, *[1] * (output.dim() - 2)), 0)
