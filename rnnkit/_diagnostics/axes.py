"""Which axes are batch and seq, where sizes do not tell: those that follow what is left out."""

import itertools
from collections.abc import Callable
from typing import Any, NoReturn, SupportsIndex

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.compare import alike, apart, eps_of, largest
from rnnkit._diagnostics.isolation import Given
from rnnkit._diagnostics.outputs import Leaves, shape_of
from rnnkit._diagnostics.report import TRIES

Shape = tuple[int, ...]

#: Runs a model on a batch; None if it refuses.
Attempt = Callable[[Given], Leaves | None]


def check_dims(*needed: str, **axes: Any) -> None:
    """Check that axes are integers, or None where they are not needed."""
    for argument, dim in axes.items():
        is_axis = isinstance(dim, SupportsIndex) and not isinstance(dim, bool | Tensor)
        if not is_axis and (dim is not None or argument in needed):
            of = "the axis of the batch" if argument == "batch_dim" else "an axis"
            kind = "an int" if argument in needed else "an int or None"
            message = f"{argument} is {of}, {kind}, got {brief(dim)}"
            fix = ("fix", f"{argument}=0, the first axis, or another int")
            refusal(ArgumentError, argument, message, "", fix, code="verify-axis-kind")


def refuse_axis(argument: str, what: str, shape: Shape, code: str = "verify-axis") -> NoReturn:
    """Refuse an axis of the first output: it need not be told."""
    fix = ("fix", f"leave {argument} out, and the axis is found")
    refusal(ArgumentError, argument, f"{what}: its shape is {shape}", "", fix, code=code)


def infer_batch_axes(batch: Batch, attempt: Attempt) -> bool:
    """Try axes for the inputs after the first until the model takes a batch of another size.

    Inputs of one shape, as the two states of an LSTM, have the batch at the same axis; the last
    choice is that they have none, as a mask over steps. Return whether the model takes one.
    """
    choices: dict[Shape, list[int | None]] = {}
    for index, axis in _open(batch):
        shape = tuple(batch.leaves[index].shape)
        others = [k for k, length in enumerate(shape) if length == batch.size and k != axis]
        choices[shape] = [axis, *others, None]
    given = list(batch.axes)
    # With one sample, what has many may be joined by broadcasting: of two, three are made.
    several = [[0, 1]] if batch.size > 2 else [[0, 1, 1], [0]] if batch.size > 1 else []
    laid = itertools.islice(itertools.product(*choices.values()), TRIES)
    for kept, chosen in itertools.product(several, laid):
        _lay(batch, dict(zip(choices, chosen, strict=True)))
        fewer = attempt(batch.samples(kept).tree())
        if fewer is not None:
            _choose_ways(batch, choices, kept, attempt, fewer)
            return True
        batch.axes = list(given)
    # The model takes no other batch: what may be laid out either way is left as it is.
    _lay(batch, {shape: None for shape, axes in choices.items() if len(axes) > 2})
    return False


def _choose_ways(
    batch: Batch,
    choices: dict[Shape, list[int | None]],
    kept: list[int],
    attempt: Attempt,
    fewer: Leaves,
) -> None:
    """Read an input in another way with which the model runs, too, if what is left then stays.

    One that may stay as it is while the others have fewer samples has no batch, as prototypes.
    """
    every = [(k, choices[tuple(batch.leaves[k].shape)], axis) for k, axis in _open(batch)]
    ways: list[tuple[int, int | None]]
    ways = [(k, way) for k, axes, axis in every for way in axes if way not in (None, axis)]
    ways += [(index, None) for index, *_ in every if _may_be_whole(batch, index)]
    full: Leaves | None = None
    for index, way in ways:
        at, batch.axes[index] = batch.axes[index], way
        other = attempt(batch.samples(kept).tree())
        batch.axes[index] = at
        if other is None:
            continue
        full = full or attempt(batch.tree()) or []
        stays, other_stays = (_stays(batch, full, one, kept) for one in (fewer, other))
        is_better = other_stays and not stays
        if way is None and stays == other_stays:
            is_better = _reads_the_rest(batch, index, len(kept), attempt, other)
        if is_better:
            batch.axes[index], fewer = way, other


