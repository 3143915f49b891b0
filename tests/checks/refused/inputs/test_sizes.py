"""Inputs that a layer refuses for their sizes."""

from inline_snapshot import snapshot

from rnnkit import LayoutError, ShapeError
from tests.checks.refusals import Case, Refused, call, fix, table

CASES = {
    "An input of another width is refused with both numbers.": Case(
        call("nn.LSTM(3, 4)(input)", input=(7, 5, 10)),
        Refused(ShapeError, "says", "input", (None, None, 3), (7, 5, 10), code="input-width"),
        fix=fix("LSTM(10, ...)", "4"),
    ),
    "An input twice as wide is refused as a bidirectional layer's output.": Case(
        call("nn.GRU(3, 4)(input)", input=(7, 5, 6)),
        Refused(ShapeError, "says", "input", (None, None, 3), (7, 5, 6)),
        fix=fix("GRU(6, ...)", "4"),
        message=snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 6
  GRU(3, 4): the input is 6 wide, the weights are for 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 6)
  evidence  6 is twice 3: a bidirectional layer's output
  fix       GRU(6, ...), or an input with 3 features
  more      input-width, in the docs under "Errors"\
"""),
    ),
    "Under vmap it is one input that is refused.": Case(
        call("torch.vmap(nn.GRU(3, 4))(input)", input=(2, 7, 5, 10)),
        Refused(ShapeError, "says", "input", (None, None, 3), (7, 5, 10), code="input-width"),
    ),
    "A convolution's (batch, feature, seq) is refused as another layout.": Case(
        call("nn.GRU(3, 4, batch_first=True)(input)", input=(5, 3, 7)),
        Refused(LayoutError, "says", "input", (None, None, 3), (5, 3, 7)),
        fix="input.transpose(1, 2)",
        message=snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 7
  GRU(3, 4, batch_first=True): the features are on axis 1
  input     expected (batch, seq, input_size=3)    got (5, 3, 7)
  evidence  input_size=3 is axis 1 of the input
  fix       input.transpose(1, 2), if it is (batch, feature, seq)
  more      layout-features, in the docs under "Errors"\
"""),
    ),
    "The same is told to a layer that reads seq first.": Case(
        call("nn.LSTM(3, 4)(input)", input=(5, 3, 7)),
        Refused(LayoutError, "says", "input", (None, None, 3), (5, 3, 7)),
        fix="input.permute(2, 0, 1)",
        message=snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 7
  LSTM(3, 4): the features are on axis 1
  input     expected (seq, batch, input_size=3)    got (5, 3, 7)
  evidence  input_size=3 is axis 1 of the input
  fix       input.permute(2, 0, 1), if it is (batch, feature, seq)
  more      layout-features, in the docs under "Errors"\
"""),
    ),
    "Features on axis 0 are refused as another layout.": Case(
        call("nn.RNN(3, 4)(input)", input=(3, 7, 5)),
        Refused(LayoutError, "says", "input", (None, None, 3), (3, 7, 5), code="layout-features"),
        fix="input.movedim(0, -1)",
    ),
    "One sequence with its axes exchanged is refused as another layout.": Case(
        call("nn.RNN(3, 4)(input)", input=(3, 7)),
        Refused(LayoutError, "says", "input", (None, 3), (3, 7), code="layout-features"),
        fix="input.t()",
    ),
    "A batch of series of single numbers is refused with the axis it lacks.": Case(
        call("nn.RNN(1, 4, batch_first=True)(input)", input=(5, 7)),
        Refused(ShapeError, "says", "input", (None, 1), (5, 7), code="input-width"),
        fix="input.unsqueeze(-1)",
    ),
    "A single feature on axis 1 is refused with the exchange.": Case(
        call("nn.LSTM(1, 4, batch_first=True)(input)", input=(5, 1, 7)),
        Refused(ShapeError, "says", "input", (None, None, 1), (5, 1, 7), code="input-width"),
        fix="input.transpose(1, 2)",
    ),
    "A batch of empty sequences is refused.": Case(
        "nn.GRU(3, 4)(filled(0, 5, 3))",
        Refused(ShapeError, "says", "input", (None, None, 3), (0, 5, 3), code="input-empty"),
        has="\n  fix       leave empty sequences out, or pad to one step\n",
    ),
    "A batch of empty sequences is refused by a batch-first layer.": Case(
        "nn.LSTM(3, 4, batch_first=True)(filled(5, 0, 3))",
        Refused(ShapeError, "says", "input", (None, None, 3), (5, 0, 3)),
        message=snapshot("""\
Expected sequence length to be larger than 0 in RNN
  LSTM(3, 4, batch_first=True): the input has no steps
  input     expected (batch, seq, input_size=3)    got (5, 0, 3)
  fix       leave empty sequences out, or pad to one step
  more      input-empty, in the docs under "Errors"\
"""),
    ),
    "An empty sequence without a batch is refused.": Case(
        "nn.RNN(3, 4)(filled(0, 3))",
        Refused(ShapeError, "says", "input", (None, 3), (0, 3), code="input-empty"),
        has="\n  fix       leave empty sequences out, or pad to one step\n",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
