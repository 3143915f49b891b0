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
from rnnkit._diagnostics.inputs.changes import by_rows, steps_at
from rnnkit._diagnostics.measure.slopes import Gradients
from rnnkit._diagnostics.run.isolation import Session
from rnnkit._diagnostics.run.outputs import Leaves, is_number, with_finite_numbers


def judged_finite(batch: Batch, opened: Session) -> tuple[Batch, list[str]]:
    """Return the batch with finite numbers in place of NaN and infinity, if those reach an output.

    Also a line for the report for each input that was changed so. A model that masks them is judged
    as it is. ``opened`` runs copies of the model.
    """
    if batch.second_leaves is not None:  # other values are finite in any case
        second = [_finite_leaf(batch, *pair) for pair in enumerate(batch.second_leaves)]
        batch = replace(batch, second_leaves=second)
    leaves = [_finite_leaf(batch, *pair) for pair in enumerate(batch.leaves)]
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


def _finite_leaf(batch: Batch, index: int, leaf: Any) -> Any:
    """Return a leaf, the input ``index``, with finite numbers of the same features.

    Lengths, labels and masks stay as they are, as does a leaf that has no NaN and no infinity.
    """
    if not is_number(leaf) or not batch.is_content(index) or leaf.isfinite().all():
        return leaf
    padding = steps_at(~batch.valid_places)(batch, index)
    if padding is not None:  # a convolution may count on zeros past the end
        leaf = torch.where(padding & ~leaf.isfinite(), 0.0, leaf)
    return by_rows(leaf, batch.axes_of(index), with_finite_numbers)


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