def _may_be_whole(batch: Batch, index: int) -> bool:
    """Return whether a leaf may have a row for each sample and no batch, as prototypes."""
    content = batch.is_content(index) and batch.leaves[index].dim() > 1
    # Of as many samples as steps, a square may be weights between nodes.
    other = batch.size == batch.steps or not batch.may_have_steps(index)
    return content and batch.size > 2 and other


def _stays(batch: Batch, full: Leaves, fewer: Leaves, kept: list[int]) -> bool:
    """Return whether the samples that are left return what they did among all, up to rounding."""
    left_out = batch.size - len(kept)
    pairs = [(*two, followed_axis(*two, left_out)) for two in zip(full, fewer, strict=False)]
    followed = [(one, other, axis) for one, other, axis in pairs if axis is not None]
    for before, after, axis in followed:
        rows = before.index_select(axis, torch.tensor(kept, device=before.device))
        limit = 1000 * eps_of(rows) * largest(rows)
        if rows.is_complex() or bool((apart(rows, after) > limit).any()):
            return False
    return bool(followed)


def infer_steps(batch: Batch, attempt: Attempt) -> Leaves | None:
    """Find which inputs have the steps of the paced one: those that must be cut with it.

    What is as long by chance need not, or must not: a second sequence padded to the same width, or
    features that do not change from step to step. Return what the model returns for fewer steps;
    None if it refuses.
    """
    steps = batch.longest
    if batch.steps is None or steps is None or steps < 2 or not batch.may_have_steps(batch.paced):
        return None
    others = [k for k in range(len(batch.leaves)) if k != batch.paced and batch.may_have_steps(k)]
    sizes = range(len(others) + 1)
    subsets = itertools.chain(*(itertools.combinations(others, count) for count in sizes))
    for following in itertools.islice(subsets, TRIES):
        batch.on_their_own = own = frozenset(others) - set(following)
        batch.padded_alike = frozenset()
        output = attempt(batch.cut(steps - 1, front=True).tree())
        if output is not None:
            for index in own:  # what ends in zeros where the paced one ends is padded alike
                zeros = batch.padding(index) if batch.counts and batch.is_content(index) else None
                if zeros is not None and (~zeros).sum(1).tolist() == batch.counts:
                    batch.on_their_own = own - {index}
                    cut = attempt(batch.cut(steps - 1, front=True).tree())
                    if cut is not None and list(map(shape_of, cut)) == list(map(shape_of, output)):
                        batch.padded_alike |= {index}
            batch.on_their_own = own
            return output
    # The model takes no other number of steps: what is as long has the same ones, it may be.
    batch.on_their_own = frozenset()
    return None


def _open(batch: Batch) -> list[tuple[int, int]]:
    return [
        (index, axis)
        for index, axis in enumerate(batch.axes)
        if axis is not None and isinstance(batch.leaves[index], Tensor) and index != batch.first
    ]


def _lay(batch: Batch, axes: dict[Shape, int | None]) -> None:
    for index, axis in _open(batch):
        batch.axes[index] = axes.get(tuple(batch.leaves[index].shape), axis)


def _reads_the_rest(batch: Batch, index: int, kept: int, attempt: Attempt, whole: Leaves) -> bool:
    """Return whether a leaf that keeps all its rows is read beyond those of the samples left."""
    axis = batch.axes[index] or 0
    rows = torch.arange(batch.size, device=batch.leaves[index].device)
    leaves = list(batch.leaves)
    leaves[index] = leaves[index].index_select(axis, torch.where(rows < kept, rows, 0))
    other = attempt(batch.with_leaves(leaves).samples(range(kept), but=index).tree())
    return other is None or not alike(whole, other)


def followed_axis(full: Any, fewer: Any, by: int = 1) -> int | None:
    """Return the axis of a tensor that is shorter, by so many, when something was left out."""
    one, other = shape_of(full), shape_of(fewer)
    if one is None or other is None or len(one) != len(other):
        return None
    changed = [axis for axis, size in enumerate(one) if size != other[axis]]
    return changed[0] if len(changed) == 1 and one[changed[0]] == other[changed[0]] + by else None
