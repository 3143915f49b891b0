"""``lengths``, once they are checked."""

from typing import NamedTuple

import torch
from torch import Tensor


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
        """The most valid steps that any sample has; all of the input if a compiler knows none."""
        return self.seq if self.values is None else max(self.values, default=0)

    def empty(self) -> Tensor | None:
        """``(batch,)``, true of samples without a valid step; None if there are surely none.

        ``values`` is None while a compiler traces, which knows no numbers: then there is a mask.
        """
        return None if self.values is not None and 0 not in self.values else self.each == 0

    def is_full(self) -> bool:
        """Whether every sample is as long as the input, so that lengths change nothing.

        It is false where ``values`` is None: while a compiler traces, which knows no numbers.
        """
        return self.values is not None and min(self.values, default=self.seq) == self.seq

    def valid(self, steps: int) -> Tensor:
        """Return the mask ``(steps, batch)`` that is true up to each sample's length."""
        each = self.each
        return torch.arange(steps, device=each.device).unsqueeze(1) < each
