"""The probe *batch*: a sample's output does not depend on any other sample's input."""

from collections.abc import Mapping

import torch
from torch.nn import RNNBase

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.causes import THERE
from rnnkit._diagnostics.changes import sample_at
from rnnkit._diagnostics.judge import is_shown
from rnnkit._diagnostics.lab import PerturbedRun, first_true, follows, run_perturbed
from rnnkit._diagnostics.locate import locate_sample
from rnnkit._diagnostics.loss import judge_loss
from rnnkit._diagnostics.outputs import is_number, orders, shape_of
from rnnkit._diagnostics.picture import DependencyMap
from rnnkit._diagnostics.report import (
    BY_CHANCE,
    ONE_SAMPLE,
    OTHER_SHAPES,
    SAMPLES,
    UNCHANGED,
    fail,
    skip,
)


def probe_batch(baseline: Baseline) -> str:
    """Sample i's output does not depend on sample j's input."""
    batch = baseline.batch
    if batch.size == 1:
        skip(ONE_SAMPLE)
    numbers = [leaf for leaf in baseline.normal if is_number(leaf)]
    if numbers and all(leaf.numel() == 1 for leaf in numbers):
        return judge_loss(baseline)
    indices = [index for index, _ in baseline.judged()]
    if not indices:
        _find_rows_of_steps(baseline)
        skip(baseline.unfollowed())
    sources = range(min(batch.size, SAMPLES))
    runs = {k: run for k in sources if (run := run_perturbed(baseline, sample_at(k)))}
    compared = sum(any(map(run.has, indices)) for run in runs.values())
    if not compared:
        skip(OTHER_SHAPES if runs else UNCHANGED)
    _draw(baseline, runs, indices)
    for order in orders(baseline.normal, baseline.axes):
        baseline.order = order
        if _leak(runs, indices) is None:
            return f"no sample's output depends on another sample ({compared} tried)"
    baseline.order = None
    for event in baseline.events:
        shape = shape_of(next(iter(event.tensors), None)) or ()
        flat = shape[:2] if isinstance(event.module, RNNBase) and len(shape) == 3 else (1, 1)
        if event.kind == "input" and flat[0] * flat[1] == batch.size and min(flat) > 1:
            rows = f"{flat[0]} * {flat[1]}, batch and seq in one"
            skip(f"axis {batch.axes[batch.first]} of the input is {rows}")
    source, sample, index = _leak(runs, indices) or (0, 0, 0)
    if not follows(baseline, index):
        skip(BY_CHANCE)
    what = f"{baseline.of_sample(index, sample)} depends on input of sample {batch.numbers[source]}"
    found = locate_sample(baseline, runs[source].inputs, source, index)
    lines, dim = [*found.rows], batch.axes[batch.first] or 0
    if dict(lines).get("cause", "").endswith(THERE) and dim < 2:  # or the call is wrong
        one = batch.leaves[batch.first].dim() == 1
        other = "skip=['batch', 'alone']" if one else f"batch_dim={1 - dim}"
        which = "the input is one sequence" if one else f"axis {dim} of the input is seq"
        lines.append(("intended?", f"rnnkit.verify(..., {other}), if {which}"))
    return fail("batch", what, lines, found.module)


def _draw(baseline: Baseline, runs: Mapping[int, PerturbedRun], indices: list[int]) -> None:
    """Keep which samples of the outputs depend on which of the inputs, for a picture."""
    batch, numbers = baseline.batch, tuple(baseline.batch.numbers[k] for k in runs)
    shown = [[run.moved_within(k).any(1) for k in indices if run.has(k)] for run in runs.values()]
    if all(shown) and len(runs) == batch.size:
        columns = torch.stack([torch.stack(each).any(0).cpu() for each in shown], 1)
        axes = batch.axes[batch.first] or 0, baseline.axes[indices[0]] or 0
        found = DependencyMap(columns, numbers, numbers, *axes)
        baseline.report._maps["samples"] = found, "independent"  # noqa: SLF001 - it draws them


def _leak(runs: Mapping[int, PerturbedRun], indices: list[int]) -> tuple[int, int, int] | None:
    """Return which sample shows in which other one, and in which output; None if none does."""
    for source, run in runs.items():
        for index in filter(run.has, indices):
            mask = run.moved_within(index).any(1)
            mask[source] = False
            if is_shown(run.baseline, mask):
                return source, first_true(mask), index
    return None


def _find_rows_of_steps(baseline: Baseline) -> None:
    """Find an output that has a row for each step instead of a sample."""
    batch, axis, first = baseline.batch, baseline.out_seq_dim, baseline.first or 0
    shape = shape_of(next(iter(baseline.normal[first:]), None)) or ()
    if len(shape) < 2 or axis is None or not (baseline.runs_on_fewer and baseline.runs_on_less):
        return
    one = baseline.attempt(batch.samples([0]))
    is_same = one is not None and shape_of(one[first]) == shape
    if is_same and shape[axis] in (batch.steps, batch.longest):
        rows = f"a row for each of {batch.steps} steps, none for a sample"
        layout = [
            ("likely", "batch and seq have changed places"),
            ("fix", "batch_first=True and y[:, -1], or x.transpose(0, 1) into the layer and y[-1]"),
        ]
        fail("batch", f"output {shape} has {rows}", layout)
