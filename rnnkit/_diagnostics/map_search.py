"""Which parts of an output a change of each part of the inputs shows in, for a dependency map."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import other_leaves, sample_at
from rnnkit._diagnostics.compare import apart, eps_of, is_number, scale
from rnnkit._diagnostics.isolation import Given, Session
from rnnkit._diagnostics.outputs import Leaves
from rnnkit._diagnostics.slopes import Gradients
from rnnkit._diagnostics.widened import open_wide, widest

#: So many other values are tried where the model refuses some: a sample may have turned empty.
DRAWS = 5
#: How much larger the second change is: others are then the largest, where a maximum is taken.
LARGER = 100
#: A gradient that cancels out shrinks in float64 by more than this.
SHRINKS = 1e-6
#: A gradient below this is nothing in float32.
VANISHED = 1e-50


class Search:
    """Fills the matrix: by a change, by a larger one, by gradients; in float64, if that runs.

    The axis of the inputs that is mapped is the batch's batch axis.
    """

    def __init__(
        self, opened: Session, batch: Batch, normal: Leaves, first: int, out_dim: int
    ) -> None:
        """Run the model as it is in float64."""
        self.first, self.out_dim = first, out_dim
        self._own = opened, batch
        self.opened, self.batch = opened, batch
        self.before: Tensor = normal[first]
        self.tolerance = min(1000 * eps_of(self.before), 0.01)
        self.is_wide = False
        try:
            wide = open_wide(opened, torch.float64)
            leaves = [widest(one) if isinstance(one, Tensor) else one for one in batch.leaves]
            other = batch.with_leaves(leaves)
            before = wide.run(other.tree())[first]
        except Exception:  # noqa: BLE001 - a model may insist on its own precision as it likes
            wide, other, before = opened, batch, normal[first].new_empty(0, 0)
        is_same = isinstance(before, Tensor) and before.shape == self.before.shape
        if is_same and (not is_number(before) or before.dtype is torch.float64):
            self.opened, self.batch, self.before = wide, other, before
            self.tolerance, self.is_wide = 1e-9, True
        self.is_finite = bool(self.before.isfinite().all())

    def found(
        self, rows: Sequence[int], columns: Sequence[int]
    ) -> tuple[Tensor, Tensor | None, bool]:
        """Return the matrix, what gradients alone show of it, and whether the rest is certain."""
        shown = [self._shown(self._run(column), rows) for column in columns]
        matrix = torch.stack(shown, 1)
        for place, column in enumerate(columns):
            if not matrix[:, place].all():
                matrix[:, place] |= self._shown_by_more(column, rows)
        only, is_certain = torch.zeros_like(matrix), True
        if not matrix.all():
            only, is_certain = self._sloping(rows, columns)
            only &= ~matrix
        return matrix | only, only if only.any() else None, is_certain

    def _run(self, column: int) -> Tensor:
        """Run on inputs that are changed at an index, by values that the model takes."""
        for seed in range(DRAWS - 1):
            if (found := self.opened.attempt(self._replaced(column, seed))) is not None:
                return self._first(found)
        return self._first(self.opened.run(self._replaced(column, DRAWS - 1)))

    def _replaced(self, column: int, seed: int) -> Given:
        return self.batch.tree(other_leaves(self.batch, sample_at(column), seed))

    def _first(self, leaves: Leaves) -> Tensor:
        """Return the first output, of the rank that it has without a change; else nothing."""
        leaf: object = leaves[self.first] if self.first < len(leaves) else None
        if isinstance(leaf, Tensor) and leaf.dim() == self.before.dim():
            return leaf
        return self.before[:0]

    def _shown(self, after: Tensor, rows: Sequence[int]) -> Tensor:
        """Return in which rows an output has changed."""
        before, axis = self.before, self.out_dim
        if after.shape != before.shape:
            sizes = range(before.dim())
            cut = all(k == axis or after.shape[k] == before.shape[k] for k in sizes)
            if not cut or after.shape[axis] > before.shape[axis]:
                return torch.ones(len(rows), dtype=torch.bool, device="cpu")
            before = before.narrow(axis, 0, after.shape[axis])
        moved = apart(before, after)
        if is_number(before) and moved.numel():
            axes = tuple({*range(before.dim() - 1), axis})
            moved = (moved > self.tolerance * scale(before, axes)).double()
        whole = moved.movedim(axis, 0).flatten(1).any(1).cpu() if moved.dim() > 1 else moved.cpu()
        rest = self.before.shape[axis] - len(whole)
        known: Tensor = torch.cat([whole.bool(), torch.ones(rest, dtype=torch.bool, device="cpu")])
        return known[list(rows)]

    def _shown_by_more(self, column: int, rows: Sequence[int]) -> Tensor:
        """Return in which rows a larger change shows."""
        found = self.opened.attempt(changed_more(self.batch, column))
        after = None if found is None else self._first(found)
        # What is not finite any more makes something of what a mask took out.
        if after is None or (self.is_finite and not bool(after.isfinite().all())):
            return torch.zeros(len(rows), dtype=torch.bool, device="cpu")
        return self._shown(after, rows)

    def _sloping(self, rows: Sequence[int], columns: Sequence[int]) -> tuple[Tensor, bool]:
        """Return where a gradient is that does not cancel out, and whether the rest is certain."""
        gradients = Gradients(self.batch, self.opened)
        found = torch.zeros(len(rows), len(columns), dtype=torch.bool, device="cpu")
        if not (gradients.are_whole and gradients.output[self.first].requires_grad):
            return found, False
        own = Gradients(self._own[1], self._own[0]) if self.is_wide else None
        for place, row in enumerate(rows):
            sizes = gradients.sizes(self.first, self.out_dim, row, columns)
            found[place] = sizes > 0
            if own is not None and own.are_whole:
                coarse = own.sizes(self.first, self.out_dim, row, columns)
                found[place] &= (sizes > SHRINKS * coarse) & ((coarse > 0) | (sizes < VANISHED))
        return found & gradients.are_whole, gradients.are_whole and not gradients.vanish


def changed_more(batch: Batch, column: int) -> Given:
    """Return the inputs with other values at an index, further away than those that occur."""
    leaves = list(other_leaves(batch, sample_at(column), seed=1))
    for index, (leaf, other) in enumerate(zip(batch.leaves, leaves, strict=True)):
        if other is not leaf and leaf.is_floating_point() and leaf.dim():
            whole = (leaf == leaf.round()).flatten(0, -2).all(0) if leaf.dim() > 1 else leaf.isnan()
            leaves[index] = torch.where(whole, other, leaf + LARGER * (other - leaf))
    return batch.tree(leaves)
