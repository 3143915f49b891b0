"""Which axes of the outputs are batch and seq: those that follow what is left out of the inputs."""

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import refuse
from rnnkit._diagnostics.inputs.axes import (
    find_joined_axes,
    infer_steps,
    shortened_axis,
    shrinks_twice,
)
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import changed, sample_at
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.run.events import Recorder
from rnnkit._diagnostics.run.isolation import Session
from rnnkit._diagnostics.run.outputs import Leaves, are_bit_equal, split_joined_axes


def find_axes(baseline: Baseline, out_seq_dim: int | None) -> None:
    """Find which axes of the outputs are batch and seq: those that follow what is left out.

    ``baseline`` is the model, a batch, and the output for it (its leaves: tensors); what is found
    is written into it. The model runs a second time, without one sample, and with fewer steps.
    ``out_seq_dim`` is the seq axis of the first output, if the caller says it.
    """
    batch = baseline.batch
    first = baseline.first
    _run_again(baseline)
    fewer, left_out = _leave_one_out(baseline.session, batch, baseline.normal)
    baseline.output_without_one = fewer
    baseline.left_out_sample = left_out
    if fewer is not None and len(fewer) == len(baseline.normal):
        _find_batch_axes(baseline, fewer)
    if first is None:
        return
    _take_batch_axis_of_input(baseline, first)
    # The steps of the input whose steps are judged, then of those with lengths or, if the first
    # output has other steps, of each that may be a target.
    for index in sorted(range(len(batch.leaves)), key=batch.sequence.__ne__):
        if _may_pace(baseline, index, first):
            _find_step_axes(baseline, index)
    axis = _told_axis(baseline, first, out_seq_dim)
    if axis not in (None, baseline.step_axes[first]):
        baseline.step_axes[first] = axis
        baseline.step_inputs[first] = batch.sequence


def _run_again(baseline: Baseline) -> None:
    """Run the copy of the model that ran last a second time on the same batch.

    If that returns the same, keep what happened in it: else a run for that alone would be needed.
    ``baseline`` is the model, a batch, and its output, into which it is written.
    """
    watcher = Recorder()
    session = baseline.session
    again = session.run(baseline.batch.tree(), on=session.last, watch=watcher.watch)
    baseline.second_output = again
    if are_bit_equal(baseline.normal, again):
        baseline.once("events", lambda: watcher.events)


def _leave_one_out(session: Session, batch: Batch, normal: Leaves) -> tuple[Leaves | None, int]:
    """Return the output without one sample, and which one; no output if the model refuses.

    ``normal`` is the output for all. Without the longest sample the steps shrink as well, so the
    shortest that leaves them as they are is left out.
    """
    if batch.size == 1:
        return None, 0
    valid_steps = batch.valid_steps()
    shortest_first = sorted(range(batch.size), key=valid_steps.__getitem__)
    shrunk = None
    for left_out in shortest_first:
        rest = [sample for sample in range(batch.size) if sample != left_out]
        fewer = session.attempt(batch.samples(rest).tree())
        if fewer is not None and not shrinks_twice(normal, fewer):
            return fewer, left_out
        if left_out == shortest_first[0]:
            shrunk = fewer
        if fewer is None:
            break
    return shrunk, shortest_first[0]


def _find_batch_axes(baseline: Baseline, fewer: Leaves) -> None:
    """Find the axis of each output that is shorter by one without a sample.

    ``fewer`` is the output without it. An axis that is shorter by several may have samples and
    steps in one, see :func:`find_joined_axes`: such outputs are split into two axes first.
    """
    batch = baseline.batch
    session = baseline.session

    def run_changed(sample: int) -> Leaves | None:
        """Return the output for other values of one sample; None if that has no other ones."""
        inputs = changed(batch, sample_at(sample))
        return None if inputs is None else session.attempt(inputs)

    flats = find_joined_axes(baseline.normal, fewer, batch, run_changed)
    session.joined_axes = flats
    session.size_of = batch.size_of
    normal = split_joined_axes(baseline.normal, flats, batch.size)
    baseline.normal = normal
    if baseline.second_output is not None:
        baseline.second_output = split_joined_axes(baseline.second_output, flats, batch.size)
    found = map(shortened_axis, normal, split_joined_axes(fewer, flats, batch.size - 1))
    baseline.axes = [axis if by == 1 else None for axis, by in found]
    if not shrinks_twice(normal, fewer):
        return
    # Where each sample is the longest of some input, none can be left out alone.
    twice = batch.samples([*range(batch.size), baseline.left_out_sample])
    more = baseline.attempt(twice) or ()
    for index, pair in enumerate(zip(more, normal, strict=False)):
        axis, by = shortened_axis(*pair)
        if baseline.axes[index] is None and by == 1:
            baseline.axes[index] = axis


