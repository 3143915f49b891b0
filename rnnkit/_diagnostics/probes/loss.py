"""A model that returns only a loss: a sample may scale another one's gradient, and not turn it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from math import prod
from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.explain.causes import VIEW
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import other_leaves, sample_at
from rnnkit._diagnostics.inputs.lengths import is_binary
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import are_near
from rnnkit._diagnostics.measure.slopes import Gradients, gradients_of
from rnnkit._diagnostics.probes.loss_runs import (
    NOTHING,
    Made,
    first_by_sample,
    loss_with,
    moved_rows,
    run_loss,
    slopes_without_order,
    turned_pair,
    turned_rows,
)
from rnnkit._diagnostics.run.events import Event, Recorder
from rnnkit._diagnostics.run.isolation import SpentError
from rnnkit._diagnostics.run.outputs import difference, is_number, same, shape_of
from rnnkit._diagnostics.tell.outcome import RUNS, Finding, Outcome, Passed, Skipped
from rnnkit._diagnostics.tell.report import SAMPLES

#: So many inputs are exchanged each by itself.
MOST = 4
#: In so many runs one sample has a label of another one.
EXCHANGES = 12

#: What a loss of pairs that stand next to each other does on purpose.
ORDER = "the loss changes when samples change places, in all inputs together: intended?"


def judge_loss(baseline: Baseline) -> Outcome:
    """Judge a model that returns a loss: a change of a sample turns no other sample's gradient.

    Gradients are compared by their direction. A finding needs a module that mixes samples, or
    targets that are others'; a loss may compare samples, which is noted. ``baseline`` is the model,
    a batch, and what it returned.

    First a tensor is sought that follows the samples, then each sample is changed, then each label,
    and last the samples get each other's targets.
    """
    if baseline.doubt:
        return Skipped(baseline.doubt)
    batch = baseline.batch
    base = run_loss(baseline, batch)
    if not any(place.slope.any() for place in base):
        reason = "a loss without a gradient: it is constant, or writes into its inputs, or takes"
        fix = "let forward take F.one_hot(x, n).float()"
        return Skipped(f"{reason} neither floats nor what an Embedding reads: {fix}")
    labels = _labels(batch, gradients_of(baseline))
    runs = _with_other_samples(baseline, base, labels)
    followed = first_by_sample(base, runs, batch.size)
    if followed is None:
        return Skipped("a loss, and no module follows the samples: verify what returns the scores")
    start, axis = followed
    place = base[start]
    others = {sample: run[start] for sample, run in runs.items()}
    has_order = _has_order(baseline)
    # Noise stays in its place, whichever sample is there.
    is_noisy = baseline.session.drawn and not baseline.has_passed("repeatable")
    notes = [ORDER] if has_order and not is_noisy else []
    turned = turned_pair(place.slope, others, axis)
    if turned is not None:
        return _judge_turned(baseline, base, runs, turned).noting(notes)
    # Without an order, each sample may be compared with the items of all, which no lengths or mask
    # are.
    items = [
        k
        for k in labels
        if has_order is False
        if not batch.tells_lengths(k) and not is_binary(batch.leaves[k])
    ]
    of_masks = _of_labels(baseline, base, {*labels} - {*items}, start, axis)
    of_items = map(_as_note, _of_labels(baseline, base, items, start, axis))
    exchanges = chain(of_masks, of_items, _broadcast(baseline, base, start))
    return _outcome_of_exchanges(exchanges, notes, len(runs), batch.whole_size)


def _outcome_of_exchanges(
    exchanges: Iterator[Finding | str], notes: list[str], tried: int, size: int
) -> Outcome:
    """Return the first finding of exchanged labels and targets, which are tried one by one.

    Without a finding, the gradients of a loss passed, after ``tried`` of ``size`` samples were
    changed; the answer is a skip if the runs are spent before. The exchanges add to ``notes``.
    """
    try:
        for found in exchanges:
            if isinstance(found, Finding):
                return found.noting(notes)
            notes.append(found)
    except SpentError:
        what = "batch was checked without exchanging all labels and targets"
        return Skipped(f"{what}: verify stops after {RUNS} runs", "partial", notes=notes)
    text = "a loss: the direction of each sample's gradient is independent of the others"
    return Passed(f"{text} ({tried} of {size} tried)", [], notes=notes)


def _as_note(found: Finding | str) -> str:
    """Return a finding of a label as a note; a note stays as it is."""
    return found if isinstance(found, str) else f"{found.what}: each may be compared with all"


def _has_order(baseline: Baseline) -> bool | None:
    """Return whether the loss is another one if two samples of all inputs change places.

    A mean over the samples is the same, and so is a loss that compares each with all others. None
    if the model refuses that, or if a batch of two has no other order.
    """
    batch = baseline.batch
    swapped = batch.samples([1, 0, *range(2, batch.size)])
    losses = baseline.attempt(swapped) if batch.size > 2 else None
    if losses is None:
        return None
    pairs = zip(baseline.normal, losses, strict=True)
    return not all(are_near(baseline, *pair) for pair in pairs if is_number(pair[0]))


def _labels(batch: Batch, gradients: Gradients) -> list[int]:
    """Return the inputs, by index, that no gradient follows: labels, masks or flags of the samples.

    ``gradients`` are of a run. It follows floats, and the tokens that an Embedding is given
    unchanged. The first input is data in any case.
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
    calls = _function_calls(baseline, turned)
    for event, *others in calls:
        if event.name in ("view", "reshape") and _view_mixes(event, others, batch.size):
            where = batch.without_size(event.text)
            return Finding(what, [("where", where), ("at", event.place)], fix=VIEW)
    note = f"{what}: the loss compares samples{_mixing_function(calls)}"
    return Passed("a loss that compares samples; no module mixes them", [], notes=[note])


