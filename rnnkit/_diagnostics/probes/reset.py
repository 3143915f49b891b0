"""The probe *reset*: from a flagged step on, nothing depends on what was before it."""

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import steps_at
from rnnkit._diagnostics.judge import is_shown
from rnnkit._diagnostics.lab import first_true, run_perturbed
from rnnkit._diagnostics.report import OTHER_OUTPUTS, OTHER_SHAPES, UNCHANGED, fail, skip


def probe_reset(baseline: Baseline) -> str:
    """From the last flag of each sample on, no output depends on an earlier step."""
    batch, index = baseline.batch, baseline.batch.flags or 0
    leaf, axis, seq = batch.leaves[index], batch.axes[index], batch.seq_dims[index]
    if batch.steps is None or axis is None or not batch.may_have_steps(index):
        skip("the input that reset= names has no flag for each step of each sample")
    flags = leaf.movedim((axis, seq), (0, 1)).reshape(batch.size, batch.steps, -1).any(2).cpu()
    steps = torch.arange(batch.steps, device="cpu")
    last = (steps * flags).amax(1, keepdim=True)  # 0: nothing is before it, or none is set
    if not bool(last.any()):
        skip("no flag is set after the first step: pass a batch in which one is")

    def before(one: Batch, k: int) -> Tensor | None:
        return None if k == index else steps_at(steps < last)(one, k)

    run = run_perturbed(baseline, before)
    if run is None:
        skip(UNCHANGED)
    with_steps = [k for k, _ in baseline.judged() if baseline.has_steps(k)]
    for k in filter(run.has, with_steps):
        # An output may begin with a later step, or before the first, and end with the longest.
        late = max(missing := baseline.missing(k), 0)
        moved = run.moved(k).cpu()[:, late - missing :]
        shown = moved & ((steps >= last) & (last > 0))[:, late : late + moved.shape[1]]
        if not is_shown(baseline, shown):
            continue
        sample, flag = first_true(shown.any(1)), int(last[first_true(shown.any(1))])
        found = [step + late for step in shown[sample].nonzero().flatten().tolist()]
        of = f"{baseline.of_sample(k, sample)} at step {found[0]}"
        means = ("means", "the reset comes a step late, after the step that it is for")
        what = f"{of} depends on steps before {flag}, where a reset is flagged"
        fail("reset", what, [means] * (found == [flag]))
    if not any(map(run.has, with_steps)):
        skip(OTHER_SHAPES if with_steps else OTHER_OUTPUTS)
    return (
        f"from a flag on, nothing depends on earlier steps ({int(last.any(1).sum())} samples tried)"
    )
