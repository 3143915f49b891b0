"""A model that returns only a loss: a sample may scale another one's gradient, and not turn it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import other_leaves, sample_at
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import are_near
from rnnkit._diagnostics.measure.judge import judge_of
from rnnkit._diagnostics.measure.slopes import Gradients, gradients_of
from rnnkit._diagnostics.run.events import Event, Recorder
from rnnkit._diagnostics.run.outputs import (
    Leaves,
    difference,
    is_number,
    largest,
    same,
    shape_of,
    tensors_of,
)
from rnnkit._diagnostics.tell.outcome import Finding, Outcome, Passed, Skipped

#: How far a gradient may turn, 1 - |cos|, in float64: a mean, weights or a root turn it by 4e-16.
TURNED = 1e-6
#: A gradient below this part of the largest has no direction, and a smaller change is none.
NOTHING = 1e-12
#: How many times as far apart targets are put, to see whose they are.
SPREAD = 100


class Place(NamedTuple):
    """A tensor on the way to the loss: what made it, what it was, and its gradient."""

    name: str
    tensor: Tensor
    slope: Tensor


#: The tensors of a run, in the order of time; first the inputs.
Made = list[Place]


def judge_loss(narrow: Baseline) -> Outcome:
    """Judge a model that returns a loss: a change of a sample turns no other sample's gradient.

    Gradients are compared by their direction, and all runs are the judge's: the model in float64. A
    finding needs a module that mixes samples, or targets that are others'; a loss may compare
    samples, which is noted. ``narrow`` is the model, a batch, and what it returned, in its own
    dtype.
    """
    baseline = judge_of(narrow)
    if isinstance(baseline, Skipped):
        return baseline
    batch = baseline.batch
    base = _run(baseline, batch.leaves)
    # The first tensor, of the inputs and then of what modules returned, that gets a gradient.
    start = next((k for k, place in enumerate(base) if bool(place.slope.any())), None)
    if start is None:
        reason = "a loss without a gradient: pass inputs with fractions, or tokens"
        return Skipped(f"{reason} and their Embedding")
    labels = _labels(batch, gradients_of(narrow))
    runs = _with_other_samples(baseline, base, labels)
    place = base[start]
    others = {sample: run[start] for sample, run in runs.items()}
    axis = _batch_axis(place.tensor, others, batch.size)
    if axis is None:
        return Skipped("a loss, and no module follows the samples: verify what returns the scores")
    for sample, other in others.items():
        turned = [row for row in _turned(place.slope, other.slope, axis) if row != sample]
        if turned:
            return _judge_turned(baseline, base, runs, (sample, turned[0]))
    notes: list[str] = []
    of_labels = _of_labels(baseline, base, labels, start, axis)
    for found in chain(of_labels, _broadcast(baseline, base, start)):
        if isinstance(found, Finding):
            return found.noting(notes)
        notes.append(found)
    text = "a loss: each sample's gradient is independent of the others"
    return Passed(text, [], notes=notes)


def _labels(batch: Batch, gradients: Gradients) -> list[int]:
    """Return the inputs, by index, that are no data: labels, masks or flags of the samples.

    ``gradients`` are of a run, which follows numbers, and tokens that an Embedding is given as they
    are. The first input is data.
    """
    return [
        index
        for index, leaf in enumerate(batch.leaves)
        if index != batch.first and index not in gradients.sources
        if batch.axes[index] is not None and isinstance(leaf, Tensor)
    ]


def _judge_turned(
    baseline: Baseline, base: Made, runs: Mapping[int, Made], turned: tuple[int, int]
) -> Outcome:
    """Return that a sample changes the gradient of another; a finding if a module mixes them.

    ``base`` is the run as it is, and ``runs`` are those with another sample, by its number;
    ``turned`` has the changed sample and the other one.
    """
    batch = baseline.batch
    one, other = (batch.caller_indices[sample] for sample in turned)
    what = f"the loss's gradient for sample {other} changes direction when sample {one} changes"
    found = _mixing_module(base, runs, batch.size, what)
    if found is not None:
        return found
    first = _mixing_function(baseline, turned)
    note = f"{what}: the loss compares samples{first}"
    return Passed("a loss that compares samples; no module mixes them", [], notes=[note])


def _mixing_function(baseline: Baseline, turned: Sequence[int]) -> str:
    """Return the first function whose whole result moves with each of two samples.

    It is in words, empty if there is none. Scores of all pairs move in one row and column only.
    """
    batch = baseline.batch
    changed = [other_leaves(batch, sample_at(sample), pad=False) for sample in turned]
    runs: list[list[Event]] = []
    for leaves in (batch.leaves, *changed):
        recorder = Recorder(functions=True)
        baseline.session.attempt(batch.tree(leaves), watch=recorder.watch)
        runs.append(recorder.events)
    for event, *others in zip(*runs, strict=False):
        if event.kind == "function" and all(_moves_wholly(event, other) for other in others):
            return f", first by {event.text} at {event.place}"
    return ""


def _moves_wholly(event: Event, other: Event) -> bool:
    """Return whether a function's result has several numbers, and each differs in another run."""
    for one, two in zip(event.tensors, other.tensors, strict=False):
        if is_number(one) and one.numel() > 1 and shape_of(one) == shape_of(two):
            return bool((difference(one, two) > NOTHING).all())
    return False


