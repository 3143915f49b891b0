"""The probe *batch*: a sample's output does not depend on any other sample's input."""

from collections.abc import Mapping
from typing import NoReturn

from torch import Tensor
from torch.nn import RNNBase

from rnnkit._base.message import count
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import sample_at
from rnnkit._diagnostics.experiment import PerturbedRun, first_true, run_perturbed
from rnnkit._diagnostics.judge import is_shown
from rnnkit._diagnostics.locate import locate_sample
from rnnkit._diagnostics.outputs import orders
from rnnkit._diagnostics.report import (
    BY_CHANCE,
    OTHER_SHAPES,
    SAMPLES,
    UNCHANGED,
    UNFOLLOWED,
    fail,
    skip,
)
from rnnkit._diagnostics.restriction import cause_of_order, follows


def probe_batch(baseline: Baseline) -> str:
    """Sample i's output does not depend on sample j's input."""
    batch = baseline.batch
    if batch.size == 1:
        skip("the batch has one sample; give two or more")
    indices = [index for index, _ in baseline.judged()]
    if not indices:
        _judge_rows(baseline)
    runs = {
        source: perturbed
        for source in range(min(batch.size, SAMPLES))
        if (perturbed := run_perturbed(baseline, sample_at(source))) is not None
    }
    compared = sum(any(map(run.has, indices)) for run in runs.values())
    if not compared:
        skip(OTHER_SHAPES if runs else UNCHANGED)
    for order in orders(baseline.normal, baseline.axes):
        baseline.order = order
        if _leak(runs, indices) is None:
            which = count(compared, "sample", "samples")
            if compared == len(runs):
                return f"{which}, each on its own"
            others = "each on its own; the others change the shapes"
            return f"{compared} of {len(runs)} samples, {others}"
    baseline.order = None
    if (rows := _flat(baseline)) is not None:
        skip(f"axis {batch.axes[batch.first]} of the input is {rows} in one")
    source, sample, shown = _leak(runs, indices) or (0, 0, 0)
    if not follows(baseline, shown):
        skip(BY_CHANCE)
    where = f"input of sample {batch.numbers[source]}"
    what = f"{baseline.of_sample(shown, sample)} depends on {where}"
    found = locate_sample(runs[source], source)
    rows_ = [*found.rows]
    if all(label != "fix" for label, _ in rows_):
        rows_[1:] = cause_of_order(runs[source], source, shown) or rows_[1:]
    return fail("batch", what, rows_, found.module)


def _leak(runs: Mapping[int, PerturbedRun], indices: list[int]) -> tuple[int, int, int] | None:
    """Return which sample shows in which other one, and in which output; None if none does."""
    for source, run in runs.items():
        masks = {index: run.moved_within(index).any(1) for index in indices if run.has(index)}
        for mask in masks.values():
            mask[source] = False
        shown = [first_true(mask) for mask in masks.values() if is_shown(run.baseline, mask)]
        if shown:
            sample = min(shown)
            return source, sample, next(index for index, mask in masks.items() if mask[sample])
    return None


def _judge_rows(baseline: Baseline) -> NoReturn:
    """Skip since no output is judged; fail if one has a row for each step instead of a sample."""
    batch, axis = baseline.batch, baseline.out_seq_dim
    followed = baseline.runs_on_fewer and baseline.runs_on_less
    first = baseline.normal[baseline.first] if baseline.first is not None else None
    if first is not None and first.dim() > 1 and followed and axis is not None:
        baseline.session.attempt(batch.samples(range(batch.size - 1)).tree())
        if baseline.session.names != baseline.names:
            skip("the outputs are more or fewer with the samples: none has all")
        one = baseline.session.attempt(batch.samples([0]).tree())
        other = one[baseline.first or 0] if one else None
        is_same = not isinstance(other, Tensor) or other.shape == first.shape
        if is_same and first.shape[axis] in (batch.steps, batch.longest):
            rows = f"a row for each of {batch.steps} steps, none for a sample"
            layout = [
                ("likely", "batch and seq have changed places"),
                ("fix", "batch_first=True, or x.transpose(0, 1) before the layer"),
            ]
            fail("batch", f"output {tuple(first.shape)} has {rows}", layout)
    skip(UNFOLLOWED)


def _flat(baseline: Baseline) -> str | None:
    """Return the sizes that a layer makes of the axis of samples, if it holds batch and seq."""
    for event in baseline.events:
        given = event.tensors[0] if event.kind == "input" and event.tensors else None
        if isinstance(event.module, RNNBase) and isinstance(given, Tensor) and given.dim() == 3:
            one, two = given.shape[:2]
            if one * two == baseline.batch.size and min(one, two) > 1:
                return f"{one} * {two}, batch and seq"
    return None
