"""Some samples of an input: along a batch axis, or rows of all samples, one below the other."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnkit._diagnostics.inputs.dense import is_dense
from rnnkit._diagnostics.inputs.lengths import counts_by_sample


class Rows(NamedTuple):
    """How many rows of a leaf belong to each sample, such as its neighbors or nodes, one by one.

    Attributes:
        axis: the axis that has the rows of all samples, those of sample 0 first.
        counts: how many rows each sample has.
    """

    axis: int
    counts: list[int]

    def of(self, samples: Sequence[int], leaf: Tensor) -> Tensor:
        """Return the rows of some samples of a leaf, in this order.

        On the axis ``self.axis``, the first ``self.counts[0]`` rows are sample 0's, and so on.
        """
        parts = torch.split(leaf, self.counts, self.axis)
        return torch.cat([parts[sample] for sample in samples], self.axis)

    def picked(self, samples: Sequence[int]) -> "Rows":
        """Return these counts for some samples only, in their order.

        ``self.counts[k]`` is how many rows of a leaf, on ``self.axis``, belong to sample k.
        """
        return Rows(self.axis, [self.counts[sample] for sample in samples])


def rows_of_samples(
    leaves: Sequence[Any], axes: Sequence[int | None], size: int, batch_dim: int
) -> dict[int, Rows]:
    """Find leaves that have no batch axis, but rows of each sample, as many as another leaf counts.

    ``axes[k]`` is the batch axis of leaf k, and ``size`` the number of samples. Returns the rows by
    the index of the leaf.
    """
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
    """Return how many rows of a leaf each sample has; None if no counts fit.

    ``each`` has lists of counts by sample: those fit whose sum is the size of axis 0 or
    ``batch_dim``.
    """
    for axis, counts in product((0, batch_dim), each):
        if axis < leaf.dim() and leaf.shape[axis] == sum(counts) > 0:
            return Rows(axis, counts)
    return None


def some_samples(leaf: Any, axis: int, samples: Sequence[int]) -> Any:
    """Return some samples of a leaf: of a tensor along ``axis``, an array or a list of numbers."""
    if isinstance(leaf, Tensor):
        return leaf.index_select(axis, torch.tensor(samples, device=leaf.device))
    if hasattr(leaf, "shape"):
        return leaf[[*samples]]
    return type(leaf)(leaf[sample] for sample in samples)
