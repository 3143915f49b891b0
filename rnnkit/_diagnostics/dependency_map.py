"""``dependency_map``: which output depends on which input, along one axis.

By a change, by a larger one, then by gradients; in float64, if the model runs in it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import refusal
from rnnkit._base.model import check_model
from rnnkit._diagnostics.arguments import check_arguments
from rnnkit._diagnostics.axes import infer_batch_axes
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import other_leaves, sample_at
from rnnkit._diagnostics.compare import apart, eps_of, is_number, scale, widest
from rnnkit._diagnostics.isolation import Given, Session, session
from rnnkit._diagnostics.judge import open_wide
from rnnkit._diagnostics.outputs import Leaves, is_output
from rnnkit._diagnostics.picture import DependencyMap
from rnnkit._diagnostics.slopes import Gradients

#: The widest map that a terminal of 80 columns shows.
WIDEST = 32
#: So many other values are tried where the model refuses some: a sample may have turned empty.
DRAWS = 5
#: How much larger the second change is: others are then the largest, where a maximum is taken.
LARGER = 100
#: A gradient that cancels out shrinks in float64 by more than this.
SHRINKS = 1e-6
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
        normal = opened.run(batch.tree())
        first = next((k for k, leaf in enumerate(normal) if is_output(leaf)), None)
        shape = () if first is None else normal[first].shape
        if first is None or not -len(shape) <= out_dim < len(shape):
            message = f"the first output has no axis {out_dim}: its shape is {tuple(shape)}"
            refusal(ArgumentError, "out_dim", message, code="verify-axis")
        out_dim %= len(shape)
        columns, rows = _spaced(batch.size), _spaced(shape[out_dim])
        lab = _Lab(opened, batch, normal, first, out_dim)
        wide = _widened(lab)
        seen = (wide or lab).seen(rows, columns)
        slope, is_certain = seen, True
        if not seen.all():
            slope, is_certain = _sloping(wide or lab, lab if wide else None, rows, columns)
    faint = slope & ~seen
    only = faint if faint.any() else None
    return DependencyMap(seen | faint, rows, columns, dim, out_dim, only, is_certain)


dependency_map.__module__ = "rnnkit"


def _spaced(size: int) -> tuple[int, ...]:
    """Return indices with one distance between them, the first among them, and the last."""
    every = -(-size // WIDEST) if size > WIDEST else 1
    return tuple(sorted({*range(0, size, every), size - 1})) if size else ()


class _Lab:
    """A model on changed inputs, beside the same on the inputs as they are.

    The axis of the inputs that is mapped is the batch's batch axis.
    """

    def __init__(
        self, opened: Session, batch: Batch, normal: Leaves, first: int, out_dim: int
    ) -> None:
        self.opened, self.batch, self.first, self.axis = opened, batch, first, out_dim
        self.before: Tensor = normal[first]
        wide = self.before.dtype is torch.float64
        self._tolerance = 1e-9 if wide else min(1000 * eps_of(self.before), 0.01)

    def seen(self, rows: Sequence[int], columns: Sequence[int]) -> Tensor:
        """Return in which rows of the output a change at each column of the inputs shows."""
        found = []
        for column in columns:
            moved = self._moved(self._run(column))[list(rows)]
            if not moved.all():
                moved |= self._moved_by_more(column)[list(rows)]
            found.append(moved)
        return torch.stack(found, 1)

    def _run(self, column: int) -> Leaves:
        """Run on inputs that are changed at an index, by values that the model takes."""
        inputs = self.batch.tree()
        for seed in range(DRAWS):
            inputs = self.batch.tree(other_leaves(self.batch, sample_at(column), seed))
            if (found := self.opened.attempt(inputs)) is not None:
                return found
        return self.opened.run(inputs)

    def _moved(self, output: Leaves) -> Tensor:
        """Return which rows of the output are different; those that are gone are."""
        before, size = self.before, self.before.shape[self.axis]
        after: object = output[self.first] if self.first < len(output) else None
        moved = torch.ones(size, dtype=torch.bool, device="cpu")
        if not isinstance(after, Tensor) or after.dim() != before.dim():
            return moved
        kept = after.shape[self.axis]
        before = before.narrow(self.axis, 0, min(kept, size))
        if after.shape != before.shape:
            return moved
        off = apart(before, after)
        if is_number(before) and off.numel():
            axes = tuple({*range(before.dim() - 1), self.axis})
            off = off > self._tolerance * scale(before, axes)
        moved[:kept] = off.bool().movedim(self.axis, 0).reshape(kept, -1).any(1).cpu()
        return moved

    def _moved_by_more(self, column: int) -> Tensor:
        """Return which rows a larger change moves, with other values than those that occur."""
        leaves = list(other_leaves(self.batch, sample_at(column), seed=1))
        for index, (leaf, other) in enumerate(zip(self.batch.leaves, leaves, strict=True)):
            if other is not leaf and leaf.is_floating_point() and leaf.dim():
                rows = leaf if leaf.dim() > 1 else leaf.unsqueeze(1)
                whole = (rows == rows.round()).flatten(0, -2).all(0) & (leaf.dim() > 1)
                leaves[index] = torch.where(whole, other, leaf + LARGER * (other - leaf))
        found = self.opened.attempt(self.batch.tree(leaves))
        after: object = found[self.first] if found and self.first < len(found) else None
        # What is not finite any more makes something of what a mask took out.
        finite = isinstance(after, Tensor) and bool(after.isfinite().all())
        if found is None or (bool(self.before.isfinite().all()) and not finite):
            return torch.zeros(self.before.shape[self.axis], dtype=torch.bool, device="cpu")
        return self._moved(found)


def _widened(lab: _Lab) -> _Lab | None:
    """Return the same in float64; None if the model does not run in it."""
    leaves = [widest(x) if isinstance(x, Tensor) else x for x in lab.batch.leaves]
    batch = lab.batch.with_leaves(leaves)
    try:
        opened = open_wide(lab.opened, torch.float64)
        wide = _Lab(opened, batch, opened.run(batch.tree()), lab.first, lab.axis)
    except Exception:  # noqa: BLE001 - a model may insist on its own precision as it likes
        return None
    is_wide = not is_number(wide.before) or wide.before.dtype is torch.float64
    return wide if is_wide and wide.before.shape == lab.before.shape else None


def _sloping(
    lab: _Lab, narrow: _Lab | None, rows: Sequence[int], columns: Sequence[int]
) -> tuple[Tensor, bool]:
    """Return where a gradient is that does not cancel out, and whether the rest is certain."""
    found = torch.zeros(len(rows), len(columns), dtype=torch.bool, device="cpu")
    gradients = Gradients(lab.batch, lab.opened)
    if not (gradients.are_whole and gradients.output[lab.first].requires_grad):
        return found, False
    own = None if narrow is None else Gradients(narrow.batch, narrow.opened)
    for place, row in enumerate(rows):
        sizes = gradients.sizes(lab.first, lab.axis, row, columns)
        found[place] = sizes > 0
        if own is not None and own.are_whole:
            coarse = own.sizes(lab.first, lab.axis, row, columns)
            found[place] &= (sizes > SHRINKS * coarse) & ((coarse > 0) | (sizes < VANISHED))
    return found & gradients.are_whole, gradients.are_whole and not gradients.vanish
