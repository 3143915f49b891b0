"""Numbers of a batch that are not finite, and others in their place.

A NaN spreads, and hides what a change would show: where it reaches the outputs, the model is judged
with numbers that occur elsewhere in the batch.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.message import count
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import valid_mask
from rnnkit._diagnostics.inputs.dense import is_dense
from rnnkit._diagnostics.measure.slopes import Gradients
from rnnkit._diagnostics.run.isolation import Session
from rnnkit._diagnostics.run.outputs import Leaves, is_number, with_finite_numbers


def judged_finite(batch: Batch, opened: Session, *, pads_after: bool) -> tuple[Batch, list[str]]:
    """Return the batch with finite numbers in place of NaN and infinity, if those reach an output.

    Also a line for the report for each input that was changed so. A model that masks them is judged
    as it is. ``opened`` runs copies of the model.
    """
    if batch.second_leaves is not None:  # other values are finite in any case
        second = _all_finite(batch, batch.second_leaves, pads_after=pads_after)
        batch = replace(batch, second_leaves=second)
    leaves = _all_finite(batch, batch.leaves, pads_after=pads_after)
    changed = [k for k, leaf in enumerate(leaves) if leaf is not batch.leaves[k]]
    if not changed:
        return batch, []
    filled = batch.with_leaves(leaves)
    if not _reach_results(batch, filled, opened):
        return batch, []
    lines = []
    for k in changed:
        number = int((~batch.leaves[k].isfinite()).sum())
        what = count(number, "number that is not finite", "numbers that are not finite")
        lines.append(f"{batch.names[k]} has {what}: verify ran with finite numbers instead")
    return filled, lines


def _all_finite(batch: Batch, leaves: Leaves, *, pads_after: bool) -> Leaves:
    """Return the leaves of a batch with finite numbers.

    A leaf that has only those is the same object.
    """
    return [_finite_leaf(batch, k, leaf, pads_after=pads_after) for k, leaf in enumerate(leaves)]


def _finite_leaf(batch: Batch, index: int, leaf: Any, *, pads_after: bool) -> Any:
    """Return a leaf, the input ``index``, with finite numbers.

    Padding gets the first finite number of the padding, and other places get a number of the same
    feature. Lengths, labels and masks stay as they are.
    """
    axis = batch.axes[index]
    if axis is None or not is_number(leaf) or not is_dense(leaf):
        return leaf
    if leaf.isfinite().all() or not batch.is_content(index):
        return leaf
    if not batch.may_have_steps(index):
        return with_finite_numbers(leaf.movedim(axis, 0)).movedim(0, axis)
    axes = (axis, batch.seq_dims[index])
    rows = leaf.movedim(axes, (0, 1))
    padding = _padding(batch, index, rows, pads_after=pads_after)
    places = padding.view(*padding.shape, *[1] * (rows.dim() - 2))
    known = rows.masked_select(places & rows.isfinite())
    value = known[0].item() if known.numel() else 0.0
    rows = torch.where(places & ~rows.isfinite(), value, rows)
    drawn = with_finite_numbers(rows.flatten(0, 1)).view(rows.shape)
    return drawn.movedim((0, 1), axes)


def _padding(batch: Batch, index: int, rows: Tensor, *, pads_after: bool) -> Tensor:
    """Return which steps of an input are padding ``(batch, seq)``.

    Those are the steps beyond its lengths or, if it has none, the steps that are not finite up to
    an end, except in samples without any finite number.
    """
    if batch.has_steps(index) and batch.counts:
        return ~valid_mask(batch, pads_after=pads_after).to(rows.device)
    gone = ~rows.isfinite().reshape(*rows.shape[:2], -1).any(2)
    at_end = gone.flip(1).cumprod(1).flip(1).bool()
    at_start = gone.cumprod(1).bool()
    return (at_end | at_start) & ~gone.all(1, keepdim=True)


def _reach_results(batch: Batch, filled: Batch, opened: Session) -> bool:
    """Return whether numbers that are not finite reach an output or a gradient.

    ``filled`` is the batch without them; ``opened`` runs copies of the model.
    """
    after = opened.attempt(filled.tree())
    if after is None:
        return False
    before = opened.attempt(batch.tree())
    if before is None or _count_finite(before) < _count_finite(after):
        return True
    run = Gradients(batch, opened)
    return any(x is not None and not x.isfinite().all() for x in run.by_id.values())


def _count_finite(output: Leaves) -> int:
    """Return how many numbers of an output are finite."""
    return sum(int(x.isfinite().sum()) for x in output if isinstance(x, Tensor))
