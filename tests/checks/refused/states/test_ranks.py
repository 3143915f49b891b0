"""States that a layer refuses for the number of their axes, or that have no batch axis."""

from inline_snapshot import snapshot

from rnnkit import LayoutError, StateError
from tests.checks.refusals import Case, Refused, call, fix, table

CASES = {
    "A state without the axis of layers is refused with the axis.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(5, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (5, 4)),
        fix="hx.unsqueeze(0)",
        message=snapshot("""\
For batched 3-D input, hx should also be 3-D but got 2-D tensor
  GRU(3, 4): hx has 2 axes in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (5, 4)
  fix       hx.unsqueeze(0)
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "With several layers the axis is repeated for them.": Case(
        call("nn.RNN(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=(5, 4)),
        Refused(StateError, "says", "hx", (2, 5, 4), (5, 4)),
        fix="hx.repeat(2, 1, 1)",
        message=snapshot("""\
For batched 3-D input, hx should also be 3-D but got 2-D tensor
  RNN(3, 4, num_layers=2): hx has 2 axes in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (5, 4)
  fix       hx.repeat(2, 1, 1), if all start from the same values
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "Of an LSTM's pair without that axis both ranks are told.": Case(
        call("nn.LSTM(3, 4)(input, (h, h))", input=(7, 5, 3), h=(5, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (5, 4)),
        fix="tuple(t.unsqueeze(0) for t in hx)",
        message=snapshot("""\
For batched 3-D input, hx and cx should also be 3-D but got (2-D, 2-D) tensors
  LSTM(3, 4): h has 2 axes in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (5, 4)
  fix       tuple(t.unsqueeze(0) for t in hx)
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "If c alone has another rank, c is named.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=(7, 5, 3), h=(1, 5, 4), c=(5, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (5, 4)),
        fix=fix("(h, c.unsqueeze(0))", into="hx"),
        message=snapshot("""\
For batched 3-D input, hx and cx should also be 3-D but got (3-D, 2-D) tensors
  LSTM(3, 4): c has 2 axes in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (5, 4)
  fix       (h, c.unsqueeze(0))
            where (h, c) is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "The state of one sample for a batch is refused with the axis it lacks.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=(2, 4)),
        Refused(StateError, "says", "hx", (2, 5, 4), (2, 4)),
        fix="hx.unsqueeze(1).repeat(1, 5, 1)",
        message=snapshot("""\
For batched 3-D input, hx should also be 3-D but got 2-D tensor
  GRU(3, 4, num_layers=2): hx has 2 axes in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (2, 4)
  fix       hx.unsqueeze(1).repeat(1, 5, 1), if all start from the same values
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "A state of one axis is refused.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(4,)),
        Refused(StateError, "says", "hx", (1, 5, 4), (4,)),
        message=snapshot("""\
For batched 3-D input, hx should also be 3-D but got 1-D tensor
  GRU(3, 4): hx has 1 axis in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (4,)
  fix       hx.repeat(1, 5, 1), if all start from the same values
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "A state with layers and directions on two axes is refused.": Case(
        call("nn.GRU(3, 4, 2, bidirectional=True)(input, hx)", input=(7, 5, 3), hx=(2, 2, 5, 4)),
        Refused(StateError, "says", "hx", (4, 5, 4), (2, 2, 5, 4)),
        fix="hx.flatten(0, 1)",
        message=snapshot("""\
For batched 3-D input, hx should also be 3-D but got 4-D tensor
  GRU(3, 4, num_layers=2, bidirectional=True): hx has 4 axes in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers * directions = 4, batch=5, hidden_size=4)    got (2, 2, 5, 4)
  fix       hx.flatten(0, 1)
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "A surplus axis of size 1 is refused with the call that drops it.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=(2, 5, 1, 4)),
        Refused(StateError, "says", "hx", (2, 5, 4), (2, 5, 1, 4)),
        fix="hx.squeeze(2)",
        message=snapshot("""\
For batched 3-D input, hx should also be 3-D but got 4-D tensor
  GRU(3, 4, num_layers=2): hx has 4 axes in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (2, 5, 1, 4)
  fix       hx.squeeze(2)
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "A batch of one in the state of an unbatched call is refused with the squeeze.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 3), hx=(2, 1, 4)),
        Refused(StateError, "says", "hx", (2, 4), (2, 1, 4)),
        fix="hx.squeeze(1)",
        message=snapshot("""\
For unbatched 2-D input, hx should also be 2-D but got 3-D tensor
  GRU(3, 4, num_layers=2): hx has 3 axes in place of 2
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (num_layers=2, hidden_size=4)    got (2, 1, 4)
  fix       hx.squeeze(1)
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "With one layer the squeeze leaves the layer.": Case(
        call("nn.LSTM(3, 4)(input, (h, h))", input=(7, 3), h=(1, 1, 4)),
        Refused(StateError, "says", "hx", (1, 4), (1, 1, 4)),
        fix="tuple(t.squeeze(0) for t in hx)",
        message=snapshot("""\
For unbatched 2-D input, hx and cx should also be 2-D but got (3-D, 3-D) tensors
  LSTM(3, 4): h has 3 axes in place of 2
  input     expected (seq, input_size=3)    got (7, 3)
  h         expected (num_layers=1, hidden_size=4)    got (1, 1, 4)
  c         expected (num_layers=1, hidden_size=4)    got (1, 1, 4)
  fix       tuple(t.squeeze(0) for t in hx)
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "A batch of single steps is refused by the batch of its state.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(5, 3), hx=(1, 5, 4)),
        Refused(LayoutError, "says", "hx", (1, 4), (1, 5, 4)),
        fix="input.unsqueeze(0)",
        message=snapshot("""\
For unbatched 2-D input, hx should also be 2-D but got 3-D tensor
  GRU(3, 4): the input is read as one unbatched sequence, but it looks like a batch
  input     expected (seq, input_size=3)    got (5, 3)
  hx        expected (num_layers=1, hidden_size=4)    got (1, 5, 4)
  evidence  hx has batch 5, which is axis 0 of the input
  fix       input.unsqueeze(0)
  more      layout-unbatched, in the docs under "Errors"\
"""),
    ),
    "With batch_first the missing step is axis 1.": Case(
        call("nn.LSTM(3, 4, batch_first=True)(input, (h, h))", input=(5, 3), h=(1, 5, 4)),
        Refused(LayoutError, "says", "hx", (1, 4), (1, 5, 4)),
        fix="input.unsqueeze(1)",
        message=snapshot("""\
For unbatched 2-D input, hx and cx should also be 2-D but got (3-D, 3-D) tensors
  LSTM(3, 4, batch_first=True): the input is read as one unbatched sequence, but it looks like a batch
  input     expected (seq, input_size=3)    got (5, 3)
  h         expected (num_layers=1, hidden_size=4)    got (1, 5, 4)
  c         expected (num_layers=1, hidden_size=4)    got (1, 5, 4)
  evidence  h has batch 5, which is axis 0 of the input
  fix       input.unsqueeze(1)
  more      layout-unbatched, in the docs under "Errors"\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
