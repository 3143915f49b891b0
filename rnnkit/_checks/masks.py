"""Guards of positions on a batch axis, and of masks."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import Row, brief, refusal
from rnnkit._base.torch_tools import hides_values


def positions_of(index: Tensor | Sequence[int], batch: int, device: torch.device) -> Tensor:
    """Return positions on a batch axis, of integers or of a boolean mask.

    Raises:
        ArgumentError: if they are neither, or out of range.
    """
    sentence = f"index must be integers (new_batch,) or booleans (batch={batch},)"
    positions = _as_tensor(index, device)
    if positions is None:
        refusal(ArgumentError, "index", f"{sentence}, got {brief(index)}", code="index-kind")
    if positions.numel() == 0 and positions.dim() == 1:
        positions = positions.long()
    if positions.dtype is torch.bool and positions.shape == (batch,):
        return positions.nonzero().squeeze(1)
    whole = not positions.is_floating_point() and positions.dtype is not torch.bool
    if not whole or positions.dim() != 1:
        came = f"{positions.dtype} {tuple(positions.shape)}"
        refusal(ArgumentError, "index", f"{sentence}, got {came}", code="index-kind")
    outside = (positions < -batch) | (positions >= batch)
    if not hides_values() and bool(outside.any()):
        place = int(outside.nonzero()[0])
        came = f"index[{place}] is {int(positions[place])}"
        sentence = f"{came}, but the state has {batch} samples"
        fix = ("fix", f"positions from 0 to {batch - 1}" if batch else "a state of a batch")
        refusal(ArgumentError, "index", sentence, "", fix, code="index-range")
    return positions.long() % max(batch, 1)


def as_mask(mask: Any, shape: tuple[int, ...], device: torch.device, name: str = "mask") -> Tensor:
    """Return a boolean mask of a shape, of booleans or of 0 and 1.

    Raises:
        ArgumentError: if it has another shape, or other values.
    """
    flags = _as_tensor(mask, device)
    if flags is None:
        sentence = f"{name} must be booleans, or 0 and 1, of shape {shape}; got {brief(mask)}"
        refusal(ArgumentError, name, sentence, code="mask-kind")
    if tuple(flags.shape) != shape:
        sentence = f"{name} must have shape {shape}, got {tuple(flags.shape)}"
        headline, fix = _explain_shape(tuple(flags.shape), shape, name)
        refusal(ArgumentError, name, sentence, headline, fix, code="mask-shape")
    if flags.dtype is torch.bool:
        return flags
    if not hides_values() and not bool(((flags == 0) | (flags == 1)).all()):
        sentence = f"{name} must be booleans, or 0 and 1; got other values"
        headline = "one flag for each sample: positions are not a mask"
        refusal(ArgumentError, name, sentence, headline, _fix_positions(shape), code="mask-values")
    return flags != 0


def _explain_shape(came: tuple[int, ...], shape: tuple[int, ...], name: str) -> tuple[str, Row]:
    """Say what is probably wrong with the shape of a mask, and what to type."""
    if came == shape[::-1]:
        return "the mask is laid out the other way", ("fix", f"{name}.t()")
    if came == (*shape, 1):
        return "the mask has a feature axis", ("fix", f"{name}.squeeze(-1)")
    if came == (*shape[::-1], 1):
        fix = ("fix", f"{name}.squeeze(-1).t()")
        return "the mask has a feature axis, and is laid out the other way", fix
    return "one flag for each sample: positions are not a mask", _fix_positions(shape)


def _fix_positions(shape: tuple[int, ...]) -> Row:
    """Say how a mask is made of positions."""
    flags = f"torch.zeros({shape}, dtype=torch.bool)"
    if len(shape) == 1:
        return "fix", f"of positions: {flags}.index_fill(0, positions, True)"
    return "fix", f"mask = {flags}; mask[step, sample] = True where a sample starts again"


def _as_tensor(value: Any, device: torch.device) -> Tensor | None:
    try:
        return torch.as_tensor(value, device=device)
    except (TypeError, ValueError, RuntimeError):
        return None
