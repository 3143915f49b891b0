"""The probe *reset*: from a flagged step on, nothing depends on what was before it."""

import torch
from torch import Tensor

from rnnkit._diagnostics.inputs.changes import steps_at
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import compare_each
from rnnkit._diagnostics.tell.outcome import OTHER_OUTPUTS, Finding, Outcome, Passed, Skipped

#: What it means if nothing but the flagged step itself depends on what is before.
LATE = [("means", "the reset comes a step late, after the step that it is for")]


def probe_reset(baseline: Baseline) -> Outcome:
    """From the last flag of each sample on, no output depends on an earlier step."""
    last = _last_flags(baseline)
    if last is None:
        return Skipped("the input that reset= names has no flag for each step of each sample")
    if not bool(last.any()):
        return Skipped("no flag is set after the first step: pass a batch in which one is")
    indices = [k for k, _ in baseline.outputs_by_sample() if baseline.has_steps(k)]
    if not indices:
        return Skipped(OTHER_OUTPUTS)
    step = torch.arange(baseline.batch.steps or 0, device="cpu")
    changes = compare_each(baseline, {0: steps_at(step < last)}, indices)
    if isinstance(changes, Skipped):
        return changes
    step = torch.arange(len(step) + 1, device="cpu")  # an output may have one more
    for index in indices:
        early = max(-(baseline.missing(index) or 0), 0)  # steps before the first of the input
        leak = changes[0].leak([index], (step - early >= last) & (last > 0))
        if leak is not None:
            return _finding(baseline, index, [(k, at - early) for k, at in leak.places], last)
    return Passed("from a flag on, nothing depends on earlier steps", [*changes.values()])


def _last_flags(baseline: Baseline) -> Tensor | None:
    """Return the last flagged step of each sample ``(batch, 1)``; None without such flags.

    It is 0 where nothing is before the flag, or none is set.
    """
    batch = baseline.batch
    flags = batch.flags or 0
    leaf = batch.leaves[flags]
    axis = batch.axes[flags]
    if batch.steps is None or axis is None or not batch.may_have_steps(flags):
        return None
    is_set = (leaf.ne(0) & leaf.isfinite()).movedim((axis, batch.seq_dims[flags]), (0, 1))
    are_set = is_set.reshape(batch.size, batch.steps, -1).any(2).cpu()
    flagged: Tensor = torch.arange(batch.steps, device="cpu") * are_set
    return flagged.amax(1, keepdim=True)


def _finding(
    baseline: Baseline, index: int, places: list[tuple[int, int]], last: Tensor
) -> Finding:
    """Say that samples and steps of an output depend on steps before the ``last`` reset."""
    sample, step = places[0]
    of = f"{baseline.of_sample(index, sample)} at step {step}"
    what = f"{of} depends on steps before {int(last[sample])}, where a reset is flagged"
    is_late = all(at == last[k] for k, at in places)
    return Finding(what, LATE if is_late else [])
