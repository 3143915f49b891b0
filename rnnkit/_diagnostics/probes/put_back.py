"""Samples that a model sorts by their lengths, and puts back by the order in place of its inverse.

In a third of all batches of four the order undoes itself, so that the mistake does not show. Then
the batch is run once more with its samples in another order.
"""

from collections.abc import Sequence
from itertools import islice, permutations
from typing import NamedTuple, NoReturn

from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.report import fail

Order = tuple[int, ...]

#: So many orders are tried: all of four samples; there are more than can be of a whole batch.
ORDERS = 720


class Turn(NamedTuple):
    """The samples in another order, and whose output each place has if it is put back wrongly."""

    samples: Order
    mistaken: Order


def check_put_back(baseline: Baseline) -> None:
    """Look whether samples that are sorted return to their places.

    It is for a model whose samples alone give what they give in the batch.
    """
    counts = baseline.valid_steps()
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
                _fail(baseline.name(index), turn)


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
    return all(baseline.hides(index, take(normal), take(back), take) for take in takes)


def _fail(name: str, turn: Turn) -> NoReturn:
    place = next(k for k, pair in enumerate(zip(*turn, strict=True)) if pair[0] != pair[1])
    order = ", ".join(map(str, turn.samples))
    what = (
        f"with the samples in the order {order}, {name} of sample {turn.samples[place]} is "
        f"that of sample {turn.mistaken[place]}"
    )
    cause = "samples are sorted by length, and put back by the order in place of its inverse"
    fix = "output[order.argsort()] in place of output[order], where order has sorted the samples"
    fail("alone", what, [("cause", cause), ("fix", fix)])
