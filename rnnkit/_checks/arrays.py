"""Numbers of a list, an array or a tensor: one reader of them, and positions among samples."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import refuse
from rnnkit._base.torch_tools import are_all, moved
from rnnkit._checks.call_spec import is_dense
from rnnkit._checks.causes.structure import outlined


def tensor_or_none(value: Any) -> Tensor | None:
    """Return a dense tensor as it is, and a list or an array as a tensor on the CPU.

    None is returned of anything else, such as a sparse tensor or a list of words.
    """
    if isinstance(value, Tensor):
        return value if is_dense(value) else None
    try:
        if hasattr(value, "__array__") and not is_compiling():  # to a compiler an array is a tensor
            array = value.__array__()
            value = array.astype(array.dtype.newbyteorder("="))  # also in one piece
        return torch.as_tensor(value, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        return None


def outlined_array(value: Any) -> str:
    """Name a dense tensor with dtype, shape and device, a list with its length, or the value."""
    if is_dense(value):
        where = "" if value.is_cpu else f" on {value.device}"
        return f"{value.dtype} of shape {tuple(value.shape)}{where}"
    return outlined(value)


def positions_of(index: Tensor | Sequence[int], batch: int, device: torch.device) -> Tensor:
    """Return positions on a batch axis of so many samples, as int64 ``(new_batch,)`` on a device.

    ``index`` has integers (negative ones count from the end), or is a boolean mask
    ``(batch,)``. Anything else is refused.
    """
    positions = tensor_or_none(index)
    if positions is not None and positions.dtype is torch.bool and positions.shape == (batch,):
        return moved(positions.nonzero().squeeze(1), device)
    # Sentences are written where they are raised: one that names the batch fixes it in an export.
    no_integers = (
        positions is None or positions.is_floating_point() or positions.dtype is torch.bool
    )
    # torch.tensor([]) is of floats.
    if positions is None or positions.dim() != 1 or (no_integers and len(positions)):
        came = outlined_array(index if positions is None else positions)
        refuse(
            ArgumentError,
            "index",
            f"index must be a list of positions, or {batch} booleans, got {came}",
            fix="pass a list such as [0] for the first sample, or a slice such as slice(2)",
            code="index-kind",
        )
    positions = positions.long()  # in an unsigned dtype, -batch would be a large number
    inside = (positions >= -batch) & (positions < batch)
    if not are_all(inside, "index must be positions of samples", may_wait=False):
        place = int((~inside).nonzero()[0])
        refuse(
            ArgumentError,
            "index",
            f"index[{place}] is {int(positions[place])}, but the state has {batch} samples",
            fix=f"use positions from 0 to {batch - 1}",
            code="index-range",
        )
    return moved(positions % max(batch, 1), device)
