"""What picks samples of a batch: positions, and masks, which are not to be confused."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnkit._errors import ArgumentError
from rnnkit._message import brief, compose
from rnnkit._tracing import hides_values


def positions_of(index: Tensor | Sequence[int], batch: int, device: torch.device) -> Tensor:
    """Return positions on a batch axis, of integers or of a boolean mask.

    Raises:
        ArgumentError: if they are neither, or out of range.
    """
    try:
        positions = torch.as_tensor(index, device=device)
    except (TypeError, ValueError, RuntimeError):
        message = f"index must be integers (new_batch,) or booleans (batch={batch},)"
        text = f"{message}, got {brief(index)}"
        raise ArgumentError(text, "index") from None
    if positions.numel() == 0 and positions.dim() == 1:
        positions = positions.long()
    if positions.dtype is torch.bool and positions.shape == (batch,):
        return positions.nonzero().squeeze(1)
    whole = not positions.is_floating_point() and positions.dtype is not torch.bool
    if not whole or positions.dim() != 1:
        came = f"{positions.dtype} {tuple(positions.shape)}"
        message = f"index must be integers (new_batch,) or booleans (batch={batch},), got {came}"
        raise ArgumentError(message, "index")
    if not hides_values() and bool(((positions < -batch) | (positions >= batch)).any()):
        message = f"index must lie on the batch axis of the state, which has {batch} samples"
        raise ArgumentError(message, "index")
    return positions.long() % max(batch, 1)


def as_mask(mask: Any, shape: tuple[int, ...], device: torch.device, name: str = "mask") -> Tensor:
    """Return a boolean mask of a shape, of booleans or of 0 and 1.

    Raises:
        ArgumentError: if it has another shape, or other values.
    """
    try:
        flags = torch.as_tensor(mask, device=device)
    except (TypeError, ValueError, RuntimeError):
        message = f"{name} must be booleans, or 0 and 1, of shape {shape}; got {brief(mask)}"
        raise ArgumentError(message, name) from None
    if tuple(flags.shape) != shape:
        message = compose(
            f"{name} must have shape {shape}, got {tuple(flags.shape)}",
            "one flag for each sample; positions are no mask",
            [("fix", f"a boolean tensor {shape}, true where a sample starts anew")],
        )
        raise ArgumentError(message, name)
    if flags.dtype is torch.bool:
        return flags
    if not hides_values() and not bool(((flags == 0) | (flags == 1)).all()):
        message = f"{name} must be booleans, or 0 and 1; got other values: positions are no mask"
        raise ArgumentError(message, name)
    return flags != 0
