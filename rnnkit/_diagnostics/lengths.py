"""Lengths: those that a caller of ``verify`` gives, and what an input tells of them.

An input tells lengths as counts, as parts of the longest, as a mask, or by zeros at one end.
"""

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal
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


def _integers(lengths: Any) -> list[int]:
    each = lengths.tolist() if hasattr(lengths, "tolist") else lengths
    if isinstance(each, list) and all(isinstance(n, list) and len(n) == 1 for n in each):
        each = [n[0] for n in each]  # (batch, 1), as a collate function may leave them
    integers = isinstance(each, list | tuple) and all(hasattr(n, "__index__") for n in each)
    if integers and each and not any(isinstance(n, bool) for n in each):
        return [operator.index(n) for n in each]
    mask = isinstance(lengths, Tensor) and lengths.dim() == 2 and lengths.shape[1] > 1
    fix = "; of a mask, mask.sum(1)" if mask else ""
    message = f"lengths must be integers, one for each sample, got {brief(lengths)}{fix}"
    return refusal(ArgumentError, "lengths", message, code="verify-lengths")


def tells(leaf: Tensor, axis: int, told: list[int], steps: int) -> bool:
    """Return whether a tensor holds lengths as counts or parts of the longest, or masks them."""
    if leaf.dim() == 1 or (leaf.dim() == 2 and leaf.shape[1] == 1):
        counts = torch.tensor(told, dtype=torch.float64, device=leaf.device)
        parts = {steps, max(told, default=1)} if leaf.is_floating_point() else set[int]()
        return leaf.flatten().tolist() == told or any(
            bool(((leaf.flatten().double() * whole - counts).abs() <= 0.5).all()) for whole in parts
        )
    if len(leaf.unique()) != 2:  # type: ignore[no-untyped-call]
        return False
    # A mask is zero at the valid steps, or at all others; it may be laid out for attention.
    zeros = (leaf == 0).movedim(axis, 0).flatten(1).sum(1).tolist()
    times, rest = divmod(leaf.numel(), len(told) * steps)
    valid, padded = [n * times for n in told], [(steps - n) * times for n in told]
    return rest == 0 and zeros in (valid, padded)


def shortened(leaf: Any, told: list[int], steps: int) -> Any:
    """Return lengths that are not longer than some steps; a mask stays."""
    if isinstance(leaf, list):
        return [min(n, steps) for n in leaf]
    if leaf.numel() != len(told):
        return leaf
    if leaf.is_floating_point() and leaf.flatten().tolist() != told:
        counts = leaf.new_tensor([min(n, steps) for n in told])
        return (counts / counts.max()).view(leaf.shape)
    return leaf.clamp(max=steps)


def is_binary(leaf: Any) -> bool:
    """Return whether a leaf is a tensor of zeros and ones."""
    return isinstance(leaf, Tensor) and bool(((leaf == 0) | (leaf == 1)).all())


def is_mask(leaf: Tensor, seq_axis: int = 1) -> bool:
    """Return whether a tensor is a mask: of padding 0s and 1s, of attention 0s and -infinities.

    A mask of padding changes once at most along the steps.
    """
    if bool(((leaf == 0) | (leaf < -1000)).all()) and bool((leaf != 0).any()):
        return True
    while leaf.dim() > 2 and leaf.shape[-1] == 1:  # a mask that multiplies features
        leaf = leaf.squeeze(-1)
    if leaf.dim() != 2 or not is_binary(leaf):
        return False
    each = (leaf.int().diff(dim=axis) for axis in {1, seq_axis} if axis < 2)
    return any(bool((changes <= 0).all() or (changes >= 0).all()) for changes in each)


def padding(leaf: Tensor, batch_axis: int, seq_axis: int) -> Tensor | None:
    """Return which steps are padding, ``(batch, seq)``: zeros at one end of the samples.

    None if there are none, or if zeros are also between other values and may mean something.
    """
    if bool((leaf != 0).all()):
        return None
    sequences = leaf.movedim((batch_axis, seq_axis), (0, 1))
    zero = (sequences == 0).reshape(*sequences.shape[:2], -1).all(2)
    rising = zero.int().diff(dim=1)
    at_one_end = bool((rising >= 0).all() or (rising <= 0).all())
    return zero if at_one_end and bool(zero.any()) and not bool(zero.all(1).any()) else None
