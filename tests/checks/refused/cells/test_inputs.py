"""Inputs that a cell refuses, and states that are not the tensors that it carries."""

import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import ArgumentError, DeviceError, DtypeError, LayoutError, ShapeError, StateError
from tests.checks.refusals import Case, Refused, call, filled, fix, table

CASES = {
    "None for the input is refused.": Case(
        "nn.LSTMCell(3, 4)(None)",
        Refused(ArgumentError, "mumbles", "input"),
        message=snapshot("""\
input must be a Tensor, got None
  LSTMCell(3, 4)
  input     expected a Tensor    got None
  fix       see what the line before returns
  more      python -m rnnkit explain input-type\
"""),
    ),
    "A list of samples is refused with the call that stacks it.": Case(
        call("nn.RNNCell(3, 4)(input)", input=[filled(3), filled(3)]),
        Refused(ArgumentError, "mumbles", "input", code="input-type"),
        fix="torch.stack(input)",
    ),
    "A whole sequence is refused with the loop or the layer that takes it.": Case(
        call("nn.GRUCell(3, 4)(input)", input=(7, 5, 3)),
        Refused(ShapeError, "says", "input", (None, 3), (7, 5, 3)),
        fix=fix("GRU(3, ...)", "4"),
        message=snapshot("""\
GRUCell: Expected input to be 1D or 2D, got 3D instead
  GRUCell(3, 4): the input has 3 axes
  input     expected (batch, input_size=3)    got (7, 5, 3)
  fix       a cell takes one step: for x_t in input: hx = cell(x_t, hx), or a layer: GRU(3, ...)
  more      python -m rnnkit explain input-rank\
"""),
    ),
    "A lone number is refused.": Case(
        "nn.LSTMCell(3, 4)(filled())",
        Refused(ShapeError, "says", "input", (None, 3), ()),
        message=snapshot("""\
LSTMCell: Expected input to be 1D or 2D, got 0D instead
  LSTMCell(3, 4): the input has 0 axes
  input     expected (batch, input_size=3)    got ()
  fix       a tensor (batch, input_size=3)
  more      python -m rnnkit explain input-rank\
"""),
    ),
    "An input of another width is refused with both numbers.": Case(
        call("nn.LSTMCell(3, 4)(input)", input=(5, 9)),
        Refused(ShapeError, "says", "input", (None, 3), (5, 9), code="input-width"),
        fix=fix("LSTMCell(9, ...)", "4"),
    ),
    "One sample of another width is refused.": Case(
        call("nn.GRUCell(3, 4)(input)", input=(9,)),
        Refused(ShapeError, "says", "input", (3,), (9,), code="input-width"),
        fix=fix("GRUCell(9, ...)", "4"),
    ),
    "A batch with its axes exchanged is refused as another layout.": Case(
        call("nn.RNNCell(3, 4)(input)", input=(3, 5)),
        Refused(LayoutError, "says", "input", (None, 3), (3, 5)),
        fix="input.t()",
        message=snapshot("""\
input has inconsistent input_size: got 5 expected 3
  RNNCell(3, 4): the features are on axis 0
  input     expected (batch, input_size=3)    got (3, 5)
  evidence  input_size=3 is axis 0 of the input
  fix       input.t()
  more      python -m rnnkit explain layout-features\
"""),
    ),
    "A batch of single numbers is refused with the feature axis it lacks.": Case(
        call("nn.GRUCell(1, 4)(input)", input=(5,)),
        Refused(ShapeError, "says", "input", (1,), (5,)),
        fix="input.unsqueeze(-1)",
        message=snapshot("""\
input has inconsistent input_size: got 5 expected 1
  GRUCell(1, 4): the input is 5 wide, the weights are for 1
  input     expected (input_size=1,)    got (5,)
  fix       input.unsqueeze(-1), if each step is one number
            GRUCell(5, ...), or an input with 1 feature
  more      python -m rnnkit explain input-width\
"""),
    ),
    "Double precision is refused.": Case(
        call("nn.LSTMCell(3, 4)(input)", input=filled(5, 3, dtype=torch.float64)),
        Refused(DtypeError, "mumbles", "input"),
        fix="input.to(torch.float32)",
        message=snapshot("""\
RNN input dtype (torch.float64) does not match weight dtype (torch.float32). Convert input: input.to(torch.float32), or convert model: model.to(torch.float64)
  LSTMCell(3, 4): input and weights differ in dtype
  input     expected torch.float32    got torch.float64
  evidence  float64 is what NumPy makes of Python's numbers
  fix       input.to(torch.float32), or model.to(torch.float64)
  more      python -m rnnkit explain input-dtype\
"""),
    ),
    "Whole numbers are refused.": Case(
        call("nn.GRUCell(3, 4)(input)", input=filled(5, 3, dtype=torch.int64)),
        Refused(DtypeError, "mumbles", "input"),
        fix="input.float()",
        message=snapshot("""\
RNN input dtype (torch.int64) does not match weight dtype (torch.float32).
  GRUCell(3, 4): the input holds no real floating-point numbers
  input     expected torch.float32    got torch.int64
  fix       numbers: input.float()
  more      python -m rnnkit explain input-numbers\
"""),
    ),
    "An input on another device is refused.": Case(
        call("nn.RNNCell(3, 4)(input)", input=filled(5, 3).to("meta")),
        Refused(DeviceError, "mumbles", "input"),
        message=snapshot("""\
Input and parameter tensors are not at the same device, found input tensor at meta and parameter tensor at cpu
  RNNCell(3, 4): input and weights are on different devices
  input     expected on cpu    got meta
  fix       an input on 'cpu': a tensor on meta has no numbers
  more      python -m rnnkit explain input-device\
"""),
    ),
    "An LSTM's pair is refused by a GRUCell.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(5, 3), hx=(filled(5, 4), filled(5, 4))),
        Refused(StateError, "mumbles", "hx", (5, 4), ()),
        fix="hx[0]",
        message=snapshot("""\
hx must be one tensor, got a tuple of 2: (5, 4), (5, 4)
  GRUCell(3, 4) carries one tensor
  hx        expected (batch=5, hidden_size=4)
  fix       hx[0], if this is an LSTM's (h, c)
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "One tensor is refused by an LSTMCell.": Case(
        call("nn.LSTMCell(3, 4)(input, hx)", input=(5, 3), hx=(5, 4)),
        Refused(StateError, "mumbles", "hx", (5, 4), (5, 4), code="state-structure"),
        fix="(hx, None)",
    ),
    "The two stacked in one tensor are refused with the call that parts them.": Case(
        call("nn.LSTMCell(3, 4)(input, hx)", input=(5, 3), hx=(2, 5, 4)),
        Refused(StateError, "mumbles", "hx", (5, 4), (2, 5, 4), code="state-structure"),
        fix="tuple(hx)",
    ),
    "Three tensors are refused by an LSTMCell.": Case(
        call("nn.LSTMCell(3, 4)(input, hx)", input=(5, 3), hx=(filled(5, 4),) * 3),
        Refused(StateError, "mumbles", "hx", (5, 4), ()),
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 3: (5, 4), (5, 4), (5, 4)
  LSTMCell(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (batch=5, hidden_size=4)
  fix       hx[:2], if the first two are h and c
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "A list of one tensor is refused with its member.": Case(
        call("nn.RNNCell(3, 4)(input, hx)", input=(5, 3), hx=[filled(5, 4)]),
        Refused(StateError, "mumbles", "hx", (5, 4), ()),
        fix="hx[0]",
        message=snapshot("""\
hx must be one tensor, got a list of 1: (5, 4)
  RNNCell(3, 4) carries one tensor
  hx        expected (batch=5, hidden_size=4)
  fix       hx[0]
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "A layer's whole result in the place of the state is refused.": Case(
        call("nn.LSTMCell(3, 4)(input, hx)", input=(5, 3), hx=rnnkit.LSTM(3, 4)(filled(7, 5, 3))),
        Refused(StateError, "mumbles", "hx", (5, 4), ()),
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 2: (7, 5, 4), LSTMState
  LSTMCell(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (batch=5, hidden_size=4)
  fix       hx=None for zeros
  more      python -m rnnkit explain state-structure\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
