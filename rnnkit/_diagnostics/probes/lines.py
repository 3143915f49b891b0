"""Lines of a report on what one model does by mistake, another on purpose; none raises."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import Conv1d, Conv2d

from rnnkit._base.message import count
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import are_near
from rnnkit._diagnostics.measure.otherwise import runs_with_other_weights
from rnnkit._diagnostics.measure.slopes import Gradients, gradients_in_training, gradients_of
from rnnkit._diagnostics.probes.calls import LARGE, events_with, filled, padded
from rnnkit._diagnostics.probes.lines_of_training import (
    norms_over_padding,
    other_in_training,
    shared_draws,
)
from rnnkit._diagnostics.probes.starts import passes_on
from rnnkit._diagnostics.probes.streaming import streams_of
from rnnkit._diagnostics.probes.streams import ways_to_carry
from rnnkit._diagnostics.run.events import Event, Recorder
from rnnkit._diagnostics.run.module_calls import Call, calls_in
from rnnkit._diagnostics.run.outputs import are_bit_equal, is_number, same
from rnnkit._diagnostics.tell.outcome import Skipped
from rnnkit._diagnostics.tell.report import NAMES, joined_by_and

T = TypeVar("T")


def convolutions_over_features(baseline: Baseline) -> Iterator[str]:
    """Yield convolutions that take the steps for channels, and so slide over the features.

    A kernel of one mixes the steps of one feature at a time, which some models intend. ``baseline``
    is the model, a batch, and what it returned for that.
    """
    steps = baseline.batch.steps
    for event, x in padded(baseline.events, "input", Conv1d):
        _, channels, width = x.shape
        conv = event.module
        reach = (conv.kernel_size[0] - 1) * conv.dilation[0]
        # As many channels as steps, and the steps, which were padded before.
        is_padded = 0 < width - steps <= 2 * reach
        is_odd = 1 < channels == steps != width and reach and not is_padded
        if is_odd and _reads_the_sequence(baseline, event):
            slides = f"{event.label} slides over axis 2 of its input, of size {width}"
            fix = "x.transpose(1, 2) before it, or verify(..., seq_dim=2)"
            yield f"{slides}, not over the {steps} steps: {fix}"


def _reads_the_sequence(baseline: Baseline, given: Event) -> bool:
    """Return whether other numbers in the sequence change what a module is given, or may do so.

    ``given`` is the event of that in a run. Another input may have as many channels by chance.
    """
    recorder = Recorder()
    filled(baseline, torch.ones_like(baseline.batch.valid_places), LARGE, recorder.watch)
    events = recorder.events[given.number : given.number + 1]
    return not events or not same(events[0].tensors[0], given.tensors[0])


def nans(baseline: Baseline) -> Iterator[str]:
    """Yield outputs that are NaN at some places, where no change shows."""
    for index, leaf in enumerate(baseline.normal):
        number = int(leaf.isnan().sum()) if is_number(leaf) else 0
        if 0 < number < leaf.numel():
            yield f"{baseline.name(index)} is NaN at {count(number, 'place', 'places')}"


def samples_left_out(baseline: Baseline) -> Iterator[str]:
    """Yield a line if a model returns a loss that some samples of the sequence reach in no way."""
    if any(isinstance(x, Tensor) and x.dim() for x in baseline.normal):
        return
    unread = _never_read(baseline, _unread_samples)
    if unread:
        listed = ", ".join(map(str, sorted(unread)[:NAMES]))
        number = count(len(unread), "sample", "samples")
        name = baseline.batch.names[baseline.batch.sequence]
        yield f"no gradient of the loss reaches {number} of {name}: {listed}"


def _unread_samples(run: Gradients) -> set[int]:
    """Return the samples that get no gradient in the sequence; none if that is unknown."""
    places = run.places()
    if places is None or not places.any():
        return set()
    return {*(~places.any(1)).nonzero().flatten().tolist()}


def idle_columns(baseline: Baseline) -> Iterator[str]:
    """Yield weights with columns that learn nothing: they multiply slots that are never written."""
    idle = _never_read(baseline, _idle_columns)
    if idle and _moves_with(baseline, idle):
        return  # a unit that reads them is off
    found = sorted(Counter(name for name, _ in idle).items())
    listed = [f"{count(number, 'column', 'columns')} of {name}" for name, number in found[:NAMES]]
    if len(found) > NAMES:
        listed.append(count(len(found) - NAMES, "other weight", "other weights"))
    if found:
        yield f"no gradient reaches {joined_by_and(listed)}: unused, or used with zeros only"


def _idle_columns(run: Gradients) -> set[tuple[str, int]]:
    """Return (name of a weight, column) where the gradient is zero, if other columns get some."""
    found = set[tuple[str, int]]()
    for name, weight in run.weights.items():
        slope = run.by_id[id(weight)]
        if slope is not None and slope.dim() == 2 and not slope.is_sparse and slope.any():
            found |= {(name, k) for k, has in enumerate(slope.any(0).tolist()) if not has}
    return found


def _moves_with(baseline: Baseline, columns: Collection[tuple[str, int]]) -> bool:
    """Return whether an output moves with columns of weights: (name of a weight, column)."""
    copy = baseline.session.fresh()
    weights = dict(copy.named_parameters())  # a ScriptModule has no get_parameter
    for name in {name for name, _ in columns}:
        weight = weights[name]
        weight.data = weight.data.clone()  # which all copies share
        weight.data[:, [column for one, column in columns if one == name]] += 1
    output = baseline.session.attempt(baseline.batch.tree(), on=copy) or []
    return not are_bit_equal(baseline.normal, output)


def _never_read(baseline: Baseline, unread: Callable[[Gradients], set[T]]) -> set[T]:
    """Return what gets no gradient with any weights and inputs; nothing if none can judge that.

    ``unread(run)`` returns what gets none in one run.
    """
    # Also try it without dropout, which may hide a column from all samples.
    found = unread(gradients_in_training(baseline)) & unread(gradients_of(baseline))
    if not found or baseline.doubt:
        return set()
    return found.intersection(*map(unread, runs_with_other_weights(baseline)))


def order_unseen(baseline: Baseline) -> Iterator[str]:
    """Yield a line if the steps may stand in any order: no output would show it.

    ``baseline`` is the model, a batch, and what it returned.
    """
    if baseline.doubt or not _may_be_unordered(baseline):
        return
    batch = baseline.batch
    other = _reordered(batch)
    if same(other.leaves[batch.sequence], batch.leaves[batch.sequence]):
        return
    after = baseline.attempt(other) or []
    pairs = [*zip(baseline.normal, after, strict=False)]
    if pairs and all(are_near(baseline, x, y) for x, y in pairs if is_number(x)):
        steps = f"the steps{batch.of_sequence} in a different order"
        text = f"{steps} give the same output: the model ignores their order"
        stepped = [k for k in batch.content if batch.has_steps(k)]
        # Times of the steps, for example, move together with these.
        yield f"{text}, unless one of the inputs tells it" if len(stepped) > 1 else text


def _may_be_unordered(baseline: Baseline) -> bool:
    """Return whether all samples have all steps, coverage passed, and no output has these steps."""
    batch = baseline.batch
    steps = batch.steps
    if steps < 3 or not baseline.has_passed("coverage"):
        return False
    return min(batch.valid_counts) == steps and not baseline.outputs_with_steps


def _reordered(batch: Batch) -> Batch:
    """Return a batch with its odd steps before the even ones."""
    steps = batch.step_numbers
    order = torch.cat([steps[1::2], steps[::2]])
    leaves = [
        leaf.index_select(batch.seq_dims[index], order.to(leaf.device))
        if batch.has_steps(index)
        else leaf
        for index, leaf in enumerate(batch.leaves)
    ]
    return batch.with_leaves(leaves)


def inputs_without_lengths(baseline: Baseline) -> Iterator[str]:
    """Yield which inputs as long as one with lengths have none, and hold no mask of them."""
    batch = baseline.batch
    first = batch.sequence
    given = batch.tree()
    keys = [*range(len(given.args)), *given.kwargs]
    if first not in batch.lengths or len(keys) != len(batch.leaves):  # one input holds several
        return
    without = [
        index
        for index in batch.indices
        if batch.is_content(index)
        if index not in batch.lengths and not batch.tells_lengths(index)
        if batch.may_have_steps(index)
    ]
    if without:
        names = joined_by_and([batch.names[index] for index in without])
        what = f"no lengths were given for {names}, with as many steps as {batch.names[first]}"
        told = ", ".join(f"{keys[index]!r}: n" for index in [first, *without])
        yield f"{what}: pass lengths={{{told}}} to check the padding, if they end together"


def chunks_beside_the_whole(baseline: Baseline) -> Iterator[str]:
    """Yield whether chunks give what the whole gives, of a model that takes and returns a state."""
    if next(ways_to_carry(baseline), None) is None:
        return
    streams = streams_of(baseline)
    if isinstance(streams, Skipped):
        return
    stream = streams[-1]
    where = "in chunks without padding" if baseline.batch.counts else "in chunks"
    state = "the model takes and returns a state"
    outputs = f"{state}: if you run it {where} and pass the state along, the outputs"
    if stream.different is None:
        but = f", but for {joined_by_and(stream.left_out)}" if stream.left_out else ""
        yield f"{outputs} are the same{but}"
    else:
        yield f"{outputs} differ"
        yield "pass streaming=True to see from which step on, and why"


def uses_of_functions(baseline: Baseline) -> Iterator[str]:
    """Yield what functions of a run show, if it has pictures (Conv2d) or loops over cells."""
    has_pictures = any(isinstance(event.module, Conv2d) for event in baseline.events)
    families = defaultdict[str, list[Call]](list)
    for call in calls_in(baseline.events):
        families[call.name].append(call)
    loops = [family for family in families.values() if family[0].is_cell and len(family) > 2]
    if not has_pictures and not loops:
        return
    for event in events_with(baseline, functions=True):
        yield from _mixed_pixels(event)
        yield from _beams_that_stay(event, loops)


def _mixed_pixels(event: Event) -> Iterator[str]:
    """Yield a view of ``(batch, channels, height, width)`` as pixels, whose channels are others."""
    if not event.is_call_of("view", "reshape"):
        return
    picture = event.function.argument(0, "input")
    rows = event.tensors[0]
    if picture.dim() != 4 or rows.dim() != 3:
        return
    channels = picture.shape[1]
    pixels = picture[0, 0].numel()
    if channels != pixels and rows.shape[1:] == (pixels, channels):
        what = f"{event.text} at {event.place} mixes channels and pixels"
        yield f"{what}: x.flatten(2).transpose(1, 2) gives each pixel its {channels} channels"


def _beams_that_stay(event: Event, loops: Sequence[Sequence[Call]]) -> Iterator[str]:
    """Yield cells whose states stay in their rows, while ``topk`` picks which beams go on.

    A loop are the calls of one cell. There each later call starts from what the one before
    returned, of as many rows as all samples have beams.
    """
    if not event.is_call_of("topk"):
        return
    scores = event.function.argument(0, "input")
    beams = event.tensors[0].shape[-1]
    if scores.dim() != 2 or beams < 2:
        return
    for first, *later in loops:
        rows = {part.shape[-2:-1] for call in later for part in call.state.values()}
        if rows == {(len(scores) * beams,)} and all(map(passes_on, [first, *later], later)):
            goes = f"{first.name} does not reorder its states, although topk picks among"
            yield f"{goes} {beams} beams: rnnkit.states.select(state, rows)"
            return


#: Those of every report, without chunks_beside_the_whole.
LINES = (
    nans,
    convolutions_over_features,
    samples_left_out,
    idle_columns,
    order_unseen,
    shared_draws,
    other_in_training,
    norms_over_padding,
    inputs_without_lengths,
    uses_of_functions,
)
