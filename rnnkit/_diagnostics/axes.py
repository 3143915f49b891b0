"""Which axes are batch and seq, where sizes do not tell: those that follow what is left out."""

import itertools
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import refusal
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import changed, sample_at
from rnnkit._diagnostics.outputs import Flat, Given, Leaves, apart, eps_of, largest, shape_of
from rnnkit._diagnostics.report import TRIES

#: The rows of an output are in an order if they differ by so much more in the other one.
CLEAR = 10

#: Runs a model on a batch; None if it refuses.
Attempt = Callable[[Given], Leaves | None]


def refuse_axis(argument: str, what: str, shape: tuple[int, ...]) -> NoReturn:
    """Refuse an axis of the first output: it need not be told."""
    fix = ("fix", f"leave {argument} out, and the axis is found")
    message = f"{what}: its shape is {shape}"
    refusal(ArgumentError, argument, message, "", fix, code="verify-axis")


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
    # With one sample, what has many may be joined by broadcasting: of two, three are made.
    several = [[0, 1]] if batch.size > 2 else [[0, 1, 1], [0]] if batch.size > 1 else []
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
    full: Leaves | None = None
    for index, other_way in [(k, axis) for k, each in choices.items() for axis in each]:
        at = batch.axes[index]
        # It may have no batch: prototypes or, of as many samples as steps, a square of weights.
        whole = batch.size == batch.steps or not batch.may_have_steps(index)
        whole = whole and batch.is_content(index)
        if at in (other_way, None) or (other_way is None and not whole):
            continue
        batch.axes[index] = other_way
        if (other := attempt(batch.samples(kept).tree())) is not None:
            full = full or attempt(batch.tree()) or []
            if _stays(full, other, kept, batch.size) and not _stays(full, fewer, kept, batch.size):
                at, fewer = other_way, other
        batch.axes[index] = at


def _stays(full: Leaves, fewer: Leaves, kept: list[int], size: int) -> bool:
    """Return whether the samples that are left return what they did among all, up to rounding."""
    compared = False
    for before, after in zip(full, fewer, strict=False):
        by = sum(shape_of(before) or ()) - sum(shape_of(after) or ())
        axis = followed_axis(before, after, by)
        if axis is None or before.shape[axis] * len(kept) != after.shape[axis] * size:
            continue
        rows, others = before.movedim(axis, 0), after.movedim(axis, 0)  # several of each sample
        ways = rows.unflatten(0, (size, -1))[kept], rows.unflatten(0, (-1, size))[:, kept]
        far = 1000 * eps_of(rows) * largest(rows)
        if all(bool((apart(way.flatten(0, 1), others) > far).any()) for way in ways):
            return False
        compared = True
    return compared


def find_flats(
    batch: Batch, attempt: Attempt, full: Leaves, fewer: Leaves, left: int
) -> dict[int, Flat]:
    """Find outputs in which samples and steps are one axis, and in which order.

    In the right order, the rows of the others stay what they were when a sample is left out. Where
    that does not tell, a change shows a sample's rows: one that two samples move is a leak.
    """
    size, found = batch.size, dict[int, Flat]()
    axes = {k: _rows_axis(*pair, size) for k, pair in enumerate(zip(full, fewer, strict=True))}
    flat = {k: axis for k, axis in axes.items() if axis is not None}
    rests, valid = dict[int, Leaves](), batch.valid_steps()
    for sample in range(size) if flat else ():
        others = [k for k in range(size) if k != sample]
        if max(valid[k] for k in others) == max(valid):  # else there may be fewer steps, too
            rest = fewer if sample == left else attempt(batch.samples(others).tree()) or []
            rests[sample] = rest if len(rest) == len(full) else [None] * len(full)
    for k, axis in flat.items():
        if {_rows_axis(full[k], rest[k], size) for rest in rests.values()} != {axis}:
            continue  # as many rows as that by chance
        rows, is_first = full[k].movedim(axis, 0), batch.axes[batch.first] == 0
        ways = [Flat(axis, is_first), Flat(axis, not is_first)]
        owners = {way: way.owners(size, len(rows)).to(rows.device) for way in ways}
        off = {
            way: max(
                apart(rows[~own[sample]], rest[k].movedim(axis, 0)).max().item()
                for sample, rest in rests.items()
            )
            for way, own in owners.items()
        }
        best, other = sorted(off, key=off.__getitem__)
        if off[other] > CLEAR * off[best]:
            found[k] = best
        elif (moved := _moved_rows(batch, attempt, full, k, axis)) is not None:
            within = {way: moved[own].sum() for way, own in owners.items()}
            best = max(within, key=within.__getitem__)
            if bool((moved.count_nonzero(0) > 1).any() or within[best] == moved.sum()):
                found[k] = best
    return found


def _rows_axis(full: Any, fewer: Any, size: int) -> int | None:
    """Return the axis that has several rows for each sample, and lost those of one."""
    lengths = {n // size for n in shape_of(full) or () if n % size == 0 and n > size}
    found = [(k, n) for n in lengths if (k := followed_axis(full, fewer, n)) is not None]
    return found[0][0] if found and full.shape[found[0][0]] == size * found[0][1] else None


def _moved_rows(
    batch: Batch, attempt: Attempt, full: Leaves, index: int, axis: int
) -> Tensor | None:
    """Return how far a change of each sample moves each row of an output, ``(samples, rows)``."""
    moved = list[Tensor]()
    for sample in range(batch.size):
        inputs = changed(batch, sample_at(sample))
        output = None if inputs is None else attempt(inputs)
        if output is None or list(map(shape_of, output)) != list(map(shape_of, full)):
            return None
        off = apart(full[index], output[index]).movedim(axis, 0)
        moved.append(off.reshape(len(off), -1).amax(1))
    return torch.stack(moved)


def infer_steps(batch: Batch, attempt: Attempt) -> Leaves | None:
    """Find which inputs must be cut with the paced one; return what the model makes of that.

    What is as long by chance must not: a second sequence padded to the same width, or features.
    """
    steps = batch.longest
    if steps is None or steps < 2 or not batch.may_have_steps(batch.paced):
        return None
    others = [k for k in range(len(batch.leaves)) if k != batch.paced and batch.may_have_steps(k)]
    sizes = range(len(others) + 1)
    subsets = itertools.chain(*(itertools.combinations(others, count) for count in sizes))
    for following in itertools.islice(subsets, TRIES):
        batch.on_their_own = own = frozenset(others) - set(following)
        batch.padded_alike = frozenset()
        output = attempt(batch.cut(steps - 1, front=True).tree())
        if output is None:
            continue
        for index in own:  # what is padded alike is cut, too, unless an output has its steps
            zeros = batch.padding(index)
            if zeros is not None and (~zeros).sum(1).tolist() == batch.counts:
                batch.on_their_own = own - {index}
                fewer = attempt(batch.cut(steps - 1, front=True).tree()) or []
                if list(map(shape_of, fewer)) == list(map(shape_of, output)):
                    batch.padded_alike |= {index}
        batch.on_their_own = own
        return output
    # The model takes no other number of steps: what is as long has the same ones, it may be.
    batch.on_their_own = frozenset()
    return None


def followed_axis(full: Any, fewer: Any, by: int = 1) -> int | None:
    """Return the axis of a tensor that is shorter, by so many, when something was left out."""
    one, other = shape_of(full), shape_of(fewer)
    if one is None or other is None or len(one) != len(other):
        return None
    changed = [axis for axis, size in enumerate(one) if size != other[axis]]
    return changed[0] if len(changed) == 1 and one[changed[0]] == other[changed[0]] + by else None
