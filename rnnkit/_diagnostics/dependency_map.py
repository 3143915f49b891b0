"""``dependency_map``: which output depends on which input, along one axis.

By a change, by a larger one, then by gradients; judged in float64, if the model runs in it.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import refusal
from rnnkit._base.model import check_model
from rnnkit._diagnostics.arguments import check_arguments
from rnnkit._diagnostics.axes import infer_batch_axes
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import other_leaves, sample_at
from rnnkit._diagnostics.isolation import session
from rnnkit._diagnostics.judge import COARSE, differences, judge
from rnnkit._diagnostics.lab import PerturbedRun
from rnnkit._diagnostics.outputs import Given
from rnnkit._diagnostics.picture import DependencyMap
from rnnkit._diagnostics.report import UnjudgedError
from rnnkit._diagnostics.slopes import Gradients

#: The widest map that a terminal of 80 columns shows.
WIDEST = 32
#: How much larger the second change is: others are then the largest, where a maximum is taken.
LARGER = 100
#: A gradient that cancels out shrinks in float64 by more than this.
SHRINKS = 1e-6
#: A gradient is about to vanish if it is no more than this power of the smallest number.
VANISHING = 0.9
#: A gradient below this is nothing in float32.
VANISHED = 1e-50


def dependency_map(
    model: torch.nn.Module, *inputs: Any, dim: int = 0, out_dim: int | None = None
) -> DependencyMap:
    """Find which output depends on which input along one axis.

    A copy of the model runs once for each index of the axis (at most 33, evenly spaced), on inputs
    that are changed there, in float64. Where the output stays the same, it runs with a larger
    change, and then gradients are computed: so an input that was forgotten is distinguished from
    one that was not read.

    An input that shares the axis is changed together with the first one. Whether it shares it is
    found by running the model on fewer indices of both, if it runs so, else by its shape.

    Args:
        model: any module.
        *inputs: what it is called with.
        dim: the axis of the inputs; it may be negative, counted from the end of the first one.
        out_dim: the axis of the first output; None for the same.

    Raises:
        ArgumentError: if ``model`` is not a module, or inputs or output have no such axis.

    >>> print(rnnkit.dependency_map(torch.nn.GRU(3, 4), torch.randn(4, 2, 3)))
    output on axis 0 (down), input on axis 0 (across): each depends on its own and earlier inputs
    0 ■ · · ·
    1 ■ ■ · ·
    2 ■ ■ ■ ·
    3 ■ ■ ■ ■
    """
    check_model("dependency_map", model)
    check_arguments(dim=dim, out_dim=out_dim)
    given = Given(inputs, {})
    batch = Batch(given, dim, argument="dim")
    dim %= batch.leaves[batch.first].dim()
    out_dim = dim if out_dim is None else out_dim
    with session(model, None, given, "dependency_map") as opened:
        infer_batch_axes(batch, opened.attempt)
        narrow = Baseline(opened, batch, finds_axes=False)
        shape = () if narrow.first is None else tuple(narrow.normal[narrow.first].shape)
        if narrow.first is None or not -len(shape) <= out_dim < len(shape):
            message = f"the first output has no axis {out_dim}: its shape is {shape}"
            message = message if narrow.first is not None else narrow.unfollowed()
            refusal(ArgumentError, "out_dim", message, code="verify-axis")
        out_dim %= len(shape)
        narrow.axes[narrow.first] = out_dim
        columns, rows = _spaced(batch.size), _spaced(shape[out_dim])
        try:
            lab = judge(narrow)
        except UnjudgedError:
            lab = narrow.on(batch)
            lab.tolerance = COARSE
        seen = torch.stack([_moved(lab, column)[list(rows)] for column in columns], 1)
        slope, is_certain = (seen, True) if seen.all() else _sloping(lab, narrow, rows, columns)
    faint = slope & ~seen
    only = faint if faint.any() else None
    return DependencyMap(seen | faint, rows, columns, dim, out_dim, only, is_certain)


dependency_map.__module__ = "rnnkit"


def _spaced(size: int) -> tuple[int, ...]:
    """Return indices with one distance between them, the first among them, and the last."""
    every = -(-size // WIDEST) if size > WIDEST else 1
    return tuple(sorted({*range(0, size, every), size - 1})) if size else ()


def _moved(lab: Baseline, column: int) -> Tensor:
    """Return which rows of the output a change at an index of the inputs moves, or a larger one."""
    leaves = other_leaves(lab.batch, sample_at(column))
    try:
        moved, _ = _rows_moved(lab, leaves)
    except UnjudgedError as error:
        raise error.__cause__ or error from None
    if not moved.all():
        for index, (leaf, other) in enumerate(zip(lab.batch.leaves, leaves, strict=True)):
            if other is not leaf and leaf.is_floating_point() and leaf.dim():
                rows = leaf if leaf.dim() > 1 else leaf.unsqueeze(1)
                is_whole = (rows == rows.round()).flatten(0, -2).all(0) & (leaf.dim() > 1)
                leaves[index] = torch.where(is_whole, other, leaf + LARGER * (other - leaf))
        with suppress(UnjudgedError):
            more, is_finite = _rows_moved(lab, leaves)
            # What is not finite any more makes something of what a mask took out.
            moved |= more if is_finite else moved
    return moved


def _rows_moved(lab: Baseline, leaves: list[Any]) -> tuple[Tensor, bool]:
    """Return which rows of the first output other inputs move, and whether it is as finite.

    Rows that are gone have moved.
    """
    first = lab.first or 0
    axis, before = lab.axes[first] or 0, lab.normal[first]
    after: Any = next(iter(PerturbedRun(lab, lab.batch.tree(leaves)).output[first:]), None)
    moved = torch.ones(before.shape[axis], dtype=torch.bool, device="cpu")
    is_like = isinstance(after, Tensor) and after.dim() == before.dim()
    kept = min(after.shape[axis], len(moved)) if is_like else 0

    def take(leaf: Tensor) -> Tensor:
        return leaf.narrow(axis, 0, kept)

    if not kept or take(before).shape != after.shape:
        return moved, True
    off = differences(lab, first, take(before), after, take)
    moved[:kept] = off.movedim(axis, 0).reshape(kept, -1).any(1).cpu()
    return moved, bool(after.isfinite().all()) or not bool(before.isfinite().all())


def _sloping(
    lab: Baseline, narrow: Baseline, rows: Sequence[int], columns: Sequence[int]
) -> tuple[Tensor, bool]:
    """Return where a gradient is that does not cancel out, and whether the rest is certain."""
    first, vanish = lab.first or 0, False
    found = torch.zeros(len(rows), len(columns), dtype=torch.bool, device="cpu")
    both = [Gradients(one.batch, one.session) for one in (lab, narrow)]
    if not all(one.are_whole and one.output[first].requires_grad for one in both):
        return found, False
    for place, row in enumerate(rows):
        (sizes, is_tiny), (coarse, _) = (
            _sizes(one, first, lab.axes[first] or 0, row, columns) for one in both
        )
        vanish |= is_tiny
        found[place] = (sizes > SHRINKS * coarse) & ((coarse > 0) | (sizes < VANISHED))
    is_whole = all(one.are_whole for one in both)
    return found & is_whole, is_whole and not vanish


def _sizes(
    gradients: Gradients, output: int, dim: int, index: int, places: Sequence[int]
) -> tuple[Tensor, bool]:
    """Return how large the gradient of a part of an output is at places of the inputs.

    And whether some came so close to the smallest number that others may be below it.
    """
    part, vanish = gradients.output[output].narrow(dim, index, 1), False
    reached = torch.zeros(len(places), dtype=torch.float64, device="cpu")
    found = gradients.slopes([*gradients.sources.values()], [part])
    for k, gradient in zip(gradients.sources, found, strict=True):
        if gradient is not None:
            rows = gradient.nan_to_num(0.0).movedim(gradients.batch.axes[k] or 0, 0)
            smallest = torch.finfo(rows.dtype).tiny ** VANISHING
            vanish |= bool((rows.ne(0) & (rows.abs() < smallest)).any())
            largest = rows.abs().reshape(len(rows), -1).amax(1)[list(places)]
            reached = reached.maximum(largest.double().cpu())
    factor: float = torch.finfo(part.dtype).max ** 0.5
    return reached / factor, vanish
