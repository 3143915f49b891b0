"""The probe *causal*: a step of the output depends on no later step of the input."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from rnnkit._base.message import count
from rnnkit._diagnostics.explain.causes import VIEW
from rnnkit._diagnostics.explain.locate import locate_step
from rnnkit._diagnostics.inputs.axes import shortened_axis
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import Where, changed, steps_at
from rnnkit._diagnostics.measure.baseline import Baseline, once
from rnnkit._diagnostics.measure.compare import (
    Change,
    Leak,
    Restriction,
    compare_changed,
    incomparable,
    refused,
)
from rnnkit._diagnostics.measure.read_steps import steps_read
from rnnkit._diagnostics.run.outputs import is_number
from rnnkit._diagnostics.tell.outcome import (
    INTEGERS,
    NO_STEPS,
    OTHER_OUTPUTS,
    Finding,
    Outcome,
    Passed,
    Skipped,
)

#: What to change so that an output does not read its own step.
OWN = {
    "strict": "shift the target: step t reads target t - 1, and step 0 the last known value, or a "
    "start token",
    "others": "join the forward state of step t - 1 and the backward one of step t + 1",
}


#: In so many runs later steps are changed.
MOST = 3


def probe_causal(baseline: Baseline) -> Outcome:
    """Step t of the first output with steps depends on no later step of the input; others may.

    Later steps are changed first; then the first steps are run by themselves. ``baseline`` is the
    model, a batch, and what it returned for that, with the rule that the caller asked for
    (``causal=``).
    """
    if baseline.batch.steps < 2:
        return Skipped(NO_STEPS)
    first = _first_with_steps(baseline)
    seq = None if first is None else baseline.axes.seq.get(first)
    if first is None or seq is None:
        return _follows_features(baseline) or Skipped(OTHER_OUTPUTS)
    # Of the input that it follows.
    judged = baseline.with_steps_of(baseline.axes.source[first])
    if not judged.has_steps(first):
        size = judged.normal[first].shape[seq]
        has = f"the output has {size} steps and the input {judged.batch.steps}"
        return Skipped(f"{has}, and both must be the same: of a decoder, pass only its target")
    changes = _of_changed_steps(with_followed(judged), first)
    if isinstance(changes, Finding | Skipped):
        return changes
    if not is_number(judged.normal[first]):
        return Skipped(INTEGERS)
    runs: list[Change | Restriction] = [*changes]
    for run in _of_first_steps(judged, first):
        if run.different is not None:
            of = f"of the first {run.batch.steps} of {judged.batch.steps} steps"
            what = f"{judged.name(first)} {of} changes when the later steps are removed"
            return Finding(what, fix=f"{VIEW}; compute nothing from the number of steps")
        runs.append(run)
    text = _holds(judged) + _of_others(judged, first, changes)
    return Passed(text, runs, but=_untried(judged, changes.values()))


def _first_with_steps(baseline: Baseline) -> int | None:
    """Return the first output, by index, or the first one with steps if that has none."""
    seq = baseline.axes.seq
    numbers = [index for index in sorted(seq) if is_number(baseline.normal[index])]
    return baseline.first if baseline.first in seq else next(iter(numbers), baseline.first)


def _holds(judged: Baseline) -> str:
    """Write on what no step of the first output depends, by the rule of ``causal=``.

    ``judged`` has the steps of the input that the output follows.
    """
    batch = judged.batch
    rules = {"strict": "itself or a later one", "others": "itself"}
    what = rules.get(str(judged.rules.causal), "a later one")
    ahead = judged.rules.lookahead
    if ahead:
        what += f", more than {count(ahead, 'step', 'steps')} ahead"
    text = f"none of the {batch.steps} steps depends on {what}{batch.of_sequence}"
    late = _late(judged)
    if not late:
        return text
    taken = f"step 0 of the output is taken as step {late} of the input"
    if judged.rules.causal is True:
        taken += "; if it predicts that step, pass causal='strict'"
    return f"{text} ({taken})"


def _untried(judged: Baseline, every: Iterable["_Asked"]) -> str:
    """Write at how many steps inputs were changed; "" if at each that may be the first one."""
    steps = judged.batch.steps
    most = steps if judged.rules.causal in OWN else steps - 1  # no step is before step 0
    tried = {int(cut) for asked in every for cut in asked.cuts if cut < steps}
    return f"causal was tried at {len(tried)} of {most} steps" if len(tried) < most else ""


def _of_others(judged: Baseline, first: int, changes: dict[Change, "_Asked"]) -> str:
    """Write which outputs beside the first one depend on later steps; empty if none does.

    They are not judged, since a model may return what it uses in training only. ``changes`` are the
    runs by which the first one, an index, was judged.
    """
    reading = []
    for index in filter(judged.has_steps, judged.outputs_by_sample()):
        if index == first or judged.missing(index) != judged.missing(first):
            continue
        if any(change.leak([index], asked.must_stay) for change, asked in changes.items()):
            reading.append(judged.name(index))
    if not reading:
        return ""
    return f"; that holds of {judged.name(first)}, and not of {', '.join(reading)}"


def _late(baseline: Baseline) -> int:
    """Return how many steps later than its input the first output may begin, if it is shorter."""
    return max(baseline.missing(_first_with_steps(baseline) or 0) or 0, 0)


def _of_changed_steps(baseline: Baseline, first: int) -> dict[Change, "_Asked"] | Finding | Skipped:
    """Change steps, as the rule of ``causal=`` asks, and look at the steps that must stay.

    ``first`` is the index of the first output. Returns the runs, with what was changed in each, if
    it moved nowhere that it must not; else what is wrong, or why nothing can be said.
    """
    changes = {}
    for asked in _asked(baseline):
        change = compare_changed(baseline, asked.where, only=asked.only)
        if change is None:
            continue
        if change.refusal:
            return refused(change)
        leak = change.leak([first], asked.must_stay)
        if leak is not None:
            return _finding(leak, asked)
        if change.doubt:  # why a difference could not be judged
            return Skipped(change.doubt)
        changes[change] = asked
    return incomparable(changes, [first]) or changes


class _Asked(NamedTuple):
    """A change of the inputs, and where the first output must stay.

    Attributes:
        cuts: the first step that is changed of each sample, ``(batch, 1)``.
        where: which places are changed.
        only: the only input that is changed; None for all.
        must_stay: a mask ``(batch, seq)`` over the steps of the output.
    """

    cuts: Tensor
    where: Where
    only: int | None
    must_stay: Tensor


def _asked(baseline: Baseline) -> Iterator[_Asked]:
    """Yield what is changed: all steps from one on, and each step alone, if the rule asks for that.

    Of a step alone, one input is changed. The first output is judged.
    """
    batch = baseline.batch
    step = batch.step_numbers.unsqueeze(0)
    as_input = step + _late(baseline)  # which step of the input a step of the output is
    if baseline.rules.causal != "others":
        for cuts in (*_cuts(baseline), *_cuts_by_gradient(baseline)):
            must_stay = as_input < cuts - baseline.rules.lookahead
            yield _Asked(cuts, steps_at(step >= cuts), None, must_stay)
    if baseline.rules.causal in OWN:
        # The first input or, if it has no such steps, the one with them: a decoder's target.
        own = batch.first if batch.has_steps(batch.first) else batch.sequence
        for cuts in (_same(batch, 0), *_cuts(baseline)):
            yield _Asked(cuts, steps_at(step == cuts), own, as_input == cuts)


def _cuts(baseline: Baseline) -> Iterator[Tensor]:
    """Yield the first step to change of each sample, ``(batch, 1)``, for each run.

    Samples that do not mix have different ones, from the last step to step 1, so that a few runs
    try many: in each run one part of the steps, the middle first. The longest sample begins.
    """
    batch = baseline.batch
    ends = batch.valid_counts
    if not baseline.has_passed("batch"):
        # Near the end, near the end of the shortest sample, and at its middle.
        for cut in sorted({batch.steps - 1, max(1, min(ends) - 1), max(1, min(ends) // 2)}):
            yield _same(batch, cut)
        return
    longest = max(ends)
    runs = min(MOST, max(1, ceil((longest - 1) / ends.count(longest))))
    last = torch.tensor(ends, device="cpu").unsqueeze(1) - 1
    before = 0 if batch.pads_after else batch.steps - 1 - last  # steps of padding
    rank = last.flatten().argsort(descending=True).argsort()  # 0 is the longest
    parts = torch.linspace(1, 0, runs * batch.size, device="cpu").view(runs, batch.size)
    for run in sorted(range(runs), key=lambda run: abs(run - runs // 2)):
        part = parts[run, rank].unsqueeze(1)
        yield (1 + part * (last - 1)).round().clamp(min=1) + before


def _cuts_by_gradient(baseline: Baseline) -> Iterator[Tensor]:
    """Yield the first later step whose gradient arrives at a step of the output, for all samples.

    The output is the first one. A gradient may cancel out: only a change is a proof.
    """
    ahead = baseline.rules.lookahead + _late(baseline)
    for step, read in steps_read(baseline).items():
        later = read.nonzero().flatten()
        beyond = later[later > step + ahead]
        if len(beyond):
            yield _same(baseline.batch, int(beyond[0]))


def _same(batch: Batch, step: int) -> Tensor:
    """Return the same step for each sample, ``(batch, 1)``."""
    return torch.full((batch.size, 1), step, device="cpu")


def _finding(leak: Leak, asked: _Asked) -> Finding:
    """Say which step of the output moved although it must not; of later steps, where that begins.

    ``leak`` has the run, the output, and where it moved, and ``asked`` what was changed.
    """
    baseline = leak.run.baseline
    moved = [(int(asked.cuts[sample]), step) for sample, step in leak.places]
    # A cut near the middle tells most of where that begins.
    middle = baseline.batch.steps // 2
    cut, _ = min(moved, key=lambda pair: abs(pair[0] - middle))
    earliest = min(step for one, step in moved if one == cut)
    what = f"{baseline.name(leak.output)} of step {earliest} depends on"
    if asked.only is not None:
        fix = OWN[str(baseline.rules.causal)]
        return Finding(f"{what} step {cut} of input {asked.only}", fix=fix)
    later = steps_at(baseline.batch.step_numbers >= cut)
    alike = changed(baseline.batch, later) or leak.run.batch
    # What looks no further ahead than it may is not where the leak begins.
    found = locate_step(baseline, alike, cut - baseline.rules.lookahead, leak.output)
    return Finding(f"{what} the input of step {cut} or later", *found)


def _of_first_steps(judged: Baseline, first: int) -> Iterator[Restriction]:
    """Run the first steps by themselves; yield the runs: the first outputs stay, unless steps mix.

    Nothing is run where they could change for another reason: a lookahead, random numbers, samples
    that mix, or padding before the samples.
    """
    is_drawing = judged.session.drawn and not judged.has_passed("repeatable")
    is_spoiled = judged.rules.lookahead or is_drawing or judged.has_found("batch")
    batch = judged.batch
    is_cut_at_padding = not batch.pads_after and batch.counts is not None
    if judged.rules.causal == "others" or is_spoiled or is_cut_at_padding:
        return
    steps = batch.steps
    samples = range(batch.size)
    for cut in sorted({steps - 1, steps - 2, (steps + 1) // 2} - {0}, reverse=True):
        keep = partial(Batch.cut, steps=cut, front=True)
        yield Restriction(judged, keep, samples, first, steps=cut)


def with_followed(judged: Baseline) -> Baseline:
    """Return the baseline with steps of further inputs, if an output's steps follow those."""
    return judged.on(_with_followed_steps(judged))


