"""Which axes are batch and seq, where sizes do not tell: those that follow what is left out."""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.run.outputs import (
    JoinedAxes,
    Leaves,
    in_float64,
    is_number,
    shape_of,
)
from rnnkit._diagnostics.tell.report import TRIES

#: Runs the model on a batch; None if it refuses that.
Attempt = Callable[[Batch], Leaves | None]

#: The axes that may be the batch of an input, by its index; None if all samples share it.
Choices = dict[int, list[int | None]]


def with_inferred_axes(batch: Batch, attempt: Attempt) -> Batch:
    """Find out which axis of each input, after the first, has the samples, by trying the model.

    ``attempt(batch)`` runs the model and returns the leaves of its output, or None if it refuses.
    Sizes leave a choice where an input has two axes as long as the batch, or is as long by chance:
    the first choice with which the model takes two samples counts. Returns the same batch with the
    axes that were found.
    """
    found = _with_batch_axes(batch, attempt)
    each = zip(batch.names, batch.axes, found.axes, strict=True)
    shared = [name for name, one, other in each if one is not None and other is None]
    return replace(found, shared=shared)


def _with_batch_axes(batch: Batch, attempt: Attempt) -> Batch:
    """Try the choices of axes that sizes leave, see :func:`with_inferred_axes`."""
    choices = _axis_choices(batch)
    if not choices:
        return batch
    # With one sample, what has many may be joined by broadcasting: of two, three are made.
    kept = [0, 1] if batch.size > 2 else [0, 1, 1]
    ways = _ways_to_choose(batch, choices) if batch.size > 1 else iter(())
    for way in itertools.islice(ways, TRIES):
        tried = batch.with_axes(way)
        fewer = attempt(tried.samples(kept))
        if fewer is not None:
            return _with_shared_inputs(tried, attempt, choices, fewer, kept)
    # The model takes no other batch: what may be laid out either way is left as it is.
    return batch.with_axes({k: None for k, axes in choices.items() if len({*axes} - {None}) > 1})


def _ways_to_choose(batch: Batch, choices: Choices) -> Iterator[dict[int, int | None]]:
    """Yield ways to choose an axis for each leaf: first the same one for leaves of one shape.

    They have to be of one input, such as the states of all layers.
    """
    families: dict[int, tuple[str, Any]] = {}
    for index in choices:
        name = re.match(r"input\[\d+\]|\w+", batch.names[index])
        families[index] = name[0] if name else "", batch.leaves[index].shape
    by_family = {families[index]: axes for index, axes in choices.items()}
    for way in itertools.product(*by_family.values()):
        chosen = dict(zip(by_family, way, strict=True))
        yield {index: chosen[family] for index, family in families.items()}
    if len(by_family) < len(choices):
        for way in itertools.product(*choices.values()):
            yield dict(zip(choices, way, strict=True))


def _axis_choices(batch: Batch) -> Choices:
    """Return for each leaf, by its index, which axes may be its batch.

    Those are all that are as long as the batch, the usual one first, and then None. Leaves that
    cannot have samples have no entry. None is no choice for flags ``(batch, steps)``: no chance
    gives a table both sizes.
    """
    choices: Choices = {}
    for index, (leaf, at) in enumerate(zip(batch.leaves, batch.axes, strict=True)):
        if at is None or not isinstance(leaf, Tensor) or index == batch.first:
            continue
        others = [k for k, length in enumerate(leaf.shape) if length == batch.size and k != at]
        is_of_steps = leaf.dim() == 2 and batch.may_have_steps(index)
        are_flags = is_of_steps and batch.steps != batch.size
        choices[index] = [at, *others] if are_flags else [at, *others, None]
    return choices


def _with_shared_inputs(
    batch: Batch, attempt: Attempt, choices: Choices, fewer: Leaves, kept: list[int]
) -> Batch:
    """Find inputs that have as many rows as the batch by chance, such as prototypes.

    ``attempt(batch)`` runs the model, and ``fewer`` is its output for the samples ``kept``. If its
    first tensor differs from the same rows of the full output, each input of ``choices``, by index,
    is passed with all its rows beside these samples: if the two agree then, all samples share it.
    Returns the batch, in which such inputs have no batch axis.
    """
    # Of data, and not as long as the sequence too: no chance gives a table both sizes.
    tried = [k for k in choices if batch.is_content(k) and not batch.may_have_steps(k)]
    if not tried or batch.size <= 2:
        return batch
    full = attempt(batch)
    # equal_rows has an entry for each output with samples: the first one has to be true.
    if not full or True in _equal_rows(full, fewer, kept)[:1]:
        return batch
    for index in tried:
        shared = batch.with_axes({index: None})
        whole = attempt(shared.samples(kept)) or []
        if True in _equal_rows(full, whole, kept)[:1]:
            batch = shared
    return batch


