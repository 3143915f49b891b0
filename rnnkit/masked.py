"""Mean, maximum and softmax over the valid steps of padded sequences, and a mask of these steps.

``x`` is a padded batch of floats, and ``dim`` is its axis of steps. The samples are on axis 0, or
on axis 1 if ``dim`` is 0. Examples: ``(batch, seq, feature)`` with ``dim=1``, ``(seq, batch,
feature)`` with ``dim=0``, attention scores ``(batch, heads, queries, keys)`` with ``dim=-1``.

``lengths``, integers ``(batch,)`` from 0 to seq, holds the number of valid steps of each sample.
The padding has no effect on results or gradients, even if it holds NaN.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnkit._checks.arguments import known_options
from rnnkit._checks.masked import lengths_of_mask, lengths_over_axis
from rnnkit.typing import LengthsLike

__all__ = ["mask", "max", "mean", "softmax"]


@known_options
def mask(lengths: LengthsLike, steps: int) -> Tensor:
    """Return a boolean mask ``(batch, steps)`` that is True on valid steps and False on padding.

    ``lengths``, integers ``(batch,)``, holds the number of valid steps of each sample. ``steps`` is
    the number of steps of the padded batch. The mask is on the device of ``lengths``.

    Raises:
        LengthsError: if ``lengths`` does not consist of integers from 0 to ``steps``.
        ArgumentError: if ``steps`` is not an integer of at least 0.

    >>> rnnkit.masked.mask([3, 1], 3)
    tensor([[ True,  True,  True],
            [ True, False, False]])
    """
    return lengths_of_mask(lengths, steps).valid(steps).t()


@known_options
def mean(x: Tensor, lengths: LengthsLike, dim: int) -> Tensor:
    """Return the mean of ``x`` over the valid steps of each sample.

    ``dim`` is the axis of steps, which the result does not have. Samples are on axis 0, or on axis
    1 if ``dim`` is 0. ``lengths``, integers ``(batch,)``, holds the number of valid steps of each
    sample. The mean of a sample of length 0 is zero.

    Raises:
        LengthsError: if ``lengths`` is not one integer from 0 to seq for each sample.
        ArgumentError: if ``x`` is not a padded batch of floats, or has no axis ``dim``.

    >>> x = torch.tensor([[[1.0], [3.0]], [[5.0], [9.0]]])
    >>> rnnkit.masked.mean(x, [2, 1], dim=1)
    tensor([[2.],
            [5.]])
    """
    steps = _steps_of("mean", x, lengths, dim)
    # As torch's own mean does, which adds up half precision in single.
    wide = torch.promote_types(x.dtype, torch.float32)
    total = x.masked_fill(~steps.valid, 0).sum(steps.axis, dtype=wide)
    return (total / steps.each.squeeze(steps.axis).clamp(min=1)).to(x.dtype)


@known_options
def max(x: Tensor, lengths: LengthsLike, dim: int) -> Tensor:  # noqa: A001 - as torch.max
    """Return the maximum of ``x`` over the valid steps of each sample.

    ``dim`` is the axis of steps, which the result does not have. Samples are on axis 0, or on axis
    1 if ``dim`` is 0. ``lengths``, integers ``(batch,)``, holds the number of valid steps of each
    sample. The maximum of a sample of length 0 is zero. If several steps have the maximum, they
    share its gradient, as in ``torch.amax``.

    Raises:
        LengthsError: if ``lengths`` is not one integer from 0 to seq for each sample.
        ArgumentError: if ``x`` is not a padded batch of floats, or has no axis ``dim``.

    >>> x = torch.tensor([[[1.0], [3.0]], [[5.0], [9.0]]])
    >>> rnnkit.masked.max(x, [2, 1], dim=1)
    tensor([[3.],
            [5.]])
    """
    steps = _steps_of("max", x, lengths, dim)
    largest = x.masked_fill(~steps.valid, -math.inf).amax(steps.axis)
    return largest.masked_fill(steps.empty.squeeze(steps.axis), 0)


@known_options
def softmax(x: Tensor, lengths: LengthsLike, dim: int) -> Tensor:
    """Return the softmax of ``x`` over the valid steps of each sample, and zeros on padding.

    ``dim`` is the axis of steps. Samples are on axis 0, or on axis 1 if ``dim`` is 0. ``lengths``,
    integers ``(batch,)``, holds the number of valid steps of each sample. The result has the shape
    of ``x``.

    Raises:
        LengthsError: if ``lengths`` is not one integer from 0 to seq for each sample.
        ArgumentError: if ``x`` is not a padded batch of floats, or has no axis ``dim``.

    >>> scores = torch.zeros(2, 4)
    >>> rnnkit.masked.softmax(scores, [4, 2], dim=1)
    tensor([[0.2500, 0.2500, 0.2500, 0.2500],
            [0.5000, 0.5000, 0.0000, 0.0000]])
    """
    steps = _steps_of("softmax", x, lengths, dim)
    # The softmax of -inf alone is NaN: a sample without a step has zeros until its padding is cut.
    scores = x.masked_fill(~steps.valid, -math.inf).masked_fill(steps.empty, 0)
    return scores.softmax(steps.axis).masked_fill(~steps.valid, 0)


class _Steps(NamedTuple):
    """The steps of a batch, with as many axes as ``x``: all but batch and steps have size 1."""

    axis: int
    #: True on valid steps.
    valid: Tensor
    #: The number of valid steps; its axis of steps also has size 1.
    each: Tensor
    #: True of samples without a valid step, likewise.
    empty: Tensor


def _steps_of(name: str, x: Any, lengths: object, dim: Any) -> _Steps:
    """Check a call of a function, and lay out which steps are valid."""
    counts = lengths_over_axis(name, x, lengths, dim)
    axis = dim % x.dim()
    valid = counts.valid(x.shape[axis])
    each = counts.each.unsqueeze(0)
    if axis == 0:  # (seq, batch, ...)
        index: tuple[Any, ...] = (..., *[None] * (x.dim() - 2))
    else:  # (batch, ..., seq, ...)
        valid = valid.t()
        each = each.t()
        between = [None] * (axis - 1)
        after = [None] * (x.dim() - 1 - axis)
        index = (slice(None), *between, slice(None), *after)
    each = each[index]
    return _Steps(axis, valid[index], each, each == 0)
