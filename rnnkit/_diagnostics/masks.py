"""What an input tells of lengths: counts, parts of the longest, a mask, or zeros at one end."""

from typing import Any

import torch
from torch import Tensor


def is_relative(leaf: Tensor, told: list[int], steps: int) -> bool:
    """Return whether numbers are lengths as parts of all steps, or of the longest."""
    if not leaf.is_floating_point():
        return False
    counts = torch.tensor(told, dtype=torch.float64, device=leaf.device)
    return any(
        bool(((leaf.flatten().double() * whole - counts).abs() <= 0.5).all())
        for whole in {steps, max(told)}
    )


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
    """Return whether a tensor is a mask.

    Of padding, it is zeros and ones, and changes once at most along the steps; of attention, what
    is left out has a large negative number.
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

    None if there are none, or if zeros are also between other values, so that they may mean
    something.
    """
    if bool((leaf != 0).all()):
        return None
    sequences = leaf.movedim((batch_axis, seq_axis), (0, 1))
    zero = (sequences == 0).reshape(*sequences.shape[:2], -1).all(2)
    rising = zero.int().diff(dim=1)
    at_one_end = bool((rising >= 0).all() or (rising <= 0).all())
    return zero if at_one_end and bool(zero.any()) and not bool(zero.all(1).any()) else None
