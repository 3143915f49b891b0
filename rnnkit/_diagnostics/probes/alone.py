"""The probe *alone*: a sample by itself, and the samples in a different order."""

from collections.abc import Iterator, Sequence
from functools import partial

from rnnkit._diagnostics.explain.locate import locate_valid
from rnnkit._diagnostics.explain.squeezes import rows_of_squeezes
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import Part, Restriction
from rnnkit._diagnostics.measure.unfollowed import why_one_sample, why_unfollowed
from rnnkit._diagnostics.probes.calls import events_with
from rnnkit._diagnostics.probes.coverage import moved_samples
from rnnkit._diagnostics.run.outputs import equal, is_number, shape_of
from rnnkit._diagnostics.tell.outcome import Finding, Outcome, Passed, Skipped
from rnnkit._diagnostics.tell.report import ALONE, joined_by_and


def probe_alone(baseline: Baseline) -> Outcome:
    """A sample run alone, cut to its length, returns what it returned in the batch.

    Then the samples run in different orders, if their lengths differ. ``baseline`` is the model, a
    batch, and what it returned for that.
    """
    unasked = _why_unasked(baseline)
    if unasked is not None:
        return unasked
    runs: list[Restriction] = []
    notes: list[str] = []
    gaps: list[Skipped] = []
    for run in _of_single_samples(baseline):
        for found in _judge(run):
            if isinstance(found, Finding):
                return found.noting(notes)
            if isinstance(found, str):
                notes.append(found)
            else:
                gaps.append(found)  # another sample may show a mistake
        runs.append(run)
    if gaps:
        return gaps[0].noting(notes)
    if not any(run.compared for run in runs):
        return Skipped("run on one sample, the outputs have other shapes, or are integers")
    return _judge_orders(baseline, runs).noting(notes)


def _judge_orders(baseline: Baseline, alone: Sequence[Restriction]) -> Finding | Passed:
    """Run the samples in other orders; what they return stays the same, as in the runs ``alone``.

    ``baseline`` is the model, a batch, and what it returned for that.
    """
    runs = [*alone]
    for ordered in _in_other_orders(baseline):
        if isinstance(ordered, Finding):
            return ordered
        runs.append(ordered)
    cut = ", cut to its length," if baseline.batch.counts else ""
    tried = sum(bool(run.compared) for run in alone)
    size = baseline.batch.whole_size
    text = f"a sample by itself{cut} returns what it returns in the batch ({tried} of {size} tried)"
    uncut = baseline.batch.uncut if cut else []
    if uncut:
        text += f", without cutting {joined_by_and(uncut)}"
    return Passed(text, runs)


def _why_unasked(baseline: Baseline) -> Skipped | None:
    """Return why no sample can be compared with itself in the batch; None if one can.

    ``baseline`` is the model, a batch, and what it returned for that.
    """
    batch = baseline.batch
    if not baseline.outputs_by_sample():
        return Skipped(why_unfollowed(baseline))
    if batch.size == 1 and batch.valid_counts[0] == batch.steps:
        return Skipped(why_one_sample(batch))
    return Skipped(baseline.doubt) if baseline.doubt else None


def _of_single_samples(baseline: Baseline) -> Iterator[Restriction]:
    """Run some samples by themselves, until two were compared, or more if inputs have lengths.

    One may be the sample for which a loop goes on in the batch: by itself it shows nothing.

    Yields the runs, beside the same samples in the run of the batch of ``baseline``: at most so
    many as a limit allows.
    """
    batch = baseline.batch
    valid_steps = batch.valid_steps()
    compared = 0

    def rank(sample: int) -> tuple[int, bool, int]:
        """Rank the shortest first: they have the most padding. The last of equal ones is a rest.

        A model may read the label, or task, of sample 0 for all: one with another label shows it.
        """
        is_alike = _is_labelled_alike(batch, sample)
        steps = valid_steps[sample] if batch.counts else 0
        return steps, is_alike, -sample

    for sample in sorted(range(batch.size), key=rank)[:ALONE]:
        # If the probe batch says nothing, each sample may be another one's.
        if compared > max(1, len(batch.lengths)) and baseline.has_passed("batch"):
            return
        keep = partial(Batch.alone, sample=sample)
        run = Restriction(baseline, keep, [sample])
        compared += bool(run.compared)
        yield run


def _is_labelled_alike(batch: Batch, sample: int) -> bool:
    """Return whether a sample has the labels and flags of sample 0: all inputs that are no data."""
    first, other = (batch.samples([k]) for k in (0, sample))
    return all(
        equal(first.leaves[k], other.leaves[k]) for k in batch.indices if not batch.is_content(k)
    )


def _judge(run: Restriction) -> Iterator[Finding | Skipped | str]:
    """Yield what a run of one sample shows: nothing if nothing is wrong.

    A finding if the sample differs from itself in the batch, or has lost its batch axis; a skip if
    that cannot be told; a note (text) of what is odd.
    """
    baseline = run.baseline
    if run.refusal:  # how the model refused the sample, in words
        yield _judge_refusal(run)
        return
    yield from _lost_axes(run)
    yield from _fixed_rows(run)
    wrong = run.different
    if run.doubt:  # why a difference could not be judged
        yield Skipped(run.doubt)
    elif wrong is not None and baseline.session.drawn and not baseline.has_passed("repeatable"):
        yield Skipped("the model draws random numbers, and different ones for a single sample")
    elif wrong is not None:
        yield _read_apart(baseline) or _finding(run, wrong)


