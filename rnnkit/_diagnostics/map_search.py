"""Which parts of an output a change of each part of the inputs shows in, for a dependency map."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import other_leaves, sample_at
from rnnkit._diagnostics.compare import AMPLIFIED, apart, compute, is_number, scale
from rnnkit._diagnostics.experiment import SHRINKS
from rnnkit._diagnostics.faint import Gradients, changed_more
from rnnkit._diagnostics.isolation import Given, Session
from rnnkit._diagnostics.outputs import Leaves, same
from rnnkit._diagnostics.progress import Progress
from rnnkit._diagnostics.rounding import CHAOTIC, Rounding
from rnnkit._diagnostics.widened import opened_wide, run_wide, widest

#: So many other values are tried where the model refuses some: a sample may have turned empty.
DRAWS = 5


class _Change(NamedTuple):
    """A change at an index, and what came of it.

    Attributes:
        column: the index.
        found: in which rows it shows.
        near: the rows in which it is near to rounding, as long as float64 was not asked.
        is_larger: whether it was the larger one.
    """

    column: int
    found: Tensor
    near: list[int]
    is_larger: bool


class Search:
    """Fills the matrix: by a change, by a larger one, by gradients."""

    def __init__(
        self, opened: Session, batch: Batch, normal: Leaves, first: int, out_dim: int
    ) -> None:
        """Change nothing yet; the axis of the inputs that is mapped is the batch's batch axis."""
        self.opened, self.batch = opened, batch
        self.before: Tensor = normal[first]
        self.first, self.out_dim = first, out_dim
        self.cancels = False  # whether something does
        self.changes: list[_Change] = []
        self.is_finite = bool(self.before.isfinite().all())
        axes = tuple({*range(self.before.dim() - 1), out_dim})
        self.size = scale(self.before, axes)
        self.rounding = Rounding(opened, batch, normal, [axes] * len(normal))

    def found(
        self, rows: Sequence[int], columns: Sequence[int], progress: Progress
    ) -> tuple[Tensor, Tensor | None, bool]:
        """Return the matrix, what gradients alone show of it, and whether the rest is certain."""
        matrix = torch.zeros(len(rows), len(columns), dtype=torch.bool, device="cpu")
        for column, index in enumerate(columns):
            matrix[:, column] = self._changed(*self._run(index), rows, index)
            progress.step()
        self._change_more(matrix, rows, columns, progress)
        if self.cancels:
            self._look_again(matrix, rows, columns)
        gradients = None if matrix.all() else Gradients(self.batch, self.opened, self.first)
        only = torch.zeros_like(matrix)
        if gradients is not None and gradients.are_whole:
            left = (~matrix.all(1)).nonzero().flatten().tolist()
            progress.total += len(left)
            for row in left:
                known = matrix[row]
                only[row] = self._sloping(gradients, rows[row], columns, known) & ~known
                progress.step()
        is_certain = gradients is None or (gradients.are_whole and not gradients.vanish)
        return matrix | only, only if only.any() else None, is_certain

    def _run(self, index: int) -> tuple[Given, Tensor]:
        """Run on inputs that are changed at an index, by values that the model takes."""
        inputs = self._replaced(index)
        for seed in range(1, DRAWS):
            if (found := self.opened.attempt(inputs)) is not None:
                return inputs, self._first(found)
            inputs = self._replaced(index, seed)
        return inputs, self._first(self.opened.run(inputs))

    def _first(self, leaves: Leaves) -> Tensor:
        """Return the first output, of the rank that it has without a change; else nothing."""
        leaf: object = leaves[self.first] if self.first < len(leaves) else None
        if isinstance(leaf, Tensor) and leaf.dim() == self.before.dim():
            return leaf
        return self.before[:0]

    def _replaced(self, index: int, seed: int = 0) -> Given:
        return self.batch.tree(other_leaves(self.batch, sample_at(index), seed))

    def _change_more(
        self, matrix: Tensor, rows: Sequence[int], columns: Sequence[int], progress: Progress
    ) -> None:
        """Fill in what a larger change shows, in columns where something is open."""
        left = (~matrix.all(0)).nonzero().flatten().tolist()
        progress.total += len(left)
        for column in left:
            index = columns[column]
            inputs = changed_more(self.batch, sample_at(index))
            found = self.opened.attempt(inputs)
            after = None if found is None else self._first(found)
            # What is not finite any more makes something of what a mask took out.
            if after is not None and (bool(after.isfinite().all()) or not self.is_finite):
                matrix[:, column] |= self._changed(inputs, after, rows, index, is_larger=True)
            progress.step()

    def _changed(
        self,
        inputs: Given,
        after: Tensor,
        rows: Sequence[int],
        column: int,
        *,
        is_larger: bool = False,
    ) -> Tensor:
        """Say in which rows an output has changed, by more than rounding if others ran."""
        changed = [row for row in rows if not same(*self._parts(row, self.before, after))]
        near: list[int] = []
        if self._is_near(after, changed):
            if not self._computes_alike(inputs):
                changed = [row for row in changed if not self._hides(row, after)]
            else:
                near = self._near(after, changed)
        found = torch.tensor([row in changed for row in rows], device="cpu")
        # A net that forgets has such rows after a change, and what cancels out before it, too.
        if near and min(near) < column:
            self._take_out(found, near, rows, inputs, after)
            near = []
        self.changes.append(_Change(column, found, near, is_larger))
        return found

    def _near(self, after: Tensor, rows: Sequence[int]) -> list[int]:
        """Return the rows that differ by so little that float64 is asked whether they do."""
        limit = AMPLIFIED * next(self.rounding.limits(self.first))
        off = apart(self.before, after)
        return [row for row in rows if bool((off <= limit).select(self.out_dim, row).all())]

    def _take_out(
        self, found: Tensor, near: list[int], rows: Sequence[int], inputs: Given, after: Tensor
    ) -> None:
        """Take the rows out in which a change vanishes in float64: what was changed cancels out."""
        one, other = self.rounding.wide, run_wide(self.opened, inputs)
        ends = [self._first(leaves) for leaves in (one, other) if leaves is not None]
        if len(ends) < 2 or ends[0].shape != ends[1].shape:
            return
        wide, moved = apart(*ends), apart(self.before, after)
        for row in near:
            off, rest = (_at(each, self.out_dim, row) for each in (moved, wide))
            if rest.max().item() <= SHRINKS * off.max().item():
                found[rows.index(row)] = False
                self.cancels = True

    def _look_again(self, matrix: Tensor, rows: Sequence[int], columns: Sequence[int]) -> None:
        """Ask float64 of all changes that are near to rounding: something cancels out."""
        matrix.zero_()
        for column, found, near, is_larger in self.changes:
            if near:
                inputs, after = self._run(column)
                if is_larger:
                    inputs = changed_more(self.batch, sample_at(column))
                    after = self._first(self.opened.run(inputs))
                self._take_out(found, near, rows, inputs, after)
            matrix[:, columns.index(column)] |= found

    def _sloping(
        self, gradients: Gradients, row: int, columns: Sequence[int], known: Tensor
    ) -> Tensor:
        """Say on which columns a row has a gradient that is no rounding of what cancels out."""
        sizes = gradients.sizes(self.out_dim, row, columns)
        found = sizes > 0
        later = torch.tensor(columns, device="cpu") > row
        wanted = self.cancels or bool((found & ~known & later).any())
        if not wanted or self._wide_gradients is None or not self._wide_gradients.are_whole:
            return found
        wide = self._wide_gradients.sizes(self.out_dim, row, columns) > SHRINKS * sizes
        self.cancels |= bool((found & ~wide).any())
        return found & wide

    @cached_property
    def _wide_gradients(self) -> Gradients | None:
        """Gradients in float64; None if the model does not run so."""
        leaves = [widest(one) if isinstance(one, Tensor) else one for one in self.batch.leaves]
        try:
            with opened_wide(self.opened) as opened:
                return Gradients(self.batch.with_leaves(leaves), opened, self.first)
        except Exception:  # noqa: BLE001 - a model may insist on its own precision as it likes
            return None

    def _parts(self, row: int, *leaves: Tensor) -> list[Tensor]:
        return [_at(leaf, self.out_dim, row) for leaf in leaves]

    def _computes_alike(self, inputs: Given) -> bool:
        """Say whether the same operations run on changed inputs: all round alike then."""
        normal = self.rounding.computation.operations
        return normal is not None and compute(self.opened, inputs).operations == normal

    def _is_near(self, after: Tensor, rows: Sequence[int]) -> bool:
        """Say whether one of the rows differs by so little that rounding might explain it."""
        if not rows or after.shape != self.before.shape or not is_number(after):
            return False
        is_small = apart(self.before, after) <= CHAOTIC * self.size
        near = is_small.movedim(self.out_dim, 0).reshape(after.shape[self.out_dim], -1).all(1)
        return bool(near[list(rows)].any())

    def _hides(self, row: int, after: Tensor) -> bool:
        """Say whether a row differs by no more than rounding explains."""
        off = apart(*self._parts(row, self.before, after))
        limits = (_at(most, self.out_dim, row) for most in self.rounding.limits(self.first))
        return any(bool((off <= most).all()) for most in limits)


def _at(leaf: Tensor, axis: int, index: int) -> Tensor:
    """Return what is at an index; nothing, which is not the same as something, beyond the end."""
    return leaf.narrow(axis, index, 1) if index < leaf.shape[axis] else leaf.narrow(axis, 0, 0)
