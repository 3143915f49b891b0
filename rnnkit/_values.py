"""Other values for a part of an input, drawn from those that occur, so that a model takes them."""

from collections.abc import Sequence

import torch
from torch import Tensor


def padding(leaf: Tensor, batch_axis: int, seq_axis: int) -> Tensor | None:
    """Return which steps are padding, ``(batch, seq)``: zeros at one end of the samples.

    None if there are none, or if zeros also lie between other values, so that they may mean
    something.
    """
    sequences = leaf.movedim((batch_axis, seq_axis), (0, 1))
    zero = (sequences == 0).reshape(*sequences.shape[:2], -1).all(2)
    rising = zero.int().diff(dim=1)
    at_one_end = bool((rising >= 0).all() or (rising <= 0).all())
    return zero if at_one_end and bool(zero.any()) and not bool(zero.all(1).any()) else None


def other_values(
    leaf: Tensor, where: Tensor, axes: Sequence[int], kept: Tensor | None = None, seed: int = 0
) -> Tensor:
    """Return a tensor with other values where a mask says so.

    What lies on the other axes, as the features of a step, is drawn as a whole from another place
    of the same tensor: a column of few categories gets no value of another column, and what holds
    between columns goes on to hold. Numbers with fractions are moved besides, since two equal
    samples would hide a leak.

    Args:
        leaf: an input of a model.
        where: what is replaced; broadcasts to the tensor.
        axes: the axes along which values change places: batch, and seq if there is one.
        kept: places along these axes that stay, and whose values are not drawn: padding.
        seed: draws others.
    """
    if leaf.is_complex():
        pairs = other_values(torch.view_as_real(leaf), where.unsqueeze(-1), axes, kept, seed)
        return torch.view_as_complex(pairs)
    front = tuple(range(len(axes)))
    moved = leaf.movedim(tuple(axes), front)
    rows = moved.reshape(moved.shape[: len(axes)].numel(), -1)
    drawn = rows.clone()
    free = torch.ones(len(rows), dtype=torch.bool, device=leaf.device)
    if kept is not None:
        free = ~kept.reshape(-1)
    drawn[free] = _other_rows(rows[free], torch.Generator().manual_seed(seed))
    other = torch.where(where, drawn.view(moved.shape).movedim(front, tuple(axes)), leaf)
    # In the same order of memory, since a model may view it.
    return leaf.clone().copy_(other)


def _other_rows(rows: Tensor, generator: torch.Generator) -> Tensor:
    """Give each row the values of one that differs from it; move numbers with fractions."""
    numbers = rows.is_floating_point()
    whole = (rows == rows.round()).all(0) if numbers else torch.ones_like(rows[0]).bool()
    if bool(whole.all()):
        exact = rows.double() if numbers else rows
        kinds, kind = torch.unique(exact, dim=0, return_inverse=True)
        if len(kinds) > 1:
            shift = torch.randint(1, len(kinds), kind.shape, generator=generator)
            others: Tensor = kinds[(kind + shift.to(rows.device)) % len(kinds)]
            return others.to(rows.dtype)
        if not numbers:
            return rows
        whole = ~whole
    drawn = rows[torch.randperm(len(rows), generator=generator).to(rows.device)]
    noise = torch.randn(rows.shape, generator=generator).to(rows.device, rows.dtype)
    spread = rows.float().std(0, correction=0).to(rows.dtype) + 0.1
    return torch.where(whole, drawn, drawn + noise * spread)
