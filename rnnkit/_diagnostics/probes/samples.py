"""The probes *batch* and *alone*: samples have nothing to do with each other."""

from collections.abc import Mapping
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import RNNBase

from rnnkit._base.message import count
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import sample_at
from rnnkit._diagnostics.compare import apart, far, is_number, largest
from rnnkit._diagnostics.experiment import PerturbedRun, run_perturbed
from rnnkit._diagnostics.judge import agree, for_other_sizes, refuse_chance
from rnnkit._diagnostics.kept import drawn_from
from rnnkit._diagnostics.locate import locate_sample
from rnnkit._diagnostics.outputs import Leaves, Order, orders
from rnnkit._diagnostics.report import (
    ALONE,
    OTHER_SHAPES,
    OTHER_STEPS,
    SAMPLES,
    UNCHANGED,
    UNFOLLOWED,
    Line,
    UnjudgedError,
    all_judged,
    fail,
    in_short,
    note,
    skip,
)
from rnnkit._diagnostics.row_orders import check_orders, order_of_lengths, sorted_order

#: Why an output is not judged whose rows values pick.
BY_CHANCE = "an output has as many rows as samples by chance"


#: What a message says of a model whose samples are right in one order.
TAKEN_FOR_SORTED: list[Line] = [
    ("cause", "samples are taken for sorted by length: so, each gives what it gives alone"),
    ("fix", "x[order], where order sorts the lengths; or pack with enforce_sorted=False"),
]


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
    if not any(run.has(index) for run in runs.values() for index in indices):
        skip(OTHER_SHAPES if runs else UNCHANGED)
    for order in orders(baseline.normal, baseline.axes):
        baseline.order = order
        leak = _leak(runs, indices)
        if leak is None:
            return _judged(runs, indices)
    baseline.order = Order(None)
    if (rows := _flat(baseline)) is not None:
        skip(f"axis {batch.axes[batch.first]} of the input is {rows} in one")
    source, sample, shown = _leak(runs, indices) or (0, 0, 0)
    if not _follows(baseline, shown):
        skip(BY_CHANCE)
    where = f"input of sample {batch.numbers[source]}"
    what = f"{baseline.of_sample(shown, sample)} depends on {where}"
    run = runs[source]
    found = locate_sample(run, source)
    if all(label != "fix" for label, _ in found.rows):
        cause = order_of_lengths(run, source, shown)
        fail("batch", what, [found.rows[0], *(cause or found.rows[1:])], found.module)
    return fail("batch", what, found.rows, found.module)


def _judge_rows(baseline: Baseline) -> NoReturn:
    """Say why no output is judged; fail if one has a row for each step in place of a sample."""
    batch = baseline.batch
    followed = baseline.runs_on_fewer and baseline.runs_on_less
    first = baseline.normal[baseline.first] if baseline.first is not None else None
    if first is not None and first.dim() > 1 and followed and baseline.out_seq_dim is not None:
        baseline.session.attempt(batch.samples(range(batch.size - 1)).tree())
        if baseline.session.names != baseline.names:
            skip("the outputs are more or fewer with the samples: none has all")
        if _has_rows(baseline, first):
            rows = f"a row for each of {batch.steps} steps, none for a sample"
            cause = ("cause", "likely batch and seq have changed places")
            fail("batch", f"output {tuple(first.shape)} has {rows}", [cause])
    skip(UNFOLLOWED)


def _has_rows(baseline: Baseline, first: Tensor) -> bool:
    """Return whether the first output has a row for each step, however many samples there are."""
    axis, steps = baseline.out_seq_dim, (baseline.batch.steps, baseline.batch.longest)
    if axis is None or first.shape[axis] not in steps:
        return False
    fewer = baseline.session.attempt(baseline.batch.samples([0]).tree())
    other = fewer[baseline.first or 0] if fewer else None
    return not isinstance(other, Tensor) or other.shape == first.shape


