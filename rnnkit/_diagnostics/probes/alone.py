"""The probe *alone*: a sample by itself, and the samples in a different order."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.explain.locate import locate_valid
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import Part, Restriction
from rnnkit._diagnostics.measure.judge import judge_of
from rnnkit._diagnostics.measure.unfollowed import why_unfollowed
from rnnkit._diagnostics.run.watched_functions import FunctionCall, FunctionWatch, user_place
from rnnkit._diagnostics.tell.outcome import ONE_SAMPLE, Finding, Line, Outcome, Passed, Skipped
from rnnkit._diagnostics.tell.report import ALONE, joined_by_and

#: The functions that remove axes of size 1.
NAMES = ("squeeze", "squeeze_")


class Squeeze(NamedTuple):
    """A call of ``squeeze`` in a run.

    Attributes:
        axes: the axes that it removes.
        place: its file and line.
    """

    axes: tuple[int, ...]
    place: str


class _Squeezes(FunctionWatch):
    """Notes the axes of each squeeze of a run; with some ``known``, squeezes those axes instead.

    Calls of two runs are matched by their order.
    """

    def __init__(self, known: Sequence[Squeeze] = ()) -> None:
        """Take the squeezes of another run, if these are to remove the same axes."""
        super().__init__()
        self.known = known
        self.calls: list[Squeeze] = []

    def on_call(self, call: FunctionCall) -> Any:
        """Run a function of the model; of a squeeze, note the axes that it removes, and its place.

        With ``self.known``, the squeezes of another run, it removes the axes of its counterpart
        there.
        """
        if call.name not in NAMES:
            return call.run()
        number = len(self.calls)
        self.calls.append(Squeeze(_removed(*call.args, **call.kwargs), user_place()))
        if number < len(self.known):
            return call.func(call.args[0], self.known[number].axes)
        return call.run()


def _removed(input: Tensor, dim: Any = None) -> tuple[int, ...]:
    """Return the axes that a squeeze of ``input`` removes: those of size 1, or of ``dim``."""
    rank = input.dim()
    given = range(rank) if dim is None else pytree.tree_leaves(dim)
    return tuple(axis % rank for axis in given if rank and input.shape[axis] == 1)


def rows_of_squeezes(baseline: Baseline, single: Batch) -> list[Line]:
    """Return rows of a message: squeezes that remove an axis of one sample that they keep of more.

    ``single`` is that sample: it runs again, and each squeeze removes only axes that it removes of
    the whole batch. No rows if no squeeze removes others, or the model does not run then either.
    """
    whole = _Squeezes()
    baseline.session.attempt(baseline.batch.tree(), watch=whole.watch)
    if not whole.calls:
        return []
    kept = _Squeezes(whole.calls)
    output = baseline.session.attempt(single.tree(), watch=kept.watch)
    pairs = zip(whole.calls, kept.calls, strict=False)
    wrong = [one for one, other in pairs if one.axes != other.axes]
    if output is None or not wrong:
        return []
    places = ", ".join(dict.fromkeys(one.place for one in wrong))
    calls = joined_by_and([*dict.fromkeys(map(_typed, wrong))])
    cause = "for a single sample, this squeeze removes an axis that it otherwise keeps"
    fix = f"{calls}, which removes the same axes of any batch"
    return [("at", places), ("cause", cause), ("fix", fix)]


def _typed(squeeze: Squeeze) -> str:
    """Return the call that removes the same axes of a batch of any size."""
    if not squeeze.axes:
        return "x"
    axes = squeeze.axes[0] if len(squeeze.axes) == 1 else squeeze.axes
    return f"x.squeeze({axes})"


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
    for run in _of_single_samples(baseline):
        for found in _judge(run):
            if not isinstance(found, str):
                return found.noting(notes)
            notes.append(found)
        runs.append(run)
    if not any(run.compared for run in runs):
        return Skipped("run on one sample, the outputs have other shapes, or are integers")
    for ordered in _in_other_orders(baseline):
        if isinstance(ordered, Finding):
            return ordered.noting(notes)
        runs.append(ordered)
    cut = ", cut to its length," if baseline.batch.counts else ""
    text = f"a sample by itself{cut} returns what it returns in the batch"
    return Passed(text, runs, notes=notes)


def _why_unasked(baseline: Baseline) -> Skipped | None:
    """Return why no sample can be compared with itself in the batch; None if one can.

    ``baseline`` is the model, a batch, and what it returned for that.
    """
    batch = baseline.batch
    if not baseline.outputs_by_sample():
        return Skipped(why_unfollowed(baseline))
    if batch.size == 1 and (batch.counts is None or batch.counts[0] == batch.steps):
        return Skipped(ONE_SAMPLE)
    judge = judge_of(baseline)
    return judge if isinstance(judge, Skipped) else None


def _of_single_samples(baseline: Baseline) -> Iterator[Restriction]:
    """Run some samples by themselves, until one was compared, and one more for each length.

    Yields the runs, beside the same samples in the run of the batch of ``baseline``: at most so
    many as a limit allows.
    """
    batch = baseline.batch
    valid_steps = batch.valid_steps()
    compared = 0
    # The shortest samples have the most padding, and the last of equal ones is often a rest.
    for sample in sorted(range(batch.size), key=lambda k: (valid_steps[k], -k))[:ALONE]:
        if compared > len(batch.lengths):
            return
        keep = partial(Batch.alone, sample=sample)
        run = Restriction(baseline, keep, [sample])
        compared += bool(run.compared)
        yield run


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
    wrong = run.different
    if run.doubt:  # why a difference could not be judged
        yield Skipped(run.doubt)
    elif wrong is not None and baseline.session.drawn and not baseline.has_passed("repeatable"):
        yield Skipped("the model draws random numbers, and different ones for a single sample")
    elif wrong is not None:
        yield _finding(run, wrong)


def _finding(run: Restriction, wrong: Part) -> Finding:
    """Say that a sample differs from itself in the batch; ``wrong`` has both."""
    baseline = run.baseline
    counts = baseline.batch.counts
    steps = baseline.batch.steps or 0
    is_padded = counts is not None and counts[wrong.sample] < steps
    when = "its padding is removed" if is_padded else "it is run alone"
    what = f"{baseline.of_sample(wrong.output, wrong.sample)} changes when {when} {wrong.far}"
    return Finding(what, *locate_valid(baseline, wrong.sample, wrong.output))


def _judge_refusal(run: Restriction) -> Finding | Skipped:
    """Return a finding if the model refuses one sample because its batch axis is lost; else a skip.

    It is lost by a squeeze if the model runs when each squeeze keeps that axis.
    """
    squeezed = rows_of_squeezes(run.baseline, run.batch)
    if not squeezed:
        return Skipped(f"the model does not run on one sample: {run.refusal}")
    what = "the model does not run on one sample, which loses its batch axis"
    return Finding(what, [("evidence", run.refusal), *squeezed])


def _lost_axes(run: Restriction) -> Iterator[Finding | str]:
    """Yield a finding for each output that has no batch axis in the ``run`` of one sample.

    An output ``(batch,)`` that becomes a single number is only noted; a list with a tensor for each
    sample has one tensor then.
    """
    baseline = run.baseline
    for part in run.compared:
        whole = baseline.normal[part.output]
        alone = run.output[part.output]
        if alone.dim() >= whole.dim() or baseline.names[part.output].endswith("[:]"):
            continue
        shapes = f"{tuple(whole.shape)} for the batch, and {tuple(alone.shape)} for one sample"
        what = f"{baseline.name(part.output)} is {shapes}: its batch axis is lost"
        if whole.dim() == 1:
            yield what
            continue
        axis = baseline.axes.batch[part.output]
        other = f"keep axis {axis} even if its size is 1: squeeze a named axis, index with a slice"
        yield Finding(what, rows_of_squeezes(baseline, run.batch) or [("fix", other)])


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
        if run.different is not None:
            numbers = ", ".join(map(str, run.batch.caller_indices))
            of = baseline.of_sample(run.different.output, run.different.sample)
            fix = "output[order.argsort()] instead of output[order], where order sorts the samples"
            what = f"if the samples are put in the order {numbers}, {of} changes"
            yield Finding(what, [("fix", fix)])
