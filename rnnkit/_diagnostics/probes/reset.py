"""The probe *reset*: from a flagged step on, nothing depends on what was before it."""

from typing import NoReturn

import torch
from torch import Tensor

from rnnkit._diagnostics.inputs.changes import steps_at
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.lab import comparable, run_perturbed
from rnnkit._diagnostics.tell.report import OTHER_OUTPUTS, fail, skip

#: What it means if nothing but the flagged step itself depends on what is before.
LATE = [("means", "the reset comes a step late, after the step that it is for")]


def probe_reset(baseline: Baseline) -> str:
    """From the last flag of each sample on, no output depends on an earlier step."""
    batch = baseline.batch
    flags = baseline.batch.flags or 0
    leaf = batch.leaves[flags]
    axis = batch.axes[flags]
    seq = batch.seq_dims[flags]
    if batch.steps is None or axis is None or not batch.may_have_steps(flags):
        skip("the input that reset= names has no flag for each step of each sample")
    is_set = leaf.ne(0) & leaf.isfinite()
    are_set = is_set.movedim((axis, seq), (0, 1)).reshape(batch.size, batch.steps, -1).any(2).cpu()
    steps = torch.arange(batch.steps + 1, device="cpu")
    last = (steps[:-1] * are_set).amax(1, keepdim=True)  # 0: nothing is before it, or none is set
    if not bool(last.any()):
        skip("no flag is set after the first step: pass a batch in which one is")
    indices = [k for k, _ in baseline.judged() if baseline.has_steps(k)]
    if not indices:
        skip(OTHER_OUTPUTS)
    [run] = comparable([run_perturbed(baseline, steps_at(steps[:-1] < last))], indices)
    for index in indices:
        early = max(-(baseline.missing(index) or 0), 0)  # steps before the first of the input
        shown = run.shown([index], (steps - early >= last) & (last > 0))
        if shown is not None:
            _fail(baseline, index, [(k, step - early) for k, step in shown[1]], last)
    return "from a flag on, nothing depends on earlier steps"


def _fail(baseline: Baseline, index: int, places: list[tuple[int, int]], last: Tensor) -> NoReturn:
    """Fail, since samples and steps of an output depend on steps before the ``last`` reset."""
    sample, step = places[0]
    of = f"{baseline.of_sample(index, sample)} at step {step}"
    what = f"{of} depends on steps before {int(last[sample])}, where a reset is flagged"
    is_late = all(step == last[k] for k, step in places)
    fail("reset", what, LATE if is_late else [])
