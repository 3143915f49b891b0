"""Guards of positions on a batch axis, and of masks; how their numbers, and lengths, are read."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal
from rnnkit._base.torch_tools import hides_values, is_fake


def positions_of(index: Tensor | Sequence[int], batch: int, device: torch.device) -> Tensor:
    """Return positions on a batch axis, of integers or of a boolean mask.

    Raises:
        ArgumentError: if they are neither, or out of range.
    """
    sentence = f"index must be integers (new_batch,) or booleans (batch={batch},)"
    positions = _as_tensor(index)
    if positions is None:
        refusal(ArgumentError, "index", f"{sentence}, got {brief(index)}", code="index-kind")
    if positions.numel() == 0 and positions.dim() == 1:
        positions = positions.long()
    if positions.dtype is torch.bool and positions.shape == (batch,):
        return positions.nonzero().squeeze(1).to(device)
    kinds = (positions.is_floating_point(), positions.is_complex(), positions.dtype is torch.bool)
    if any(kinds) or positions.dim() != 1:
        came = f"{positions.dtype} {tuple(positions.shape)}"
        refusal(ArgumentError, "index", f"{sentence}, got {came}", code="index-kind")
    positions = positions.long()  # of those without a sign, -batch would be a large number
    outside = (positions < -batch) | (positions >= batch)
    if _has_values(positions) and bool(outside.any()):
        place = int(outside.nonzero()[0])
        came = f"index[{place}] is {int(positions[place])}"
        sentence = f"{came}, but the state has {batch} samples"
        fix = ("fix", f"positions from 0 to {batch - 1}" if batch else "a state of a batch")
        refusal(ArgumentError, "index", sentence, "", fix, code="index-range")
    return (positions % max(batch, 1)).to(device)


def as_mask(mask: Any, batch: int, device: torch.device) -> Tensor:
    """Return a boolean mask over a batch, of booleans or of 0 and 1, in memory of its own.

    A caller may have made the mask in inference mode, which no backward pass may save, or write
    into it before a backward pass reads it.

    Raises:
        ArgumentError: if it has another shape, or other values.
    """
    flags = _as_tensor(mask)
    if flags is None:
        sentence = f"mask must be booleans, or 0 and 1, of shape {(batch,)}; got {brief(mask)}"
        refusal(ArgumentError, "mask", sentence, code="mask-kind")
    headline = "one flag for each sample: positions are not a mask"
    positions = f"torch.zeros({batch}, dtype=torch.bool).index_fill(0, positions, True)"
    fix = ("fix", f"of positions: {positions}")
    if flags.shape != (batch,):
        if flags.shape == (batch, 1):
            headline, fix = "the mask has a feature axis", ("fix", "mask.squeeze(-1)")
        sentence = f"mask must have shape {(batch,)}, got {tuple(flags.shape)}"
        refusal(ArgumentError, "mask", sentence, headline, fix, code="mask-shape")
    if flags.dtype is torch.bool:
        return flags.to(device, copy=True)
    if _has_values(flags) and not bool(((flags == 0) | (flags == 1)).all()):
        sentence = "mask must be booleans, or 0 and 1; got other values"
        refusal(ArgumentError, "mask", sentence, headline, fix, code="mask-values")
    return (flags != 0).to(device)


def _has_values(tensor: Tensor) -> bool:
    """Say whether there are numbers to look at."""
    return not (tensor.is_meta or is_fake(tensor) or hides_values())


def as_tensor(value: Any) -> Tensor:
    """Return a tensor where it is; of a list or an array on the CPU: no device is waited for.

    An array is read by position, whatever its strides and the order of its bytes, and a table's
    column whatever its labels.

    Raises:
        TypeError, ValueError, RuntimeError: if it is neither.
    """
    if isinstance(value, Tensor):
        return value
    is_array = not isinstance(value, Sequence) and hasattr(value, "__array__")
    if is_array and not is_compiling():  # to a compiler an array is a tensor
        given: Any = value
        array = given.__array__()
        native = array.dtype.newbyteorder("=")
        value = array.tolist() if array.dtype.hasobject else array.astype(native)
    return torch.as_tensor(value, device="cpu")


def _as_tensor(value: Any) -> Tensor | None:
    try:
        return as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        return None
