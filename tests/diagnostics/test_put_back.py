"""Samples that are sorted by length, and put back by the order instead of its inverse."""

from itertools import permutations
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnkit
from tests.diagnostics.models_of_users import Model

SEQ, FEATURE, HIDDEN = 7, 3, 5


def sorting(*, falling: bool, inverse: bool, steps: bool = False) -> Model:
    """Sorts the samples, and returns a vector for each, or its steps too."""

    def compute(m: Any, x: Tensor, lengths: Tensor) -> Any:
        counts, order = lengths.sort(descending=falling)
        place = order.argsort() if inverse else order
        sorted_samples = pack_padded_sequence(x[order], counts, True, enforce_sorted=falling)
        output, h = m.gru(sorted_samples)
        padded, _ = pad_packed_sequence(output, True, total_length=x.shape[1])
        return (padded[place], h[-1][place]) if steps else h[-1][place]

    return Model(compute, gru=nn.GRU(FEATURE, HIDDEN, batch_first=True))


def batch_of(lengths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """A padded batch with these lengths."""
    x, counts = torch.randn(len(lengths), SEQ, FEATURE), torch.tensor(lengths)
    return x * (torch.arange(SEQ) < counts.unsqueeze(1)).unsqueeze(2), counts


@pytest.mark.parametrize(
    ("falling", "steps"), [(True, False), (False, True)], ids=["longest first", "shortest first"]
)
def test_samples_put_back_by_their_order_are_found(falling: bool, steps: bool) -> None:
    """Whatever the lengths are, the mistake shows."""
    for lengths in permutations((7, 2, 5, 3)):
        x, counts = batch_of(lengths)
        wrong = sorting(falling=falling, inverse=False, steps=steps)
        with pytest.raises(rnnkit.LeakError):
            rnnkit.verify(wrong, x, counts, lengths=counts)


@pytest.mark.parametrize(
    ("falling", "steps"), [(True, False), (False, True)], ids=["longest first", "shortest first"]
)
def test_samples_put_back_by_the_inverse_are_right(falling: bool, steps: bool) -> None:
    """Whatever the lengths are, two alike among them too."""
    for lengths in [*permutations((7, 2, 5, 3)), (3, 5, 3, 7), (5, 7, 5, 5), (2, 5, 3)]:
        x, counts = batch_of(lengths)
        report = rnnkit.verify(
            sorting(falling=falling, inverse=True, steps=steps), x, counts, lengths=counts
        )

        assert "alone" in report.checked


def test_a_whole_batch_whose_lengths_are_alike_ends() -> None:
    """Of many samples not all orders are tried, where sorting undoes itself in most of them."""

    def compute(m: Any, x: Tensor, lengths: Tensor) -> Tensor:
        if len(x) not in (1, 16):
            message = "only buckets of 1 and 16"
            raise ValueError(message)
        valid = torch.arange(x.shape[1]) < lengths.unsqueeze(1)
        return m.gru(x)[0] * valid.unsqueeze(2)

    x, counts = batch_of((5, 7, *[5] * 14))
    model = Model(compute, gru=nn.GRU(FEATURE, HIDDEN, batch_first=True))
    assert "alone" in rnnkit.verify(model, x, counts, lengths=counts).checked


def test_of_two_samples_nothing_can_be_said() -> None:
    """Each order of two undoes itself, so that the mistake shows in none."""
    x, counts = batch_of((3, 5))
    report = rnnkit.verify(sorting(falling=True, inverse=False), x, counts, lengths=counts)

    assert "alone" in report.checked


def test_a_model_that_insists_on_sorted_samples_is_left_alone() -> None:
    """What it raises for another order is no finding."""

    def compute(m: Any, x: Tensor, lengths: Tensor) -> Tensor:
        assert len(lengths) < 4 or lengths.tolist() == [3, 2, 7, 5]
        h: Tensor = m.gru(pack_padded_sequence(x, lengths, True, enforce_sorted=False))[1]
        return h[-1]

    x, counts = batch_of((3, 2, 7, 5))
    model = Model(compute, gru=nn.GRU(FEATURE, HIDDEN, batch_first=True))

    assert "alone" in rnnkit.verify(model, x, counts, lengths=counts).checked


def test_what_is_said() -> None:
    """The message has two samples whose outputs have changed places."""
    x, counts = batch_of((4, 2, 7, 5))

    with pytest.raises(rnnkit.LeakError) as caught:
        rnnkit.verify(sorting(falling=True, inverse=False), x, counts, lengths=counts)
    assert caught.value.probe == "alone"
    assert str(caught.value) == snapshot("""\
with the samples in the order 3, 0, 1, 2, output of sample 3 is not what it was
  cause      samples are sorted by length, and put back by the order instead of its inverse
  fix        output[order.argsort()] instead of output[order], where order sorts the samples
  intended?  rnnkit.verify(..., skip=['alone'])
  more       python -m rnnkit explain alone\
""")


def halfway(*, x_sorted: bool, put_back: bool) -> Model:
    """Sorts the samples by length, or their lengths alone, and puts the outputs back, or not."""

    def compute(m: Any, x: Tensor, lengths: Tensor) -> Tensor:
        counts, order = lengths.sort(descending=True)
        packed = pack_padded_sequence(x[order] if x_sorted else x, counts, batch_first=True)
        h: Tensor = m.gru(packed)[1][-1]
        return h[order.argsort()] if put_back else h

    return Model(compute, gru=nn.GRU(FEATURE, HIDDEN, batch_first=True))


def said_of(model: Model, lengths: tuple[int, ...]) -> str:
    """Verify a model that mixes samples; return what is said."""
    x, counts = batch_of(lengths)
    with pytest.raises(rnnkit.LeakError) as caught:
        rnnkit.verify(model, x, counts, lengths=counts)
    return str(caught.value)


def test_samples_that_are_not_put_back() -> None:
    """The cause is named: sorted and not put back, or put back and never sorted."""
    for lengths in permutations((7, 2, 5, 3)):
        if list(lengths) == sorted(lengths, reverse=True):
            continue
        assert "sorted by length" in said_of(halfway(x_sorted=True, put_back=False), lengths)
    assert said_of(halfway(x_sorted=True, put_back=False), (3, 7, 2, 5)) == snapshot("""\
output of sample 2 depends on input of sample 0
  first      gru (GRU), input of call 0
  cause      samples are sorted by length, and not put back
  fix        output[order.argsort()], where order has sorted the samples
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")
    assert said_of(halfway(x_sorted=False, put_back=True), (3, 7, 2, 5)) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      after gru, in what the model does with tensors itself
  cause      samples are put back from the order of their lengths, and were never sorted
  fix        x[order], where order has sorted the lengths
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")
    assert said_of(halfway(x_sorted=True, put_back=False), (5, 7, 2, 3)) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      gru (GRU), input of call 0
  cause      samples are sorted by length and not put back, or put back and never sorted
  fix        output[order.argsort()], where order has sorted the samples
  or         x[order], where order has sorted the lengths
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


def test_samples_that_are_put_back_by_their_order() -> None:
    """The cause is named as well where samples change places more than once."""
    wrong = sorting(falling=True, inverse=False)
    assert "put back by the order instead of its inverse" in said_of(wrong, (3, 7, 2, 5))


def test_lengths_that_are_sorted_alone() -> None:
    """Lengths of other samples are told by what a sorted batch gives."""
    wrong = halfway(x_sorted=False, put_back=False)
    assert said_of(wrong, (3, 7, 2, 5)).splitlines()[2:4] == snapshot(
        [
            "  cause      samples are taken for sorted by length: so, each gives what it gives alone",
            "  fix        x[order], where order sorts the lengths; or pack with enforce_sorted=False",
        ]
    )
    x, counts = batch_of((7, 5, 3, 2))
    assert rnnkit.verify(wrong, x, counts, lengths=counts).judged


def test_padding_that_is_pooled_in_any_order() -> None:
    """What goes wrong in a sorted batch too, or of what takes no other order, is no such cause.

    Nor is it where a sample does not run alone.
    """
    first_two = {"any": [], "this order": [[3, 7], [7, 2], [7], [3], [2], [5]], "not alone": [[5]]}

    def compute(m: Any, x: Tensor, lengths: Tensor) -> Tensor:
        found, known = lengths.tolist()[:2], first_two[m.takes]
        assert m.takes == "any" or (found in known) == (m.takes == "this order")
        return m.gru(x)[0].mean(1)

    model = Model(compute, gru=nn.GRU(FEATURE, HIDDEN, batch_first=True))
    for model.takes in first_two:
        assert "taken for sorted" not in said_of(model, (3, 7, 2, 5))
