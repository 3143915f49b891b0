"""The lengths that a caller of ``verify`` gives: of one input, or of each."""

import operator
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal
from rnnkit._diagnostics.batch import Batch, length
from rnnkit._diagnostics.isolation import Given

#: Lengths by input; None for those of the one that paces the others.
Told = dict[int | str | None, list[int]]


def read_lengths(lengths: Any, given: Given) -> Told:
    """Return lengths as lists: of the first input with steps, or by position or keyword."""
    if lengths is None:
        return {}
    if not isinstance(lengths, Mapping):
        return {None: _integers(lengths)}
    names = [*range(len(given.args)), *given.kwargs]
    if not lengths or not set(lengths) <= set(names):
        message = f"lengths takes inputs from {names}, got {list(lengths)}"
        refusal(ArgumentError, "lengths", message, code="verify-lengths")
    return {name: _integers(lengths[name]) for name in names if name in lengths}


def lay_lengths(batch: Batch, told: Told) -> None:
    """Give a batch the lengths of its inputs; the first one that has any paces the others."""
    found: dict[int, list[int]] = {}
    for name, counts in told.items():
        index = batch.paced if name is None else _leaf(batch, name)
        _check(batch, index, counts)
        found[index] = counts
    if found:
        batch.lengths = found
        batch.pace(next(iter(found)))


def _leaf(batch: Batch, name: int | str) -> int:
    """Return the index of the first leaf of an input that has steps."""
    numbers = batch.tree(range(len(batch.leaves)))
    held = numbers.args[name] if isinstance(name, int) else numbers.kwargs[name]
    places: list[int] = pytree.tree_leaves(held)
    tensors = (k for k in places if isinstance(batch.leaves[k], Tensor))
    return next((k for k in tensors if batch.leaves[k].dim() > batch.seq_dim), places[0])


def _integers(lengths: Any) -> list[int]:
    each = lengths.tolist() if hasattr(lengths, "tolist") else lengths
    if isinstance(each, list) and all(isinstance(n, list) and len(n) == 1 for n in each):
        # (batch, 1), as a collate function may leave them.
        each = [n[0] for n in each]
    integers = isinstance(each, list | tuple) and all(hasattr(n, "__index__") for n in each)
    if integers and each and not any(isinstance(n, bool) for n in each):
        return [operator.index(n) for n in each]
    mask = isinstance(lengths, Tensor) and lengths.dim() == 2 and lengths.shape[1] > 1
    fix = "; of a mask, mask.sum(1)" if mask else ""
    message = f"lengths must be integers, one for each sample, got {brief(lengths)}{fix}"
    return refusal(ArgumentError, "lengths", message, code="verify-lengths")


def _check(batch: Batch, index: int, counts: list[int]) -> None:
    steps = length(batch.leaves[index], batch.seq_dim)
    if steps is None:
        message = f"lengths were given, but no input has an axis {batch.seq_dim} for seq"
        refusal(ArgumentError, "lengths", message, code="verify-lengths")
    if len(counts) != batch.size or not all(0 < n <= steps for n in counts):
        message = (
            f"lengths must be {batch.size} counts from 1 to {steps}, one for each sample: "
            f"axis {batch.seq_dim} of the input is {steps} long"
        )
        refusal(ArgumentError, "lengths", message, code="verify-lengths")
