"""Several tensors as an input: sequences are padded in the layout that is read, with their lengths."""

import pytest
import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import ArgumentError
from tests.checks.refusals import Case, Fix, Refused, Sums, call, filled, fix, fixed, packed, table

PAD = "torch.nn.utils.rnn.pad_sequence"
LENGTHS = "lengths=[len(x) for x in input]"

SEQUENCES = [filled(7, 3), filled(5, 3)]
ALIKE = [filled(5, 3), filled(5, 3)]
NUMBERS = [filled(7), filled(5)]


def padded(module: str, given: str, text: str = f"{PAD}(input)") -> tuple[Fix, Fix]:
    """Type both parts of the fix into a call."""
    return (
        fix(text, where=f"{module}(@{given}, {LENGTHS})"),
        fix(LENGTHS, where=f"{module}({text}{given}, @)"),
    )


CASES = {
    "Seq-first.": Case(
        call("nn.GRU(3, 4)(input)", input=SEQUENCES),
        Refused(ArgumentError, "mumbles", "input", code="input-type"),
        fix=padded("nn.GRU(3, 4)", ""),
        message=snapshot("""\
input must be a Tensor, got a list
  GRU(3, 4)
  input     expected a Tensor or a PackedSequence    got a list
  fix       torch.nn.utils.rnn.pad_sequence(input) and lengths=[len(x) for x in input], if each is a sequence
  more      python -m rnnkit explain input-type\
"""),
        lacks="stack",
    ),
    "Batch-first, and with a state that is kept.": Case(
        call("nn.LSTM(3, 4, batch_first=True)(input, (h, h))", input=SEQUENCES, h=(1, 2, 4)),
        Refused(ArgumentError, "mumbles", "input", code="input-type"),
        fix=padded(
            "nn.LSTM(3, 4, batch_first=True)", ", (h, h)", f"{PAD}(input, batch_first=True)"
        ),
    ),
    "Unrolled, batch-first.": Case(
        call("unroll(GRUCell(3, 4), input, batch_first=True)", input=SEQUENCES),
        Refused(ArgumentError, "lacks", "input", code="input-type", annotated=True),
        fix=fix(
            f"{PAD}(input, batch_first=True)",
            where=f"unroll(GRUCell(3, 4), @, batch_first=True, {LENGTHS})",
        ),
    ),
    "A user's cell.": Case(
        call("unroll(cell, input)", cell=Sums(), input=SEQUENCES),
        Refused(ArgumentError, "lacks", "input", code="input-type", annotated=True),
        fix=fix(f"{PAD}(input)", where=f"unroll(cell, @, {LENGTHS})"),
    ),
    "A Recurrent.": Case(
        call(
            "layer(input)",
            layer=rnnkit.Recurrent(rnnkit.GRUCell(3, 4), batch_first=True),
            input=SEQUENCES,
        ),
        Refused(ArgumentError, "lacks", "input", code="input-type"),
        fix=padded("layer", "", f"{PAD}(input, batch_first=True)"),
    ),
    "A cell takes one step.": Case(
        call("nn.GRUCell(3, 4)(input)", input=SEQUENCES),
        Refused(ArgumentError, "mumbles", "input", code="input-type"),
        fix=fix(
            f"rnnkit.unroll(cell, {PAD}(input), {LENGTHS})",
            where="@",
            cell=rnnkit.GRUCell(3, 4),
        ),
        lacks="hx",
    ),
    "Two of one shape may be sequences, or steps, of a batch-first layer.": Case(
        call("nn.GRU(3, 4, batch_first=True)(input)", input=ALIKE),
        Refused(ArgumentError, "mumbles", "input", code="input-type"),
        fix=(
            *padded("nn.GRU(3, 4, batch_first=True)", "", f"{PAD}(input, batch_first=True)"),
            "torch.stack(input, 1)",
        ),
        message=snapshot("""\
input must be a Tensor, got a list
  GRU(3, 4, batch_first=True)
  input     expected a Tensor or a PackedSequence    got a list
  fix       torch.nn.utils.rnn.pad_sequence(input, batch_first=True) and lengths=[len(x) for x in input], if each is a sequence
            torch.stack(input, 1), if each is a step
  more      python -m rnnkit explain input-type\
"""),
    ),
    "Steps of a cell.": Case(
        call("nn.GRUCell(3, 4)(input)", input=ALIKE),
        Refused(ArgumentError, "mumbles", "input", code="input-type"),
        fix=fix(
            "for x_t in input: hx = cell(x_t, hx)",
            where="@",
            cell=rnnkit.GRUCell(3, 4),
            hx=None,
        ),
    ),
    "A pair of sequences may be what a layer returned.": Case(
        call("nn.GRU(3, 4)(input)", input=tuple(SEQUENCES)),
        Refused(ArgumentError, "mumbles", "input", code="input-type"),
        fix=("input[0]", *padded("nn.GRU(3, 4)", "")),
        has=f"{LENGTHS}, if each is a sequence\n",
    ),
    "Sequences of single numbers.": Case(
        call("nn.GRU(1, 4)(input)", input=NUMBERS),
        Refused(ArgumentError, "mumbles", "input", code="input-type"),
        fix=padded("nn.GRU(1, 4)", "", f"{PAD}(input).unsqueeze(-1)"),
    ),
    "Steps of one sequence.": Case(
        call("nn.GRU(3, 4)(input)", input=[filled(3), filled(3)]),
        Refused(ArgumentError, "mumbles", "input", code="input-type"),
        fix="torch.stack(input)",
    ),
    "Tensors that no padding joins.": Case(
        call("nn.GRU(3, 4)(input)", input=[filled(7, 5, 3), filled(7, 3)]),
        Refused(ArgumentError, "mumbles", "input", code="input-type"),
        has="  fix       one tensor, made of these by torch.stack or torch.cat\n",
    ),
    "Nor sequences of several widths.": Case(
        call("nn.GRU(3, 4)(input)", input=[filled(7, 3), filled(7, 4)]),
        Refused(ArgumentError, "mumbles", "input", code="input-type"),
        lacks="pad_sequence",
    ),
    "Nor packed ones.": Case(
        call("nn.GRU(3, 4)(input)", input=[packed(3, 2), packed(2, 1)]),
        Refused(ArgumentError, "mumbles", "input", code="input-type"),
        lacks="pad_sequence",
    ),
    "Numbers are made a tensor of the weights' dtype.": Case(
        call("nn.GRU(2, 4, dtype=torch.float64)(input)", input=[[1.0, 2.0], [3.0, 4.0]]),
        Refused(ArgumentError, "mumbles", "input", code="input-type"),
        fix="torch.as_tensor(input, dtype=torch.float64)",
    ),
    "A packed input of a batch-first Recurrent is padded in its layout.": Case(
        call(
            "layer(input)",
            layer=rnnkit.Recurrent(rnnkit.GRUCell(3, 4), batch_first=True),
            input=packed(7, 5),
        ),
        Refused(ArgumentError, "lacks", "input", code="input-type"),
        fix=fix(
            "input, lengths = torch.nn.utils.rnn.pad_packed_sequence(input, batch_first=True)",
            where="@; output, hx = layer(input, lengths=lengths)",
        ),
    ),
    "So is one beside a mask of resets.": Case(
        call(
            "nn.GRU(3, 4, batch_first=True)(input, reset=reset)",
            input=packed(7, 5),
            reset=torch.zeros(2, 7, dtype=torch.bool),
        ),
        Refused(rnnkit.ShapeError, "lacks", "reset", code="mask-packed"),
        has="pad_packed_sequence(input, batch_first=True), then its two results",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused, and what the message says to type runs."""
    case.check()


def test_each_sequence_as_alone() -> None:
    """What the fix computes is what each sequence gives by itself."""
    layer, input = rnnkit.GRU(3, 4, batch_first=True), SEQUENCES
    with pytest.raises(ArgumentError) as caught:
        layer(input)
    text = f"{PAD}(input, batch_first=True)"
    _, state = layer(
        fixed(caught.value, text, input=input),
        lengths=fixed(caught.value, LENGTHS[8:], input=input),
    )

    for place, sequence in enumerate(input):
        torch.testing.assert_close(state[:, place], layer(sequence)[1])
