"""States that a layer refuses for the number of their axes, or that have no batch axis."""

from inline_snapshot import snapshot

import rnnkit
from rnnkit import LayoutError, StateError
from tests.checks.refusals import Case, Refused, call, fix, table

CASES = {
    "A state without the axis of layers is refused with the axis.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(5, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (5, 4), code="state-rank"),
        fix="hx.unsqueeze(0)",
    ),
    "With several layers the axis is repeated for them.": Case(
        call("nn.RNN(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=(5, 4)),
        Refused(StateError, "says", "hx", (2, 5, 4), (5, 4), code="state-rank"),
        fix="hx.expand(2, 5, -1).contiguous()",
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
  more      python -m rnnkit explain state-rank\
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
  more      python -m rnnkit explain state-rank\
"""),
    ),
    "The state of one sample for a batch is refused with the axis it lacks.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=(2, 4)),
        Refused(StateError, "says", "hx", (2, 5, 4), (2, 4)),
        fix="hx.unsqueeze(1).expand(2, 5, -1).contiguous()",
        message=snapshot("""\
For batched 3-D input, hx should also be 3-D but got 2-D tensor
  GRU(3, 4, num_layers=2): hx has 2 axes in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (2, 4)
  fix       hx.unsqueeze(1).expand(2, 5, -1).contiguous(), if all start from it
  more      python -m rnnkit explain state-rank\
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
  fix       hx=None or layer.initial_state(5): zeros
  more      python -m rnnkit explain state-rank\
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
  more      python -m rnnkit explain state-rank\
"""),
    ),
    "A batch of one in the state of an unbatched call is refused with the squeeze.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 3), hx=(2, 1, 4)),
        Refused(StateError, "says", "hx", (2, 4), (2, 1, 4), code="state-rank"),
        fix="hx.squeeze(1)",
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
  more      python -m rnnkit explain state-rank\
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
  more      python -m rnnkit explain layout-unbatched\
"""),
    ),
    "With batch_first the missing step is axis 1.": Case(
        call("nn.LSTM(3, 4, batch_first=True)(input, (h, h))", input=(5, 3), h=(1, 5, 4)),
        Refused(LayoutError, "says", "hx", (1, 4), (1, 5, 4), code="layout-unbatched"),
        fix="input.unsqueeze(1)",
    ),
    "A batch that is nowhere in an unbatched input is refused.": Case(
        call("nn.RNN(3, 4)(input, hx)", input=(7, 3), hx=(1, 5, 4)),
        Refused(StateError, "says", "hx", (1, 4), (1, 5, 4)),
        message=snapshot("""\
For unbatched 2-D input, hx should also be 2-D but got 3-D tensor
  RNN(3, 4): hx has 3 axes in place of 2
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (num_layers=1, hidden_size=4)    got (1, 5, 4)
  fix       hx=None or layer.initial_state(None): zeros
  more      python -m rnnkit explain state-rank\
"""),
    ),
    "A state without layers for an unbatched input is refused with the axis.": Case(
        call("nn.RNN(3, 4)(input, hx)", input=(7, 3), hx=(4,)),
        Refused(StateError, "says", "hx", (1, 4), (4,), code="state-rank"),
        fix="hx.unsqueeze(0)",
    ),
    "With several layers the axis is repeated for them, without a batch too.": Case(
        call("nn.RNN(3, 4, 2)(input, hx)", input=(7, 3), hx=(4,)),
        Refused(StateError, "says", "hx", (2, 4), (4,), code="state-rank"),
        fix="hx.expand(2, -1).contiguous()",
    ),
    "A state with more rows than the layer has layers is refused with both numbers.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 3), hx=(3, 4)),
        Refused(StateError, "mumbles", "hx", (2, 4), (3, 4), code="state-layers"),
        fix=fix("layer.initial_state(None)", into="hx", layer=rnnkit.GRU(3, 4, 2)),
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
            torch.nn.Linear(6, 4) between the two
  more      python -m rnnkit explain state-width\
"""),
    ),
    "A cell's one state of another width is refused with both widths.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(3,), hx=(6,)),
        Refused(StateError, "says", "hx", (4,), (6,), code="state-width"),
        fix=fix("cell.initial_state(None)", into="hx", cell=rnnkit.GRUCell(3, 4)),
    ),
    "A layer's state is too deep for a cell, whatever sizes it shares with the input.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(3,), hx=(1, 3, 4)),
        Refused(StateError, "says", "hx", (4,), (1, 3, 4)),
        message=snapshot("""\
GRUCell: Expected hidden to be 1D or 2D, got 3D instead
  GRUCell(3, 4): hx has 3 axes in place of 1
  input     expected (input_size=3,)    got (3,)
  hx        expected (hidden_size=4,)    got (1, 3, 4)
  fix       hx=None or cell.initial_state(None): zeros
  more      python -m rnnkit explain state-rank\
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
        Refused(StateError, "lacks", code="state-rank"),
        has="\n  fix       hx=None or layer.initial_state(None): zeros\n",
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