def _with_other_samples(baseline: Baseline, base: Made, labels: Collection[int]) -> dict[int, Made]:
    """Run with other values of each sample; return the runs like ``base``, the one as it is.

    They are by sample; one is like it if the same modules return tensors of the same shapes.
    ``labels`` are inputs that stay, by index.
    """
    batch = baseline.batch
    runs: dict[int, Made] = {}
    for sample in range(batch.size):
        leaves = other_leaves(batch, sample_at(sample), pad=False)
        for index in labels:
            leaves[index] = batch.leaves[index]
        made = _run(baseline, leaves, base)
        if made:
            runs[sample] = made
    return runs


def _batch_axis(tensor: Tensor, others: Mapping[int, Place], size: int) -> int | None:
    """Return the axis of a tensor along which each sample's change moves its own row; or None.

    ``others`` has it in the run for each changed sample; ``size`` is the number of samples.
    """
    own = [[sample] for sample in others]  # the rows that may move, for each changed sample
    for axis, length in enumerate(tensor.shape):
        moved = [_moved(tensor, place.tensor, axis) for place in others.values()]
        if length == size and moved and moved == own:
            return axis
    return None


def _mixing_module(base: Made, runs: Mapping[int, Made], size: int, what: str) -> Finding | None:
    """Return a finding of the first module in whose output one sample's change moves several rows.

    ``base`` is the run as it is, ``runs`` those for each changed sample, ``size`` the number of
    samples; ``what`` is its sentence. None if no module mixes samples.
    """
    for at, place in enumerate(base):
        if any(_is_mixed(place.tensor, run[at].tensor, size) for run in runs.values()):
            means = "samples are mixed there, unless the loss compares them, as InfoNCE does"
            rows = [("where", f"output of {place.name}"), ("means", means)]
            return Finding(what, rows, place.name.partition(" (")[0])
    return None


def _is_mixed(before: Tensor, after: Tensor, size: int) -> bool:
    """Return whether several rows moved, along each axis that is as long as there are samples."""
    axes = [axis for axis, length in enumerate(before.shape) if length == size]
    return bool(axes) and all(len(_moved(before, after, axis)) > 1 for axis in axes)


def _of_labels(
    baseline: Baseline, base: Made, labels: Collection[int], start: int, axis: int
) -> Iterator[Finding | str]:
    """Yield a finding of a label, mask or flag that redirects the gradient of another sample.

    ``base`` is the run as it is; its tensor ``start`` has the samples along ``axis``. ``labels``
    are inputs, by index: one sample at a time gets that of the one before it. If nothing shows
    whose a label is, that is a note.
    """
    batch = baseline.batch
    for index in labels:
        name = batch.names[index]
        label = batch.leaves[index]
        other = label.roll(1, batch.axes[index] or 0)
        if same(other, label):
            yield f"{name} is equal in all samples: nothing shows whose it is"
            continue
        has_run = False
        for sample in range(batch.size):
            is_own: Any = sample_at(sample)(batch, index)
            leaves = list(batch.leaves)
            leaves[index] = torch.where(is_own, other, label)
            made = _run(baseline, leaves, base)
            if not made:
                continue
            has_run = True
            if _turned(base[start].slope, made[start].slope, axis) not in ([], [sample]):
                what = f"{name} of one sample is used for another sample's loss"
                ways = "y.t().reshape(-1), if logits are (seq, batch, ...)"
                fix = f"sort, flip or flatten inputs and targets alike: {ways}"
                yield Finding(what, [("fix", fix)])
        if not has_run:
            when = f"with {name} of another sample the model fails or runs differently"
            yield f"{when}: nothing shows whose it is"