def _take_batch_axis_of_input(baseline: Baseline, first: int) -> None:
    """If no sample can be left out, take the input's batch axis for that of the first output.

    It has to be the only axis that is as long as the batch. ``first`` is the index of that output.
    """
    batch = baseline.batch
    shape = tuple(baseline.normal[first].shape)
    sizes = enumerate(shape[:-1] or shape)
    fitting = [axis for axis, size in sizes if size == batch.size]
    if baseline.output_without_one is None and fitting == [batch.axes[batch.first]]:
        baseline.axes[first] = fitting[0]


def _may_pace(baseline: Baseline, index: int, first: int) -> bool:
    """Return whether outputs may have the steps of the input ``index``, which are tried then.

    ``baseline`` is the model, a batch, and its output; ``first`` is the index of the first output.
    """
    batch = baseline.batch
    if index == batch.sequence or index in batch.lengths:
        return True
    if baseline.has_steps(first):
        return False
    return batch.is_content(index) and not batch.has_steps(index)


def _find_step_axes(baseline: Baseline, index: int) -> None:
    """Find the axis of each output that is shorter with fewer steps of the input ``index``."""
    followed = baseline.with_steps_of(index).batch
    shorter = infer_steps(followed, baseline.attempt)
    if shorter is None:
        return
    if index == baseline.batch.sequence:
        baseline.runs_on_less = True
    more = (followed.steps or 0) - (followed.longest or 0)
    for k, pair in enumerate(zip(baseline.normal, shorter, strict=True)):
        axis, by = shortened_axis(*pair)
        if by in {1, 1 + more} and axis != baseline.axes[k] and baseline.step_inputs[k] is None:
            baseline.step_axes[k] = axis
            baseline.step_inputs[k] = index


def _told_axis(baseline: Baseline, first: int, out_seq_dim: int | None) -> int | None:
    """Return the seq axis of the first output that the caller names, or that sizes tell.

    ``first`` is the index of that output in the baseline's (the model, a batch, and its output),
    ``out_seq_dim`` what the caller says. If nothing tells, return None.
    """
    shape = tuple(baseline.normal[first].shape)
    if out_seq_dim is not None and first not in baseline.session.joined_axes:
        _check_out_seq_dim(baseline, first, out_seq_dim)
        return out_seq_dim % len(shape)
    if baseline.runs_on_less or baseline.step_inputs[first] is not None:
        return None
    # If the model takes no fewer steps: the axis that is as long as the input.
    as_long = [k for k, n in enumerate(shape[:-1]) if n == baseline.batch.steps]
    fitting = [k for k in as_long if k != baseline.axes[first]]
    return fitting[0] if len(fitting) == 1 else None


def _check_out_seq_dim(baseline: Baseline, first: int, out_seq_dim: int) -> None:
    """Refuse an axis that the first output does not have, or that has the samples."""
    rank = baseline.normal[first].dim()
    if baseline.output_without_one is not None and out_seq_dim % rank == baseline.axes[first]:
        text = " is the batch axis of the first output"
    elif -rank <= out_seq_dim < rank:
        return
    else:
        text = f": the first output has {rank} axes"
    message = f"out_seq_dim={out_seq_dim}{text}"
    fix = ("fix", "leave out_seq_dim out, and verify finds the axis")
    refuse(ArgumentError, "out_seq_dim", message, "", fix, code="verify-axis")
