"""Lines of a report on what one model does by mistake, another on purpose; none raises."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise, product

import torch
from torch import Tensor
from torch.nn import BatchNorm1d, Conv1d, Conv2d, Module

from rnnkit._base.message import count
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import other_leaves, steps_at
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import are_near
from rnnkit._diagnostics.measure.judge import judge_of
from rnnkit._diagnostics.measure.otherwise import trained_otherwise
from rnnkit._diagnostics.measure.slopes import Gradients, gradients_in_training, gradients_of
from rnnkit._diagnostics.probes.streaming import streams_of
from rnnkit._diagnostics.probes.streams import ways_to_carry
from rnnkit._diagnostics.run.events import Event, Recorder
from rnnkit._diagnostics.run.isolation import random_sources
from rnnkit._diagnostics.run.module_calls import Call, calls_in
from rnnkit._diagnostics.run.outputs import (
    Given,
    Leaves,
    are_bit_equal,
    gradient_arrives,
    is_number,
    shape_of,
    shapes_of,
)
from rnnkit._diagnostics.tell.outcome import NO_STEPS, Skipped
from rnnkit._diagnostics.tell.report import NAMES

#: How far the numbers of two runs may be apart, relative to the largest one, and still be close.
CLOSE = 1e-3


def convolutions_over_features(baseline: Baseline) -> Iterator[str]:
    """Yield convolutions that take the steps for channels, and so slide over the features.

    A kernel of one mixes the steps of one feature at a time, which some models intend. ``baseline``
    is the model, a batch, and what it returned for that.
    """
    steps = baseline.batch.steps
    convolutions = [
        event
        for event in baseline.events
        if event.kind == "input" and isinstance(event.module, Conv1d)
    ]
    for event in convolutions:
        sizes = shape_of(event.tensors[0]) or ()
        if len(sizes) != 3 or event.module.kernel_size == (1,):
            continue
        if 1 < sizes[1] == steps != sizes[2]:
            what = (
                f"{event.label} slides over axis 2 of its input, of size {sizes[2]}, not over the"
            )
            yield f"{what} {steps} steps: x.transpose(1, 2) before it, or verify(..., seq_dim=2)"


def nans(baseline: Baseline) -> Iterator[str]:
    """Yield outputs that are NaN at some places, where no change shows."""
    for index, leaf in enumerate(baseline.normal):
        number = int(leaf.isnan().sum()) if is_number(leaf) else 0
        if 0 < number < leaf.numel():
            yield f"{baseline.name(index)} is NaN at {count(number, 'place', 'places')}"


def samples_left_out(baseline: Baseline) -> Iterator[str]:
    """Yield inputs, of a model that returns a loss, with samples that reach it in no way."""
    if any(isinstance(x, Tensor) and x.dim() for x in baseline.normal):
        return
    batch = baseline.batch
    for index in filter(batch.is_content, range(len(batch.leaves))):
        unread = _never_read_samples(baseline, index)
        if unread:
            listed = ", ".join(map(str, sorted(unread)[:NAMES]))
            number = count(len(unread), "sample", "samples")
            yield f"the loss does not depend on {number} of {batch.names[index]}: {listed}"


def _never_read_samples(baseline: Baseline, index: int) -> set[int]:
    """Return the samples of an input that get no gradient, also with other weights and inputs.

    Empty if no sample gets one, which is unknown, or if nothing can judge the model.
    """
    batch = baseline.batch
    unread = _unread_samples(batch, gradients_of(baseline), index)
    if not unread or len(unread) == batch.size:
        return set()
    judge = judge_of(baseline)
    if isinstance(judge, Skipped):
        return set()
    for other in trained_otherwise(judge):
        unread &= _unread_samples(batch, other, index)
    return unread


def _unread_samples(batch: Batch, run: Gradients, index: int) -> set[int]:
    """Return the samples of the input ``index`` that get no gradient; none if that is unknown."""
    slope = run.by_id.get(id(run.sources.get(index)))
    if slope is None:
        return set()
    rows = gradient_arrives(slope.movedim(batch.axes[index] or 0, 0))
    read = rows.reshape(batch.size, -1).any(1)
    return {*(~read).nonzero().flatten().tolist()}


def idle_columns(baseline: Baseline) -> Iterator[str]:
    """Yield weights with columns that learn nothing: they multiply slots that are never written."""
    # Also try it without dropout, which may hide a column from all samples.
    idle = _idle_columns(gradients_in_training(baseline)) & _idle_columns(gradients_of(baseline))
    judge = judge_of(baseline) if idle else None
    if not isinstance(judge, Baseline):
        return
    for other in trained_otherwise(judge):
        idle &= _idle_columns(other)
    for name, number in sorted(Counter(name for name, _ in idle).items()):
        columns = count(number, "column", "columns")
        yield f"{name} has {columns} without a gradient: unused, or used with zeros only"


def _idle_columns(run: Gradients) -> set[tuple[str, int]]:
    """Return (name of a weight, column) where the gradient is zero, if other columns get some."""
    found = set[tuple[str, int]]()
    for name, weight in run.weights.items():
        slope = run.by_id[id(weight)]
        if slope is not None and slope.dim() == 2 and not slope.is_sparse and slope.any():
            found |= {(name, k) for k, has in enumerate(slope.any(0).tolist()) if not has}
    return found


def order_unseen(baseline: Baseline) -> Iterator[str]:
    """Yield a line if the steps may stand in any order: no output would show it.

    ``baseline`` is the model, a batch, and what it returned; a run in float64 confirms the line.
    """
    if not _may_be_unordered(baseline):
        return
    near = baseline.attempt(_shuffled(baseline.batch))
    if near is None or not _are_close(baseline.normal, near):
        return
    judge = judge_of(baseline)
    if isinstance(judge, Skipped):
        return
    after = judge.attempt(_shuffled(judge.batch)) or []
    pairs = [*zip(judge.normal, after, strict=False)]
    if pairs and all(are_near(judge, x, y) for x, y in pairs if is_number(x)):
        yield "the steps in a different order give the same output: the model ignores their order"


def _may_be_unordered(baseline: Baseline) -> bool:
    """Return whether all samples have all steps, coverage passed, and no output has these steps."""
    batch = baseline.batch
    steps = batch.steps or 0
    if steps < 3 or not baseline.has_passed("coverage"):
        return False
    is_full = batch.counts is None or min(batch.counts) == steps
    return is_full and not any(map(baseline.has_steps, range(len(baseline.normal))))


def _shuffled(batch: Batch) -> Batch:
    """Return a batch with its steps in another order."""
    generator = torch.Generator("cpu").manual_seed(0)
    order = torch.randperm(batch.steps or 0, generator=generator, device="cpu")
    leaves = list(batch.leaves)
    for index, leaf in enumerate(leaves):
        if batch.has_steps(index):
            leaves[index] = leaf.index_select(batch.seq_dims[index], order.to(leaf.device))
    return batch.with_leaves(leaves)


def shared_draws(baseline: Baseline) -> Iterator[str]:
    """Yield a line if all samples get the same random numbers in train mode, as one dropout mask.

    A batch of one sample, repeated, then returns equal rows that differ from run to run.
    """
    batch = baseline.batch
    session = baseline.session
    if batch.size < 2:
        return
    equal_samples = batch.samples([0] * batch.size).tree()
    copy = session.fresh().train()
    before = _states()
    one = _trained(baseline, equal_samples, copy)
    if one is None or all(map(torch.equal, before, _states())):
        return
    other = _trained(baseline, equal_samples, copy)
    if other is None:
        return
    drawn = [
        one[index].movedim(axis, 0)
        for index, axis in baseline.outputs_by_sample()
        if not _are_close([one[index]], [other[index]])
    ]
    if drawn and _are_close(drawn, [rows[:1].expand_as(rows) for rows in drawn]):
        yield "in train mode all samples share random numbers, such as a dropout mask: intended?"


def _trained(baseline: Baseline, inputs: Given, copy: Module) -> Leaves | None:
    """Run a copy in train mode; None if it refuses, or returns other shapes than in eval mode."""
    output = baseline.session.attempt(inputs, on=copy)
    if output is None or shapes_of(output) != shapes_of(baseline.normal):
        return None
    return output


def _states() -> list[Tensor]:
    """Return the states of torch's random generators, by which one sees that a run has drawn."""
    return [one.get_state() for name, one in random_sources().items() if name.startswith("torch")]


