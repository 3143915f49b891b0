"""Which samples of a large batch are looked at, and by which numbers messages call them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnkit
from tests.diagnostics.models_of_users import FEATURE, SEQ, Model, mask, numbers
from tests.diagnostics.small import gru, said

#: Lengths of batches in which the first four samples tell little of the padding.
SORTED = (7, 7, 7, 7, 3, 2)
LENGTHS = [SORTED, (7, 7, 7, 7, 7, 2), (6, 6, 6, 6, 7, 6), (7, 7, 7, 7, 3, 7, 2, 7)]


def padded(lengths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return a batch that ends in zeros, and its lengths."""
    counts = torch.tensor(lengths)
    return numbers(len(lengths), SEQ, FEATURE) * mask(counts).unsqueeze(2), counts


def mean(m: Any, x: Tensor, n: Tensor, *, right: bool) -> Tensor:
    """Take the mean over the steps, or over the padding as well."""
    y, valid = m.gru(x)[0], mask(n, x.shape[1]).unsqueeze(2)
    return (y * valid).sum(1) / n.unsqueeze(1) if right else y.mean(1)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_the_shortest_samples_are_looked_at(lengths: tuple[int, ...]) -> None:
    """Padding that is pooled is found wherever the short samples are, and is named by its place."""
    x, counts = padded(lengths)
    wrong = Model(lambda m, x, n: mean(m, x, n, right=False), gru=gru())
    shortest = min(range(len(lengths)), key=lengths.__getitem__)
    assert said(wrong, x, counts, lengths=counts).startswith(f"sample {shortest} alone, cut to its")

    right = Model(lambda m, x, n: mean(m, x, n, right=True), gru=gru())
    assert {"alone", "padding"} <= {*rnnkit.verify(right, x, counts, lengths=counts).checked}


def test_the_samples_stay_sorted() -> None:
    """A model that packs a sorted batch runs on the samples that are picked, at its full length."""

    def compute(m: Any, x: Tensor, n: Tensor) -> Tensor:
        output, _ = m.gru(pack_padded_sequence(x, n, batch_first=True))
        y: Tensor = pad_packed_sequence(output, batch_first=True)[0]
        return y

    x, counts = padded((7, 6, 6, 6, 3, 2))
    report = rnnkit.verify(Model(compute, gru=gru()), x, counts, lengths=counts)
    assert {"batch", "alone", "padding"} <= {*report.checked}


def mixing(m: Any, x: Tensor, *_: Tensor) -> Tensor:
    """Run over the samples."""
    y: Tensor = m.gru(x.transpose(0, 1))[0].transpose(0, 1)
    return y


def turning(m: Any, x: Tensor, n: Tensor, _: Tensor) -> Tensor:
    """Put samples back by the order that has sorted them, instead of its inverse."""
    counts, order = n.sort(descending=True)
    state: Tensor = m.gru(pack_padded_sequence(x[order], counts, batch_first=True))[1]
    return state[-1][order]


def reading(m: Any, x: Tensor, _: Tensor, others: Tensor) -> Tensor:
    """Pack by the lengths of something else."""
    given = pack_padded_sequence(x, others, batch_first=True, enforce_sorted=False)
    h: Tensor = m.gru(given)[1]
    return h[-1]


#: Wrong models, the probes that are left out, and how the message begins that names samples.
NAMED: dict[str, tuple[Callable[..., Tensor], list[str], str]] = {
    "batch": (mixing, [], "output of sample 4 depends on input of sample 1\n"),
    "alone": (
        turning,
        [],
        "with the samples in the order 6, 5, 4, 1, output of sample 6 is not what it was",
    ),
    "padding": (
        lambda m, x, *_: m.gru(x)[0].mean(1),
        ["alone"],
        "output of sample 4 depends on what is beyond its length of 2 steps\n",
    ),
    "coverage": (reading, ["alone", "padding"], "of sample 1, which has 7 steps, 2 are read\n"),
}


@pytest.mark.parametrize("probe", NAMED)
def test_numbers_of_samples(probe: str) -> None:
    """A message calls a sample by its place in the batch that the caller gave."""
    compute, skip, start = NAMED[probe]
    x, counts = padded((6, 7, 6, 6, 2, 3, 5))
    text = said(Model(compute, gru=gru()), x, counts, 9 - counts, lengths=counts, skip=skip)
    assert text.startswith(start)
