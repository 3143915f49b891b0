"""The order in which the samples of an output are: it may be returned beside them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from rnnkit._diagnostics.outputs import Leaves


class Order(NamedTuple):
    """An output that says in which order the samples of the others are.

    Attributes:
        output: which one; None if they are in the order of the input.
        is_inverse: whether it says where each sample is, and not which sample is where.
    """

    output: int | None
    is_inverse: bool = False


def orders(normal: Leaves, axes: Sequence[int | None]) -> list[Order]:
    """Return the orders in which samples may be, that of the input first.

    Args:
        normal: the leaves of an output.
        axes: the batch axis of each.
    """
    found = [Order(None)]
    for index, (leaf, axis) in enumerate(zip(normal, axes, strict=True)):
        if axis == 0 and leaf.dim() == 1 and leaf.dtype is torch.int64:
            places = torch.arange(len(leaf), device=leaf.device)
            if torch.equal(leaf.sort().values, places) and not torch.equal(leaf, places):
                found += [Order(index), Order(index, is_inverse=True)]
    return found
