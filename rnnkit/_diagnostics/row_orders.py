"""The samples in a different order: each must return what it returned."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.causes import clean_samples
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.experiment import PerturbedRun
from rnnkit._diagnostics.judge import agree, refuse_chance
from rnnkit._diagnostics.report import Line, fail

#: What a message says of samples that are in an order of their lengths.
FORGOTTEN: list[Line] = [
    ("cause", "samples are sorted by length, and not put back"),
    ("fix", "output[order.argsort()], where order has sorted the samples"),
]
EITHER: list[Line] = [
    ("cause", "samples are sorted by length and not put back, or put back and never sorted"),
    FORGOTTEN[1],
    ("or", "x[order], where order has sorted the lengths"),
]
TWICE: list[Line] = [
    ("cause", "samples are sorted by length, and put back by the order instead of its inverse"),
    ("fix", "output[order.argsort()] instead of output[order], where order sorts the samples"),
]
NEVER: list[Line] = [
    ("cause", "samples are put back from the order of their lengths, and were never sorted"),
    ("fix", "x[order], where order has sorted the lengths"),
]


def sorted_order(counts: Sequence[int], *, falling: bool) -> list[int]:
    """Return the samples in the order of their lengths."""
    return sorted(range(len(counts)), key=counts.__getitem__, reverse=falling)


def row_orders(counts: Sequence[int]) -> Iterator[tuple[list[int], list[Line]]]:
    """Yield the orders in which mistakes leave the samples, and what a message says of each."""
    for falling in (True, False):
        order = sorted_order(counts, falling=falling)
        inverse = sorted(range(len(order)), key=order.__getitem__)
        yield order, EITHER if order == inverse else FORGOTTEN
        yield [order[place] for place in order], TWICE
        yield inverse, NEVER


def order_of_lengths(perturbed: PerturbedRun, changed: int, index: int) -> list[Line]:
    """Return what a message says if an output has no leak once its samples are put in order."""
    baseline, axis = perturbed.baseline, perturbed.baseline.axes[index] or 0
    clean = clean_samples(changed)
    for order, rows in row_orders(baseline.batch.valid_steps()):
        at = torch.tensor(order, device="cpu").argsort()
        pair = (leaves[index] for leaves in (baseline.normal, perturbed.output))
        before, after = (leaf.index_select(axis, at.to(leaf.device)) for leaf in pair)
        if order != sorted(order) and clean(before, after, axis):
            return rows
    return []


def check_orders(baseline: Baseline) -> None:
    """Run the samples in two different orders; fail if one does not return what it returned.

    They are sorted by length and moved on by one, so that no model's sorting undoes itself. A model
    may count on a batch with the longest first, and is then accused of a known mistake only.
    """
    counts = baseline.batch.valid_steps()
    if len(set(counts)) < 2:
        return
    for falling in (True, False):
        first, *rest = sorted_order(counts, falling=falling)
        samples = [*rest, first]
        output = baseline.attempt(baseline.batch.samples(samples))
        if output is None:
            continue
        after = baseline.arranged(output)
        for index, _ in baseline.judged():
            normal = baseline.normal[index]
            if is_number(normal) and normal.shape == getattr(after[index], "shape", None):
                _check_order(baseline, index, samples, after[index])


def _check_order(baseline: Baseline, index: int, samples: list[int], after: Tensor) -> None:
    sample = _moved(baseline, index, samples, after)
    if sample is None:
        return
    counts = [baseline.batch.valid_steps()[k] for k in samples]
    rows: list[Line] = []
    for order, mistake in row_orders(counts):
        if mistake is TWICE and _moved(baseline, index, [samples[k] for k in order], after) is None:
            rows = TWICE
    told = baseline.batch.valid_steps()
    if not rows and told == sorted(told, reverse=True):
        return
    numbers = ", ".join(str(baseline.batch.numbers[k]) for k in samples)
    of = baseline.of_sample(index, sample)
    what = f"with the samples in the order {numbers}, {of} is not what it was"
    fail("alone", what, rows)


def _moved(baseline: Baseline, index: int, samples: list[int], after: Tensor) -> int | None:
    """Return a sample that is not the same, if the places of an output hold these samples."""
    normal = baseline.arranged(baseline.normal)[index]
    places = torch.tensor(samples, device=after.device).argsort()
    back = after.index_select(baseline.axes[index] or 0, places)
    for sample in samples:
        take = baseline.taking(index, sample)
        if not agree(baseline, index, take(normal), take(back), take):
            refuse_chance(baseline, index, take(normal), take(back), take)
            return sample
    return None