def _broadcast(baseline: Baseline, like: Made, start: int) -> Iterator[Finding]:
    """Yield a finding if each prediction meets all targets: their order then changes nothing.

    A loss that adds a term for each target has the same gradient if all samples get one target, and
    is right; that of a loss that broadcasts changes. Nothing if targets matter, or a run fails.
    ``like`` is the run as it is, and ``start`` its first tensor with a gradient: nothing is tried
    unless that is the first input, 0.
    """
    if start != 0:
        return
    size = baseline.batch.size
    ignores_which_target: list[bool] = []
    for leaves in (baseline.batch.leaves, _spread_targets(baseline.batch)):
        batch = baseline.batch.with_leaves(leaves)
        each = _with_targets(baseline, like, batch, range(size))
        moved = _with_targets(baseline, like, batch, [*range(1, size), 0])
        one = _with_targets(baseline, like, batch, [0] * size)
        if each is None or moved is None or one is None:
            return
        pairs = [(each.slope, moved.slope), *zip(each.losses, moved.losses, strict=True)]
        if not all(are_near(baseline, *pair) for pair in pairs if is_number(pair[0])):
            return
        ignores_which_target.append(are_near(baseline, each.slope, one.slope))
    if all(ignores_which_target):
        return
    what = "the loss stays the same when each sample gets the target of another one"
    ways = "prediction.squeeze(-1), or target.unsqueeze(-1)"
    yield Finding(what, [("fix", f"{ways}: (batch,) broadcasts against (batch, 1)")])


class _Loss(NamedTuple):
    """What a model returns for some targets, and its gradient in the first input, by its size."""

    losses: Leaves
    slope: Tensor


def _with_targets(
    baseline: Baseline, like: Made, batch: Batch, kept: Sequence[int]
) -> _Loss | None:
    """Run with the targets of the samples ``kept``, twice: the loss is judged as any output is.

    None if the model refuses, or makes other tensors than in the run ``like``.
    """
    leaves = [*batch.samples(kept).leaves]
    leaves[batch.first] = batch.leaves[batch.first]
    moved = batch.with_leaves(leaves)
    losses = baseline.attempt(moved)
    made = _run(baseline, moved.leaves, like)
    if losses is None or not made:
        return None
    slope = made[0].slope
    return _Loss(losses, slope / largest(slope))


def _spread_targets(batch: Batch) -> list[Any]:
    """Return the inputs with targets far apart, above and below all predictions.

    An absolute error of predictions that are all on one side of the targets is a difference of
    means, which no other order changes. Whole numbers stay: they may be classes.
    """
    leaves = list(batch.leaves)
    for k, leaf in enumerate(leaves):
        is_target = k != batch.first and batch.axes[k] is not None and is_number(leaf)
        if is_target and leaf.isfinite().all() and not bool((leaf == leaf.round()).all()):
            leaves[k] = leaf.mean() + SPREAD * (leaf - leaf.mean())
    return leaves


def _run(baseline: Baseline, leaves: Sequence[Any], like: Made | None = None) -> Made:
    """Run with gradients; return the inputs, and what modules returned, in order of time.

    Those have two axes or more, and each its gradient, zeros if none arrives. Empty if the run
    fails, or if they are not made by the same modules, in the same shapes, as those of the run
    ``like``.
    """
    run = Gradients(baseline.batch.with_leaves([*leaves]), baseline.session)
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
    for source in run.sources.values():
        yield "the input", source
    for (name, _), result in run.returned.items():
        label = f"{name or 'the model'} ({type(run.model.get_submodule(name)).__name__})"
        for x in tensors_of(result):
            yield label, x


def _shapes(made: Made) -> list[tuple[str, torch.Size]]:
    """Return what made each tensor, and its shape."""
    return [(place.name, place.tensor.shape) for place in made]


def _moved(before: Tensor, after: Tensor, axis: int) -> list[int]:
    """Return which rows of a tensor, along ``axis``, differ in two runs."""
    rows = (before - after).detach().abs().movedim(axis, 0).flatten(1).amax(1)
    return (rows > NOTHING).nonzero().flatten().tolist()


def _turned(before: Tensor, after: Tensor, axis: int) -> list[int]:
    """Return which rows of a gradient, along ``axis``, have another direction in two runs.

    A row that is about zero in one of them has none.
    """
    size = max(float(before.abs().max()), float(after.abs().max()))
    # Relative to the largest number of both, as NOTHING is.
    one, other = (x.movedim(axis, 0).flatten(1) / size for x in (before, after))
    sizes = one.norm(dim=1), other.norm(dim=1)
    turn = 1 - (one * other).sum(1).abs() / (sizes[0] * sizes[1]).clamp(min=NOTHING**2)
    return [int(row) for row in ((turn > TURNED) & (torch.minimum(*sizes) > NOTHING)).nonzero()]
