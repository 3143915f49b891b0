"""What an input tells about lengths: counts, parts of the longest, a mask, zeros at an end."""

from typing import Any

import torch
from torch import Tensor


def is_binary(leaf: Any) -> bool:
    """Return whether a leaf is a tensor of zeros and ones."""
    return isinstance(leaf, Tensor) and bool(((leaf == 0) | (leaf == 1)).all())


def is_mask(leaf: Tensor, seq_axis: int = 1) -> bool:
    """Return whether a tensor is a mask: 0s and -infinities, or 0s and 1s that change once."""
    if leaf.dtype is torch.bool or (
        bool(((leaf == 0) | (leaf < -1000)).all()) and bool((leaf != 0).any())
    ):
        return True
    while leaf.dim() > 2 and leaf.shape[-1] == 1:  # a mask that multiplies features
        leaf = leaf.squeeze(-1)
    if leaf.dim() != 2 or not is_binary(leaf):
        return False
    each = (leaf.int().diff(dim=axis) for axis in {1, seq_axis} if axis < 2)
    return any(bool((changes <= 0).all() or (changes >= 0).all()) for changes in each)


def is_content(leaf: Any, seq_axis: int) -> bool:
    """Return whether a leaf holds what a model reads, and not lengths, labels or a mask."""
    if not isinstance(leaf, Tensor) or leaf.numel() == 0:
        return False
    if leaf.is_complex() or is_mask(leaf, seq_axis):
        return leaf.is_complex()
    if leaf.is_floating_point() and leaf.dim() < 3 and leaf.shape[1:].numel() == 1:
        # Lengths, as parts of the longest.
        return not (bool(((leaf > 0) & (leaf <= 1)).all()) and bool((leaf == 1).any()))
    return leaf.is_floating_point() or leaf.dim() > 1


def tells(leaf: Tensor, axis: int, told: list[int], steps: int) -> bool:
    """Return whether a tensor holds lengths as counts or parts of the longest, or masks them."""
    if leaf.numel() == len(told):
        counts = torch.tensor(told, dtype=torch.float64, device=leaf.device)
        wholes = {1, steps, max(told)} if leaf.is_floating_point() else {1}
        flat = leaf.flatten().double()
        return any(bool(((flat * n - counts).abs() <= (0.5 if n > 1 else 0)).all()) for n in wholes)
    if len(leaf.unique()) != 2:  # type: ignore[no-untyped-call]
        return False
    # A mask is zero at the valid steps, or at all others; it may be laid out for attention.
    zeros = (leaf == 0).movedim(axis, 0).flatten(1).sum(1).tolist()
    times, rest = divmod(leaf.numel(), len(told) * steps)
    return rest == 0 and zeros in ([n * times for n in told], [(steps - n) * times for n in told])


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


def padding(leaf: Tensor, batch_axis: int, seq_axis: int) -> Tensor | None:
    """Return which steps are padding, ``(batch, seq)``: zeros at one end, and only there."""
    if bool((leaf != 0).all()):
        return None
    sequences = leaf.movedim((batch_axis, seq_axis), (0, 1))
    zero = (sequences == 0).reshape(*sequences.shape[:2], -1).all(2)
    rising = zero.int().diff(dim=1)
    at_one_end = bool((rising >= 0).all() or (rising <= 0).all())
    return zero if at_one_end and bool(zero.any()) and not bool(zero.all(1).any()) else None
