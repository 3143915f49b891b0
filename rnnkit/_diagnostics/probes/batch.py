"""The probe *batch*: a sample's output does not depend on any other sample's input."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Module, RNNBase
from torch.nn.utils.rnn import PackedSequence

from rnnkit._diagnostics.explain.locate import locate_sample
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import sample_at
from rnnkit._diagnostics.inputs.lengths import counts_of
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import Change, Leak, compare_each
from rnnkit._diagnostics.measure.prepared import comes_in_groups
from rnnkit._diagnostics.measure.slopes import gradients_of
from rnnkit._diagnostics.measure.unfollowed import why_one_sample, why_unfollowed
from rnnkit._diagnostics.probes.loss import judge_loss
from rnnkit._diagnostics.run.module_calls import calls_in, steps_of_modules
from rnnkit._diagnostics.run.outputs import equal, is_dense, is_number, orders, shape_of
from rnnkit._diagnostics.tell.outcome import (
    INTEGERS,
    Drawn,
    Finding,
    Line,
    Outcome,
    Passed,
    Skipped,
)
from rnnkit._diagnostics.tell.picture import DependencyMap
from rnnkit._diagnostics.tell.report import SAMPLES, joined_by_and

#: Runs by the sample that was changed in them.
Changes = Mapping[int, Change]

REST = "batch was checked only for the rest, not for"


def probe_batch(baseline: Baseline) -> Outcome:
    """Changing one sample changes no other sample's output.

    ``baseline`` is the model, a batch, and what it returned for that. A model that returns only
    numbers (a loss) is judged by the gradients of its samples instead. No loss of torch's that it
    calls reads a wrong axis.
    """
    if baseline.batch.size == 1:
        return Skipped(why_one_sample(baseline.batch))
    losses = gradients_of(baseline).noticed.wrong_losses
    if losses:
        wrong = losses[0]
        what = baseline.batch.without_size(wrong.what)
        return Finding(what, [("at", wrong.place)], fix=wrong.fix)
    numbers = [*filter(is_number, baseline.normal)]
    if numbers and all(leaf.numel() == 1 for leaf in numbers):
        outcome = judge_loss(baseline)
        if baseline.batch.shared and isinstance(outcome, Passed):
            return Skipped(_in_what_nothing_shows(baseline), "partial", notes=outcome.notes)
        return outcome
    indices = baseline.outputs_by_sample()
    if not indices:
        return _rows_of_steps(baseline) or Skipped(why_unfollowed(baseline))
    return _judge_samples(baseline, indices)


def _judge_samples(baseline: Baseline, indices: Sequence[int]) -> Outcome:
    """Change one sample at a time: no other sample of the outputs ``indices`` may move."""
    batch = baseline.batch
    wheres = {sample: sample_at(sample) for sample in range(batch.size)[:SAMPLES]}
    changes = compare_each(baseline, wheres, indices)
    if isinstance(changes, Skipped):
        return changes
    leak = _leak_in_each_order(baseline, changes, indices)
    drawn = _map_of_samples(baseline, changes, indices)
    grouped = _in_groups(baseline)
    if leak is not None and grouped and _may_be_steps(baseline):
        return grouped
    if leak is not None:
        rows = _rows_of_fewer(baseline, changes, indices)
        return rows or _finding(baseline, *leak, drawn)
    if grouped and batch.size > SAMPLES:
        return grouped  # the samples that were not changed may mix
    if not any(is_number(baseline.normal[index]) for index in indices):
        return Skipped(INTEGERS)
    unseen = _in_what_nothing_shows(baseline)
    if unseen:
        return Skipped(unseen, "partial", drawn=drawn)
    mixed = _moved_without_samples(baseline, changes.values())
    if mixed:
        what = f"{REST} {joined_by_and(mixed)}, where no axis follows the samples"
        return Skipped(what, "partial", drawn=drawn)
    tried = sum(any(map(change.has, indices)) for change in changes.values())
    text = f"no sample's output depends on another sample ({tried} of {batch.whole_size} tried)"
    return Passed(text, [*changes.values()], drawn=drawn)


def _rows_of_fewer(baseline: Baseline, changes: Changes, indices: Sequence[int]) -> Skipped | None:
    """Skip if rows depend on rows of the same sample only, and samples are fewer than rows."""
    batch = baseline.batch
    for sample_of in [*_as_in_groups(batch), *_as_beside_states(batch)]:
        if _stay_within(changes, indices, sample_of):
            what = f"{batch.size} rows may be those of {int(sample_of.max()) + 1} samples"
            return Skipped(f"{what}: if so, pass (batch, seq, ...), and flatten it in call=")
    return None


def _as_in_groups(batch: Batch) -> Iterator[Tensor]:
    """Yield the sample of each row, where an input says how many rows each has, or from where to.

    As the lengths ``[3, 2, 4]`` of documents do whose 9 sentences are the rows, or the ``(scene,
    2)`` starts and ends of scenes.
    """
    for leaf in batch.leaves:
        is_span = is_dense(leaf) and leaf.dim() == 2 and leaf.shape[1] == 2
        counts = counts_of(leaf.diff(dim=1) if is_span else leaf)
        are_fewer = 1 < len(counts) < batch.size
        if are_fewer and min(counts) > 0 and sum(counts) == batch.size:
            samples = torch.arange(len(counts), device="cpu")
            yield samples.repeat_interleave(torch.tensor(counts, device="cpu"))


def _as_beside_states(batch: Batch) -> Iterator[Tensor]:
    """Yield the sample of each row, if an input without a batch axis has an axis of samples.

    As the states beside a rollout ``(seq * batch, ...)`` have.
    """
    rows = torch.arange(batch.size, device="cpu")
    whole = [batch.leaves[k] for k in batch.content if batch.axes[k] is None]
    sizes = {size for leaf in whole for size in shape_of(leaf) or ()}
    fitting = [size for size in sizes if 1 < size < batch.size and batch.size % size == 0]
    for size in sorted(fitting, reverse=True):
        yield rows % size
        yield rows // (batch.size // size)


def _stay_within(changes: Changes, indices: Sequence[int], sample_of: Tensor) -> bool:
    """Return whether a change of a row moves rows of its sample only, by the sample of each."""
    for row, change in changes.items():
        others = (sample_of != sample_of[row]).unsqueeze(1)
        if change.leak(indices, others) is not None:
            return False
    return True


def _moved_without_samples(baseline: Baseline, changes: Collection[Change]) -> list[str]:
    """Return the outputs, by name, that samples move, or give other rows, without a batch axis."""
    followed = baseline.outputs_by_sample()
    return [
        baseline.name(index)
        for index, leaf in enumerate(baseline.normal)
        if isinstance(leaf, Tensor) and leaf.dim() and index not in followed
        if any(not change.has(index) or not equal(leaf, change.output[index]) for change in changes)
    ]


def _in_what_nothing_shows(baseline: Baseline) -> str:
    """Return why some inputs or outputs may mix samples and do not show it; "" if none may.

    ``baseline`` is the model, a batch, and what it returned for that.
    """
    if baseline.batch.shared:
        return f"{REST} {joined_by_and(baseline.batch.shared)}, which every sample uses as a whole"
    every = zip(baseline.names, baseline.normal, strict=True)
    numbers = [(f"output{name}", leaf) for name, leaf in every if is_number(leaf)]
    losses = [name for name, leaf in numbers if leaf.numel() == 1]
    if losses and baseline.batch.size > 1:
        fix = "verify a model that returns it alone"
        return f"{REST} {joined_by_and(losses)}, a single number: {fix}"
    blind = [name for name, leaf in numbers if leaf.numel() > 1 and not leaf.isfinite().any()]
    return f"{REST} {joined_by_and(blind)}, which has no finite number" if blind else ""


def _finding(baseline: Baseline, source: int, leak: Leak, drawn: Drawn | None) -> Finding:
    """Return the finding of a leak: which sample depends on the ``source``, where that begins.

    ``drawn`` is the map that shows which sample moved with which, for the report, or None.
    """
    run = leak.run
    sample, _ = leak.places[0]
    rows, module = locate_sample(run.baseline, run.batch, source, leak.output)
    affected = baseline.of_sample(leak.output, sample)
    what = f"{affected} depends on the input of sample {baseline.batch.caller_indices[source]}"
    return Finding(what, rows, module, drawn=drawn)


def _leak_in_each_order(
    baseline: Baseline, changes: Changes, indices: Collection[int]
) -> tuple[int, Leak] | None:
    """Return a leak that is there however an output orders the samples, and which sample leaks.

    ``changes`` are the runs by the sample that was changed in them, and ``indices`` the outputs
    with a row for each sample. None if one of the orders shows no leak: the baseline takes that.
    """
    samples = torch.arange(baseline.batch.size, device="cpu").unsqueeze(1)
    found = []
    for order in orders(baseline.normal, baseline.axes.batch):
        baseline.known.order = order
        # Where other samples moved than the one that was changed.
        leaks = ((k, run.leak(indices, samples != k)) for k, run in changes.items())
        first = next(((k, leak) for k, leak in leaks if leak is not None), None)
        if first is None:
            return None
        found.append(first)
    baseline.known.order = None
    return found[0]


def _map_of_samples(baseline: Baseline, changes: Changes, indices: Sequence[int]) -> Drawn | None:
    """Return a map: which samples of the outputs moved with which sample of the input.

    ``changes`` are runs by the sample that was changed, and ``indices`` the outputs with a row for
    each. None if not every sample was changed, or if no output had its shape then.
    """
    batch = baseline.batch
    columns = []
    for change in changes.values():
        moved = [change.moved(index).any(1) for index in indices if change.has(index)]
        if not moved:
            return None
        columns.append(torch.stack(moved).any(0))
    if len(columns) != batch.size:
        return None
    numbers = tuple(batch.caller_indices)
    axes = (batch.batch_dim, baseline.axes.batch[indices[0]])
    found = DependencyMap(torch.stack(columns, 1), numbers, numbers, *axes)
    return Drawn("sample", found, "independent")


def _in_groups(baseline: Baseline) -> Skipped | None:
    """Skip if the samples belong together in groups, which may be the steps of one; else None."""
    if not comes_in_groups(baseline):
        return None
    size = baseline.batch.size
    what = f"the model takes {size} or {2 * size} samples, but not {size - 1}"
    fix = "if they are rows of seq * batch, pass (batch, seq, ...), and flatten it in call="
    return Skipped(f"{what}: {fix}")


def _may_be_steps(baseline: Baseline) -> bool:
    """Return whether the samples may be steps of fewer samples: rows ``(seq * batch, ...)``.

    How much a layer or cell reads tells, in steps times samples. As many as there are samples: they
    are. If each sample is one row of features, they may be, unless a layer takes these for steps.
    """
    batch = baseline.batch
    first = batch.leaves[batch.first]
    read = [steps * samples for (_, samples), steps in steps_of_modules(baseline.events).items()]
    return batch.size in read or (first.dim() == 2 and first.numel() not in read)


def _rows_of_steps(baseline: Baseline) -> Finding | None:
    """Return a finding if an output has a row for each step instead of a sample; else None.

    Its shape then stays the same for the longest sample alone.
    """
    batch = baseline.batch
    axis = baseline.out_seq_dim
    first = baseline.first
    if first is None or axis is None:
        return None
    shape = tuple(baseline.normal[first].shape)
    if len(shape) < 2 or shape[axis] not in (batch.steps, batch.longest):
        return None
    if batch.size in shape[:axis] + shape[axis + 1 : -1]:  # a model for one batch size
        return None
    counts = batch.valid_steps()
    one = baseline.attempt(batch.samples([counts.index(max(counts))]))
    if one is None or shape_of(one[first]) != shape:
        return None
    what = f"output {shape} has a row for each of {shape[axis]} steps, none for a sample"
    return Finding(what, _why_rows_of_steps(baseline))


def _why_rows_of_steps(baseline: Baseline) -> list[Line]:
    """Return rows that say whether a layer's axes are swapped, or an index is wrong.

    ``baseline`` is a model whose output has a row for each step, and a batch.
    """
    layers = [x for x in Module.modules(baseline.session.model) if isinstance(x, RNNBase)]
    is_batch_first = baseline.batch.batch_dim == 0
    outputs = [call.output for call in calls_in(baseline.events)]
    if is_batch_first and any(isinstance(output, PackedSequence) for output in outputs):
        likely = ("likely", "the cause is pad_packed_sequence, which returns (seq, batch, ...)")
        return [likely, ("fix", "pad_packed_sequence(..., batch_first=True)")]
    if layers and all(layer.batch_first == is_batch_first for layer in layers):
        last, other = ("y[:, -1]", "y[-1]") if is_batch_first else ("y[-1]", "y[:, -1]")
        cause = ("likely", f"the cause is {other} of an output, which is its last sample")
        return [cause, ("fix", f"{last}, which is the last step of each sample")]
    likely = ("likely", "the cause is that batch and seq are swapped")
    ways = "batch_first=True and y[:, -1], or x.transpose(0, 1) into the layer and y[-1]"
    return [likely, ("fix", ways)]
