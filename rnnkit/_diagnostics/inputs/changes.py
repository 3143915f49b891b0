"""Other values for a part of an input, drawn from those that occur, so that a model takes them."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.run.outputs import (
    in_float64,
    is_dense,
    mask_of_row,
    same,
    with_finite_numbers,
)

#: Says which values of a leaf are replaced: a mask that broadcasts to it; None for none.
Where = Callable[[Batch, int], Tensor | None]


def sample_at(sample: int) -> Where:
    """Return a :data:`Where`, which says that all values of one sample are replaced, at any step.

    It is a function of the batch and the index of a leaf: it returns a mask that broadcasts to it.
    """

    def where(batch: Batch, index: int) -> Tensor | None:
        """Return a mask that broadcasts to a leaf: true for the sample."""
        leaf = batch.leaves[index]
        return mask_of_row(leaf, batch.axes[index] or 0, sample)

    return where


def steps_at(chosen: Tensor) -> Where:
    """Return a :data:`Where`: it says that steps are replaced in inputs with those of the sequence.

    It is a function of the batch and the index of a leaf (an input): it returns a mask, or None.
    ``chosen`` is a mask that broadcasts to ``(batch, seq)``.
    """

    def where(batch: Batch, index: int) -> Tensor | None:
        """Return a mask that broadcasts to a leaf: true for the chosen steps.

        If the leaf has no steps, return None.
        """
        if not batch.has_steps(index):
            return None
        leaf = batch.leaves[index]
        axes = (batch.axes[index] or 0, batch.seq_dims[index])
        mask = chosen.expand(batch.size, batch.steps)
        mask = mask.reshape(*mask.shape, *[1] * (leaf.dim() - 2))
        return mask.movedim((0, 1), axes).to(leaf.device)

    return where


#: Says that all steps are replaced.
EVERY_STEP = steps_at(torch.tensor(data=True, device="cpu"))


def earlier_steps(valid: Tensor) -> Tensor:
    """Return the valid steps ``(batch, seq)``, a mask, without the last one of each sample."""
    return valid & functional.pad(valid[:, 1:], (0, 1))


def by_rows(leaf: Tensor, axes: Sequence[int], change: Callable[[Tensor], Tensor]) -> Tensor:
    """Return a leaf with ``change(rows)`` in place of its rows ``(rows, features)``.

    A row is one place along ``axes``, batch alone or batch and seq.
    """
    front = tuple(range(len(axes)))
    whole = leaf.movedim(tuple(axes), front)
    rows = whole.reshape(whole.shape[: len(axes)].numel(), -1)
    return change(rows).view(whole.shape).movedim(front, tuple(axes))


def _other_values(leaf: Tensor, axes: Sequence[int], kept: Tensor | None, seed: int) -> Tensor:
    """Return a leaf in which random rows that occur replace the others.

    A row is one place along ``axes``, batch alone or batch and seq. The rows of the mask ``kept``
    stay, such as padding.
    """
    if leaf.is_complex():
        pairs = _other_values(torch.view_as_real(leaf), axes, kept, seed)
        return torch.view_as_complex(pairs.contiguous())
    generator = torch.Generator("cpu").manual_seed(seed)

    def drawn(every: Tensor) -> Tensor:
        """Return other rows for the free ones."""
        free = slice(None) if kept is None else ~kept.reshape(-1)
        rows = every[free]
        changed_rows = every.clone()
        if rows.is_floating_point():
            rows = with_finite_numbers(rows)
            changed_rows[free] = _with_noise(_other_rows(rows, generator), rows, generator)
        elif rows.numel():
            changed_rows[free] = _other_rows(rows, generator)
        return changed_rows

    return by_rows(leaf, axes, drawn)


def _other_rows(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Return for each row ``(rows, features)`` another one that occurs, drawn at random."""
    numbers = in_float64(rows) if rows.is_floating_point() else rows.cpu()
    kinds, kind = torch.unique(numbers, dim=0, return_inverse=True)
    shift = torch.randint(1, max(len(kinds), 2), kind.shape, generator=generator, device="cpu")
    other: Tensor = kinds[(kind + shift) % len(kinds)]
    return other.to(rows)


def _with_noise(other: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Return ``other`` with noise, kept within the range of ``rows``, as a model may insist.

    Without noise two equal samples would hide a leak. What is too large is reflected, or a maximum
    would be the same again; what is too small becomes the least number, which may mean something,
    as 0 does. Features that are whole numbers in all rows get no noise, unless the rows are all
    equal and whole.
    """
    noise = torch.randn(rows.shape, generator=generator, device="cpu").to(rows)
    spread = rows.float().std(0, correction=0).to(rows.dtype) + 0.1
    moved = other + noise * spread
    least = rows.amin(0)
    most = rows.amax(0)
    is_varied = least < most
    reflected = torch.minimum(moved, 2 * most - moved)
    moved = torch.where(is_varied, reflected.clamp(least, most), moved)
    stays = (rows == rows.round()).all(0)
    if stays.all() and not is_varied.any():
        return moved
    return torch.where(stays, other, moved)


def other_leaves(
    batch: Batch, where: Where, seed: int = 0, *, pad: bool = True, only: int | None = None
) -> list[Any]:
    """Return the leaves of the inputs with other values at some places.

    ``where(batch, index)`` returns the mask of those places in a leaf, or None. With ``pad``,
    padding changes as well; ``only`` is the only leaf to change. A leaf that stays is the same
    object. If the caller gave a second batch, the values come from that, unless padding changes.
    """
    leaves = list(batch.leaves)
    second = None if pad else batch.second_leaves
    chosen = batch.indices if only is None else [only]
    for index in chosen:
        leaf = batch.leaves[index]
        # Lengths, labels and masks say what the rest is, and change with a second batch only.
        has_other = second is not None and is_dense(leaf)
        may_change = batch.is_content(index) or (has_other and batch.axes[index] is not None)
        mask = where(batch, index) if may_change else None
        if mask is None:
            continue
        drawn = _other_values_once(batch, index, seed, pad=pad) if second is None else second[index]
        # In the same order of memory, since a model may view it.
        other = leaf.clone().copy_(torch.where(mask, drawn, leaf))
        if not same(leaf, other):
            leaves[index] = other
    return leaves


def _other_values_once(batch: Batch, index: int, seed: int, *, pad: bool) -> Tensor:
    """Return random other values for an input, the same at each call for one batch and seed.

    Padding stays as it is, unless ``pad`` is set.
    """
    axes = batch.axes_of(index)
    key = (index, *axes, seed, pad)
    if key not in batch.drawn:
        kept = None if pad or len(axes) == 1 else batch.padding(index)
        batch.drawn[key] = _other_values(batch.leaves[index], axes, kept, seed)
    return batch.drawn[key]


def changed(
    batch: Batch, where: Where, *, pad: bool = False, only: int | None = None
) -> Batch | None:
    """Return the batch with other values at some places; None if all of it stays as it was.

    See :func:`other_leaves` for the arguments.
    """
    leaves = other_leaves(batch, where, pad=pad, only=only)
    are_same = map(operator.is_, batch.leaves, leaves)
    return None if all(are_same) else batch.with_leaves(leaves)
