"""The probe *batch*: a sample's output does not depend on any other sample's input."""

import torch
from torch.nn import RNNBase

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import sample_at
from rnnkit._diagnostics.lab import comparable, run_perturbed
from rnnkit._diagnostics.locate import locate_sample
from rnnkit._diagnostics.loss import judge_loss
from rnnkit._diagnostics.outputs import is_number, orders, shape_of
from rnnkit._diagnostics.picture import DependencyMap
from rnnkit._diagnostics.report import ONE_SAMPLE, SAMPLES, Line, fail, skip


def probe_batch(baseline: Baseline) -> str:
    """Changing one sample changes no other sample's output."""
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
    samples = torch.arange(batch.size, device="cpu").unsqueeze(1)
    tried = ((k, run_perturbed(baseline, sample_at(k))) for k in range(batch.size)[:SAMPLES])
    runs = {k: run for k, run in tried if run is not None}
    made = comparable(runs.values(), indices)
    moved = [[run.moved(k).any(1) for k in indices if run.has(k)] for run in made]
    if all(moved) and len(runs) == batch.size:
        columns = torch.stack([torch.stack(each).any(0) for each in moved], 1)
        axes = batch.axes[batch.first] or 0, baseline.axes[indices[0]] or 0
        drawn = DependencyMap(columns, (*batch.numbers,), (*batch.numbers,), *axes)
        baseline.report._maps["samples"] = drawn, "independent"  # noqa: SLF001 - it draws them
    leaks = []
    for order in orders(baseline.normal, baseline.axes):
        baseline.order = order
        shown = ((k, run.shown(indices, samples != k)) for k, run in runs.items())
        leak = next(((k, *found) for k, found in shown if found is not None), None)
        if leak is None:
            return f"no sample's output depends on another sample ({sum(map(bool, moved))} tried)"
        leaks.append(leak)
    baseline.order = None
    for event in baseline.events:
        one, two, *_ = (*(shape_of(next(iter(event.tensors), None)) or ()), 0, 0)
        if isinstance(event.module, RNNBase) and one * two == batch.size and min(one, two) > 1:
            both = f"axis {batch.axes[batch.first]} of the input is {one} * {two}, batch and seq"
            skip(f"{both}: pass (batch, seq, ...), and flatten it in call=")
    source, index, [(sample, _), *_] = leaks[0]
    what = f"{baseline.of_sample(index, sample)} depends on input of sample {batch.numbers[source]}"
    rows, module = locate_sample(baseline, runs[source].inputs, source, index)
    return fail("batch", what, rows, module)


def _find_rows_of_steps(baseline: Baseline) -> None:
    """Find an output that has a row for each step instead of a sample."""
    batch, axis, first = baseline.batch, baseline.out_seq_dim, baseline.first or 0
    shape = shape_of(next(iter(baseline.normal[first:]), None)) or ()
    if len(shape) < 2 or axis is None or shape[axis] not in (batch.steps, batch.longest):
        return
    one = baseline.attempt(batch.samples([0]))
    if one is not None and shape_of(one[first]) == shape:
        what = f"output {shape} has a row for each of {shape[axis]} steps, none for a sample"
        fail("batch", what, _why_rows_of_steps(baseline))


def _why_rows_of_steps(baseline: Baseline) -> list[Line]:
    """Return whether a layer's axes have changed places, or only the index into its output."""
    layers = [x for x in baseline.session.model.modules() if isinstance(x, RNNBase)]
    is_batch_first = baseline.batch.axes[baseline.batch.first] == 0
    if layers and all(layer.batch_first == is_batch_first for layer in layers):
        last, other = ("y[:, -1]", "y[-1]") if is_batch_first else ("y[-1]", "y[:, -1]")
        cause = ("likely", f"{other} of an output, which is its last sample")
        return [cause, ("fix", f"{last}, which is the last step of each sample")]
    likely = ("likely", "batch and seq have changed places")
    ways = "batch_first=True and y[:, -1], or x.transpose(0, 1) into the layer and y[-1]"
    return [likely, ("fix", ways)]
