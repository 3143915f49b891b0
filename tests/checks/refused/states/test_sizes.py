"""States of the right number of axes that a layer refuses: other layers, batches, widths."""

import torch
from inline_snapshot import snapshot

from rnnkit import LayoutError, StateError
from tests.checks.refusals import Case, Refused, call, filled, fix, table

CASES = {
    "A bidirectional layer with twice its rows is not told that two directions are too many.": Case(
        call("nn.GRU(3, 4, bidirectional=True)(input, hx)", input=(7, 5, 3), hx=(4, 5, 4)),
        Refused(StateError, "says", code="state-layers"),
        has="\n  fix       hx=None or layer.initial_state(5): zeros\n",
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
  more      python -m rnnkit explain state-layers\
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
  more      python -m rnnkit explain state-directions\
"""),
    ),
    "A bidirectional encoder's state is refused with the sum of directions.": Case(
        call("nn.LSTM(3, 4, 2)(input, (h, h))", input=(7, 5, 3), h=(4, 5, 4)),
        Refused(StateError, "says", "hx", (2, 5, 4), (4, 5, 4), code="state-bidirectional"),
        fix='rnnkit.states.bridge(hx, "sum")',
    ),
    "With batch-first states the directions are on axis 1.": Case(
        call("nn.GRU(3, 4, state_batch_first=True)(input, hx)", input=(7, 5, 3), hx=(5, 2, 4)),
        Refused(StateError, "lacks", "hx", (5, 1, 4), (5, 2, 4)),
        fix='rnnkit.states.bridge(hx, "sum", state_batch_first=True)',
        message=snapshot("""\
Expected hidden size (5, 1, 4), got [5, 2, 4]
  GRU(3, 4, state_batch_first=True): hx has two rows for each layer, as the state of a bidirectional layer
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (batch=5, num_layers=1, hidden_size=4)    got (5, 2, 4)
  fix       rnnkit.states.bridge(hx, "sum", state_batch_first=True) adds the directions
            hx[:, -1:], if it is from one direction of twice as many layers
            GRU(..., hidden_size=8) and rnnkit.states.bridge(hx, "concat", state_batch_first=True)
  more      python -m rnnkit explain state-bidirectional\
"""),
    ),
    "A state of another number of layers is refused with both numbers.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=(3, 5, 4)),
        Refused(StateError, "says", "hx", (2, 5, 4), (3, 5, 4), code="state-layers"),
        has="\n  fix       hx=None or layer.initial_state(5): zeros\n",
    ),
    "If h fits and c has other layers, c is named.": Case(
        call("nn.LSTM(3, 4, 2)(input, (h, c))", input=(7, 5, 3), h=(2, 5, 4), c=(1, 5, 4)),
        Refused(StateError, "says", "hx", (2, 5, 4), (1, 5, 4), code="state-layers"),
        fix=fix("(h, None)", into="hx"),
    ),
    "A state of another width is refused with both numbers.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(1, 5, 6)),
        Refused(StateError, "says", "hx", (1, 5, 4), (1, 5, 6), code="state-width"),
        has="\n  fix       hx=None or layer.initial_state(5): zeros\n",
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
  fix       torch.nn.Linear(8, 4) between the two
            RNN(..., hidden_size=8)
  more      python -m rnnkit explain state-twice-as-wide\
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
  more      python -m rnnkit explain state-swapped\
"""),
    ),
    "With a projection, an h as wide as c is refused.": Case(
        call("nn.LSTM(3, 4, proj_size=2)(input, (h, h))", input=(7, 5, 3), h=(1, 5, 4)),
        Refused(StateError, "says", "hx", (1, 5, 2), (1, 5, 4), code="state-projection"),
        fix=fix("(None, c)", into="hx", c=(1, 5, 4)),
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
  more      python -m rnnkit explain state-sizes\
"""),
    ),
    "A batch-first input is told by the batch of its state.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(2, 5, 3), hx=(2, 2, 4)),
        Refused(LayoutError, "says", "hx", (2, 5, 4), (2, 2, 4), code="layout-batch-first"),
        fix=("input.transpose(0, 1)", fix("GRU(..., batch_first=True)", "3, 4, 2")),
    ),
    "A seq-first input of a batch-first layer is told by the batch of its state.": Case(
        call("nn.LSTM(3, 4, batch_first=True)(input, (h, h))", input=(7, 5, 3), h=(1, 5, 4)),
        Refused(LayoutError, "says", "hx", (1, 7, 4), (1, 5, 4), code="layout-seq-first"),
        fix=("input.transpose(0, 1)", fix("LSTM(..., batch_first=False)", "3, 4")),
    ),
    "A state that may also be left from a larger batch is told both.": Case(
        call("nn.RNN(3, 4)(input, hx)", input=(7, 5, 3), hx=(1, 7, 4)),
        Refused(LayoutError, "says", "hx", (1, 5, 4), (1, 7, 4), code="layout-batch-first"),
        fix=fix("RNN(..., batch_first=True)", "3, 4"),
    ),
    "A batch-first state is refused with the exchange.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=(5, 2, 4)),
        Refused(StateError, "says", "hx", (2, 5, 4), (5, 2, 4)),
        fix=(
            "rnnkit.states.from_batch_first(hx)",
            fix("GRU(..., state_batch_first=True)", "3, 4, 2"),
        ),
        message=snapshot("""\
Expected hidden size (2, 5, 4), got [5, 2, 4]
  GRU(3, 4, num_layers=2): hx has the batch on axis 0, a state has the layers on axis 0
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (5, 2, 4)
  evidence  hx with axes 0 and 1 exchanged fits
  fix       rnnkit.states.from_batch_first(hx)
            GRU(..., state_batch_first=True)
  more      python -m rnnkit explain state-transposed\
"""),
    ),
    "The option batch_first speaks of the input, never of the state.": Case(
        call("nn.LSTM(3, 4, batch_first=True)(input, (h, h))", input=(5, 7, 3), h=(5, 1, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (5, 1, 4), code="state-transposed"),
        fix="rnnkit.states.from_batch_first(hx)",
    ),
    "A layer that wants batch-first states refuses torch's.": Case(
        call("nn.GRU(3, 4, 2, state_batch_first=True)(input, hx)", input=(7, 5, 3), hx=(2, 5, 4)),
        Refused(StateError, "lacks", "hx", (5, 2, 4), (2, 5, 4)),
        fix=(
            "rnnkit.states.batch_first(hx)",
            fix("GRU(..., state_batch_first=False)", "3, 4, 2"),
        ),
        message=snapshot("""\
Expected hidden size (5, 2, 4), got [2, 5, 4]
  GRU(3, 4, num_layers=2, state_batch_first=True): hx has the layers on axis 0, a state has the batch on axis 0
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (batch=5, num_layers=2, hidden_size=4)    got (2, 5, 4)
  evidence  hx with axes 0 and 1 exchanged fits
  fix       rnnkit.states.batch_first(hx)
            GRU(..., state_batch_first=False)
  more      python -m rnnkit explain state-transposed\
"""),
    ),
    "A state of an unbatched call with its axes swapped is refused.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 3), hx=(4, 2)),
        Refused(StateError, "mumbles", "hx", (2, 4), (4, 2)),
        fix="hx.t().contiguous()",
        message=snapshot("""\
Expected hidden size (2, 4), got [4, 2]
  GRU(3, 4, num_layers=2): hx has its axes swapped
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (num_layers=2, hidden_size=4)    got (4, 2)
  fix       hx.t().contiguous()
  more      python -m rnnkit explain state-transposed\
"""),
    ),
    "A state that is left from a larger batch is refused with its rows of now.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(1, 8, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (1, 8, 4), code="state-batch"),
        fix="rnnkit.states.select(hx, slice(5))",
    ),
    "With batch-first states the rows are cut on axis 0.": Case(
        call("nn.GRU(3, 4, state_batch_first=True)(input, hx)", input=(7, 5, 3), hx=(8, 1, 4)),
        Refused(StateError, "lacks", "hx", (5, 1, 4), (8, 1, 4)),
        fix="rnnkit.states.select(hx, slice(5), state_batch_first=True)",
        message=snapshot("""\
Expected hidden size (5, 1, 4), got [8, 1, 4]
  GRU(3, 4, state_batch_first=True): hx is for a batch of 8, the input has 5
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (batch=5, num_layers=1, hidden_size=4)    got (8, 1, 4)
  evidence  8 > 5: probably left from a larger batch, as when the last of an epoch is smaller
  fix       hx=None or layer.initial_state(5): zeros, if the sequences are new
            rnnkit.states.select(hx, slice(5), state_batch_first=True), if the first samples went on
  more      python -m rnnkit explain state-batch\
"""),
    ),
    "A state of a smaller batch is refused.": Case(
        call("nn.LSTM(3, 4)(input, (h, h))", input=(7, 5, 3), h=(1, 2, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (1, 2, 4), code="state-batch"),
        has="\n  fix       hx=None or layer.initial_state(5): zeros\n",
    ),
    "The state of one sample is refused with the repetition.": Case(
        call("nn.RNN(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=(2, 1, 4)),
        Refused(StateError, "says", "hx", (2, 5, 4), (2, 1, 4), code="state-one-sample"),
        fix="rnnkit.states.expand(hx, 5)",
    ),
    "If h fits and c is of another batch, c is named.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=(7, 5, 3), h=(1, 5, 4), c=(1, 6, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (1, 6, 4), code="state-batch"),
        fix=fix("(h, rnnkit.states.select(c, slice(5)))", into="hx"),
    ),
    "One sample's state of another width is not to be repeated.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(1, 1, 6)),
        Refused(StateError, "says"),
        message=snapshot("""\
Expected hidden size (1, 5, 4), got [1, 1, 6]
  GRU(3, 4): hx fits on no axis
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 1, 6)
  fix       hx=None or layer.initial_state(5): zeros
  more      python -m rnnkit explain state-sizes\
"""),
    ),
    "With the batch on axis 0 the width is the last axis too.": Case(
        call("nn.GRU(3, 4, state_batch_first=True)(input, hx)", input=(7, 5, 3), hx=(5, 1, 6)),
        Refused(StateError, "lacks", code="state-width"),
        has="\n  fix       hx=None or layer.initial_state(5): zeros\n",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