def _function_calls(baseline: Baseline, turned: Sequence[int]) -> list[tuple[Event, ...]]:
    """Return the calls of functions in a run, each with the same call in two other runs.

    Each of these has one of the samples ``turned`` changed.
    """
    batch = baseline.batch
    changed = [other_leaves(batch, sample_at(sample), pad=False) for sample in turned]
    runs: list[list[Event]] = []
    for leaves in (batch.leaves, *changed):
        recorder = Recorder(functions=True)
        baseline.session.attempt(batch.tree(leaves), watch=recorder.watch)
        runs.append(recorder.events)
    return [calls for calls in zip(*runs, strict=False) if calls[0].kind == "function"]


def _view_mixes(view: Event, others: Sequence[Event], size: int) -> bool:
    """Return whether a view puts a sample's numbers in several rows, which were in one before.

    ``others`` are the same call in two other runs; each has one of the ``size`` samples changed.
    """
    given = view.function.args[0]
    if size not in given.shape or not is_number(given):
        return False
    moves = [(other.function.args[0], other.tensors[0]) for other in others]
    if any(shape_of(before) != shape_of(given) for before, _ in moves):
        return False
    return any(
        _is_mixed(view.tensors[0], after, size) and not _is_mixed(given, before, size)
        for before, after in moves
    )


def _mixing_function(calls: Sequence[tuple[Event, ...]]) -> str:
    """Return the first function whose whole result moves with each of two samples.

    It is in words, empty if there is none; ``calls`` are the functions of a run, each with the same
    in two other runs. Scores of all pairs move in one row and column only.
    """
    for event, *others in calls:
        if all(_moves_wholly(event, other) for other in others):
            return f", first by {event.text} at {event.place}"
    return ""


def _moves_wholly(event: Event, other: Event) -> bool:
    """Return whether a function's result has several numbers, and each differs in another run."""
    for one, two in zip(event.tensors, other.tensors, strict=False):
        if is_number(one) and one.numel() > 1 and shape_of(one) == shape_of(two):
            return bool((difference(one, two) > NOTHING).all())
    return False


def _with_other_samples(baseline: Baseline, base: Made, labels: Collection[int]) -> dict[int, Made]:
    """Run with other values of some samples; return the runs like ``base``, the one as it is.

    They are by sample; one is like it if the same modules return tensors of the same shapes.
    ``labels`` are inputs that stay, by index.
    """
    batch = baseline.batch
    runs = {}
    for sample in range(batch.size)[:SAMPLES]:
        leaves = other_leaves(batch, sample_at(sample), pad=False)
        for index in labels:
            leaves[index] = batch.leaves[index]
        made = run_loss(baseline, batch.with_leaves(leaves), base)
        if made:
            runs[sample] = made
    return runs


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
    return bool(axes) and all(len(moved_rows(before, after, axis)) > 1 for axis in axes)