@once
def _with_followed_steps(judged: Baseline) -> Batch:
    """Return the batch with steps of further inputs, see :func:`with_followed`.

    Those inputs are as long as the sequence and were kept whole, as the model allows: a loop takes
    actions that are longer than the sequence, and they need not be cut with it. The output is the
    first one with steps.
    """
    batch = judged.batch
    first = judged.outputs_with_steps[0]
    followed = judged
    for index in filter(batch.is_content, sorted(batch.on_their_own.get(batch.sequence, ()))):
        own = followed.batch.on_their_own[batch.sequence]
        cut = replace(followed.batch, on_their_own={batch.sequence: own - {index}})
        other = followed.on(cut)
        if _reads_steps_of(other, index, first):
            followed = other
    return followed.batch


def _reads_steps_of(baseline: Baseline, index: int, first: int) -> bool:
    """Return whether the first output follows the steps of input ``index``, not the whole of it.

    Of an input that is read as a whole, the first and the last step show from the same step on. The
    last one may show nowhere: a step may read the action before it.
    """
    steps = baseline.batch.steps
    begins = []
    for step in (0, steps - 1):
        where = steps_at(baseline.batch.step_numbers == step)
        change = compare_changed(baseline, where, only=index)
        if change is None or change.refusal or not change.has(first):
            return False
        moved = change.moved(first).any(0).nonzero()
        begins.append(int(moved[0]) if len(moved) else steps)
    return begins[0] != begins[1]


def _follows_features(baseline: Baseline) -> Finding | None:
    """Return a finding if an output has as many rows as steps, but follows the features; or None.

    The input has as many features as steps: with one feature less, the output is a row shorter.
    """
    batch = baseline.batch
    first = baseline.first
    leaf = batch.leaves[batch.sequence]
    axis_of_batch = batch.axes[batch.sequence]
    if first is None or axis_of_batch is None or leaf.dim() != 3:
        return None
    features = 3 - axis_of_batch - batch.seq_dim
    if leaf.shape[features] != batch.steps:
        return None
    fewer = batch.with_leaf(batch.sequence, leaf.narrow(features, 0, batch.steps - 1))
    output = baseline.attempt(fewer) or baseline.normal
    axis, by = shortened_axis(baseline.normal[first], output[first])
    if by != 1 or axis == features:  # features that are where they were are no steps
        return None
    what = f"axis {axis} of {baseline.name(first)} gets shorter with axis {features} of input"
    ways = (
        f"argmax({features}) instead of argmax({batch.seq_dim}), x.transpose(1, 2) before a Conv1d"
    )
    what += f", not with its steps on axis {batch.seq_dim}"
    return Finding(what, fix=f"{ways}, or another seq_dim=")