def _read_apart(baseline: Baseline) -> Skipped | None:
    """Return that samples read different parts of an input without a batch axis; else None.

    Such an input, as the neighbours of all samples in a row, is whole for one sample as well.
    """
    batch = baseline.batch
    for index in batch.content:
        leaf = batch.leaves[index]
        if batch.axes[index] is not None or not is_number(leaf) or not leaf.numel():
            continue
        for axis in range(leaf.dim()):
            other = leaf.clone()
            other.select(axis, 0).add_(1)
            moved = moved_samples(baseline, baseline.attempt(batch.with_leaf(index, other)))
            if moved is not None and moved.any() and not moved.all():
                what = f"samples read different parts of {batch.names[index]}"
                fix = "pass a part for each sample, and join them in call="
                return Skipped(f"{what}, which has no batch axis: {fix}")
    return None


def _finding(run: Restriction, wrong: Part) -> Finding:
    """Say that a sample differs from itself in the batch; ``wrong`` has both."""
    baseline = run.baseline
    is_padded = baseline.batch.valid_counts[wrong.sample] < baseline.batch.steps
    when = "its padding is removed" if is_padded else "it is run alone"
    what = f"{baseline.of_sample(wrong.output, wrong.sample)} changes when {when} {wrong.far}"
    return Finding(what, *locate_valid(baseline, wrong.sample, wrong.output))


def _judge_refusal(run: Restriction) -> Finding | Skipped:
    """Return a finding if the model refuses one sample because its batch axis is lost; else a skip.

    It is lost by a squeeze if the model runs when each squeeze keeps that axis.
    """
    squeezed = rows_of_squeezes(run)
    if not squeezed:
        cut = ", cut to its length" if run.baseline.batch.counts else ""
        return Skipped(f"the model does not run on one sample{cut}: {run.refusal}")
    what = "the model does not run on one sample, which loses its batch axis"
    return Finding(what, [("evidence", run.refusal), *squeezed])


def _lost_axes(run: Restriction) -> Iterator[Finding | str]:
    """Yield a finding for each output that has no batch axis in the ``run`` of one sample.

    An output ``(batch,)`` that becomes a single number is only noted; a list with a tensor for each
    sample has one tensor then.
    """
    baseline = run.baseline
    for part in run.compared:
        index = part.output
        whole = baseline.normal[index]
        alone = run.output[index]
        is_of_samples = baseline.names[index].endswith("[:]") and baseline.axes.batch[index] == 0
        if alone.dim() >= whole.dim() or is_of_samples:
            continue
        shapes = f"{tuple(whole.shape)} for the batch, and {tuple(alone.shape)} for one sample"
        what = f"{baseline.name(index)} is {shapes}: its batch axis is lost"
        if whole.dim() == 1:
            yield what
            continue
        axis = baseline.axes.batch[index]
        other = f"keep axis {axis} even if its size is 1: squeeze a named axis, index with a slice"
        yield Finding(what, rows_of_squeezes(run), fix=other)


def _fixed_rows(run: Restriction) -> Iterator[Finding]:
    """Yield a finding for each output that has as many rows for one sample as for the batch."""
    baseline = run.baseline
    if len(run.output) != len(baseline.normal):
        return
    for index in baseline.outputs_by_sample():
        whole = tuple(baseline.normal[index].shape)
        alone = shape_of(run.output[index])
        axis = baseline.axes.batch[index]
        if baseline.batch.size == 1 or alone is None or len(alone) != len(whole):
            continue
        if alone != whole and alone[axis] == whole[axis]:
            what = f"{baseline.name(index)} is {whole} for the batch, and {alone} for one sample"
            fix = "use the batch size of the input, such as len(x), and not a fixed number"
            yield Finding(f"{what}: the number of its rows is fixed", fix=fix)


def _in_other_orders(baseline: Baseline) -> Iterator[Restriction | Finding]:
    """Run the samples in two different orders, if lengths tell samples apart; yield the runs.

    Each is beside the run of ``baseline``, whose batch has them in the caller's order. Yields a
    finding if one returns something else.
    """
    counts = baseline.batch.valid_steps()
    if counts == sorted(counts, reverse=True):
        return  # a model may count on a batch with the longest first
    for falling in (True, False):
        # Sorted by length and moved on by one, so that no model's sorting undoes itself.
        first, *rest = sorted(range(len(counts)), key=counts.__getitem__, reverse=falling)
        order = [*rest, first]
        run = Restriction(baseline, partial(Batch.samples, kept=order), order)
        yield run
        wrong = run.different
        if wrong is not None:
            numbers = ", ".join(map(str, run.batch.caller_indices))
            of = baseline.of_sample(wrong.output, wrong.sample)
            fix = _fix_of_order(baseline, wrong.output)
            what = f"if the samples are put in the order {numbers}, {of} changes"
            yield Finding(what, fix=fix)


def _fix_of_order(baseline: Baseline, index: int) -> str:
    """Return what to change if the output ``index`` has another order: only a sort is undone."""
    events = events_with(baseline, functions=True)
    if not any("sort" in event.name for event in events):
        return "compute nothing for all samples from one of them, such as sample 0"
    at = ":, " * baseline.axes.batch[index]
    return f"output[{at}order.argsort()] instead of output[{at}order], where order sorts them"