def _leak(runs: Mapping[int, PerturbedRun], indices: list[int]) -> tuple[int, int, int] | None:
    """Return which sample shows in which other one, and in which output; None if none does."""
    for source, run in runs.items():
        alike = [index for index in indices if run.has(index)]
        for sample in range(run.baseline.batch.size):
            shown = run.shows(sample, alike) if sample != source else None
            if shown is not None:
                return source, sample, shown
    return None


def _follows(baseline: Baseline, index: int) -> bool:
    """Return whether an output has one row less, whichever sample is left out."""
    batch, axis = baseline.batch, baseline.axes[index]
    for left in range(batch.size):
        rest = [k for k in range(batch.size) if k != left]
        if (fewer := baseline.attempt(batch.samples(rest))) is not None:
            other = fewer[index]
            size = other.shape[axis or 0] if isinstance(other, Tensor) and other.dim() else None
            if size != batch.size - 1:
                return False
    return True


def _judged(runs: Mapping[int, PerturbedRun], indices: list[int]) -> str:
    """Say of how many samples it is known that they keep to themselves."""
    compared = sum(any(map(run.has, indices)) for run in runs.values())
    if compared == len(runs):
        return f"{count(compared, 'sample', 'samples')}, each on its own"
    return f"{compared} of {len(runs)} samples, each on its own; the others change the shapes"


def _flat(baseline: Baseline) -> str | None:
    """Return the sizes that a layer makes of the axis of samples, if it holds batch and seq."""
    for event in baseline.events:
        given = event.tensors[0] if event.kind == "input" and event.tensors else None
        if isinstance(event.module, RNNBase) and isinstance(given, Tensor) and given.dim() == 3:
            one, two = given.shape[:2]
            if one * two == baseline.batch.size and min(one, two) > 1:
                return f"{one} * {two}, batch and seq"
    return None


def probe_alone(baseline: Baseline) -> str:
    """A sample run alone, cut to its length, gives what it gave in the batch."""
    try:
        return _probe_alone(baseline)
    except UnjudgedError:
        if len(baseline.batch.lengths) < 2:
            raise
        return all_judged(_probe_alone, (told.by_itself() for told in baseline.each_told()))


def _probe_alone(baseline: Baseline) -> str:
    batch, counts = baseline.batch, baseline.counts
    if not any(baseline.judged()):
        skip(UNFOLLOWED)
    if batch.size == 1 and (counts is None or counts[0] == batch.steps):
        skip("the batch has one sample; give two or more")
    baseline = for_other_sizes(baseline)
    # The shortest samples have the most padding; the first one is where a wrong order shows least.
    ranks = [sorted(range(batch.size), key=n.__getitem__)[:ALONE] for n in batch.lengths.values()]
    first = [k for rank in ranks for k in rank[:-1]] or [batch.size - 1]
    rest = [rank[-1] for rank in ranks] or [*range(batch.size)][: ALONE - 1]
    compared: list[tuple[int, int]] = []
    for sample in dict.fromkeys([*first, *rest]):
        if compared and sample not in first:
            break
        output = baseline.run_alone(sample)
        if isinstance(output, Exception):
            skip(f"the model does not run on one sample: {in_short(output)}")
        if len(output) != len(baseline.normal):
            continue
        for index, axis in baseline.judged():
            pair = _pair(baseline, output, index, axis, sample)
            if pair is None:
                continue
            compared.append((sample, index))
            if agree(baseline, index, *pair, baseline.taking(index, sample)):
                continue
            if "repeatable" not in baseline.report.checked and drawn_from(baseline):
                skip("the model draws random numbers: for one sample it draws others")
            _fail(baseline, index, *pair, sample)
    return _conclude(baseline, compared)


