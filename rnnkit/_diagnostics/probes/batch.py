"""The probe *batch*: a sample's output does not depend on any other sample's input."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.explain.locate import locate_sample
from rnnkit._diagnostics.inputs.changes import sample_at
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.lab import PerturbedRun, comparable, run_perturbed
from rnnkit._diagnostics.measure.unfollowed import why_unfollowed
from rnnkit._diagnostics.probes.loss import judge_loss
from rnnkit._diagnostics.run.outputs import is_number, orders, shape_of
from rnnkit._diagnostics.tell.picture import DependencyMap
from rnnkit._diagnostics.tell.report import ONE_SAMPLE, SAMPLES, Line, fail, skip


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
        skip(why_unfollowed(baseline))
    tried = [(k, run_perturbed(baseline, sample_at(k))) for k in range(batch.size)[:SAMPLES]]
    runs = {sample: run for sample, run in tried if run is not None}
    made = comparable(runs.values(), indices)
    moved = [[run.moved(k).any(1) for k in indices if run.has(k)] for run in made]
    if all(moved) and len(runs) == batch.size:
        _keep_map(baseline, moved, indices[0])
    leaks: list[_Leak] = []
    for order in orders(baseline.normal, baseline.axes):
        baseline.order = order
        leak = _first_leak(runs, indices, batch.size)
        if leak is None:
            return f"no sample's output depends on another sample ({sum(map(bool, moved))} tried)"
        leaks.append(leak)
    baseline.order = None
    _skip_if_flat(baseline)
    leak = leaks[0]
    affected = baseline.of_sample(leak.output, leak.sample)
    what = f"{affected} depends on input of sample {batch.numbers[leak.source]}"
    inputs = runs[leak.source].inputs
    return fail("batch", what, *locate_sample(baseline, inputs, leak.source, leak.output))


class _Leak(NamedTuple):
    """A change of one sample that shows at another one, in an output."""

    source: int
    output: int
    sample: int


def _first_leak(
    runs: Mapping[int, PerturbedRun], indices: Sequence[int], size: int
) -> _Leak | None:
    """Return the first change of a sample that shows at another one."""
    samples = torch.arange(size, device="cpu").unsqueeze(1)
    for source, run in runs.items():
        shown = run.shown(indices, samples != source)
        if shown is not None:
            output, [(sample, _), *_] = shown
            return _Leak(source, output, sample)
    return None


def _keep_map(baseline: Baseline, moved: Sequence[Sequence[Tensor]], index: int) -> None:
    """Keep for the report which samples of the output moved with which sample of the input."""
    batch = baseline.batch
    columns = torch.stack([torch.stack(list(each)).any(0) for each in moved], 1)
    numbers = tuple(batch.numbers)
    axes = batch.axes[batch.first] or 0, baseline.axes[index] or 0
    drawn = DependencyMap(columns, numbers, numbers, *axes)
    baseline.report._maps["samples"] = drawn, "independent"  # noqa: SLF001 - it draws them


def _skip_if_flat(baseline: Baseline) -> None:
    """Skip if the samples are rows of a batch and its steps, which a layer gets apart."""
    batch = baseline.batch
    for event in baseline.events:
        if not isinstance(event.module, RNNBase):
            continue
        shape = shape_of(next(iter(event.tensors), None)) or ()
        one, two, *_ = (*shape, 0, 0)
        if one * two == batch.size and min(one, two) > 1:
            both = f"axis {batch.axes[batch.first]} of the input is {one} * {two}, batch and seq"
            skip(f"{both}: pass (batch, seq, ...), and flatten it in call=")


def _find_rows_of_steps(baseline: Baseline) -> None:
    """Find an output that has a row for each step instead of a sample."""
    batch = baseline.batch
    axis = baseline.out_seq_dim
    first = baseline.first or 0
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
