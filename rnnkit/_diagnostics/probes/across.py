"""Flags of samples that meet features, where these are as many: each sample reads those of all.

A model does not take fewer of such flags with fewer samples, so they seem to have no batch.
"""

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import length
from rnnkit._diagnostics.experiment import PerturbedRun
from rnnkit._diagnostics.locate import locate_sample
from rnnkit._diagnostics.masks import is_binary
from rnnkit._diagnostics.report import UnjudgedError, fail


def check_flags(baseline: Baseline) -> None:
    """Find flags of samples and steps that are read across samples.

    A number for each sample may as well be one for each feature: then it is a note.
    """
    batch = baseline.batch
    for index in sorted(batch.uncut):
        leaf = batch.leaves[index]
        size, steps = length(leaf, batch.axes[batch.first] or 0), length(leaf, batch.seq_dim)
        if leaf.dim() == 1:
            text = f"input {index}, {size} numbers, is not cut with the samples"
            fix = "one for each sample meets (batch, feature) by .unsqueeze(-1)"
            baseline.report.noted(f"{text}: {fix}")
        # A square may be a mask from steps to steps.
        elif leaf.dim() == 2 and size != steps == batch.steps and is_binary(leaf):
            _check(baseline, index)


def _check(baseline: Baseline, index: int) -> None:
    """Turn the flags of the first sample; fail if that shows in another one."""
    batch = baseline.batch
    leaves = list(batch.leaves)
    leaves[index] = leaves[index].clone()
    # Flags that are not cut have a row for each sample that the caller gave.
    number = batch.numbers[0]
    row = leaves[index].select(batch.axes[batch.first] or 0, number)
    row.copy_(row == 0)
    try:
        run = PerturbedRun(baseline, batch.tree(leaves))
    except UnjudgedError:
        return
    alike = [shown for shown, _ in baseline.judged() if run.has(shown)]
    for sample in range(1, batch.size):
        if (shown := run.shows(sample, alike)) is not None:
            of = baseline.of_sample(shown, sample)
            what = f"{of} depends on input {index} of sample {number}"
            cause = f"input {index}, (batch, seq), meets features that are as many as samples"
            fix = ("fix", "flags.unsqueeze(-1), where they meet (batch, feature)")
            found = locate_sample(run, 0)
            fail("batch", what, [found.rows[0], ("cause", cause), fix], found.module)
