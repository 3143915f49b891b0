"""Packed input that a layer refuses, and states beside it."""

import pytest
import torch
from inline_snapshot import snapshot
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

import rnnkit
from rnnkit import (
    ArgumentError,
    DeviceError,
    DtypeError,
    LayoutError,
    LengthsError,
    ShapeError,
    StateError,
)
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
  more      python -m rnnkit explain input-width\
"""),
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
  more      python -m rnnkit explain input-numbers\
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
        has="\n  fix       an input on 'cpu': a tensor on meta has no numbers\n",
    ),
    "A packed sequence is refused by a cell.": Case(
        call("nn.GRUCell(3, 4)(input)", input=packed(7, 6, 6, 2, 1)),
        Refused(ArgumentError, "mumbles", "input"),
        message=snapshot("""\
input must be a Tensor, got a PackedSequence
  GRUCell(3, 4)
  input     expected a Tensor    got a PackedSequence
  fix       a cell takes one step: loop over a padded sequence, or use a layer
  more      python -m rnnkit explain input-type\
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
  more      python -m rnnkit explain lengths-packed-range\
"""),
    ),
    "A c with fewer layers than h is refused, where torch reads memory that is not there.": Case(
        call(
            "nn.LSTM(3, 4, 2)(input, (h, c))", input=packed(7, 6, 6, 2, 1), h=(2, 5, 4), c=(1, 5, 4)
        ),
        Refused(StateError, "unsafe", "hx", (2, 5, 4), (1, 5, 4)),
        message=snapshot("""\
Expected hidden[1] size (2, 5, 4), got [1, 5, 4]
  LSTM(3, 4, num_layers=2): c has 1 row, this layer carries 2
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  h         expected (num_layers=2, batch=5, hidden_size=4)    got (2, 5, 4)
  c         expected (num_layers=2, batch=5, hidden_size=4)    got (1, 5, 4)
  fix       (h, None), which starts c from zeros
  more      python -m rnnkit explain state-layers\
"""),
    ),
    "A c with more layers than h is refused, where torch drops them in silence.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=packed(7, 6, 6, 2, 1), h=(1, 5, 4), c=(3, 5, 4)),
        Refused(StateError, "unsafe", "hx", (1, 5, 4), (3, 5, 4), code="state-layers"),
        fix=fix("(h, None)", into="hx"),
    ),
    "A c without the backward direction is refused.": Case(
        call(
            "nn.LSTM(3, 4, bidirectional=True)(input, (h, c))",
            input=packed(7, 6, 6, 2, 1),
            h=(2, 5, 4),
            c=(1, 5, 4),
        ),
        Refused(StateError, "unsafe", "hx", (2, 5, 4), (1, 5, 4), code="state-directions"),
        fix=fix("(h, None)", into="hx"),
    ),
    "A c of one sample is refused, where torch gives it to all in silence.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=packed(7, 6, 6, 2, 1), h=(1, 5, 4), c=(1, 1, 4)),
        Refused(StateError, "unsafe", "hx", (1, 5, 4), (1, 1, 4), code="state-one-sample"),
        fix=fix("(h, rnnkit.states.expand(c, 5))", into="hx"),
    ),
    "A state of a larger batch is refused, of which torch takes the rows that it needs.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=packed(7, 6, 6, 2, 1), hx=(1, 8, 4)),
        Refused(StateError, "unsafe", "hx", (1, 5, 4), (1, 8, 4), code="state-batch"),
        fix="rnnkit.states.select(hx, slice(5))",
    ),
    "Sequences packed by their length make no difference.": Case(
        call(
            "nn.LSTM(3, 4)(input, (h, h))",
            input=pack_sequence([filled(n, 3) for n in (7, 6, 6, 2, 1)]),
            h=(1, 8, 4),
        ),
        Refused(StateError, "unsafe", "hx", (1, 5, 4), (1, 8, 4), code="state-batch"),
        fix="rnnkit.states.select(hx, slice(5))",
    ),
    "A state of a smaller batch is refused, where torch says an index is out of range.": Case(
        call("nn.RNN(3, 4)(input, hx)", input=packed(7, 6, 6, 2, 1), hx=(1, 2, 4)),
        Refused(StateError, "unsafe", "hx", (1, 5, 4), (1, 2, 4), code="state-batch"),
        has="\n  fix       hx=None or layer.initial_state(5): zeros\n",
    ),
    "The batch of a state is the number of sequences, not that of steps.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=packed(7, 6, 6, 2, 1), hx=(1, 7, 4)),
        Refused(LayoutError, "unsafe", "hx", (1, 5, 4), (1, 7, 4)),
        fix=fix(
            "pack_padded_sequence(..., batch_first=True)",
            "filled(7, 5, 3), [5, 5, 4, 3, 2, 1, 1]",
            into="input",
            filled=filled,
        ),
        message=snapshot("""\
