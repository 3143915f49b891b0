"""States that a cell refuses for the number of their axes, or for their batch."""

from inline_snapshot import snapshot

from rnnkit import StateError
from tests.checks.refusals import Case, Refused, call, fix, table

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
            where hx is your state
  more      state-rank, in the docs under "Errors"\
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
  fix       tuple(t[-1] for t in hx)
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "A state without the batch axis is refused with the repetition.": Case(
        call("nn.RNNCell(3, 4)(input, hx)", input=(5, 3), hx=(4,)),
        Refused(StateError, "mumbles", "hx", (5, 4), (4,)),
        fix="hx.repeat(5, 1)",
        message=snapshot("""\
RNNCell: Expected hidden to be 2D, got 1D instead
  RNNCell(3, 4): hx has 1 axis in place of 2
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (4,)
  fix       hx.repeat(5, 1), if all start from the same values
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "A batch of one in the state of one sample is refused.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(3,), hx=(1, 4)),
        Refused(StateError, "mumbles", "hx", (4,), (1, 4)),
        fix="hx.squeeze(0)",
        message=snapshot("""\
GRUCell: Expected hidden to be 1D, got 2D instead
  GRUCell(3, 4): hx has 2 axes in place of 1
  input     expected (input_size=3,)    got (3,)
  hx        expected (hidden_size=4,)    got (1, 4)
  fix       hx.squeeze(0)
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "A square state of one sample is refused, where torch ends the process.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, h))", input=(3,), h=(4, 4)),
        Refused(StateError, "unsafe", "hx", (4,), (4, 4)),
        message=snapshot("""\
LSTMCell: Expected hx[0] to be 1D, got 2D instead
  LSTMCell(3, 4): h has 2 axes in place of 1
  input     expected (input_size=3,)    got (3,)
  h         expected (hidden_size=4,)    got (4, 4)
  c         expected (hidden_size=4,)    got (4, 4)
  fix       tuple(t[-1] for t in hx)
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "An RNNCell refuses it too, where torch computes as many samples as units.": Case(
        call("nn.RNNCell(3, 4)(input, hx)", input=(3,), hx=(4, 4)),
        Refused(StateError, "accepts", "hx", (4,), (4, 4)),
        message=snapshot("""\
RNNCell: Expected hidden to be 1D, got 2D instead
  RNNCell(3, 4): hx has 2 axes in place of 1
  input     expected (input_size=3,)    got (3,)
  hx        expected (hidden_size=4,)    got (4, 4)
  fix       hx[-1]
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "If c alone lacks the batch axis, c is named.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, c))", input=(5, 3), h=(5, 4), c=(4,)),
        Refused(StateError, "mumbles", "hx", (5, 4), (4,)),
        fix=fix("(h, c.repeat(5, 1))", into="hx"),
        message=snapshot("""\
LSTMCell: Expected hx[1] to be 2D, got 1D instead
  LSTMCell(3, 4): c has 1 axis in place of 2
  input     expected (batch, input_size=3)    got (5, 3)
  h         expected (batch=5, hidden_size=4)    got (5, 4)
  c         expected (batch=5, hidden_size=4)    got (4,)
  fix       (h, c.repeat(5, 1)), if all start from the same values
            where (h, c) is your state
  more      state-rank, in the docs under "Errors"\
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
  fix       hx=None for zeros, if the sequences are new
            rnnkit.states.select(hx, slice(5)), if the first 5 samples went on
            rnnkit.states.select(hx, positions), if others did
            where hx is your state
  more      state-batch, in the docs under "Errors"\
"""),
    ),
    "A state of a smaller batch is refused.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(5, 3), hx=(2, 4)),
        Refused(StateError, "says", "hx", (5, 4), (2, 4)),
        message=snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 2
  GRUCell(3, 4): hx is for a batch of 2, the input has 5
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (2, 4)
  fix       hx=None or cell.initial_state(5): zeros
            where cell is this module
  more      state-batch, in the docs under "Errors"\
"""),
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
            where hx is your state and cell is this module
  more      state-one-sample, in the docs under "Errors"\
"""),
    ),
    "If h fits and c is of another batch, c is named.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, c))", input=(5, 3), h=(5, 4), c=(1, 4)),
        Refused(StateError, "says", "hx", (5, 4), (1, 4)),
        fix="rnnkit.states.expand(hx, 5)",
        message=snapshot("""\
Input batch size 5 doesn't match hidden1 batch size 1
  LSTMCell(3, 4): c is for one sample, the input has 5
  input     expected (batch, input_size=3)    got (5, 3)
  h         expected (batch=5, hidden_size=4)    got (5, 4)
  c         expected (batch=5, hidden_size=4)    got (1, 4)
  fix       rnnkit.states.expand(hx, 5), if all samples start from it
            hx=None or cell.initial_state(5): zeros, if the sequences are new
            where hx is your state and cell is this module
  more      state-one-sample, in the docs under "Errors"\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
