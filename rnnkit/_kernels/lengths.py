"""``lengths``: checked, and brought to packed input and back."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence


class Lengths(NamedTuple):
    """Valid steps of each sample, checked."""

    #: ``(batch,)``, int64, on the device of the input.
    each: Tensor
    #: The same as numbers; None while a compiler traces, which knows no values.
    values: list[int] | None
    #: Steps of the input.
    seq: int

    @property
    def longest(self) -> int:
        """The most steps that any sample has."""
        return self.seq if self.values is None else max(self.values, default=0)

    @property
    def empty(self) -> Tensor | None:
        """``(batch,)``, true of samples without a step; None if there are surely none."""
        return None if self.values is not None and 0 not in self.values else self.each == 0

    @property
    def is_full(self) -> bool:
        """Whether every sample is as long as the input, so that lengths change nothing."""
        return self.values is not None and min(self.values, default=self.seq) == self.seq

    def between(self, start: int, stop: int) -> "Lengths":
        """Return what is left of each sample in the steps from ``start`` up to ``stop``."""
        steps = stop - start
        values = (
            None if self.values is None else [min(max(n - start, 0), steps) for n in self.values]
        )
        return Lengths((self.each - start).clamp(0, steps), values, steps)

    def valid(self, steps: int) -> Tensor:
        """Return the mask ``(seq, batch)`` that is true up to each sample's length."""
        return torch.arange(steps, device=self.each.device).unsqueeze(1) < self.each

    def beyond(self, steps: int) -> Tensor:
        """Return the mask ``(seq, batch, 1)`` that is true beyond each sample's length."""
        return ~self.valid(steps).unsqueeze(-1)


def pack(input: Tensor, lengths: Lengths, *, batch_first: bool) -> PackedSequence:
    """Pack a padded input; a sample without steps is packed with one step of zeros."""
    counts, empty = lengths.each, lengths.empty
    if empty is not None:
        input = input.masked_fill(empty.view((-1, 1, 1) if batch_first else (1, -1, 1)), 0)
        counts = counts.clamp(min=1)
    return pack_padded_sequence(input, counts.cpu(), batch_first, enforce_sorted=False)
