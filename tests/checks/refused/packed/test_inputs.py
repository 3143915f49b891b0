"""Packed input that a layer refuses."""

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

import rnnkit
from rnnkit import ArgumentError, DeviceError, DtypeError, LengthsError, ShapeError
from tests.checks.refusals import (
    Case,
    Refused,
    call,
    filled,
    fix,
    fixed,
    packed,
    refusal,
    sizes,
    table,
)


class Checked(rnnkit.GRU):
    """A user's layer with a check of their own, of no more than the data's kind."""

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Want numbers."""
        del batch_sizes
        assert input.is_floating_point()


CASES = {
    "Packed double precision is refused.": Case(
        call("nn.LSTM(3, 4)(input)", input=packed(7, 6, 6, 2, 1).double()),
        Refused(DtypeError, "mumbles", "input", code="input-dtype"),
        fix="input.to(torch.float32)",
    ),
    "Packed whole numbers are refused.": Case(
        call("nn.GRU(3, 4)(input)", input=packed(7, 6, 6, 2, 1).long()),
        Refused(DtypeError, "mumbles", "input", code="input-numbers"),
        fix="input.float()",
    ),
    "Packed sequences of another width are refused.": Case(
        call("nn.LSTM(3, 4)(input)", input=packed(7, 6, 6, 2, 1, width=9)),
        Refused(ShapeError, "mumbles", "input", (None, 3), (22, 9), code="input-width"),
        fix=fix("LSTM(9, ...)", "4"),
    ),
    "If all are as long, torch reads across the features in silence.": Case(
        call("nn.LSTM(3, 4)(input)", input=packed(7, 7, 7, width=6)),
        Refused(ShapeError, "unsafe", "input", (None, 3), (21, 6), code="input-width"),
        fix=fix("LSTM(6, ...)", "4"),
    ),
    "As many packed steps as features are no sign of another layout.": Case(
        call("nn.GRU(3, 4)(input)", input=packed(2, 1, width=5)),
        Refused(ShapeError, "says", "input", (None, 3), (3, 5)),
        message=snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 5
  GRU(3, 4): the input is 5 wide, the weights are for 3
  input     expected (sum of lengths, input_size=3)    got (3, 5)
  fix       GRU(5, ...), or an input with 3 features
  more      input-width, in the docs under "Errors"\
"""),
    ),
    "A layer with a check of its user's refuses what ours does, too.": Case(
        call(
            "layer(3, 4)(input)",
            layer=Checked,
            input=packed(2, 1)._replace(data=filled(3, 3).to_sparse()),
        ),
        Refused(ArgumentError, "lacks", "input", code="input-layout"),
        fix="input._replace(data=input.data.to_dense())",
        has="\n  fix       input._replace(data=input.data.to_dense())\n",
    ),
    "Packed sequences of single numbers are refused with the feature axis they lack.": Case(
        call("nn.GRU(1, 4)(input)", input=pack_sequence([filled(7), filled(6)])),
        Refused(ShapeError, "says", "input", (None, 1), (13,), code="input-rank"),
        has="\n  fix       pack a padded tensor (batch, seq, 1), a feature axis at its end\n",
    ),
    "Packed token ids are refused.": Case(
        call(
            "nn.GRU(3, 4)(input)",
            input=pack_sequence([filled(7, dtype=torch.int64), filled(6, dtype=torch.int64)]),
        ),
        Refused(DtypeError, "mumbles", "input"),
        message=snapshot("""\
RNN input dtype (torch.int64) does not match weight dtype (torch.float32).
  GRU(3, 4): the input holds no real floating-point numbers
  input     expected torch.float32    got torch.int64
  fix       numbers: input.float()
            token ids: input._replace(data=torch.nn.Embedding(vocabulary, 3)(input.data))
  more      input-numbers, in the docs under "Errors"\
"""),
    ),
    "Packed sequences with two feature axes are refused.": Case(
        call("nn.LSTM(6, 4)(input)", input=pack_sequence([filled(7, 3, 2), filled(6, 3, 2)])),
        Refused(ShapeError, "mumbles", "input", (None, 6), (13, 3, 2), code="input-rank"),
        has="\n  fix       pack a padded tensor (batch, seq, 6), a feature axis at its end\n",
    ),
    "Packed sequences on another device are refused.": Case(
        call("nn.RNN(3, 4)(input)", input=packed(7, 6, 6, 2, 1).to("meta")),
        Refused(DeviceError, "mumbles", "input", code="input-device"),
        has="\n  fix       input.to('cpu'), or move the model to the input\n",
    ),
    "A packed sequence is refused by a cell.": Case(
        call("nn.GRUCell(3, 4)(input)", input=packed(7, 6, 6, 2, 1)),
        Refused(ArgumentError, "mumbles", "input"),
        message=snapshot("""\
input must be a Tensor, got a PackedSequence
  GRUCell(3, 4)
  input     expected a Tensor    got a PackedSequence
  fix       a cell takes one step: loop over a padded sequence, or use a layer
  more      input-type, in the docs under "Errors"\
"""),
    ),
    "The message tells how many steps are promised, and how many are there.": Case(
        call(
            "nn.GRU(3, 4)(input)",
            input=pack_padded_sequence(filled(6, 4, 3), [2, 7, 3, 5], enforce_sorted=False),
        ),
        Refused(LengthsError, "says"),
        message=snapshot("""\
start (16) + length (1) exceeds dimension size (16).
  GRU(3, 4): a length was larger than the number of steps that were packed
  input     expected (sum of lengths, input_size=3)    got (16, 3)
  evidence  batch_sizes add up to 17 steps, the data have 16
  fix       check how the lengths were counted; to cut them: lengths.clamp(max=steps)
  more      lengths-packed-range, in the docs under "Errors"\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()


def test_packed_for_an_unrolled_cell() -> None:
    """Nor does unroll take one: it takes the padded batch and its lengths."""
    x = packed(7, 6, 6, 2, 1)

    error = refusal(
        rnnkit.ArgumentError, "lacks", lambda _: rnnkit.Recurrent(rnnkit.GRUCell(3, 4))(x)
    )
    fix = "torch.nn.utils.rnn.pad_packed_sequence(input)"
    padded, lengths = fixed(error, fix, input=x)
    rnnkit.Recurrent(rnnkit.GRUCell(3, 4))(padded, lengths=lengths)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("lengths", [[2, 7, 3, 5], [9, 1, 6, 6], [8, 2, 7, 2]])
def test_lengths_beyond_the_batch(name: str, lengths: list[int]) -> None:
    """Torch packs more steps than there are, and its layers say so in words of their storage."""
    x = pack_padded_sequence(filled(6, 4, 3), lengths, enforce_sorted=False)

    error = refusal(rnnkit.LengthsError, "says", lambda nn: getattr(nn, name)(3, 4)(x))
    assert sizes(error) == ("input", (sum(lengths), 3), tuple(x.data.shape))
