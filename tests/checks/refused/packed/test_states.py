"""States that a layer refuses with packed input, where torch's own checks are missing."""

import torch
from inline_snapshot import snapshot
from torch.nn.utils.rnn import pack_sequence

from rnnkit import DeviceError, DtypeError, LayoutError, StateError
from tests.checks.refusals import Case, Refused, call, filled, fix, packed, table

CASES = {
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
  fix       hx=None or layer.initial_state(5): zeros
            where layer is this module
  more      state-layers, in the docs under "Errors"\
"""),
    ),
    "A c with more layers than h is refused, where torch drops them in silence.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=packed(7, 6, 6, 2, 1), h=(1, 5, 4), c=(3, 5, 4)),
        Refused(StateError, "unsafe", "hx", (1, 5, 4), (3, 5, 4), code="state-layers"),
        has="\n  fix       hx=None or layer.initial_state(5): zeros\n",
    ),
    "A c without the backward direction is refused.": Case(
        call(
            "nn.LSTM(3, 4, bidirectional=True)(input, (h, c))",
            input=packed(7, 6, 6, 2, 1),
            h=(2, 5, 4),
            c=(1, 5, 4),
        ),
        Refused(StateError, "unsafe", "hx", (2, 5, 4), (1, 5, 4), code="state-directions"),
        has="\n  fix       hx=None or layer.initial_state(5): zeros\n",
    ),
    "A c of one sample is refused, where torch gives it to all in silence.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=packed(7, 6, 6, 2, 1), h=(1, 5, 4), c=(1, 1, 4)),
        Refused(StateError, "unsafe", "hx", (1, 5, 4), (1, 1, 4), code="state-one-sample"),
        fix="rnnkit.states.expand(hx, 5)",
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
            if hx is from a larger batch: rnnkit.states.select(hx, positions), or hx=None for zeros
            where hx is your state
  more      layout-packed, in the docs under "Errors"\
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
        Refused(StateError, "unsafe", "hx", (1, 5, 4), (5, 4)),
        fix="hx.unsqueeze(0)",
        message=snapshot("""\
For batched 3-D input, hx should also be 3-D but got 2-D tensor
  GRU(3, 4): hx has 2 axes in place of 3
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (5, 4)
  fix       hx.unsqueeze(0)
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "A state of four axes is refused, where torch ends the process.": Case(
        call("nn.LSTM(3, 4)(input, (h, h))", input=packed(7, 6, 6, 2, 1), h=(1, 1, 5, 4)),
        Refused(StateError, "unsafe", "hx", (1, 5, 4), (1, 1, 5, 4)),
        fix="tuple(t.squeeze(0) for t in hx)",
        message=snapshot("""\
For batched 3-D input, hx and cx should also be 3-D but got (4-D, 4-D) tensors
  LSTM(3, 4): h has 4 axes in place of 3
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 1, 5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 1, 5, 4)
  fix       tuple(t.squeeze(0) for t in hx)
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
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
        has="\n  fix       rnnkit.states.to(hx, input.device)\n",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
