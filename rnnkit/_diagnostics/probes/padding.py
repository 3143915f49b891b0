"""The probe *padding*: what is beyond a length does not matter."""

from collections.abc import Sequence

import torch

from rnnkit._diagnostics.explain.locate import locate_valid
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import steps_at
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import Change, Leak, compare_each
from rnnkit._diagnostics.measure.unfollowed import numbers_by_sample
from rnnkit._diagnostics.run.outputs import is_number
from rnnkit._diagnostics.tell.outcome import Finding, Outcome, Passed, Skipped
from rnnkit._diagnostics.tell.report import joined_by_and


def probe_padding(baseline: Baseline) -> Outcome:
    """No output depends on what is beyond a sample's length, in any input that has lengths.

    ``baseline`` is the model, a batch with lengths, and what it returned for that.
    """
    sequences = [*baseline.batch.lengths]
    runs: list[Change] = []
    gaps: list[Skipped] = []
    for index in sequences:
        answer = _judge(baseline.with_steps_of(index))
        if isinstance(answer, Finding):
            return answer
        if isinstance(answer, Change):
            runs.append(answer)
        else:
            gaps.append(answer)
    if not runs:
        return gaps[0]
    unjudged = [gap.reason for gap in gaps if gap.gap == "unjudged"]
    if unjudged:
        return Skipped(f"for one of {len(sequences)} inputs with lengths: {unjudged[0]}")
    return Passed(_holds(baseline, runs), runs)


def _holds(baseline: Baseline, runs: Sequence[Change]) -> str:
    """Write that no output depends on the padding, with the inputs and what is left out.

    ``runs`` are those on other padding, of the inputs of ``baseline`` that have lengths.
    """
    batch = baseline.batch
    padded = [*batch.lengths]
    with_steps = {k for k in batch.indices if batch.is_content(k) and batch.length(k)}
    what = "no output depends on the padding"
    if not with_steps <= {*padded}:  # others have no lengths, and nothing says what pads them
        what += f" of {joined_by_and([batch.names[index] for index in padded])}"
    left_out = [
        baseline.name(output)
        for output in baseline.outputs_by_sample()
        if not all(_has_known_steps(run.baseline, output) for run in runs)
    ]
    return f"{what}; this leaves out {joined_by_and(left_out)}" if left_out else what


def _judge(baseline: Baseline) -> Change | Finding | Skipped:
    """Change what is beyond the lengths of one input: the one whose steps the batch is about.

    Returns the run on the changed inputs if no output moved in it; else what is wrong, or why the
    question cannot be answered.
    """
    batch = baseline.batch
    reason = _why_without_padding(batch)
    if reason:
        return Skipped(reason, "inapplicable")
    numbers = numbers_by_sample(baseline)
    if isinstance(numbers, Skipped):
        return numbers
    # The outputs whose valid steps are known, or that have no steps.
    indices = [index for index in numbers if _has_known_steps(baseline, index)]
    if not indices:
        return Skipped("the output has a different number of steps, and its valid ones are unknown")
    beyond = steps_at(~batch.valid_places)
    # One change of the inputs, under the key 0.
    changes = compare_each(baseline, {0: beyond}, indices, pad=True)
    if isinstance(changes, Skipped):
        return changes
    [change] = changes.values()
    # A leak is where an output moved although it must not: here, at any valid step.
    leak = change.leak(indices, torch.tensor([[True]], device="cpu"))
    if leak is None:
        return change
    padding = [batch.leaves[k].where(beyond(batch, k), 0) for k in _padded_inputs(batch)]
    if baseline.has_passed("alone") and not any(values.any() for values in padding):
        # Past the end a convolution also reads zeros of its own.
        return Skipped(
            "the padding is read, but holds zeros, and a sample by itself returns the same"
        )
    return _finding(batch, leak)


def _why_without_padding(batch: Batch) -> str:
    """Return why the judged input has no padding that may be changed; "" if it has some.

    ``batch`` has the lengths of that input, and of the model's other inputs.
    """
    if min(batch.counts or [0]) == batch.steps:
        return "no sample has padding"
    if not any(map(batch.tells_lengths, batch.indices)):
        return "the model gets no lengths, so it may recognize padding by its value"
    tokens = [batch.names[k] for k in _padded_inputs(batch) if not is_number(batch.leaves[k])]
    if tokens:
        return f"{tokens[0]} has tokens, so the model may recognize padding by its value"
    return ""


def _padded_inputs(batch: Batch) -> list[int]:
    """Return the indices of the inputs with the steps that are judged; not masks or labels."""
    return [k for k in batch.indices if batch.has_steps(k) and batch.is_content(k)]


def _finding(batch: Batch, leak: Leak) -> Finding:
    """Return which sample of an output moved when only padding was changed, and why.

    ``leak`` has the run, the output, and where it moved.
    """
    baseline = leak.run.baseline
    sample, _ = leak.places[0]
    steps = batch.lengths[batch.sequence][sample]
    what = f"{baseline.of_sample(leak.output, sample)} depends on the padding beyond its length"
    of = f" in input {batch.sequence}" if len(batch.lengths) > 1 else ""
    found = locate_valid(baseline, sample, leak.output, leak.run.batch)
    return Finding(f"{what} of {steps} steps{of}", *found)


def _has_known_steps(baseline: Baseline, index: int) -> bool:
    """Return whether output ``index`` has no other steps than the input, as after a stride.

    Between the axes of its samples and of its features, an axis may have such steps: in weights of
    an attention ``(batch, steps, steps of another input)``, nobody knows which steps are valid.
    """
    batch = baseline.batch
    axes = baseline.axes
    if axes.source.get(index) == batch.sequence:
        return baseline.missing(index) is not None
    sizes = baseline.normal[index].shape
    others = {*range(len(sizes) - 1)} - {axes.batch[index], axes.seq.get(index)}
    has_all_steps = batch.steps in sizes[:-1] and sizes.count(batch.steps) == 1
    return not others or (index not in axes.seq and has_all_steps)
