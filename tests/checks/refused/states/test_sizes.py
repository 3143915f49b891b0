"""States that a layer refuses for their layers, directions or width."""

import torch
from inline_snapshot import snapshot

from rnnkit import StateError
from tests.checks.refusals import Case, Refused, call, filled, fix, table

CASES = {
    "A bidirectional layer with twice its rows is not told that two directions are too many.": Case(
        call("nn.GRU(3, 4, bidirectional=True)(input, hx)", input=(7, 5, 3), hx=(4, 5, 4)),
        Refused(StateError, "says"),
        message=snapshot("""\
Expected hidden size (2, 5, 4), got [4, 5, 4]
  GRU(3, 4, bidirectional=True): hx has 4 rows, this layer carries 2
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers * directions = 2, batch=5, hidden_size=4)    got (4, 5, 4)
  fix       hx=None or layer.initial_state(5): zeros
            if hx is an output: output, hx = ...: of what a layer returns, the state is the second
            where hx is your state and layer is this module
  more      state-layers, in the docs under "Errors"\
"""),
    ),
    "Of wrong rows and a wrong batch the rows are told; the shapes tell the batch.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=(3, 8, 4)),
        Refused(StateError, "says"),
        message=snapshot("""\
Expected hidden size (2, 5, 4), got [3, 8, 4]
  GRU(3, 4, num_layers=2): hx has 3 rows, this layer carries 2
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (3, 8, 4)
  fix       hx=None or layer.initial_state(5): zeros
            where layer is this module
  more      state-layers, in the docs under "Errors"\
"""),
    ),
    "Of wrong rows and a wrong width the rows are told; the shapes tell the width.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=(3, 5, 6)),
        Refused(StateError, "says"),
        has="hx has 3 rows, this layer carries 2",
    ),
    "A state without rows for the backward direction is refused with the product.": Case(
        call("nn.GRU(3, 4, 2, bidirectional=True)(input, hx)", input=(7, 5, 3), hx=(2, 5, 4)),
        Refused(StateError, "says", "hx", (4, 5, 4), (2, 5, 4)),
        message=snapshot("""\
Expected hidden size (4, 5, 4), got [2, 5, 4]
  GRU(3, 4, num_layers=2, bidirectional=True): hx has no rows for the backward direction
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers * directions = 4, batch=5, hidden_size=4)    got (2, 5, 4)
  evidence  num_layers * directions = 4
  fix       hx=None or layer.initial_state(5): zeros
            where layer is this module
  more      state-directions, in the docs under "Errors"\
"""),
    ),
    "A bidirectional encoder's state is refused with the sum of directions.": Case(
        call("nn.LSTM(3, 4, 2)(input, (h, h))", input=(7, 5, 3), h=(4, 5, 4)),
        Refused(StateError, "says", "hx", (2, 5, 4), (4, 5, 4)),
        fix='rnnkit.states.bridge(hx, "sum")',
        message=snapshot("""\
Expected hidden[0] size (2, 5, 4), got [4, 5, 4]
  LSTM(3, 4, num_layers=2): h has two rows for each layer, as the state of a bidirectional layer
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=2, batch=5, hidden_size=4)    got (4, 5, 4)
  c         expected (num_layers=2, batch=5, hidden_size=4)    got (4, 5, 4)
  evidence  4 is twice num_layers=2
  fix       rnnkit.states.bridge(hx, "sum") adds the directions
            LSTM(..., hidden_size=8) and rnnkit.states.bridge(hx, "concat")
            tuple(t[-2:] for t in hx), if hx is from one direction of twice as many layers
            where hx is your state
  more      state-bidirectional, in the docs under "Errors"\
"""),
    ),
    "With batch-first states the directions are on axis 1.": Case(
        call("nn.GRU(3, 4, state_batch_first=True)(input, hx)", input=(7, 5, 3), hx=(5, 2, 4)),
        Refused(StateError, "lacks", "hx", (5, 1, 4), (5, 2, 4)),
        fix='rnnkit.states.bridge(hx, "sum", batch_first=True)',
        message=snapshot("""\
Expected hidden size (5, 1, 4), got [5, 2, 4]
  GRU(3, 4, state_batch_first=True): hx has two rows for each layer, as the state of a bidirectional layer
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (batch=5, num_layers=1, hidden_size=4)    got (5, 2, 4)
  evidence  2 is twice num_layers=1
  fix       rnnkit.states.bridge(hx, "sum", batch_first=True) adds the directions
            GRU(..., hidden_size=8) and rnnkit.states.bridge(hx, "concat", batch_first=True)
            hx[:, -1:], if hx is from one direction of twice as many layers
            where hx is your state
  more      state-bidirectional, in the docs under "Errors"\
"""),
    ),
    "A state of another number of layers is refused with both numbers.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=(3, 5, 4)),
        Refused(StateError, "says", "hx", (2, 5, 4), (3, 5, 4)),
        message=snapshot("""\
Expected hidden size (2, 5, 4), got [3, 5, 4]
  GRU(3, 4, num_layers=2): hx has 3 rows, this layer carries 2
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (3, 5, 4)
  fix       hx=None or layer.initial_state(5): zeros
            if hx is an output: output, hx = ...: of what a layer returns, the state is the second
            where hx is your state and layer is this module
  more      state-layers, in the docs under "Errors"\
"""),
    ),
    "If h fits and c has other layers, c is named.": Case(
        call("nn.LSTM(3, 4, 2)(input, (h, c))", input=(7, 5, 3), h=(2, 5, 4), c=(1, 5, 4)),
        Refused(StateError, "says", "hx", (2, 5, 4), (1, 5, 4)),
        message=snapshot("""\
Expected hidden[1] size (2, 5, 4), got [1, 5, 4]
  LSTM(3, 4, num_layers=2): c has 1 row, this layer carries 2
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=2, batch=5, hidden_size=4)    got (2, 5, 4)
  c         expected (num_layers=2, batch=5, hidden_size=4)    got (1, 5, 4)
  fix       hx=None or layer.initial_state(5): zeros
            where layer is this module
  more      state-layers, in the docs under "Errors"\
"""),
    ),
    "A state of another width is refused with both numbers.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(1, 5, 6)),
        Refused(StateError, "says", "hx", (1, 5, 4), (1, 5, 6)),
        message=snapshot("""\
Expected hidden size (1, 5, 4), got [1, 5, 6]
  GRU(3, 4): hx is 6 wide, hidden_size=4 is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 6)
  fix       hx=None or layer.initial_state(5): zeros
            or a torch.nn.Linear(6, 4) between the two
            where layer is this module
  more      state-width, in the docs under "Errors"\
"""),
    ),
    "A state twice as wide is refused as both directions side by side.": Case(
        call("nn.RNN(3, 4)(input, hx)", input=(7, 5, 3), hx=(1, 5, 8)),
        Refused(StateError, "says", "hx", (1, 5, 4), (1, 5, 8)),
        fix=fix("RNN(..., hidden_size=8)", "3"),
        message=snapshot("""\
Expected hidden size (1, 5, 4), got [1, 5, 8]
  RNN(3, 4): hx is 8 wide, hidden_size=4 is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 8)
  evidence  8 is twice 4: both directions side by side
  fix       RNN(..., hidden_size=8), or a torch.nn.Linear(8, 4) between the two
  more      state-twice-as-wide, in the docs under "Errors"\
"""),
    ),
    "With a projection, (c, h) is told by the widths.": Case(
        call(
            "nn.LSTM(3, 4, proj_size=2, dtype=torch.float64)(input, hx)",
            input=filled(7, 5, 3, dtype=torch.float64),
            hx=(filled(1, 5, 4, dtype=torch.float64), filled(1, 5, 2, dtype=torch.float64)),
        ),
        Refused(StateError, "says", "hx", (1, 5, 2), (1, 5, 4)),
        fix="hx[::-1]",
        message=snapshot("""\
Expected hidden[0] size (1, 5, 2), got [1, 5, 4]
  LSTM(3, 4, proj_size=2): h and c are in the other order
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, proj_size=2)    got (1, 5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 2)
  evidence  each has the shape of the other
  fix       hx[::-1], h first
            where hx is your state
  more      state-swapped, in the docs under "Errors"\
"""),
    ),
    "With a projection, an h as wide as c is refused.": Case(
        call("nn.LSTM(3, 4, proj_size=2)(input, (h, h))", input=(7, 5, 3), h=(1, 5, 4)),
        Refused(StateError, "says", "hx", (1, 5, 2), (1, 5, 4)),
        message=snapshot("""\
Expected hidden[0] size (1, 5, 2), got [1, 5, 4]
  LSTM(3, 4, proj_size=2): h is 4 wide, proj_size=2 is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, proj_size=2)    got (1, 5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 4)
  evidence  proj_size=2 is the width of h, hidden_size=4 that of c
  fix       hx=None or layer.initial_state(5): zeros
            where layer is this module
  more      state-projection, in the docs under "Errors"\
"""),
    ),
    "A state of which no size fits is refused.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=(3, 8, 6)),
        Refused(StateError, "says", "hx", (2, 5, 4), (3, 8, 6)),
        message=snapshot("""\
Expected hidden size (2, 5, 4), got [3, 8, 6]
  GRU(3, 4, num_layers=2): hx fits on no axis
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (3, 8, 6)
  fix       hx=None or layer.initial_state(5): zeros
            where layer is this module
  more      state-sizes, in the docs under "Errors"\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
