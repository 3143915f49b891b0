"""Samples that a model sorts by their lengths, and puts back by the order in place of its inverse.

In a third of all batches of four the order undoes itself, so that the mistake does not show. Then
the batch is run once more with its samples in another order.
"""

from collections.abc import Sequence
from itertools import islice, permutations
from typing import NamedTuple, NoReturn

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.causes import clean_samples
from rnnkit._diagnostics.experiment import PerturbedRun
from rnnkit._diagnostics.judge import agree
from rnnkit._diagnostics.report import Line, fail

Order = tuple[int, ...]

#: So many orders are tried: all of four samples; there are more than can be of a whole batch.
ORDERS = 720


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
    ("cause", "samples are sorted by length, and put back by the order in place of its inverse"),
    (
        "fix",
        "output[order.argsort()] in place of output[order], where order has sorted the samples",
    ),
]
NEVER: list[Line] = [
    ("cause", "samples are put back from the order of their lengths, and were never sorted"),
    ("fix", "x[order], where order has sorted the lengths"),
]


class Turn(NamedTuple):
    """The samples in another order, and whose output each place has if it is put back wrongly."""

    samples: Order
    mistaken: Order


def check_put_back(baseline: Baseline) -> None:
    """Look whether samples that are sorted return to their places.

    It is for a model whose samples alone give what they give in the batch.
    """
    counts = baseline.batch.valid_steps()
    for falling in (True, False):
        turn = turn_that_shows(counts, falling=falling)
        if turn is None:
            continue
        output = baseline.attempt(baseline.batch.samples(turn.samples))
        if output is None:
            continue
        output = baseline.arranged(output)
        for index, _ in baseline.judged():
            leaf, normal = output[index], baseline.normal[index]
            if (
                isinstance(leaf, Tensor)
                and leaf.shape == normal.shape
                and _are(baseline, index, leaf, turn.mistaken)
                and not _are(baseline, index, leaf, turn.samples)
            ):
                _fail(baseline, index, turn)


def turn_that_shows(counts: Sequence[int], *, falling: bool) -> Turn | None:
    """Return an order of the samples in which sorting them does not undo itself.

    None if it need not be tried, since the samples are sorted already or sorting does not undo
    itself as they are, or if there is no such order.
    """
    places = tuple(range(len(counts)))
    order = _sorted(counts, falling=falling)
    if order == places or _twice(order) != places:
        return None
    for samples in islice(permutations(places), ORDERS):
        twice = _twice(_sorted([counts[sample] for sample in samples], falling=falling))
        if twice != places:
            return Turn(samples, tuple(samples[place] for place in twice))
    return None


def _sorted(counts: Sequence[int], *, falling: bool) -> Order:
    return tuple(sorted(range(len(counts)), key=counts.__getitem__, reverse=falling))


def _twice(order: Order) -> Order:
    return tuple(order[place] for place in order)


def _are(baseline: Baseline, index: int, leaf: Tensor, samples: Order) -> bool:
    """Say whether an output has at each place what it has for a sample in the batch as it is."""
    normal = baseline.arranged(baseline.normal)[index]
    places = leaf.new_tensor(samples).long().argsort()
    back = leaf.index_select(baseline.axes[index] or 0, places)
    takes = [baseline.taking(index, sample) for sample in samples]
    return all(agree(baseline, index, take(normal), take(back), take) for take in takes)


def order_of_lengths(perturbed: PerturbedRun, changed: int, index: int) -> list[Line]:
    """Say which order of the lengths an output is in, if put in order it has no leak."""
    baseline, axis = perturbed.baseline, perturbed.baseline.axes[index] or 0
    counts, clean = baseline.batch.valid_steps(), clean_samples(changed)
    for falling in (True, False):
        order = _sorted(counts, falling=falling)
        inverse = tuple(sorted(range(len(order)), key=order.__getitem__))
        forgotten = EITHER if order == inverse else FORGOTTEN
        for mistaken, rows in ((order, forgotten), (_twice(order), TWICE), (inverse, NEVER)):
            at = torch.tensor(mistaken, device="cpu").argsort()
            pair = (leaves[index] for leaves in (baseline.normal, perturbed.output))
            before, after = (leaf.index_select(axis, at.to(leaf.device)) for leaf in pair)
            if at.tolist() != list(range(len(at))) and clean(before, after, axis):
                return rows
    return []


def _fail(baseline: Baseline, index: int, turn: Turn) -> NoReturn:
    samples, mistaken = ([baseline.batch.numbers[k] for k in order] for order in turn)
    place = next(k for k, number in enumerate(samples) if number != mistaken[k])
    what = (
        f"with the samples in the order {', '.join(map(str, samples))}, "
        f"{baseline.name(index)} of sample {samples[place]} is that of sample {mistaken[place]}"
    )
    fail("alone", what, TWICE)
