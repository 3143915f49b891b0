"""States of another rank, or of rows and batches that fit nowhere."""

from inline_snapshot import snapshot

import rnnkit
from rnnkit import LayoutError, StateError
from tests.checks.refusals import Case, Refused, call, fix, table

CASES = {
    "A batch that is nowhere in an unbatched input is refused.": Case(
        call("nn.RNN(3, 4)(input, hx)", input=(7, 3), hx=(1, 5, 4)),
        Refused(StateError, "says", "hx", (1, 4), (1, 5, 4)),
        message=snapshot("""\
For unbatched 2-D input, hx should also be 2-D but got 3-D tensor
  RNN(3, 4): hx has 3 axes in place of 2
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (num_layers=1, hidden_size=4)    got (1, 5, 4)
  fix       hx=None for zeros, or hx as (num_layers=1, hidden_size=4)
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "A state without layers for an unbatched input is refused with the axis.": Case(
        call("nn.RNN(3, 4)(input, hx)", input=(7, 3), hx=(4,)),
        Refused(StateError, "says", "hx", (1, 4), (4,)),
        fix="hx.unsqueeze(0)",
        message=snapshot("""\
For unbatched 2-D input, hx should also be 2-D but got 1-D tensor
  RNN(3, 4): hx has 1 axis in place of 2
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (num_layers=1, hidden_size=4)    got (4,)
  fix       hx.unsqueeze(0)
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "With several layers the axis is repeated for them, without a batch too.": Case(
        call("nn.RNN(3, 4, 2)(input, hx)", input=(7, 3), hx=(4,)),
        Refused(StateError, "says", "hx", (2, 4), (4,)),
        fix="hx.repeat(2, 1)",
        message=snapshot("""\
For unbatched 2-D input, hx should also be 2-D but got 1-D tensor
  RNN(3, 4, num_layers=2): hx has 1 axis in place of 2
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (num_layers=2, hidden_size=4)    got (4,)
  fix       hx.repeat(2, 1), if all start from the same values
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "A state with more rows than the layer has layers is refused with both numbers.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 3), hx=(3, 4)),
        Refused(StateError, "mumbles", "hx", (2, 4), (3, 4)),
        fix=fix("layer.initial_state(None)", into="hx", layer=rnnkit.GRU(3, 4, 2)),
        message=snapshot("""\
Expected hidden size (2, 4), got [3, 4]
  GRU(3, 4, num_layers=2): hx has 3 rows, this layer carries 2
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (num_layers=2, hidden_size=4)    got (3, 4)
  fix       hx=None or layer.initial_state(None): zeros
            if hx is an output: output, hx = ...: of what a layer returns, the state is the second
            where hx is your state and layer is this module
  more      state-layers, in the docs under "Errors"\
"""),
    ),
    "A state of another width is refused with both widths.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 3), hx=(2, 6)),
        Refused(StateError, "mumbles", "hx", (2, 4), (2, 6)),
        message=snapshot("""\
Expected hidden size (2, 4), got [2, 6]
  GRU(3, 4, num_layers=2): hx is 6 wide, hidden_size=4 is wanted
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (num_layers=2, hidden_size=4)    got (2, 6)
  fix       hx=None or layer.initial_state(None): zeros
            or a torch.nn.Linear(6, 4) between the two
            where layer is this module
  more      state-width, in the docs under "Errors"\
"""),
    ),
    "A cell's one state of another width is refused with both widths.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(3,), hx=(6,)),
        Refused(StateError, "says", "hx", (4,), (6,)),
        fix=fix("cell.initial_state(None)", into="hx", cell=rnnkit.GRUCell(3, 4)),
        message=snapshot("""\
hidden0 has inconsistent hidden_size: got 6, expected 4
  GRUCell(3, 4): hx is 6 wide, hidden_size=4 is wanted
  input     expected (input_size=3,)    got (3,)
  hx        expected (hidden_size=4,)    got (6,)
  fix       hx=None or cell.initial_state(None): zeros
            or a torch.nn.Linear(6, 4) between the two
            where cell is this module
  more      state-width, in the docs under "Errors"\
"""),
    ),
    "A layer's state is too deep for a cell, whatever sizes it shares with the input.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(3,), hx=(1, 3, 4)),
        Refused(StateError, "says", "hx", (4,), (1, 3, 4)),
        message=snapshot("""\
GRUCell: Expected hidden to be 1D or 2D, got 3D instead
  GRUCell(3, 4): hx has 3 axes in place of 1
  input     expected (input_size=3,)    got (3,)
  hx        expected (hidden_size=4,)    got (1, 3, 4)
  fix       hx=None for zeros, or hx as (hidden_size=4,)
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    **{
        f"The state of a batch as long as axis 0, {steps}, tells that the input lacks its seq axis.": Case(
            call(
                "nn.GRU(3, 4, state_batch_first=True)(input, hx)",
                input=(steps, 3),
                hx=(steps, 1, 4),
            ),
            Refused(LayoutError, "lacks"),
            fix="input.unsqueeze(0)",
            has=f"hx has batch {steps}, which is axis 0 of the input",
        )
        for steps in (2, 5)
    },
    "With the batch on axis 0, axis 1 is no batch, even where it is as long as the input.": Case(
        call("nn.GRU(3, 4, 2, state_batch_first=True)(input, hx)", input=(2, 3), hx=(6, 2, 4)),
        Refused(StateError, "lacks"),
        message=snapshot("""\
For unbatched 2-D input, hx should also be 2-D but got 3-D tensor
  GRU(3, 4, num_layers=2, state_batch_first=True): hx has 3 axes in place of 2
  input     expected (seq, input_size=3)    got (2, 3)
  hx        expected (num_layers=2, hidden_size=4)    got (6, 2, 4)
  fix       hx[-1]
            where hx is your state
  more      state-rank, in the docs under "Errors"\
"""),
    ),
    "Two steps with a state for two samples are told as a batch without seq axis.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(2, 3), hx=(1, 2, 4)),
        Refused(LayoutError, "says"),
        fix="input.unsqueeze(0)",
        has="hx has batch 2, which is axis 0 of the input",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
