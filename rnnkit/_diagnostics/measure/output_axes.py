"""Which axes of the outputs are batch and seq: those that follow what is left out of the inputs."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import refuse
from rnnkit._diagnostics.inputs.axes import (
    are_same_rows,
    find_joined_axes,
    infer_steps,
    shortened_axis,
    shrinks_on_two_axes,
)
from rnnkit._diagnostics.measure.baseline import Baseline, events_of
from rnnkit._diagnostics.run.events import Recorder
from rnnkit._diagnostics.run.outputs import Leaves, are_bit_equal, shape_of, split_joined_axes
from rnnkit._diagnostics.tell.report import TRIES

#: What each axis is: ``"batch"``, ``"seq"``, or its size.
Layout = tuple[str | int, ...]


def with_axes(baseline: Baseline) -> Baseline:
    """Find which axes of the outputs are batch and seq: those that follow what is left out.

    The model runs a second time, without one sample, and with fewer steps. Returns the baseline
    (the model, a batch, and the output for it: its leaves) with the axes that were found.
    """
    again = _run_again(baseline)
    baseline = _with_batch_axes(baseline)
    again = split_joined_axes(again, baseline.axes.joined, baseline.batch.size)
    baseline.made["again"] = again
    first = baseline.first
    if first is None:
        return baseline
    tries = iter(range(TRIES))
    # The steps of the input whose steps are judged, then of those with lengths or, if the first
    # output has other steps, of each that may be a target.
    for index in sorted(baseline.batch.indices, key=baseline.batch.sequence.__ne__):
        if _may_pace(baseline, index, first):
            baseline = _with_step_axes(baseline, index, tries)
    axis = _told_axis(baseline, first)
    axes = baseline.axes
    if axis is None or axis == axes.seq.get(first):
        return baseline
    return replace(baseline, axes=axes.with_steps({first: axis}, baseline.batch.sequence))


def _run_again(baseline: Baseline) -> Leaves:
    """Run the copy of the model that ran last a second time on the same batch; return the output.

    If that is the same, keep what happened in it: else a run for that alone would be needed.
    """
    watcher = Recorder()
    session = baseline.session
    again = session.run(baseline.batch.tree(), on=session.last, watch=watcher.watch)
    if are_bit_equal(baseline.normal, again):
        baseline.made[events_of] = watcher.events
    return again


def _leave_one_out(baseline: Baseline) -> tuple[Leaves | None, int]:
    """Return the output without one sample, and which one; no output if the model refuses.

    Without the longest sample the steps shrink as well, so the shortest that leaves them as they
    are is left out.
    """
    batch = baseline.batch
    if batch.size == 1:
        return None, 0
    valid_steps = batch.valid_steps()
    shortest_first = sorted(range(batch.size), key=valid_steps.__getitem__)
    for left_out in shortest_first:
        fewer = baseline.session.attempt(batch.without(left_out).tree())
        if fewer is None or not shrinks_on_two_axes(baseline.normal, fewer):
            return fewer, left_out
    left_out = shortest_first[0]
    return baseline.session.attempt(batch.without(left_out).tree()), left_out


def _with_batch_axes(baseline: Baseline) -> Baseline:
    """Find the axis of each output that is shorter by one without a sample.

    An axis that is shorter by several may have samples and steps in one, see
    :func:`find_joined_axes`: such outputs have two axes in its place from now on.
    """
    batch = baseline.batch
    fewer, left_out = _leave_one_out(baseline)
    axes = replace(baseline.axes, without_one=fewer, left_out=left_out)
    if fewer is None or _has_one_size(baseline, fewer):
        return replace(baseline, axes=replace(axes, batch=_batch_axis_of_input(baseline)))
    if len(fewer) != len(baseline.normal):
        return replace(baseline, axes=axes)
    joined = find_joined_axes(baseline.normal, fewer, batch, left_out)
    normal = split_joined_axes(baseline.normal, joined, batch.size)
    fewer = split_joined_axes(fewer, joined, batch.size - 1)
    found = _longer_axes(normal, fewer)
    session = baseline.session.splitting(joined, batch.size_of)
    baseline = replace(baseline, session=session, normal=normal)
    if shrinks_on_two_axes(normal, fewer):
        # Where each sample is the longest of some input, none can be left out alone.
        twice = baseline.attempt(batch.samples([*range(batch.size), left_out])) or []
        found = _longer_axes(twice, normal) | found
    return replace(baseline, axes=replace(axes, batch=dict(sorted(found.items())), joined=joined))


def _has_one_size(baseline: Baseline, fewer: Leaves) -> bool:
    """Return whether a model makes as many rows without a sample as it makes of all samples.

    So does ``x.reshape(4, -1)``, whose rows are longer then. ``fewer`` is that output.
    """
    batch = baseline.batch
    for before, after in zip(baseline.normal, fewer, strict=False):
        axis, by = shortened_axis(before, after)
        if axis is None or axis == batch.batch_dim or by < 2 or are_same_rows(before, after, axis):
            continue
        if batch.batch_dim < before.dim() and before.shape[batch.batch_dim] == batch.size:
            return True
    return False


def _longer_axes(more: Leaves, fewer: Leaves) -> dict[int, int]:
    """Return the only axis of each output that is longer, by one, for one sample more."""
    found = enumerate(map(shortened_axis, more, fewer))
    return {index: axis for index, (axis, by) in found if axis is not None and by == 1}


def _batch_axis_of_input(baseline: Baseline) -> dict[int, int]:
    """Return the input's batch axis for that of each output, if no sample can be left out.

    It has to be the only axis that is as long as the batch.
    """
    batch = baseline.batch
    found = {}
    for index, leaf in enumerate(baseline.normal):
        shape = shape_of(leaf) or ()
        fitting = [axis for axis, size in enumerate(shape[:-1] or shape) if size == batch.size]
        if fitting == [batch.batch_dim]:
            found[index] = batch.batch_dim
    return found


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


def _with_step_axes(baseline: Baseline, index: int, tries: Iterator[int]) -> Baseline:
    """Find the axis of each output that is shorter with fewer steps of the input ``index``.

    ``tries`` says how many runs may still find out which other inputs are cut with it.
    """
    batch = baseline.batch
    axes = baseline.axes
    followed = batch.with_steps_of(index)
    found = infer_steps(followed, baseline.attempt, tries)
    if found is None:
        return baseline
    cut, shorter = found
    more = followed.steps - followed.longest
    seq: dict[int, int] = {}
    for k, (axis, by) in enumerate(map(shortened_axis, baseline.normal, shorter)):
        is_other = axis != axes.batch.get(k) and k not in axes.seq
        if axis is not None and is_other and by in {1, 1 + more}:
            seq[k] = axis
    if index == batch.sequence:
        axes = replace(axes, runs_on_less=True)
    batch = replace(batch, on_their_own=cut.on_their_own)
    return replace(baseline, batch=batch, axes=axes.with_steps(seq, index))


def _told_axis(baseline: Baseline, first: int) -> int | None:
    """Return the seq axis of the first output that the caller names, or that sizes tell.

    ``first`` is the index of that output in the baseline's (the model, a batch, and its output). If
    nothing tells, return None.
    """
    axes = baseline.axes
    batch = baseline.batch
    shape = baseline.normal[first].shape
    out_seq_dim = baseline.rules.out_seq_dim
    if out_seq_dim is not None and first not in axes.joined:
        _check_out_seq_dim(baseline, first, out_seq_dim)
        return out_seq_dim % len(shape)
    if axes.runs_on_less or first in axes.source:
        return None
    # If the model takes no fewer steps: the axis that is as long as the input.
    as_long = [k for k, n in enumerate(shape[:-1]) if n == batch.steps]
    samples = axes.batch.get(first, -1)
    front = samples if batch.batch_dim == 0 else -1  # in front of the samples are layers
    fitting = [k for k in as_long if k > front and k != samples]
    return fitting[0] if len(fitting) == 1 else None


def _check_out_seq_dim(baseline: Baseline, first: int, out_seq_dim: int) -> None:
    """Refuse an axis that the first output does not have, or that has the samples."""
    rank = baseline.normal[first].dim()
    axes = baseline.axes
    if axes.without_one is not None and out_seq_dim % rank == axes.batch.get(first):
        text = " is the batch axis of the first output"
    elif -rank <= out_seq_dim < rank:
        return
    else:
        text = f": the first output has {rank} axes"
    message = f"out_seq_dim={out_seq_dim}{text}"
    fix = "leave out_seq_dim out, and verify finds the axis"
    refuse(ArgumentError, "out_seq_dim", message, fix=fix, code="verify-axis")


def layout_of(baseline: Baseline) -> dict[str, Layout]:
    """Return the axes of each input and output of a model, as they were found, by its name.

    ``baseline`` is the model, a batch, and the output for it. The steps are those that are judged:
    other inputs may have steps of their own.
    """
    batch = baseline.batch
    found = baseline.axes
    layout: dict[str, Layout] = {}
    for k, (name, leaf) in enumerate(zip(batch.names, batch.leaves, strict=True)):
        seq = batch.seq_dims[k] if batch.has_steps(k) else None
        layout[name] = _in_words(leaf, batch.axes[k], seq)
    for k, leaf in enumerate(baseline.normal):
        seq = found.seq.get(k) if found.source.get(k) == batch.sequence else None
        axes = _in_words(leaf, found.batch.get(k), seq)
        if k in found.joined:
            at = found.joined[k].axis
            axes = (*axes[:at], " * ".join(map(str, axes[at : at + 2])), *axes[at + 2 :])
        if axes:  # None may have the same name
            layout[baseline.name(k)] = axes
    return {name: axes for name, axes in layout.items() if axes}


def _in_words(leaf: Any, batch: int | None, seq: int | None) -> Layout:
    """Return what the axes of a tensor are: a word for its batch and seq axis, else the size."""
    words = {seq: "seq", batch: "batch"}
    return tuple(words.get(axis, size) for axis, size in enumerate(shape_of(leaf) or ()))
