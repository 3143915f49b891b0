"""States that a cell refuses for their width, dtype or device."""

import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import DeviceError, DtypeError, StateError
from tests.checks.refusals import Case, Refused, call, filled, fix, table

CASES = {
    "A state with its axes swapped is refused.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(5, 3), hx=(4, 5)),
        Refused(StateError, "says", "hx", (5, 4), (4, 5)),
        message=snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 4
  GRUCell(3, 4): hx has its axes swapped
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (4, 5)
  fix       hx.t()
            where hx is your state
  more      state-transposed, in the docs under "Errors"\
"""),
    ),
    "A state of another width is refused.": Case(
        call("nn.RNNCell(3, 4)(input, hx)", input=(5, 3), hx=(5, 6)),
        Refused(StateError, "says", "hx", (5, 4), (5, 6)),
        message=snapshot("""\
hidden0 has inconsistent hidden_size: got 6, expected 4
  RNNCell(3, 4): hx is 6 wide, hidden_size=4 is wanted
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (5, 6)
  fix       hx=None or cell.initial_state(5): zeros
            or a torch.nn.Linear(6, 4) between the two
            where cell is this module
  more      state-width, in the docs under "Errors"\
"""),
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
  fix       GRUCell(..., hidden_size=8), or a torch.nn.Linear(8, 4) between the two
  more      state-twice-as-wide, in the docs under "Errors"\
"""),
    ),
    "If h fits and c is of another width, c is named.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, c))", input=(5, 3), h=(5, 4), c=(5, 6)),
        Refused(StateError, "says", "hx", (5, 4), (5, 6)),
        message=snapshot("""\
hidden1 has inconsistent hidden_size: got 6, expected 4
  LSTMCell(3, 4): c is 6 wide, hidden_size=4 is wanted
  input     expected (batch, input_size=3)    got (5, 3)
  h         expected (batch=5, hidden_size=4)    got (5, 4)
  c         expected (batch=5, hidden_size=4)    got (5, 6)
  fix       hx=None or cell.initial_state(5): zeros
            or a torch.nn.Linear(6, 4) between the two
            where cell is this module
  more      state-width, in the docs under "Errors"\
"""),
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
            where hx is your state
  more      state-dtype, in the docs under "Errors"\
"""),
    ),
    "Of an LSTMCell's pair the one on another device is named.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, c))", input=(5, 3), h=(5, 4), c=filled(5, 4).to("meta")),
        Refused(DeviceError, "mumbles", "hx"),
        message=snapshot("""\
Input and hidden tensors are not at the same device, found input tensor at cpu and hidden tensor at meta
  LSTMCell(3, 4): state and input are on different devices
  c         expected on cpu    got meta
  fix       rnnkit.states.to(hx, input.device)
            where hx is your state
  more      state-device, in the docs under "Errors"\
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
  evidence  proj_size=2 is the width of h, hidden_size=4 that of c
  fix       hx=None or cell.initial_state(5): zeros
            where cell is this module
  more      state-projection, in the docs under "Errors"\
"""),
    ),
    "Nor is a cell's.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(5, 3), hx=(1, 6)),
        Refused(StateError, "says"),
        fix=fix("cell.initial_state(5)", into="hx", cell=rnnkit.GRUCell(3, 4)),
        message=snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 1
  GRUCell(3, 4): hx is for one sample, the input has 5
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (1, 6)
  fix       rnnkit.states.expand(hx, 5), if all samples start from it
            hx=None or cell.initial_state(5): zeros, if the sequences are new
            where hx is your state and cell is this module
  more      state-one-sample, in the docs under "Errors"\
"""),
    ),
    "If c fits and h is of another width, h is named.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, c))", input=(5, 3), h=(5, 6), c=(5, 4)),
        Refused(StateError, "says"),
        message=snapshot("""\
hidden0 has inconsistent hidden_size: got 6, expected 4
  LSTMCell(3, 4): h is 6 wide, hidden_size=4 is wanted
  input     expected (batch, input_size=3)    got (5, 3)
  h         expected (batch=5, hidden_size=4)    got (5, 6)
  c         expected (batch=5, hidden_size=4)    got (5, 4)
  fix       hx=None or cell.initial_state(5): zeros
            or a torch.nn.Linear(6, 4) between the two
            where cell is this module
  more      state-width, in the docs under "Errors"\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
