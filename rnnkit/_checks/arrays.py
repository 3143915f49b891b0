"""Positions and masks, of a list, an array or a tensor."""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal
from rnnkit._base.torch_tools import are_all
from rnnkit._checks.odd_tensors import is_odd


def tensor_or_none(value: Any) -> Tensor | None:
    """Return a tensor where it is; of a list or an array on the CPU: no device is waited for.

    An array is read by position, whatever its strides and the order of its bytes, and a table's
    column whatever its labels. None of anything else, and of a tensor that is not dense.
    """
    if isinstance(value, Tensor):
        return None if is_odd(value) else value
    is_array = not isinstance(value, Sequence) and hasattr(value, "__array__")
    try:
        if is_array and not is_compiling():  # to a compiler an array is a tensor
            given: Any = value
            array = given.__array__()
            native = array.dtype.newbyteorder("=")
            value = array.tolist() if array.dtype.hasobject else array.astype(native)
        return torch.as_tensor(value, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        return None


def is_whole(numbers: Tensor) -> bool:
    """Return whether a tensor holds integers, or nothing: ``torch.tensor([])`` is of floats."""
    real = numbers.dtype is torch.bool or numbers.is_floating_point() or numbers.is_complex()
    return not real or (numbers.numel() == 0 and numbers.dim() == 1)


def outlined_array(value: Any) -> str:
    """Name an array with its dtype and shape, a list with its length."""
    if isinstance(value, Tensor) and not is_odd(value):
        return f"{value.dtype} {tuple(value.shape)}"
    length = f" of {len(value)}" if isinstance(value, list | tuple) and value else ""
    return brief(value) + length


def positions_of(index: Tensor | Sequence[int], batch: int, device: torch.device) -> Tensor:
    """Return positions on a batch axis, of integers or of a boolean mask."""
    positions = tensor_or_none(index)
    if positions is not None and positions.dtype is torch.bool and positions.shape == (batch,):
        return positions.nonzero().squeeze(1).to(device)
    if positions is None or positions.dim() != 1 or not is_whole(positions):
        _refuse_index(batch, outlined_array(index if positions is None else positions))
    positions = positions.long()  # in an unsigned dtype, -batch would be a large number
    inside = (positions >= -batch) & (positions < batch)
    if not are_all(inside, "index must be positions of samples"):
        place = int((~inside).nonzero()[0])
        came = f"index[{place}] is {int(positions[place])}"
        sentence = f"{came}, but the state has {batch} samples"
        fix = ("fix", f"positions from 0 to {batch - 1}" if batch else "a state of a batch")
        refusal(ArgumentError, "index", sentence, "", fix, code="index-range")
    return (positions % max(batch, 1)).to(device)


# Sentences are written where they are raised: one that names the batch would fix it in an export.
def _refuse_index(batch: int, came: str) -> NoReturn:
    sentence = f"index must be integers (new_batch,) or booleans (batch={batch},), got {came}"
    refusal(ArgumentError, "index", sentence, code="index-kind")


def sliced(tensor: Tensor, axis: int, index: slice) -> Tensor:
    """Return a slice of an axis, and refuse one that torch does not take."""
    try:
        return tensor[(slice(None),) * axis + (index,)]
    except (TypeError, ValueError) as error:
        parts = (index.start, index.stop, index.step)
        came = ":".join("" if part is None else brief(part) for part in parts)
        sentence = f"index must be a slice that torch takes, with a step from 1; got [{came}]"
        whole = all(part is None or isinstance(part, int) for part in parts)
        fix = (
            f"range({tensor.shape[axis]})[{came}] as the index" if whole else "a slice of integers"
        )
        row = ("fix", fix)
        refusal(ArgumentError, "index", sentence, "", row, code="index-kind", source=error)


def as_mask(mask: Any, batch: int, device: torch.device) -> Tensor:
    """Return a boolean mask over a batch, of booleans or of 0 and 1, in memory of its own.

    A caller may have made the mask in inference mode, which no backward pass may save, or write
    into it before a backward pass reads it.
    """
    flags = tensor_or_none(mask)
    if flags is None:
        sentence = f"mask must be booleans, or 0 and 1, of shape {(batch,)}; got {brief(mask)}"
        refusal(ArgumentError, "mask", sentence, code="mask-kind")
    if flags.shape != (batch,):
        sentence = f"mask must have shape {(batch,)}, got {tuple(flags.shape)}"
        _refuse_flags(batch, sentence, "mask-shape", has_feature=flags.shape == (batch, 1))
    if flags.dtype is torch.bool:
        return flags.to(device, copy=True)
    if has_others(flags, "mask"):
        sentence = "mask must be booleans, or 0 and 1; got other values"
        _refuse_flags(batch, sentence, "mask-values", has_feature=False)
    return (flags != 0).to(device)


def _refuse_flags(batch: int, sentence: str, code: str, *, has_feature: bool) -> NoReturn:
    headline = "one flag for each sample: positions are not a mask"
    fix = f"torch.zeros({batch}, dtype=torch.bool).index_fill(0, positions, True)"
    if has_feature:
        headline, fix = "the mask has a feature axis", "mask.squeeze(-1)"
    refusal(ArgumentError, "mask", sentence, headline, ("fix", fix), code=code)


def has_others(flags: Tensor, name: str) -> bool:
    """Return whether a mask holds anything but 0 and 1, as far as its values can be read."""
    return not are_all((flags == 0) | (flags == 1), f"{name} must be booleans, or 0 and 1")
