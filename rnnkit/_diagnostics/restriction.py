"""The restriction: a part of the inputs by itself returns that part, f(x|S) = f(x)|S."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.judge import agree, refuse_chance
from rnnkit._diagnostics.outputs import Leaves, same
from rnnkit._diagnostics.report import Line, fail

#: What a message says of samples that are in an order of their lengths.
SORTED: list[Line] = [
    ("cause", "samples are sorted by length and not put back, or put back and never sorted"),
    ("fix", "x[order], and output[order.argsort()], where order sorts the lengths"),
]
TWICE: list[Line] = [
    ("cause", "samples are sorted by length, and put back by the order instead of its inverse"),
    ("fix", "output[order.argsort()] instead of output[order], where order sorts the samples"),
]


class Part(NamedTuple):
    """What an output holds of one sample, among all samples and in a run of some."""

    output: int
    sample: int
    among_all: Tensor
    by_itself: Tensor


def restricted(
    baseline: Baseline, output: Leaves, samples: Sequence[int], only: int | None = None
) -> tuple[list[Part], Part | None]:
    """Compare a run of some samples, each named by its place among all, with the run of all.

    Return what could be compared, in one output or in all, and the first part that differs by more
    than rounding. A batch of one may have lost its batch axis.
    """
    compared: list[Part] = []
    output = baseline.arranged(output) if len(samples) == baseline.batch.size else output
    for index, axis in baseline.judged() if len(output) == len(baseline.normal) else ():
        normal, made = baseline.arranged(baseline.normal)[index], output[index]
        if only not in (None, index) or not is_number(normal) or not isinstance(made, Tensor):
            continue
        if len(samples) == 1 and made.dim() == normal.dim() - 1:
            made = made.unsqueeze(axis)
        if made.dim() != normal.dim() or made.shape[axis] != len(samples):
            continue
        for place, sample in enumerate(samples):
            whole, other = normal.select(axis, sample), made.select(axis, place)
            one = baseline.valid(whole, index, sample)
            if other.shape == whole.shape:
                other = baseline.valid(other, index, sample)
            if one.shape == other.shape:
                compared.append(Part(index, sample, one, other))
                if not agree(baseline, index, one, other, baseline.taking(index, sample)):
                    return compared, compared[-1]
    return compared, None


def refuse_rounding(baseline: Baseline, part: Part) -> None:
    """Skip a probe if rounding may make such a difference."""
    take = baseline.taking(part.output, part.sample)
    refuse_chance(baseline, part.output, part.among_all, part.by_itself, take)


def follows(baseline: Baseline, index: int) -> bool:
    """Return whether an output has one row less, whichever sample is left out."""
    batch, axis = baseline.batch, baseline.axes[index]
    for left in range(batch.size):
        fewer = baseline.attempt(batch.samples([k for k in range(batch.size) if k != left]))
        other = None if fewer is None else fewer[index]
        size = other.shape[axis or 0] if isinstance(other, Tensor) and other.dim() else None
        if fewer is not None and size != batch.size - 1:
            return False
    return True


def _sorted(counts: Sequence[int], falling: bool) -> list[int]:
    return sorted(range(len(counts)), key=counts.__getitem__, reverse=falling)


def _orders(counts: Sequence[int]) -> Iterator[tuple[list[int], list[Line]]]:
    """Yield the orders in which mistakes leave the samples, and what a message says of each."""
    for falling in (True, False):
        order = _sorted(counts, falling)
        yield order, SORTED
        yield [order[place] for place in order], TWICE
        yield sorted(range(len(order)), key=order.__getitem__), SORTED


def cause_of_order(baseline: Baseline, output: Leaves, changed: int, index: int) -> list[Line]:
    """Return what a message says if an output has no leak once its samples are put in order."""
    axis = baseline.axes[index] or 0
    for order, rows in _orders(baseline.batch.valid_steps()):
        at = torch.tensor(order, device="cpu").argsort()
        pair = (leaves[index] for leaves in (baseline.normal, output))
        before, after = (leaf.index_select(axis, at.to(leaf.device)) for leaf in pair)
        pairs = zip(before.unbind(axis), after.unbind(axis), strict=True)
        moved = [k for k, (one, other) in enumerate(pairs) if not same(one, other)]
        if order != sorted(order) and moved == [changed]:
            return rows
    return []


def check_orders(baseline: Baseline) -> None:
    """Run the samples in two different orders; fail if one does not return what it returned.

    They are sorted by length and moved on by one, so that no model's sorting undoes itself. A model
    may count on a batch with the longest first, and is then accused of a known mistake only.
    """
    counts = baseline.batch.valid_steps()
    for falling in (True, False) if len(set(counts)) > 1 else ():
        first, *rest = _sorted(counts, falling)
        samples = [*rest, first]
        output = baseline.attempt(baseline.batch.samples(samples))
        part = None if output is None else restricted(baseline, output, samples)[1]
        if output is None or part is None:
            continue
        refuse_rounding(baseline, part)
        rows: list[Line] = []
        for order, mistake in _orders([counts[k] for k in samples]):
            differs = restricted(baseline, output, [samples[k] for k in order])[1]
            if mistake is TWICE and differs is None:
                rows = TWICE
        if rows or counts != sorted(counts, reverse=True):
            numbers = ", ".join(str(baseline.batch.numbers[k]) for k in samples)
            of = baseline.of_sample(part.output, part.sample)
            fail("alone", f"with the samples in the order {numbers}, {of} is not what it was", rows)