def _conclude(baseline: Baseline, compared: list[tuple[int, int]]) -> str:
    counts, steps = baseline.counts, baseline.batch.steps
    short = counts is not None and steps is not None and min(counts) < steps
    if not compared:
        judged = [index for index, _ in baseline.judged()]
        if not any(is_number(baseline.normal[index]) for index in judged):
            skip("the outputs are integers, which rounding may turn")
        other = any(map(baseline.has_other_steps, judged))
        skip(OTHER_STEPS if other else "alone, the outputs have other shapes")
    if short and counts and all(counts[sample] == steps for sample, _ in compared):
        skip("no sample that is shorter than the batch could be compared")
    check_orders(baseline)
    cut = ", cut to its length," if counts else ""
    return f"a sample alone{cut} gives what it gives in the batch"


def _pair(
    baseline: Baseline, output: Leaves, index: int, axis: int, sample: int
) -> tuple[Tensor, Tensor] | None:
    """Return one output of one sample, in the batch and alone; None if they have two shapes."""
    inside = baseline.valid(baseline.arranged(baseline.normal)[index], index, sample)
    alone = output[index]
    if not is_number(inside) or not isinstance(alone, Tensor):
        return None
    if alone.shape == inside.shape:
        shape = tuple(alone.shape)
        note(baseline.report, f"a batch of one has lost its batch axis: output {shape}")
    elif alone.dim() == inside.dim() + 1 and alone.shape[axis] == 1:
        alone = alone.squeeze(axis)
    return (inside, alone) if inside.shape == alone.shape else None


def _fail(baseline: Baseline, index: int, inside: Tensor, alone: Tensor, sample: int) -> NoReturn:
    if not _follows(baseline, index):
        skip(BY_CHANCE)
    refuse_chance(baseline, index, inside, alone, baseline.taking(index, sample))
    off = apart(inside, alone).max().item() / largest(inside)
    counts = baseline.counts
    cut = f", cut to its {counts[sample]} steps," if counts else ""
    which = f"sample {baseline.batch.numbers[sample]} alone{cut}"
    what = f"{which} gives another {baseline.name(index)} than in the batch"
    rows: list[Line] = [("first", "not looked for: alone, a sample runs through other sizes")]
    if counts and _are_right_if_sorted(baseline, counts, index):
        rows += TAKEN_FOR_SORTED
    elif counts and counts[sample] < (baseline.batch.steps or 0):
        rows += _cause(baseline, index, inside, sample)
    fail("alone", f"{what}: {far(off)}", rows)


def _are_right_if_sorted(baseline: Baseline, counts: list[int], index: int) -> bool:
    """Return whether samples give what they give alone if the longest comes first."""
    order = sorted_order(counts, falling=True)
    output = baseline.attempt(baseline.batch.samples(order))
    if output is None:
        return False
    other = baseline.on(baseline.batch.samples(order))
    other.normal = output
    for place, sample in enumerate(order):
        alone, axis = baseline.run_alone(sample), other.axes[index] or 0
        pair = isinstance(alone, list) and _pair(other, alone, index, axis, place)
        if not pair or not agree(other, index, *pair, other.taking(index, place)):
            return False
    return True


def _cause(baseline: Baseline, index: int, inside: Tensor, sample: int) -> list[Line]:
    """Run the sample alone with its padding: then that is the cause, or what the batch shares."""
    whole, axis = baseline.attempt(baseline.batch.samples([sample])), baseline.axes[index] or 0
    padded = whole[index] if whole is not None else None
    if not isinstance(padded, Tensor):
        return []
    if padded.dim() == baseline.normal[index].dim() - 1:
        padded = padded.unsqueeze(axis)
    expected = baseline.normal[index].narrow(axis, sample, 1)
    if padded.shape != expected.shape:
        return []
    # As if it were the batch, so that it is cut like that.
    spread = torch.zeros_like(baseline.normal[index]) + padded
    taken = baseline.valid(spread, index, sample)
    same = agree(baseline, index, inside, taken, baseline.taking(index, sample))
    return [("cause", "padding is pooled, or read as the last step")] if same else []