def norms_over_padding(baseline: Baseline) -> Iterator[str]:
    """Yield a line if a batch norm reads padding in train mode, and so the valid steps do."""
    batch = baseline.batch
    if not batch.counts or min(batch.counts) == batch.steps or baseline.has_found("padding"):
        return
    norms = [x.label for x in baseline.events if isinstance(x.module, BatchNorm1d)]
    if not norms:
        return
    where = steps_at(~baseline.batch.valid_places)
    changed = batch.with_leaves(other_leaves(batch, where))
    session = baseline.session
    one = _trained(baseline, batch.tree(), session.fresh().train())
    other = _trained(baseline, changed.tree(), session.fresh().train())
    if one is not None and other is not None and not _are_close_where_valid(baseline, one, other):
        yield f"in train mode, valid steps depend on padding: {norms[0]} averages over both"


def _are_close_where_valid(baseline: Baseline, one: Leaves, other: Leaves) -> bool:
    """Return whether two runs' output leaves are close at the valid steps of each sample."""
    samples = range(baseline.batch.size)
    for (index, _), sample in product(baseline.outputs_by_sample(), samples):
        rows = [baseline.valid_row(x[index], index, sample) for x in (one, other)]
        if not _are_close(rows[:1], rows[1:]):
            return False
    return True


