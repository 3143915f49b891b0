"""Packed input whose fields contradict each other: the rule that is broken, and by what."""

import math

import pytest
import torch
from inline_snapshot import snapshot
from torch.nn.utils.rnn import PackedSequence

import rnnkit
from rnnkit import ArgumentError, LengthsError, ShapeError
from tests.checks.refusals import Case, Refused, call, filled, packed, table
from tests.strategies import assert_same

#: Of three sequences, two of which have a second step.
DATA, SIZES = filled(5, 3), torch.tensor([3, 2])
ORDER = torch.tensor([1, 2, 0])
#: Of two sequences.
BACK = torch.tensor([1, 0])
#: The fields beside the data, and what their one axis is.
FIELDS = {"batch_sizes": "steps", "sorted_indices": "batch", "unsorted_indices": "batch"}

NAMES = {"PackedSequence": PackedSequence, "data": DATA, "sizes": SIZES, "order": ORDER}


CASES = {
    "Fewer sequences first.": Case(
        call("nn.GRU(3, 4)(PackedSequence(data, n))", n=torch.tensor([2, 3]), **NAMES),
        Refused(LengthsError, "unsafe", "input"),
        message=snapshot("""\
the fields of packed input contradict each other: batch_sizes fall from the number of sequences, and are 1 or more
  GRU(3, 4)
  fix       input._replace(data=...) keeps the others; pack_padded_sequence makes them all
  more      python -m rnnkit explain packed-fields\
"""),
    ),
    "Steps that are not counted.": Case(
        call("nn.LSTM(3, 4)(PackedSequence(data, n))", n=torch.tensor([2, 2]), **NAMES),
        Refused(LengthsError, "unsafe", "input"),
        has=": batch_sizes count 4 steps, the data have 5\n",
    ),
    "A short order.": Case(
        call(
            "nn.GRU(3, 4)(PackedSequence(data, sizes, order[:2], back))",
            **NAMES | {"back": torch.tensor([1, 0, 2])},
        ),
        Refused(LengthsError, "unsafe", "input"),
        has=": sorted_indices have 2 positions for 3 sequences\n",
    ),
    "A long way back.": Case(
        call("nn.RNN(3, 4)(PackedSequence(data, sizes, order, n))", n=torch.arange(4), **NAMES),
        Refused(LengthsError, "unsafe", "input"),
        has=": unsorted_indices have 4 positions for 3 sequences\n",
    ),
    "A long way back that undoes the order all the same.": Case(
        call(
            "nn.RNN(3, 4)(PackedSequence(data, sizes, order, n))",
            n=torch.tensor([2, 0, 1, 3]),
            **NAMES,
        ),
        Refused(LengthsError, "unsafe", "input"),
        has="have 4 positions for 3 sequences\n",
    ),
    "A short way back.": Case(
        call("nn.RNN(3, 4)(PackedSequence(data, sizes, order, order[:2]))", **NAMES),
        Refused(LengthsError, "unsafe", "input"),
        has="have 2 positions for 3 sequences\n",
    ),
    "The order alone.": Case(
        call("nn.GRU(3, 4)(input._replace(unsorted_indices=None))", input=packed(1, 2)),
        Refused(LengthsError, "unsafe", "input"),
        has=": sorted_indices and unsorted_indices come together\n  GRU(3, 4)\n",
    ),
    "A way back from another order.": Case(
        call("nn.GRU(3, 4)(PackedSequence(data, sizes, order, order))", **NAMES),
        Refused(LengthsError, "unsafe", "input"),
        has=": unsorted_indices undo sorted_indices, each position once\n  GRU(3, 4)\n",
    ),
    "The way back alone, to places that there are not.": Case(
        call(
            "nn.GRU(3, 4)(PackedSequence(data, sizes, None, n))", n=torch.tensor([0, 1, 3]), **NAMES
        ),
        Refused(LengthsError, "unsafe", "input"),
        has=": unsorted_indices are positions among the 3 sequences\n",
    ),
    "The way back alone, and a state.": Case(
        call("nn.GRU(3, 4)(PackedSequence(data, sizes, None, order), hx)", hx=(1, 3, 4), **NAMES),
        Refused(LengthsError, "unsafe", "input"),
        has=": sorted_indices and unsorted_indices come together\n",
    ),
    "Data that are no tensor.": Case(
        call("nn.GRU(3, 4)(PackedSequence([1.0], sizes))", **NAMES),
        Refused(ArgumentError, "unsafe", "input", annotated=True),
        message=snapshot("""\
data of packed input must be a Tensor, got a list of 1
  GRU(3, 4)
  fix       torch.nn.utils.rnn.pack_padded_sequence makes packed input, with all its fields
  more      python -m rnnkit explain packed-fields\
"""),
    ),
    "Sizes of another dtype.": Case(
        call("nn.GRU(3, 4)(PackedSequence(data, sizes.int()))", **NAMES),
        Refused(ArgumentError, "unsafe", "input", annotated=True),
        has="batch_sizes of packed input must be a Tensor (steps,) of int64, got torch.int32 (2,)\n  GRU(3, 4)\n",
    ),
    "Sizes elsewhere.": Case(
        call("nn.GRU(3, 4)(input._replace(batch_sizes=n))", input=packed(2, 1), n=SIZES.to("meta")),
        Refused(ArgumentError, "unsafe", "input", annotated=True),
        has="batch_sizes of packed input must be on the CPU, got meta\n  GRU(3, 4)\n",
    ),
    "An order of another dtype.": Case(
        call("nn.GRU(3, 4)(input._replace(sorted_indices=n))", input=packed(2, 1), n=ORDER.float()),
        Refused(ArgumentError, "unsafe", "input", annotated=True),
        has="sorted_indices of packed input must be a Tensor (batch,) of int64, got torch.float32 (3,)\n  GRU(3, 4)\n",
    ),
    "A way back of floats.": Case(
        call(
            "nn.GRU(3, 4)(input._replace(unsorted_indices=n))", input=packed(1, 2), n=BACK.double()
        ),
        Refused(ArgumentError, "unsafe", "input", annotated=True),
        has="unsorted_indices of packed input must be a Tensor (batch,) of int64, got torch.float64 (2,)\n",
    ),
    **{
        f"{field} with {len(shape)} axes.": Case(
            call(
                f"nn.GRU(3, 4)(input._replace({field}=n))",
                input=packed(2, 1),
                n=torch.arange(math.prod(shape)).reshape(shape),
            ),
            Refused(ArgumentError, "unsafe", "input", annotated=True),
            has=f"{field} of packed input must be a Tensor ({axis},) of int64, got torch.int64 {shape}\n",
        )
        for field, axis in FIELDS.items()
        for shape in ((), (1, 2), (2, 1))
    },
    "A way back elsewhere.": Case(
        call(
            "nn.GRU(3, 4)(input._replace(unsorted_indices=n))",
            input=packed(2, 1),
            n=torch.arange(2).to("meta"),
        ),
        Refused(ArgumentError, "unsafe", "input", annotated=True),
        has="unsorted_indices of packed input must be on cpu, as the data are, got meta\n  GRU(3, 4)\n",
    ),
    "Sizes in a list.": Case(
        call("nn.GRU(3, 4)(input._replace(batch_sizes=[2, 1]))", input=packed(2, 1)),
        Refused(ArgumentError, "unsafe", "input", annotated=True),
        has="batch_sizes of packed input must be a Tensor (steps,) of int64, got a list",
    ),
    "Sparse sizes.": Case(
        call(
            "nn.GRU(3, 4)(input._replace(batch_sizes=n))", input=packed(2, 1), n=SIZES.to_sparse()
        ),
        Refused(ArgumentError, "unsafe", "input", annotated=True),
        has="batch_sizes of packed input must be a Tensor (steps,) of int64, got a Tensor of shape (2,)\n",
    ),
    "A sparse way back.": Case(
        call(
            "nn.GRU(3, 4)(input._replace(unsorted_indices=n))",
            input=packed(2, 1),
            n=torch.arange(2).to_sparse(),
        ),
        Refused(ArgumentError, "unsafe", "input", annotated=True),
        has="unsorted_indices of packed input must be a Tensor (batch,) of int64, got a Tensor of shape (2,)\n",
    ),
    "A step of no sequences.": Case(
        call("nn.GRU(3, 4)(PackedSequence(data, n))", n=torch.tensor([3, 2, 0]), **NAMES),
        Refused(LengthsError, "unsafe", "input"),
        has=": batch_sizes fall from the number of sequences, and are 1 or more\n",
    ),
    "The way back alone, of another kind.": Case(
        call("nn.GRU(3, 4)(PackedSequence(data, sizes, None, n))", n=[2, 0, 1], **NAMES),
        Refused(ArgumentError, "unsafe", "input", annotated=True),
        has="unsorted_indices of packed input must be a Tensor (batch,) of int64, got a list",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is told before torch reads it, which may end the process."""
    case._replace(refused=case.refused._replace(code="packed-fields")).check()


def test_data_without_axes() -> None:
    """They have no steps to count, and are refused for their rank."""
    case = Case(
        call("nn.GRU(3, 4)(PackedSequence(data[0, 0], sizes))", **NAMES),
        Refused(ShapeError, "unsafe", "input", (None, 3), (), code="input-rank"),
    )
    case.check()


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_the_way_back_alone(name: str) -> None:
    """Without a state torch brings the last one back by it, whatever the order was; so do we."""
    x = PackedSequence(DATA, SIZES, None, torch.tensor([2, 0, 1]))
    theirs = getattr(torch.nn, name)(3, 4)
    ours = getattr(rnnkit, name)(3, 4)
    ours.load_state_dict(theirs.state_dict())

    assert_same(theirs(x)[1], ours(x)[1])
