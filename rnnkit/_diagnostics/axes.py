"""Which axes are batch and seq, where sizes do not tell: those that follow what is left out."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.outputs import Flat, Given, Leaves, apart, eps_of, largest, shape_of
from rnnkit._diagnostics.report import TRIES

#: Runs a model on a batch; None if it refuses.
Attempt = Callable[[Given], Leaves | None]


def infer_batch_axes(batch: Batch, attempt: Attempt) -> None:
    """Try axes for the inputs after the first until the model takes a smaller batch as before.

    Inputs of one shape, as the two states of an LSTM, have the batch at the same axis, or none.
    """
    given, choices = list(batch.axes), dict[int, list[int | None]]()
    for index, (leaf, at) in enumerate(zip(batch.leaves, given, strict=True)):
        if at is not None and isinstance(leaf, Tensor) and index != batch.first:
            others = [k for k, length in enumerate(leaf.shape) if length == batch.size and k != at]
            choices[index] = [at, *others, None]
    if not choices:
        return
    by_shape = {batch.leaves[index].shape: each for index, each in choices.items()}
    several = [[0, 1]] if batch.size > 2 else [[0]] if batch.size > 1 else []
    ways = list(itertools.islice(itertools.product(*by_shape.values()), TRIES))
    for kept, way in itertools.product(several, ways):
        chosen = dict(zip(by_shape, way, strict=True))
        for index in choices:
            batch.axes[index] = chosen[batch.leaves[index].shape]
        if (fewer := attempt(batch.samples(kept).tree())) is not None:
            break
    else:
        # The model takes no other batch: what may be laid out either way is left as it is.
        for index, each in choices.items():
            batch.axes[index] = given[index] if len(each) == 2 else None
        return
    full: Leaves = []
    for index, axis in [(k, axis) for k, each in choices.items() for axis in each]:
        at, is_long = batch.axes[index], batch.may_have_steps(index)
        # It may have no batch: prototypes or, of as many samples as steps, a square of weights.
        is_whole = batch.is_content(index) and (batch.size == batch.steps or not is_long)
        if at in (None, axis) or (axis is None and not is_whole):
            continue
        full = full or attempt(batch.tree()) or []
        if _stays(full, fewer, kept, batch.size):
            return
        batch.axes[index] = axis
        if _stays(full, attempt(batch.samples(kept).tree()) or [], kept, batch.size):
            return
        batch.axes[index] = at


def _stays(full: Leaves, fewer: Leaves, kept: list[int], size: int) -> bool:
    """Return whether the samples that are left return what they did among all, up to rounding."""
    compared = False
    for before, after in zip(full, fewer, strict=False):
        axis, by = shortened_axis(before, after)
        if axis is None or by * size != before.shape[axis] * (size - len(kept)):
            continue
        rows, others = before.movedim(axis, 0), after.movedim(axis, 0)  # several of each sample
        ways = rows.unflatten(0, (size, -1))[kept], rows.unflatten(0, (-1, size))[:, kept]
        far = 1000 * eps_of(rows) * largest(rows)
        if all(bool((apart(way.flatten(0, 1), others) > far).any()) for way in ways):
            return False
        compared = True
    return compared


def find_flats(
    full: Leaves, fewer: Leaves, batch: Batch, run_changed: Callable[[int], Leaves | None]
) -> dict[int, Flat]:
    """Find outputs in which samples and steps are one axis, and in which order.

    In the right order, a change of a sample moves its own rows; rows that two move are a leak.
    """
    size, found = batch.size, dict[int, Flat]()
    shorter = [shortened_axis(*pair) for pair in zip(full, fewer, strict=True)]
    flat = {
        k: axis
        for k, (axis, by) in enumerate(shorter)
        if axis is not None and by > 1 and full[k].shape[axis] == size * by
    }
    outputs = [run_changed(sample) or [] for sample in range(size)] if flat else []
    if any(list(map(shape_of, output)) != list(map(shape_of, full)) for output in outputs):
        return {}
    for k, axis in flat.items():
        each = [apart(full[k], output[k]).movedim(axis, 0) for output in outputs]
        moved = torch.stack([off.reshape(len(off), -1).amax(1) for off in each])
        is_first = batch.axes[batch.first] == 0
        ways = [Flat(axis, is_first), Flat(axis, not is_first)]
        within = {way: moved[way.owners(size, len(each[0]))].sum() for way in ways}
        best = max(within, key=within.__getitem__)
        if bool((moved.count_nonzero(0) > 1).any() or within[best] == moved.sum()):
            found[k] = best
    return found


def infer_steps(batch: Batch, attempt: Attempt) -> Leaves | None:
    """Find which inputs must be cut with the paced one; return what the model makes of that.

    What is as long by chance must not: a second sequence padded to the same width, or features.
    """
    steps = batch.longest
    if steps is None or steps < 2 or not batch.may_have_steps(batch.paced):
        return None
    others = [k for k in range(len(batch.leaves)) if k != batch.paced and batch.may_have_steps(k)]
    counts = range(len(others) + 1)
    subsets = itertools.chain(*(itertools.combinations(others, count) for count in counts))
    for following in itertools.islice(subsets, TRIES):
        batch.on_their_own[batch.paced] = frozenset(others) - set(following)
        output = attempt(batch.cut(steps - 1, front=True).tree())
        if output is not None:
            return output
    # The model takes no other number of steps: what is as long has the same ones, it may be.
    del batch.on_their_own[batch.paced]
    return None


def shortened_axis(full: Any, fewer: Any) -> tuple[int | None, int]:
    """Return which axis of a tensor is shorter when something was left out, and by how much."""
    one, other = shape_of(full) or (), shape_of(fewer) or ()
    changed = [k for k, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]]
    if len(one) != len(other) or len(changed) != 1:
        return None, 0
    return changed[0], one[changed[0]] - other[changed[0]]