def _equal_rows(full: Leaves, part: Leaves, samples: Sequence[int]) -> list[bool]:
    """Return for each output with samples whether they are the same in the run of a part.

    ``full`` has the outputs for the batch, and ``part`` those for ``samples`` of it. Outputs of
    other sizes have no entry.
    """
    are_equal = []
    for before, after in zip(full, part, strict=False):
        axis, by = shortened_axis(before, after)
        if axis is not None and by == before.shape[axis] - len(samples) and is_number(before):
            rows = before.index_select(axis, torch.tensor(samples, device=before.device))
            are_equal.append(torch.allclose(rows, after, 1e-3, 1e-5))
    return are_equal


def find_joined_axes(
    full: Leaves, fewer: Leaves, batch: Batch, left_out: int
) -> dict[int, JoinedAxes]:
    """Find outputs in which samples and steps are one axis ``(batch * seq, ...)``, and their order.

    ``full`` and ``fewer`` are the leaves of the output for all samples, and without the sample
    ``left_out``: a joined axis is shorter by several rows. In the right order, no row of another
    sample differs then, unless samples mix; rows in an order of their own are left as they are. The
    result is by the index of the output.
    """
    found = dict[int, JoinedAxes]()
    for k, (before, after) in enumerate(zip(full, fewer, strict=True)):
        axis, by = shortened_axis(before, after)
        if axis is None or by < 2 or before.shape[axis] != batch.size * by:
            continue
        has_batch_first = batch.batch_dim == 0
        ways = (JoinedAxes(axis, has_batch_first), JoinedAxes(axis, not has_batch_first))
        off = {way: _rows_apart(before, after, left_out, batch.size, way) for way in ways}
        best = min(ways, key=off.__getitem__)
        if off[best] == 0 or not are_same_rows(before, after, axis):
            found[k] = best
    return found


def _rows_apart(before: Tensor, after: Tensor, left_out: int, size: int, way: JoinedAxes) -> int:
    """Return how many numbers differ without the sample ``left_out``, if a joined axis is split.

    ``before`` is an output for ``size`` samples, ``after`` without that one, and ``way`` says in
    which order the axis has them.
    """
    rest = [sample for sample in range(size) if sample != left_out]
    axis = way.axis if way.has_batch_first else way.axis + 1
    kept = way.split(before, size).index_select(axis, torch.tensor(rest, device=before.device))
    return int((~torch.isclose(kept, way.split(after, size - 1), 1e-3, 1e-5)).sum())


def are_same_rows(before: Tensor, after: Tensor, axis: int) -> bool:
    """Return whether each row of ``after`` is one of ``before``, as large as it, at any place."""
    rows = (in_float64(x).movedim(axis, 0).unsqueeze(-1).flatten(1) for x in (before, after))
    one, other = (x.norm(dim=1) for x in rows)
    return bool(torch.isclose(other.unsqueeze(1), one, 1e-4).any(1).all())


def infer_steps(
    batch: Batch, attempt: Attempt, tries: Iterator[int]
) -> tuple[Batch, Leaves] | None:
    """Find which inputs have to be cut with the sequence.

    ``attempt(batch)`` runs the model, and returns None if it refuses; ``tries`` says how often it
    may still be asked. Returns the batch, in which inputs that are as long as the sequence by
    chance have steps of their own, and the output for one step less; None if the model takes no
    other number of steps.
    """
    steps = batch.longest
    if steps < 2 or not batch.may_have_steps(batch.sequence):
        return None
    others = [k for k in batch.indices if k != batch.sequence and batch.may_have_steps(k)]
    # What is as long by chance must not: a second sequence of the same width, or features.
    subsets = (s for n in range(len(others) + 1) for s in itertools.combinations(others, n))
    # The last way is that all of them do.
    ways = dict.fromkeys([*itertools.islice(subsets, TRIES - 1), tuple(others)])
    for _, following in zip(tries, ways, strict=False):
        # Flags say something of each step, and are cut with the steps.
        own = {batch.sequence: frozenset(others) - {*following, batch.flags}}
        tried = replace(batch, on_their_own={**batch.on_their_own, **own})
        output = attempt(tried.cut(steps - 1, front=True))
        if output is not None:
            return tried, output
    return None


def shrinks_on_two_axes(full: Leaves, fewer: Leaves) -> bool:
    """Return whether some tensor has another size on two axes when a sample was left out.

    ``full`` and ``fewer`` are the leaves of the output for all samples, and without one. The second
    axis has the steps, if the longest sample was left out.
    """
    pairs = zip(full, fewer, strict=False)
    return any(len(_other_sizes(one, other)) > 1 for one, other in pairs)


def shortened_axis(full: Any, fewer: Any) -> tuple[int | None, int]:
    """Return which axis of a tensor is shorter when something was left out, and by how much.

    (None, 0) if no axis is, or several are.
    """
    changed = _other_sizes(full, fewer)
    if len(changed) != 1:
        return None, 0
    [axis] = changed
    return axis, full.shape[axis] - fewer.shape[axis]


def _other_sizes(one: Any, other: Any) -> list[int]:
    """Return the axes along which two tensors have different sizes; none of other values."""
    before = shape_of(one) or ()
    after = shape_of(other) or ()
    if len(before) != len(after):
        return []
    return [axis for axis, size in enumerate(before) if size != after[axis]]
