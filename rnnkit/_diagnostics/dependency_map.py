"""``dependency_map``: which output depends on which input, along one axis.

By a change, by a larger one, then by gradients; judged in float64, if the model runs in it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import refusal
from rnnkit._base.model import check_model
from rnnkit._diagnostics.axes import infer_batch_axes
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import other_leaves, sample_at
from rnnkit._diagnostics.events import Recorder
from rnnkit._diagnostics.isolation import session
from rnnkit._diagnostics.judge import COARSE, differences, judge
from rnnkit._diagnostics.lab import PerturbedRun
from rnnkit._diagnostics.outputs import Given, is_number, shape_of
from rnnkit._diagnostics.picture import DependencyMap
from rnnkit._diagnostics.report import UnjudgedError
from rnnkit._diagnostics.slopes import Gradients

#: The widest map that a terminal of 80 columns shows.
WIDEST = 32
#: How much larger the second change is: others are then the largest, where a maximum is taken.
LARGER = 100
#: A gradient that cancels out shrinks in float64 by more than this.
SHRINKS = 1e-6


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
    given = Given(inputs, {})
    batch = Batch(given, dim)
    dim %= batch.leaves[batch.first].dim()
    out_dim = dim if out_dim is None else out_dim
    with session(model, None, given, "dependency_map") as opened:
        infer_batch_axes(batch, opened.attempt)
        narrow = Baseline(opened, batch, Recorder)
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
        found = torch.stack([_moved(lab, column)[list(rows)] for column in columns], 1)
        if not found.all():
            both = [Gradients(one.batch, one.session) for one in (lab, narrow)]
            for place in range(len(rows) if all(one.are_whole for one in both) else 0):
                fine, coarse = (_sizes(lab, one, rows[place], columns) for one in both)
                found[place] |= (fine > SHRINKS * coarse) & (coarse > 0)
    return DependencyMap(found, rows, columns, dim, out_dim)


dependency_map.__module__ = "rnnkit"


def _spaced(size: int) -> tuple[int, ...]:
    """Return indices with one distance between them, the first among them, and the last."""
    every = -(-size // WIDEST) if size > WIDEST else 1
    return tuple(sorted({*range(0, size, every), size - 1})) if size else ()


def _moved(lab: Baseline, column: int) -> Tensor:
    """Return which rows of the output a change at an index of the inputs moves, or a larger one."""
    first = lab.first or 0
    axis, before = lab.axes[first] or 0, lab.normal[first]
    leaves = other_leaves(lab.batch, sample_at(column))
    pairs = zip(lab.batch.leaves, leaves, strict=True)
    larger = [x + LARGER * (y - x) if is_number(x) and y is not x else y for x, y in pairs]
    moved = torch.zeros(before.shape[axis], dtype=torch.bool, device="cpu")
    for inputs in (leaves, larger):
        try:
            output = PerturbedRun(lab, lab.batch.tree(inputs)).output
        except UnjudgedError as error:
            if inputs is leaves:
                raise error.__cause__ or error from None
            break
        after = before + 1  # rows that are gone have moved
        for x in (x for x in output[first : first + 1] if len(shape_of(x) or ()) == before.dim()):
            inside = tuple(slice(min(sizes)) for sizes in zip(before.shape, x.shape, strict=True))
            after[inside] = x[inside]
        # What is not finite any more makes something of what a mask took out.
        if inputs is leaves or bool(after.isfinite().all()):
            off = differences(lab, first, before, after).movedim(axis, 0)
            moved |= off.reshape(len(moved), -1).any(1).cpu()
    return moved


def _sizes(lab: Baseline, gradients: Gradients, row: int, columns: Sequence[int]) -> Tensor:
    """Return how large the gradient of a row of the output is in each column of the inputs."""
    first, sizes = lab.first or 0, [torch.zeros(len(columns), dtype=torch.float64, device="cpu")]
    part = gradients.output[first].narrow(lab.axes[first] or 0, row, 1)
    slopes = gradients.slopes([*gradients.sources.values()], [part])
    for k, slope in zip(gradients.sources, slopes, strict=True):
        if slope is not None:
            each = slope.nan_to_num(0.0).abs().movedim(lab.batch.axes[k] or 0, 0)
            sizes.append(each.reshape(len(each), -1).amax(1)[list(columns)].double().cpu())
    scale: float = torch.finfo(part.dtype).max ** 0.5
    return torch.stack(sizes).amax(0) / scale
