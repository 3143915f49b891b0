"""Runs of a model that returns a loss: what modules made, and the gradient of each."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import are_near
from rnnkit._diagnostics.measure.slopes import Gradients
from rnnkit._diagnostics.run.outputs import Leaves, is_number, tensors_of

#: How far a gradient may turn, 1 - |cos|, in float64: a mean, weights or a root turn it by 4e-16.
TURNED = 1e-10
#: How many times as far apart targets are put, to see whose they are.
SPREAD = 100
#: A gradient below this part of the largest has no direction, and a smaller change is none.
NOTHING = 1e-12


class Place(NamedTuple):
    """A tensor on the way to the loss: what made it, what it was, and its gradient."""

    name: str
    tensor: Tensor
    slope: Tensor


#: The tensors of a run, in the order of time; first the inputs.
Made = list[Place]


def run_loss(baseline: Baseline, batch: Batch, like: Made | None = None) -> Made:
    """Run on a batch with gradients; return inputs, and what modules returned, in order of time.

    Those have two axes or more, and each its gradient, zeros if none arrives. Empty if the run
    fails, or if they are not made by the same modules, in the same shapes, as those of the run
    ``like``.
    """
    run = Gradients(batch, baseline.session)
    found = [(label, x) for label, x in _named_parts(run) if x.dim() > 1 and x.requires_grad]
    slopes = run.slopes([x for _, x in found], run.output)
    made: Made = []
    for (label, x), slope in zip(found, slopes, strict=True):
        made.append(Place(label, x, torch.zeros_like(x) if slope is None else slope))
    is_other = like is not None and _shapes(made) != _shapes(like)
    return [] if is_other or run.error is not None else made


def _named_parts(run: Gradients) -> Iterator[tuple[str, Tensor]]:
    """Yield the inputs of a run and what its modules returned, each with a name for a message.

    ``run`` is one with gradients. A result has the name and the class of its module.
    """
    for source in chain.from_iterable(run.sources.values()):
        yield "the input", source
    for (name, _), result in run.returned.items():
        label = f"{name or 'the model'} ({type(run.model.get_submodule(name)).__name__})"
        for x in tensors_of(result):
            yield label, x


def _shapes(made: Made) -> list[tuple[str, torch.Size]]:
    """Return what made each tensor, and its shape."""
    return [(place.name, place.tensor.shape) for place in made]


def moved_rows(before: Tensor, after: Tensor, axis: int) -> list[int]:
    """Return which rows of a tensor, along ``axis``, differ in two runs."""
    rows = (before - after).detach().abs().movedim(axis, 0).flatten(1).amax(1)
    return (rows > NOTHING).nonzero().flatten().tolist()


def turned_rows(before: Tensor, after: Tensor, axis: int) -> list[int]:
    """Return which rows of a gradient, along ``axis``, have another direction in two runs.

    A row that is about zero in one of them has none.
    """
    size = max(float(before.abs().max()), float(after.abs().max()))
    # Relative to the largest number of both, as NOTHING is.
    one, other = (x.movedim(axis, 0).flatten(1) / size for x in (before, after))
    sizes = one.norm(dim=1), other.norm(dim=1)
    turn = 1 - (one * other).sum(1).abs() / (sizes[0] * sizes[1]).clamp(min=NOTHING**2)
    return [int(row) for row in ((turn > TURNED) & (torch.minimum(*sizes) > NOTHING)).nonzero()]


def turned_pair(slope: Tensor, others: Mapping[int, Place], axis: int) -> tuple[int, int] | None:
    """Return a changed sample, and another one whose gradient has another direction then; or None.

    ``slope`` has the samples along ``axis``, and ``others`` the same in the run for each changed
    sample.
    """
    for sample, other in others.items():
        turned = [row for row in turned_rows(slope, other.slope, axis) if row != sample]
        if turned:
            return sample, turned[0]
    return None


class Loss(NamedTuple):
    """What a model returns for some targets, and a gradient of it."""

    losses: Leaves
    slope: Tensor


def exchanged_targets(batch: Batch, targets: Sequence[int], kept: Sequence[int]) -> Batch:
    """Return a batch whose samples have the targets, inputs by index, of the samples ``kept``."""
    leaves = list(batch.leaves)
    of_kept = batch.samples(kept).leaves
    for target in targets:
        leaves[target] = of_kept[target]
    return batch.with_leaves(leaves)


def loss_with(baseline: Baseline, like: Made, start: int, batch: Batch) -> Loss | None:
    """Run on a batch with other targets, twice: the loss is judged as any output is.

    None if the model refuses, or makes other tensors than in the run ``like``. The gradient is that
    of its tensor ``start``.
    """
    losses = baseline.attempt(batch)
    made = run_loss(baseline, batch, like)
    if losses is None or not made:
        return None
    return Loss(losses, made[start].slope)


def spread_targets(batch: Batch, targets: Sequence[int]) -> Batch:
    """Return a batch with targets, by index, far apart, above and below all predictions.

    An absolute error of predictions that are all on one side of the targets is a difference of
    means, which no other order changes. Whole numbers stay: they may be classes.
    """
    leaves = list(batch.leaves)
    for k in targets:
        leaf = leaves[k]
        is_finite = is_number(leaf) and leaf.isfinite().all()
        if is_finite and not (leaf == leaf.round()).all():
            leaves[k] = leaf.mean() + SPREAD * (leaf - leaf.mean())
    return batch.with_leaves(leaves)


def slopes_without_order(
    baseline: Baseline, like: Made, start: int, targets: Sequence[int], as_it_is: Loss
) -> list[tuple[Tensor, Tensor]]:
    """Return gradients beside those of one target for all samples, if the order changes no loss.

    That is tried with the ``targets``, inputs by index, as they are and far apart; none are
    returned if it changes a loss. A loss that adds a term for each target has the same gradient if
    all samples get one target, and is right; that of a loss that broadcasts changes. ``as_it_is``
    is the loss of the inputs as they are. Nor are any if a run fails, or makes other tensors than
    the run ``like``; the gradient is that of its tensor ``start``.
    """
    found = []
    for batch in (baseline.batch, spread_targets(baseline.batch, targets)):
        is_as_it_is = batch is baseline.batch
        each = as_it_is if is_as_it_is else loss_with(baseline, like, start, batch)
        one = None if each is None else _of_one_target(baseline, like, start, batch, targets, each)
        if each is None or one is None:
            return []
        found.append((each.slope, one.slope))
    return found


def _of_one_target(
    baseline: Baseline,
    like: Made,
    start: int,
    batch: Batch,
    targets: Sequence[int],
    each: Loss,
) -> Loss | None:
    """Return the loss of a batch in which all samples have one of the ``targets``.

    ``each`` is that of the batch itself. None if another order of the targets changes it, or a run
    fails, or if the loss is the same with one target: then nothing reads them.
    """
    size = batch.size
    orders = [[*range(1, size), 0]]
    if size > 2:  # two groups whose members alternate stay the same groups in the first order
        orders.append([0, *range(2, size), 1])
    one: Loss | None = None
    for order in orders:
        moved = loss_with(baseline, like, start, exchanged_targets(batch, targets, order))
        if moved is None or not _are_near(baseline, each, moved):
            return None
        if one is None:
            same = exchanged_targets(batch, targets, [0] * size)
            one = loss_with(baseline, like, start, same)
        if one is None or _are_near(baseline, each, one):
            return None
    return one


def _are_near(baseline: Baseline, one: Loss, other: Loss) -> bool:
    """Return whether two losses, and their gradients, are the same up to rounding."""
    pairs = [(one.slope, other.slope), *zip(one.losses, other.losses, strict=True)]
    return all(are_near(baseline, *pair) for pair in pairs if is_number(pair[0]))


def first_by_sample(base: Made, runs: Mapping[int, Made], size: int) -> tuple[int, int] | None:
    """Return the first tensor that gets a gradient and follows the samples, and their axis in it.

    It is one of the inputs, or of what modules returned: its index in the run ``base``; ``runs``
    are those for each changed sample, and ``size`` is the number of samples. None if there is none.
    """
    for index, place in enumerate(base):
        if place.slope.any():
            others = {sample: run[index] for sample, run in runs.items()}
            axis = _batch_axis(place.tensor, others, size)
            if axis is not None:
                return index, axis
    return None


def _batch_axis(tensor: Tensor, others: Mapping[int, Place], size: int) -> int | None:
    """Return the axis of a tensor along which each sample's change moves its own row; or None.

    ``others`` has it in the run for each changed sample; ``size`` is the number of samples.
    """
    own = [[sample] for sample in others]  # the rows that may move, for each changed sample
    for axis, length in enumerate(tensor.shape):
        moved = [moved_rows(tensor, place.tensor, axis) for place in others.values()]
        if length == size and moved and moved == own:
            return axis
    return None