Expected hidden size (1, 5, 4), got [1, 7, 4]
  GRU(3, 4): the sequences look packed in the other layout
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 7, 4)
  evidence  hx has batch 7, which is the number of steps packed
  fix       pack_padded_sequence(..., batch_first=True) for a (batch, seq, feature) input
  more      python -m rnnkit explain layout-packed\
"""),
    ),
    "A batch-first state is refused, also of a batch-first layer.": Case(
        call(
            "nn.LSTM(3, 4, 2, batch_first=True)(input, (h, h))",
            input=packed(7, 6, 6, 2, 1),
            h=(5, 2, 4),
        ),
        Refused(StateError, "unsafe", "hx", (2, 5, 4), (5, 2, 4), code="state-transposed"),
        fix="rnnkit.states.from_batch_first(hx)",
    ),
    "A state without the axis of layers is refused with the axis.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=packed(7, 6, 6, 2, 1), hx=(5, 4)),
        Refused(StateError, "unsafe", "hx", (1, 5, 4), (5, 4), code="state-rank"),
        fix="hx.unsqueeze(0)",
    ),
    "A state of four axes is refused, where torch ends the process.": Case(
        call("nn.LSTM(3, 4)(input, (h, h))", input=packed(7, 6, 6, 2, 1), h=(1, 1, 5, 4)),
        Refused(StateError, "unsafe", "hx", (1, 5, 4), (1, 1, 5, 4), code="state-rank"),
        fix="tuple(t.squeeze(0) for t in hx)",
    ),
    "A state of another width is refused with both numbers.": Case(
        call("nn.RNN(3, 4)(input, hx)", input=packed(7, 6, 6, 2, 1), hx=(1, 5, 6)),
        Refused(StateError, "unsafe", "hx", (1, 5, 4), (1, 5, 6), code="state-width"),
        has="\n  fix       hx=None or layer.initial_state(5): zeros\n",
    ),
    "An LSTM's pair is refused by a GRU.": Case(
        call(
            "nn.GRU(3, 4)(input, hx)",
            input=packed(7, 6, 6, 2, 1),
            hx=(filled(1, 5, 4), filled(1, 5, 4)),
        ),
        Refused(StateError, "unsafe", "hx", (1, 5, 4), (), code="state-structure"),
        fix="hx[0]",
    ),
    "One tensor is refused by an LSTM.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=packed(7, 6, 6, 2, 1), hx=(1, 5, 4)),
        Refused(StateError, "unsafe", "hx", (1, 5, 4), (1, 5, 4), code="state-structure"),
        fix="(hx, None)",
    ),
    "A state of another dtype is refused.": Case(
        call(
            "nn.LSTM(3, 4)(input, (h, c))",
            input=packed(7, 6, 6, 2, 1),
            h=(1, 5, 4),
            c=filled(1, 5, 4, dtype=torch.float64),
        ),
        Refused(DtypeError, "unsafe", "hx", code="state-dtype"),
        fix="rnnkit.states.to(hx, torch.float32)",
    ),
    "A state on another device is refused.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=packed(7, 6, 6, 2, 1), hx=filled(1, 5, 4).to("meta")),
        Refused(DeviceError, "unsafe", "hx", code="state-device"),
        fix=fix("layer.initial_state(5)", into="hx", layer=rnnkit.GRU(3, 4)),
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