def _of_labels(
    baseline: Baseline, base: Made, labels: Collection[int], start: int, axis: int
) -> Iterator[Finding | str]:
    """Yield a finding of a label, mask or flag that redirects the gradient of another sample.

    ``base`` is the run as it is; its tensor ``start`` has the samples along ``axis``. ``labels``
    are inputs, by index: one sample at a time gets that of the one before it, in so many runs that
    all labels take EXCHANGES at most. If nothing shows whose a label is, that is a note.
    """
    batch = baseline.batch
    most = max(1, EXCHANGES // max(1, len(labels)))
    for index in labels:
        name = batch.names[index]
        label = batch.leaves[index]
        other = label.roll(1, batch.axes[index] or 0)
        if same(other, label):
            yield f"{name} is equal in all samples: nothing shows whose it is"
            continue
        has_run = False
        for sample in range(batch.size)[:most]:
            is_own: Any = sample_at(sample)(batch, index)
            made = run_loss(
                baseline, batch.with_leaf(index, torch.where(is_own, other, label)), base
            )
            if not made:
                continue
            has_run = True
            if turned_rows(base[start].slope, made[start].slope, axis) not in ([], [sample]):
                what = f"{name} of one sample is used for another sample's loss"
                ways = "y.t().reshape(-1), if logits are (seq, batch, ...)"
                fix = f"sort, flip, flatten or sum inputs and targets alike: {ways}"
                yield Finding(what, fix=fix)
        if not has_run:
            when = f"with {name} of another sample the model fails or runs differently"
            yield f"{when}: nothing shows whose it is"


def _broadcast(baseline: Baseline, like: Made, start: int) -> Iterator[Finding | str]:
    """Yield a finding if each prediction meets all targets: their order then changes nothing.

    All inputs but the first are exchanged together, and then each by itself. ``like`` is the run as
    it is, and ``start`` its first tensor with a gradient, by which runs are compared. Notes say of
    which inputs that may be meant.
    """
    batch = baseline.batch
    targets = [k for k in batch.indices if k != batch.first and batch.axes[k] is not None]
    as_it_is = loss_with(baseline, like, start, batch)
    if not targets or as_it_is is None:
        return
    singly = [[target] for target in targets[:MOST]] if len(targets) > 1 else []
    for exchanged in (targets, *singly):
        pairs = slopes_without_order(baseline, like, start, exchanged, as_it_is)
        if pairs:
            yield from _met_by_all(baseline, exchanged, pairs)


def _met_by_all(
    baseline: Baseline, targets: Sequence[int], pairs: Sequence[tuple[Tensor, Tensor]]
) -> Iterator[Finding | str]:
    """Yield what it means if the order of some targets, inputs by index, changes no loss.

    ``pairs`` are gradients with all targets, each beside that with one target for all samples. It
    is a note if rows of an input may be meant for all samples, and of what only scales the whole
    gradient, as a normalizer does; nothing if the gradient is the same.
    """
    batch = baseline.batch
    leaf = batch.leaves[targets[0]]
    name = "the target" if len(targets) > 1 else batch.names[targets[0]]
    both = "do (batch,) and (batch, 1) broadcast?"
    turning = [pair for pair in pairs if all(slope.any() for slope in pair)]
    if not all(are_near(baseline, *map(_scaled, pair)) for pair in turning):
        what = f"the loss stays the same when each sample gets {name} of another one"
        is_set = len(targets) == 1 and prod(shape_of(leaf) or ()) != batch.size
        if is_set or batch.size < 3:  # two samples have too few orders to tell
            yield f"{what}: is it meant for all samples, or {both}"
        else:
            yield Finding(what, fix=_fix_of_shapes(leaf))
    elif is_number(leaf) and not all(are_near(baseline, *pair) for pair in pairs):
        yield f"{name} only scales the loss, by all samples at once: a normalizer, or {both}"


def _fix_of_shapes(target: Any) -> str:
    """Return how to give a target, and the prediction that it broadcasts against, one shape."""
    ways = "prediction.squeeze(-1), or target.unsqueeze(-1)"
    if (shape_of(target) or ())[1:] == (1,):
        ways = "target.squeeze(-1), or prediction.unsqueeze(-1)"
    return f"{ways}: (batch,) broadcasts against (batch, 1)"


def _scaled(slope: Tensor) -> Tensor:
    """Return a gradient without its size and sign: its largest number becomes 1."""
    return slope / slope.flatten()[slope.abs().argmax()]
