"""The probe *causal*: a step of the output depends on no later step of the input."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from rnnkit._base.message import count
from rnnkit._diagnostics.explain.causes import VIEW
from rnnkit._diagnostics.explain.locate import locate_step
from rnnkit._diagnostics.inputs.axes import shortened_axis
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import steps_from
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import (
    Change,
    Restriction,
    compare_changed,
    compare_part,
    incomparable,
    refused,
)
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
    "strict": "shift the target: step t reads target t - 1, and step 0 the last known value",
    "others": "join the forward state of step t - 1 and the backward one of step t + 1",
}


def needs_of_causal(baseline: Baseline) -> Skipped | None:
    """Return that there are no later steps; None if there are."""
    return Skipped(NO_STEPS) if baseline.batch.steps in (None, 1) else None


def probe_causal(baseline: Baseline) -> Outcome:
    """Step t of the first output depends on no later step of the input; other outputs may.

    Later steps are changed first; then the first steps are run by themselves. ``baseline`` is the
    model, a batch, and what it returned for that, with the rule that the caller asked for
    (``causal=``).
    """
    first = baseline.first
    seq = baseline.out_seq_dim
    if first is None or seq is None:
        return _follows_features(baseline) or Skipped(OTHER_OUTPUTS)
    # Of the input that it follows.
    judged = baseline.with_steps_of(baseline.axes.source[first])
    if not judged.has_steps(first):
        size = judged.normal[first].shape[seq]
        has = f"the output has {size} steps and the input {judged.batch.steps or 0}"
        return Skipped(f"{has}: if this is a decoder, pass only its target")
    changes = _of_changed_steps(_with_followed(judged, first), first)
    if isinstance(changes, Finding | Skipped):
        return changes
    if not is_number(judged.normal[first]):
        return Skipped(INTEGERS)
    runs: list[Change | Restriction] = [*changes]
    for run in _of_first_steps(judged, first):
        if run.different is not None:
            return _finding_of_first_steps(run, first)
        runs.append(run)
    return Passed(_holds(judged, first), runs)


def _holds(judged: Baseline, first: int) -> str:
    """Write that no step of the first output depends on a later one of the input.

    ``judged`` has the steps of the input that the output follows; ``first`` is the output's index.
    """
    batch = judged.batch
    text = f"none of the {batch.steps} steps depends on {_on_what(judged)}{batch.of_sequence}"
    late = _late(judged, first)
    if not late:
        return text
    return f"{text} (step 0 of the output is taken as step {late} of the input)"


def _on_what(judged: Baseline) -> str:
    """Write on what no step depends, by the rule of ``causal=`` and the lookahead it allows."""
    rules = {"strict": "itself or a later one", "others": "itself"}
    what = rules.get(str(judged.rules.causal), "a later one")
    if not judged.rules.lookahead:
        return what
    return f"{what}, more than {count(judged.rules.lookahead, 'step', 'steps')} ahead"


def _late(baseline: Baseline, first: int) -> int:
    """Return how many steps later than its input an output may begin, if it is shorter."""
    return max(baseline.missing(first) or 0, 0)


def _of_changed_steps(baseline: Baseline, first: int) -> list[Change] | Finding | Skipped:
    """Change all steps from one on, or a step itself, as the rule of ``causal=`` asks.

    ``first`` is the index of the first output. Returns the runs if it moved nowhere that it must
    not; else what is wrong, or why nothing can be said.
    """
    steps = baseline.batch.steps or 0
    shortest = min(baseline.batch.counts or [steps])
    # Near the end, near the end of the shortest sample, and at its middle.
    cuts = sorted({steps - 1, max(1, shortest - 1), max(1, shortest // 2)})
    changes: list[Change] = []
    for answer in _at_each(baseline, first, cuts):
        if isinstance(answer, Finding | Skipped):
            return answer
        changes.append(answer)
    return incomparable(changes, [first]) or changes


def _at_each(
    baseline: Baseline, first: int, cuts: Sequence[int]
) -> Iterator[Change | Finding | Skipped]:
    """Change all steps from each of ``cuts`` on, and each step alone, if the rule asks for that.

    Yields the runs, or what they show. ``first`` is the index of the output that is judged; of a
    step alone, one input is changed.
    """
    if baseline.rules.causal != "others":
        for cut in cuts:
            change = compare_changed(baseline, steps_from(cut))
            if change is not None:
                yield _judge_later(change, first, cut)
    if baseline.rules.causal not in OWN:
        return
    own = _input_with_steps(baseline)
    for step in sorted({0, *cuts}):
        change = compare_changed(baseline, steps_from(step, step + 1), only=own)
        if change is not None:
            yield _judge_own(change, first, step)


def _judge_later(change: Change, first: int, cut: int) -> Change | Finding | Skipped:
    """Return a run whose steps changed from ``cut`` on, if no earlier step of the output moved.

    Else a finding, which says where that begins; a skip if the run failed or shows too little.
    """
    if change.refusal:
        return refused(change)
    baseline = change.baseline
    step = torch.arange(baseline.batch.steps or 0, device="cpu").unsqueeze(0)
    # A leak is where the output moved although it must not: at the steps of this mask.
    leak = change.leak([first], step < cut - _late(baseline, first) - baseline.rules.lookahead)
    if leak is None:  # a doubt is why a difference could not be judged
        return Skipped(change.doubt) if change.doubt else change
    earliest = min(at for _, at in leak.places)
    what = f"{baseline.name(first)} of step {earliest} depends on the input of step {cut} or later"
    return Finding(what, *locate_step(leak.run.baseline, leak.run.inputs, cut, first))


def _judge_own(change: Change, first: int, step: int) -> Change | Finding | Skipped:
    """Return a run in which one ``step`` was changed, if the same step of the output did not move.

    Else a finding; a skip if the run failed or shows too little. ``first`` is the output's index.
    """
    if change.refusal:
        return refused(change)
    baseline = change.baseline
    at = step - _late(baseline, first)
    is_own = torch.arange(baseline.batch.steps or 0, device="cpu").unsqueeze(0) == at
    if change.leak([first], is_own) is None:  # the output moved at no step of the mask
        return Skipped(change.doubt) if change.doubt else change
    own = _input_with_steps(baseline)
    what = f"{baseline.name(first)} of step {at} depends on step {step} of input {own}"
    return Finding(what, [("fix", OWN[str(baseline.rules.causal)])])


def _input_with_steps(baseline: Baseline) -> int:
    """Return the index of the first input or, if it has no such steps, of the one with them.

    Of an encoder and a decoder, that is the target.
    """
    batch = baseline.batch
    return batch.first if batch.has_steps(batch.first) else batch.sequence


def _of_first_steps(judged: Baseline, first: int) -> Iterator[Restriction]:
    """Run the first steps by themselves; yield the runs: the first outputs stay, unless steps mix.

    Nothing is run where they could change for another reason: a lookahead, random numbers, samples
    that mix, or padding before the samples.
    """
    is_spoiled = judged.rules.lookahead or judged.session.drawn or judged.has_found("batch")
    is_cut_at_padding = not judged.rules.pads_after and judged.batch.counts is not None
    if judged.rules.causal == "others" or is_spoiled or is_cut_at_padding:
        return
    steps = judged.batch.steps or 0
    samples = range(judged.batch.size)
    for cut in sorted({steps - 1, steps - 2, (steps + 1) // 2} - {0}, reverse=True):
        keep = partial(Batch.cut, steps=cut, front=True)
        yield compare_part(judged, keep, samples, first, steps=cut)


def _finding_of_first_steps(run: Restriction, first: int) -> Finding:
    """Say that the first steps by themselves return something else."""
    baseline = run.baseline
    of = f"{baseline.name(first)} of the first {run.batch.steps} of {baseline.batch.steps} steps"
    fix = ("fix", f"{VIEW}; compute nothing from the number of steps")
    return Finding(f"{of} changes when the later steps are removed", [fix])


def _with_followed(judged: Baseline, first: int) -> Baseline:
    """Return the baseline with steps of further inputs, if the first output's steps follow those.

    Those inputs are as long as the sequence and were kept whole, as the model allows: a loop takes
    actions that are longer than the sequence, and they need not be cut with it.
    """
    batch = judged.batch
    followed = judged
    for index in filter(batch.is_content, sorted(batch.on_their_own.get(batch.sequence, ()))):
        own = followed.batch.on_their_own[batch.sequence]
        cut = replace(followed.batch, on_their_own={batch.sequence: own - {index}})
        other = followed.seeing(cut)
        if _reads_steps_of(other, index, first):
            followed = other
    return followed


def _reads_steps_of(baseline: Baseline, index: int, first: int) -> bool:
    """Return whether the first output follows the steps of input ``index``, not the whole of it.

    Of an input that is read as a whole, the first and the last step show in the same steps.
    """
    steps = baseline.batch.steps or 0
    moved: list[Tensor] = []
    for where in (steps_from(0, 1), steps_from(steps - 1)):
        change = compare_changed(baseline, where, only=index)
        if change is None or change.refusal or not change.has(first):
            return False
        moved.append(change.moved(first).any(0))
    return bool(moved[1].any()) and not torch.equal(*moved)


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
    leaves = list(batch.leaves)
    leaves[batch.sequence] = leaf.narrow(features, 0, leaf.shape[features] - 1)
    output = baseline.attempt(batch.with_leaves(leaves)) or baseline.normal
    axis, by = shortened_axis(baseline.normal[first], output[first])
    if by != 1 or axis == features:  # features that are where they were are no steps
        return None
    what = f"axis {axis} of {baseline.name(first)} gets shorter with axis {features} of input"
    ways = (
        f"argmax({features}) instead of argmax({batch.seq_dim}), x.transpose(1, 2) before a Conv1d"
    )
    fix = ("fix", f"{ways}, or another seq_dim=")
    return Finding(f"{what}, not with its steps on axis {batch.seq_dim}", [fix])
