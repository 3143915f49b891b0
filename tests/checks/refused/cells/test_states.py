"""States that a cell refuses: by the number and the order of their axes, by their sizes."""

import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import DeviceError, DtypeError, StateError
from tests.checks.refusals import Case, Refused, call, filled, fix, table

CASES = {
    "A layer's state is refused with the row that a cell takes.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(5, 3), hx=(1, 5, 4)),
        Refused(StateError, "says", "hx", (5, 4), (1, 5, 4)),
        fix="hx.squeeze(0)",
        message=snapshot("""\
GRUCell: Expected hidden to be 1D or 2D, got 3D instead
  GRUCell(3, 4): hx has 3 axes in place of 2
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (1, 5, 4)
  fix       hx.squeeze(0)
  more      python -m rnnkit explain state-rank\
"""),
    ),
    "The state of a layer of several is refused.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, h))", input=(5, 3), h=(2, 5, 4)),
        Refused(StateError, "says", "hx", (5, 4), (2, 5, 4)),
        message=snapshot("""\
LSTMCell: Expected hx[0] to be 1D or 2D, got 3D instead
  LSTMCell(3, 4): h has 3 axes in place of 2
  input     expected (batch, input_size=3)    got (5, 3)
  h         expected (batch=5, hidden_size=4)    got (2, 5, 4)
  c         expected (batch=5, hidden_size=4)    got (2, 5, 4)
  fix       tuple(t[-1] for t in hx), if the last layer is meant
  more      python -m rnnkit explain state-rank\
"""),
    ),
    "A state without the batch axis is refused with the repetition.": Case(
        call("nn.RNNCell(3, 4)(input, hx)", input=(5, 3), hx=(4,)),
        Refused(StateError, "mumbles", "hx", (5, 4), (4,), code="state-rank"),
        fix="hx.expand(5, -1).contiguous()",
    ),
    "A batch of one in the state of one sample is refused.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(3,), hx=(1, 4)),
        Refused(StateError, "mumbles", "hx", (4,), (1, 4), code="state-rank"),
        fix="hx.squeeze(0)",
    ),
    "A square state of one sample is refused, where torch ends the process.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, h))", input=(3,), h=(4, 4)),
        Refused(StateError, "unsafe", "hx", (4,), (4, 4), code="state-rank"),
        has="\n  fix       tuple(t[-1] for t in hx), if the last layer is meant\n",
    ),
    "An RNNCell refuses it too, where torch computes as many samples as units.": Case(
        call("nn.RNNCell(3, 4)(input, hx)", input=(3,), hx=(4, 4)),
        Refused(StateError, "accepts", "hx", (4,), (4, 4)),
        message=snapshot("""\
RNNCell: Expected hidden to be 1D, got 2D instead
  RNNCell(3, 4): hx has 2 axes in place of 1
  input     expected (input_size=3,)    got (3,)
  hx        expected (hidden_size=4,)    got (4, 4)
  fix       hx[-1], if the last layer is meant
  more      python -m rnnkit explain state-rank\
"""),
    ),
    "If c alone lacks the batch axis, c is named.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, c))", input=(5, 3), h=(5, 4), c=(4,)),
        Refused(StateError, "mumbles", "hx", (5, 4), (4,)),
        fix=fix("(h, c.expand(5, -1).contiguous())", into="hx"),
        message=snapshot("""\
LSTMCell: Expected hx[1] to be 2D, got 1D instead
  LSTMCell(3, 4): c has 1 axis in place of 2
  input     expected (batch, input_size=3)    got (5, 3)
  h         expected (batch=5, hidden_size=4)    got (5, 4)
  c         expected (batch=5, hidden_size=4)    got (4,)
  fix       (h, c.expand(5, -1).contiguous()), if all start from it
  more      python -m rnnkit explain state-rank\
"""),
    ),
    "A state that is left from a larger batch is refused with its rows of now.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, h))", input=(5, 3), h=(8, 4)),
        Refused(StateError, "says", "hx", (5, 4), (8, 4)),
        fix="rnnkit.states.select(hx, slice(5))",
        message=snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 8
  LSTMCell(3, 4): h is for a batch of 8, the input has 5
  input     expected (batch, input_size=3)    got (5, 3)
  h         expected (batch=5, hidden_size=4)    got (8, 4)
  c         expected (batch=5, hidden_size=4)    got (8, 4)
  evidence  8 > 5: probably left from a larger batch, as when the last of an epoch is smaller
  fix       hx=None or cell.initial_state(5): zeros, if the sequences are new
            rnnkit.states.select(hx, slice(5)), if the first samples went on
  more      python -m rnnkit explain state-batch\