def inputs_without_lengths(baseline: Baseline) -> Iterator[str]:
    """Yield inputs as long as one with lengths, which have no lengths and hold no mask of them."""
    batch = baseline.batch
    first = batch.sequence
    if first not in batch.lengths:
        return
    for index in filter(batch.is_content, range(len(batch.leaves))):
        has_none = index not in batch.lengths and not batch.tells_lengths(index)
        if has_none and batch.may_have_steps(index):
            what = f"{batch.names[index]} has as many steps as {batch.names[first]}, but no lengths"
            yield f"{what}: pass lengths={{{first}: n, {index}: n}} to check its padding"


def chunks_beside_the_whole(baseline: Baseline) -> Iterator[str]:
    """Yield whether chunks give what the whole gives, of a model that takes and returns a state."""
    if next(ways_to_carry(baseline), None) is None:
        return
    streams = streams_of(baseline)
    state = "the model takes and returns a state"
    if isinstance(streams, Skipped):
        if streams.reason != NO_STEPS:
            yield f"{state}: pass streaming=True to check that it also runs in chunks"
    elif streams[-1].different is None:
        yield f"{state}: if you run it in chunks and pass the state along, the outputs are the same"
    else:
        yield f"{state}: if you run it in chunks and pass the state along, the outputs differ"
        yield "pass streaming=True to see from which step on, and why"


def of_functions(baseline: Baseline) -> Iterator[str]:
    """Yield what functions of a run show, if it has pictures (Conv2d) or loops over cells."""
    has_pictures = any(isinstance(event.module, Conv2d) for event in baseline.events)
    times = Counter(call.name for call in calls_in(baseline.events) if call.is_cell)
    loops = [name for name, number in times.items() if number > 2]
    if not has_pictures and not loops:
        return
    recorder = Recorder(functions=True)
    baseline.session.attempt(baseline.batch.tree(), watch=recorder.watch)
    calls = calls_in(recorder.events)
    families = [[call for call in calls if call.name == name] for name in loops]
    for event in recorder.events:
        if event.kind == "function":
            yield from _mixed_pixels(event)
            yield from _beams_that_stay(event, families)


def _mixed_pixels(event: Event) -> Iterator[str]:
    """Yield a view of ``(batch, channels, height, width)`` as pixels, whose channels are others."""
    if event.name not in ("view", "reshape"):
        return
    picture = event.function.argument(0, "input")
    rows = event.tensors[0]
    if not isinstance(rows, Tensor) or picture.dim() != 4 or rows.dim() != 3:
        return
    channels = picture.shape[1]
    pixels = picture[0, 0].numel()
    if channels != pixels and rows.shape[1:] == (pixels, channels):
        what = f"{event.text} at {event.place} mixes channels and pixels"
        yield f"{what}: x.flatten(2).transpose(1, 2) gives each pixel its {channels} channels"


def _beams_that_stay(event: Event, families: Sequence[Sequence[Call]]) -> Iterator[str]:
    """Yield cells whose states stay in their rows, while ``topk`` picks which beams go on.

    A family are the calls of one cell.
    """
    if event.name != "topk":
        return
    scores = event.function.argument(0, "input")
    beams = event.tensors[0].shape[-1]
    if scores.dim() != 2 or beams < 2:
        return
    for family in families:
        if _stays_in_rows(family, len(scores) * beams):
            name = family[0].name
            goes = f"{name} does not reorder its states, although topk picks among"
            yield f"{goes} {beams} beams: rnnkit.states.select(state, rows)"
            return


def _stays_in_rows(family: Sequence[Call], rows: int) -> bool:
    """Return whether each later call starts from what the one before returned, of so many rows."""
    given = {part.shape[-2:-1] for call in family[1:] for part in call.state.values()}
    return given == {(rows,)} and all(
        are_bit_equal([*call.state.values()], [*before.returned.values()])
        for before, call in pairwise(family)
    )


def _are_close(one: Leaves, other: Leaves) -> bool:
    """Return whether all numbers of two outputs are close, relative to the largest."""
    for x, y in zip(one, other, strict=False):
        if not is_number(x) or not x.numel():
            continue
        if x.shape != y.shape or (x - y).abs().amax() > CLOSE * x.abs().amax():
            return False
    return True


#: Those of every report, without chunks_beside_the_whole.
LINES = (
    nans,
    convolutions_over_features,
    samples_left_out,
    idle_columns,
    order_unseen,
    shared_draws,
    norms_over_padding,
    inputs_without_lengths,
    of_functions,
)
