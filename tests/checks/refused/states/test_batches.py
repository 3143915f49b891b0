"""States that a layer refuses for their batch, or for the place of it."""

from inline_snapshot import snapshot

from rnnkit import LayoutError, StateError
from tests.checks.refusals import Case, Refused, call, fix, table

CASES = {
    "A batch-first input is told by the batch of its state.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(2, 5, 3), hx=(2, 2, 4)),
        Refused(LayoutError, "says", "hx", (2, 5, 4), (2, 2, 4)),
        fix=("input.transpose(0, 1)", fix("GRU(..., batch_first=True)", "3, 4, 2")),
        message=snapshot("""\
Expected hidden size (2, 5, 4), got [2, 2, 4]
  GRU(3, 4, num_layers=2): the input looks batch-first, but batch_first=False
  input     expected (seq, batch, input_size=3)    got (2, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (2, 2, 4)
  evidence  hx has batch 2, which is axis 0 of the input
  fix       GRU(..., batch_first=True), or input.transpose(0, 1)
  more      layout-batch-first, in the docs under "Errors"\
"""),
    ),
    "A seq-first input of a batch-first layer is told by the batch of its state.": Case(
        call("nn.LSTM(3, 4, batch_first=True)(input, (h, h))", input=(7, 5, 3), h=(1, 5, 4)),
        Refused(LayoutError, "says", "hx", (1, 7, 4), (1, 5, 4)),
        fix=("input.transpose(0, 1)", fix("LSTM(..., batch_first=False)", "3, 4")),
        message=snapshot("""\
Expected hidden[0] size (1, 7, 4), got [1, 5, 4]
  LSTM(3, 4, batch_first=True): the input looks seq-first, but batch_first=True
  input     expected (batch, seq, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=7, hidden_size=4)    got (1, 5, 4)
  c         expected (num_layers=1, batch=7, hidden_size=4)    got (1, 5, 4)
  evidence  h has batch 5, which is axis 1 of the input
  fix       LSTM(..., batch_first=False), or input.transpose(0, 1)
  more      layout-seq-first, in the docs under "Errors"\
"""),
    ),
    "A state that may also be left from a larger batch is told both.": Case(
        call("nn.RNN(3, 4)(input, hx)", input=(7, 5, 3), hx=(1, 7, 4)),
        Refused(LayoutError, "says", "hx", (1, 5, 4), (1, 7, 4)),
        fix=fix("RNN(..., batch_first=True)", "3, 4"),
        message=snapshot("""\
Expected hidden size (1, 5, 4), got [1, 7, 4]
  RNN(3, 4): the input looks batch-first, but batch_first=False
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 7, 4)
  evidence  hx has batch 7, which is axis 0 of the input
  fix       RNN(..., batch_first=True), or input.transpose(0, 1)
            if hx is from a larger batch: rnnkit.states.select(hx, positions), or hx=None for zeros
            where hx is your state
  more      layout-batch-first, in the docs under "Errors"\
"""),
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
  fix       rnnkit.states.from_batch_first(hx), or GRU(..., state_batch_first=True)
            where hx is your state
  more      state-transposed, in the docs under "Errors"\
"""),
    ),
    "The option batch_first speaks of the input, never of the state.": Case(
        call("nn.LSTM(3, 4, batch_first=True)(input, (h, h))", input=(5, 7, 3), h=(5, 1, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (5, 1, 4)),
        fix="rnnkit.states.from_batch_first(hx)",
        message=snapshot("""\
Expected hidden[0] size (1, 5, 4), got [5, 1, 4]
  LSTM(3, 4, batch_first=True): h has the batch on axis 0, a state has the layers on axis 0
  input     expected (batch, seq, input_size=3)    got (5, 7, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (5, 1, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (5, 1, 4)
  evidence  h with axes 0 and 1 exchanged fits
  fix       rnnkit.states.from_batch_first(hx), or LSTM(..., state_batch_first=True)
            where hx is your state
  more      state-transposed, in the docs under "Errors"\
"""),
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
  fix       rnnkit.states.batch_first(hx), or GRU(..., state_batch_first=False)
            where hx is your state
  more      state-transposed, in the docs under "Errors"\
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
            where hx is your state
  more      state-transposed, in the docs under "Errors"\
"""),
    ),
    "A state that is left from a larger batch is refused with its rows of now.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(1, 8, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (1, 8, 4)),
        fix="rnnkit.states.select(hx, slice(5))",
        message=snapshot("""\
Expected hidden size (1, 5, 4), got [1, 8, 4]
  GRU(3, 4): hx is for a batch of 8, the input has 5
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 8, 4)
  evidence  8 > 5: probably left from a larger batch, as when the last of an epoch is smaller
  fix       hx=None for zeros, if the sequences are new
            rnnkit.states.select(hx, slice(5)), if the first 5 samples went on
            rnnkit.states.select(hx, positions), if others did
            where hx is your state
  more      state-batch, in the docs under "Errors"\
"""),
    ),
    "With batch-first states the rows are cut on axis 0.": Case(
        call("nn.GRU(3, 4, state_batch_first=True)(input, hx)", input=(7, 5, 3), hx=(8, 1, 4)),
        Refused(StateError, "lacks", "hx", (5, 1, 4), (8, 1, 4)),
        fix="rnnkit.states.select(hx, slice(5), batch_first=True)",
        message=snapshot("""\
Expected hidden size (5, 1, 4), got [8, 1, 4]
  GRU(3, 4, state_batch_first=True): hx is for a batch of 8, the input has 5
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (batch=5, num_layers=1, hidden_size=4)    got (8, 1, 4)
  evidence  8 > 5: probably left from a larger batch, as when the last of an epoch is smaller
  fix       hx=None for zeros, if the sequences are new
            rnnkit.states.select(hx, slice(5), batch_first=True), if the first 5 samples went on
            rnnkit.states.select(hx, positions, batch_first=True), if others did
            where hx is your state
  more      state-batch, in the docs under "Errors"\
"""),
    ),
    "A state of a smaller batch is refused.": Case(
        call("nn.LSTM(3, 4)(input, (h, h))", input=(7, 5, 3), h=(1, 2, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (1, 2, 4)),
        message=snapshot("""\
Expected hidden[0] size (1, 5, 4), got [1, 2, 4]
  LSTM(3, 4): h is for a batch of 2, the input has 5
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 2, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 2, 4)
  fix       hx=None or layer.initial_state(5): zeros
            where layer is this module
  more      state-batch, in the docs under "Errors"\
"""),
    ),
    "The state of one sample is refused with the repetition.": Case(
        call("nn.RNN(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=(2, 1, 4)),
        Refused(StateError, "says", "hx", (2, 5, 4), (2, 1, 4)),
        fix="rnnkit.states.expand(hx, 5)",
        message=snapshot("""\
Expected hidden size (2, 5, 4), got [2, 1, 4]
  RNN(3, 4, num_layers=2): hx is for one sample, the input has 5
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (2, 1, 4)
  fix       rnnkit.states.expand(hx, 5), if all samples start from it
            hx=None or layer.initial_state(5): zeros, if the sequences are new
            where hx is your state and layer is this module
  more      state-one-sample, in the docs under "Errors"\
"""),
    ),
    "If h fits and c is of another batch, c is named.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=(7, 5, 3), h=(1, 5, 4), c=(1, 6, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (1, 6, 4)),
        fix="rnnkit.states.select(hx, slice(5))",
        message=snapshot("""\
Expected hidden[1] size (1, 5, 4), got [1, 6, 4]
  LSTM(3, 4): c is for a batch of 6, the input has 5
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 6, 4)
  evidence  6 > 5: probably left from a larger batch, as when the last of an epoch is smaller
  fix       hx=None for zeros, if the sequences are new
            rnnkit.states.select(hx, slice(5)), if the first 5 samples went on
            rnnkit.states.select(hx, positions), if others did
            where hx is your state
  more      state-batch, in the docs under "Errors"\
"""),
    ),
    "One sample's state of another width is not to be repeated.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(1, 1, 6)),
        Refused(StateError, "says"),
        message=snapshot("""\
Expected hidden size (1, 5, 4), got [1, 1, 6]
  GRU(3, 4): hx is for one sample, the input has 5
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 1, 6)
  fix       rnnkit.states.expand(hx, 5), if all samples start from it
            hx=None or layer.initial_state(5): zeros, if the sequences are new
            where hx is your state and layer is this module
  more      state-one-sample, in the docs under "Errors"\
"""),
    ),
    "With the batch on axis 0 the width is the last axis too.": Case(
        call("nn.GRU(3, 4, state_batch_first=True)(input, hx)", input=(7, 5, 3), hx=(5, 1, 6)),
        Refused(StateError, "lacks"),
        message=snapshot("""\
Expected hidden size (5, 1, 4), got [5, 1, 6]
  GRU(3, 4, state_batch_first=True): hx is 6 wide, hidden_size=4 is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (batch=5, num_layers=1, hidden_size=4)    got (5, 1, 6)
  fix       hx=None or layer.initial_state(5): zeros
            or a torch.nn.Linear(6, 4) between the two
            where layer is this module
  more      state-width, in the docs under "Errors"\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