"""),
    ),
    "A state of a smaller batch is refused.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(5, 3), hx=(2, 4)),
        Refused(StateError, "says", "hx", (5, 4), (2, 4), code="state-batch"),
        has="\n  fix       hx=None or cell.initial_state(5): zeros\n",
    ),
    "The state of a batch of one is refused with the repetition.": Case(
        call("nn.RNNCell(3, 4)(input, hx)", input=(5, 3), hx=(1, 4)),
        Refused(StateError, "says", "hx", (5, 4), (1, 4)),
        fix="rnnkit.states.expand(hx, 5)",
        message=snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 1
  RNNCell(3, 4): hx is for one sample, the input has 5
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (1, 4)
  fix       rnnkit.states.expand(hx, 5), if all samples start from it
            hx=None or cell.initial_state(5): zeros, if the sequences are new
  more      python -m rnnkit explain state-one-sample\
"""),
    ),
    "If h fits and c is of another batch, c is named.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, c))", input=(5, 3), h=(5, 4), c=(1, 4)),
        Refused(StateError, "says", "hx", (5, 4), (1, 4), code="state-one-sample"),
        fix=fix("(h, rnnkit.states.expand(c, 5))", into="hx"),
    ),
    "A state with its axes swapped is refused.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(5, 3), hx=(4, 5)),
        Refused(StateError, "says", "hx", (5, 4), (4, 5)),
        message=snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 4
  GRUCell(3, 4): hx has its axes swapped
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (4, 5)
  fix       hx.t().contiguous()
  more      python -m rnnkit explain state-transposed\
"""),
    ),
    "A state of another width is refused.": Case(
        call("nn.RNNCell(3, 4)(input, hx)", input=(5, 3), hx=(5, 6)),
        Refused(StateError, "says", "hx", (5, 4), (5, 6), code="state-width"),
        has="\n  fix       hx=None or cell.initial_state(5): zeros\n",
    ),
    "A state twice as wide is refused as both directions side by side.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(5, 3), hx=(5, 8)),
        Refused(StateError, "says", "hx", (5, 4), (5, 8)),
        message=snapshot("""\
hidden0 has inconsistent hidden_size: got 8, expected 4
  GRUCell(3, 4): hx is 8 wide, hidden_size=4 is wanted
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (5, 8)
  evidence  8 is twice 4: both directions side by side
  fix       torch.nn.Linear(8, 4) between the two
            GRUCell(..., hidden_size=8)
  more      python -m rnnkit explain state-twice-as-wide\
"""),
    ),
    "If h fits and c is of another width, c is named.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, c))", input=(5, 3), h=(5, 4), c=(5, 6)),
        Refused(StateError, "says", "hx", (5, 4), (5, 6), code="state-width"),
        fix=fix("(h, None)", into="hx"),
    ),
    "A state of another dtype is refused.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(5, 3), hx=filled(5, 4, dtype=torch.float64)),
        Refused(DtypeError, "mumbles", "hx"),
        fix="rnnkit.states.to(hx, torch.float32)",
        message=snapshot("""\
hx dtype (torch.float64) does not match input dtype (torch.float32)
  GRUCell(3, 4): state and input differ in dtype
  hx        expected torch.float32    got torch.float64
  fix       rnnkit.states.to(hx, torch.float32)
  more      python -m rnnkit explain state-dtype\
"""),
    ),
    "Of an LSTMCell's pair the one on another device is named.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, c))", input=(5, 3), h=(5, 4), c=filled(5, 4).to("meta")),
        Refused(DeviceError, "mumbles", "hx"),
        message=snapshot("""\
Input and hidden tensors are not at the same device, found input tensor at cpu and hidden tensor at meta
  LSTMCell(3, 4): state and input are on different devices
  c         expected on cpu    got meta
  fix       (h, None), which starts c from zeros; a tensor on meta has no numbers
  more      python -m rnnkit explain state-device\
"""),
    ),
    "The cell of such a layer tells h from c too.": Case(
        call(
            "cell(input, hx)",
            input=(5, 3),
            hx=(filled(5, 4), filled(5, 6)),
            cell=rnnkit.LSTM(3, 4, proj_size=2).cells()[0],
        ),
        Refused(StateError, "lacks"),
        message=snapshot("""\
hidden0 has inconsistent hidden_size: got 4, expected 2
  ProjectedLSTMCell(3, 4, proj_size=2): h is 4 wide, proj_size=2 is wanted
  input     expected (batch, input_size=3)    got (5, 3)
  h         expected (batch=5, proj_size=2)    got (5, 4)
  c         expected (batch=5, hidden_size=4)    got (5, 6)
  evidence  proj_size=2 is the width of h, hidden_size that of c
  fix       hx=None or cell.initial_state(5): zeros
  more      python -m rnnkit explain state-projection\
"""),
    ),
    "Nor is a cell's.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(5, 3), hx=(1, 6)),
        Refused(StateError, "says", code="state-sizes"),
        fix=fix("cell.initial_state(5)", into="hx", cell=rnnkit.GRUCell(3, 4)),
    ),
    "If c fits and h is of another width, h is named.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, c))", input=(5, 3), h=(5, 6), c=(5, 4)),
        Refused(StateError, "says", code="state-width"),
        fix=fix("(None, c)", into="hx"),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
