"""Some samples of an input: along a batch axis, or rows of all samples, one below the other."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnkit._diagnostics.inputs.dense import is_dense
from rnnkit._diagnostics.inputs.lengths import counts_by_sample


class Rows(NamedTuple):
    """How many rows of a leaf each sample has, as of neighbors, and on which axis they are."""

    axis: int
    counts: list[int]

    def of(self, samples: Sequence[int], leaf: Tensor) -> Tensor:
        """Return the rows of some samples."""
        parts = torch.split(leaf, self.counts, self.axis)
        return torch.cat([parts[sample] for sample in samples], self.axis)

    def picked(self, samples: Sequence[int]) -> "Rows":
        """Return the same of some samples."""
        return Rows(self.axis, [self.counts[sample] for sample in samples])


def rows_of_samples(
    leaves: Sequence[Any], axes: Sequence[int | None], size: int, batch_dim: int
) -> dict[int, Rows]:
    """Return the rows of each leaf without a batch axis, if another leaf counts as many."""
    each = [
        counts_by_sample(leaf, axis, size)
        for leaf, axis in zip(leaves, axes, strict=True)
        if axis is not None
    ]
    found = dict[int, Rows]()
    for index, (leaf, axis) in enumerate(zip(leaves, axes, strict=True)):
        rows = _rows_in(leaf, each, batch_dim) if axis is None and is_dense(leaf) else None
        if rows is not None:
            found[index] = rows
    return found


def _rows_in(leaf: Tensor, each: Sequence[list[int]], batch_dim: int) -> Rows | None:
    """Return the rows of a leaf on its first axis, or where others have the batch."""
    for axis, counts in product((0, batch_dim), each):
        if axis < leaf.dim() and leaf.shape[axis] == sum(counts) > 0:
            return Rows(axis, counts)
    return None


def some_samples(leaf: Any, axis: int, samples: Sequence[int]) -> Any:
    """Return some samples of a leaf: of a tensor, an array, or a list with a number for each."""
    if isinstance(leaf, Tensor):
        return leaf.index_select(axis, torch.tensor(samples, device=leaf.device))
    if hasattr(leaf, "shape"):
        return leaf[[*samples]]
    return type(leaf)(leaf[sample] for sample in samples)
