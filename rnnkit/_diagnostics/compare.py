"""Whether two outputs are the same, and by how much they are apart."""

import math
from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.outputs import Leaves, same

#: How many times the usual size of a feature a number has that is a mask, and no feature.
MASKING = 1000


def scales_by_range(model: torch.nn.Module) -> bool:
    """Return whether a layer rounds its input by the largest number in it, of any sample."""
    return any(".quantized.dynamic." in type(module).__module__ for module in model.modules())


def eps_of(value: Any) -> float:
    """Return the relative step between the numbers of a tensor; 0 of what has no fractions."""
    return torch.finfo(value.dtype).eps if is_number(value) else 0.0


def scale(tensor: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return how large the numbers of each feature are over some axes, in the tensor's shape.

    A feature of zeros is as large as the tensor; a score that is masked out counts for itself only.
    """
    size = tensor.double().abs().nan_to_num(0.0, 0.0, 0.0)
    usual = size.movedim(axes, tuple(range(len(axes)))).flatten(0, len(axes) - 1)
    usual = torch.where(usual > 0, usual, torch.nan).nanmedian(0).values.nan_to_num(0.0)
    for axis in sorted(axes):
        usual = usual.unsqueeze(axis)
    most = torch.where(size <= MASKING * usual, size, 0.0).amax(axes, keepdim=True)
    most = torch.maximum(most.expand_as(size), size)
    return torch.where(most > 0, most, size.max())


def apart(one: Tensor, other: Tensor) -> Tensor:
    """Return by how much two tensors differ, number by number."""
    one, other = one.double(), other.double()
    equal = (one == other) | (one.isnan() & other.isnan())
    return torch.where(equal, 0.0, (one - other).abs()).nan_to_num(torch.inf)


def far(off: float) -> str:
    """Write by how much two tensors differ, of the largest number in them."""
    return f"relative difference {off:.2g}" if math.isfinite(off) else "a NaN or an infinity"


def largest(tensor: Tensor) -> float:
    """Return the largest finite number of a tensor, without its sign."""
    sizes = tensor.double().abs().nan_to_num(0.0, 0.0, 0.0)
    return max(sizes.max().item() if sizes.numel() else 0.0, 1e-30)


def alike(one: Leaves, other: Leaves) -> bool:
    """Return whether two outputs hold the same tensors, to the last bit."""
    return len(one) == len(other) and all(
        isinstance(after, Tensor) and same(before, after)
        for before, after in zip(one, other, strict=True)
        if isinstance(before, Tensor)
    )


def is_number(leaf: Any) -> bool:
    """Return whether a leaf holds numbers with fractions."""
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def equal(one: Any, other: Any) -> bool:
    """Compare what may hold tensors and arrays; other objects equal only themselves."""
    kind = type(one)
    if one is other or kind is not type(other):
        return one is other
    if isinstance(one, Tensor):
        return same(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and {*map(type, one)} != {int}:  # hundreds, of Python's state
        return len(one) == len(other) and all(map(equal, one, other))
    if kind.__module__ == "numpy" and not isinstance(one, list | tuple):
        return bool(one.shape == other.shape and (one == other).all())
    return isinstance(one, int | float | str | list | tuple) and bool(one == other)


def wider(dtype: torch.dtype, least: torch.dtype) -> torch.dtype:
    """Return a dtype that is at least as wide as another one, of the same kind."""
    if dtype.is_complex:
        return torch.promote_types(dtype, least)
    narrow = dtype.is_floating_point and torch.finfo(dtype).bits < torch.finfo(least).bits
    return least if narrow else dtype


def widest(tensor: Tensor, least: torch.dtype = torch.float64) -> Tensor:
    """Return a tensor of numbers in float64, or in two such; any other tensor as it is."""
    kind = wider(tensor.dtype, least)
    return tensor if tensor.is_nested or tensor.dtype is kind else tensor.to(kind)
