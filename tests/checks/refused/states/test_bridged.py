"""A bidirectional encoder's state for a decoder as wide as both directions."""

from inline_snapshot import snapshot

import rnnkit
from rnnkit import LSTMState, StateError
from tests.checks.refusals import Case, Refused, call, filled, fix, packed, table

CODE = "state-bidirectional"

CASES = {
    "One layer.": Case(
        call("nn.GRU(3, 8)(input, hx)", input=(7, 5, 3), hx=(2, 5, 4)),
        Refused(StateError, "says", "hx", (1, 5, 8), (2, 5, 4), code=CODE),
        fix="rnnkit.states.bridge(hx)",
        message=snapshot("""\
Expected hidden size (1, 5, 8), got [2, 5, 4]
  GRU(3, 8): hx is in two rows for each layer, each half as wide
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=8)    got (2, 5, 4)
  evidence  hidden_size=8 is twice 4: both directions side by side
  fix       rnnkit.states.bridge(hx)
  more      python -m rnnkit explain state-bidirectional\
"""),
    ),
    "Several layers of an LSTM, packed.": Case(
        call("nn.LSTM(3, 8, 2)(input, (h, h))", input=packed(7, 6, 2), h=(4, 3, 4)),
        Refused(StateError, "unsafe", "hx", code=CODE),
        fix="rnnkit.states.bridge(hx)",
    ),
    "With projections h and c are both twice as wide.": Case(
        call(
            "nn.LSTM(3, 8, proj_size=4)(input, (h, c))", input=(7, 5, 3), h=(2, 5, 2), c=(2, 5, 4)
        ),
        Refused(StateError, "says", "hx", code=CODE),
        fix="rnnkit.states.bridge(hx)",
    ),
    "Batch-first states.": Case(
        call("nn.RNN(3, 8, state_batch_first=True)(input, hx)", input=(7, 5, 3), hx=(5, 2, 4)),
        Refused(StateError, "lacks", "hx", code=CODE),
        fix="rnnkit.states.bridge(hx, state_batch_first=True)",
    ),
    "c alone.": Case(
        call("nn.LSTM(3, 8)(input, (h, c))", input=(7, 5, 3), h=(1, 5, 8), c=(2, 5, 4)),
        Refused(StateError, "says", "hx", code=CODE),
        fix=fix("(h, rnnkit.states.bridge(c))", into="hx"),
    ),
    "A decoder made of a cell.": Case(
        call("nn.LSTMCell(3, 8)(input, (h, h))", input=(5, 3), h=(2, 5, 4)),
        Refused(StateError, "says", "hx", code="state-rank"),
        fix=fix("tuple(t.transpose(0, 1).flatten(1) for t in hx)", into="hx"),
    ),
    "An odd width is not twice another one.": Case(
        call("nn.GRU(3, 9)(input, hx)", input=(7, 5, 3), hx=(2, 5, 4)),
        Refused(StateError, "says", "hx", code="state-layers"),
        lacks="bridge",
    ),
    "Two directions are not those of a decoder that has two.": Case(
        call("nn.GRU(3, 8, bidirectional=True)(input, hx)", input=(7, 5, 3), hx=(4, 5, 4)),
        Refused(StateError, "says", "hx", code="state-layers"),
        lacks="bridge",
    ),
    "A cell of one sample has no such state.": Case(
        call("nn.GRUCell(3, 8)(input, hx)", input=(3,), hx=(2, 5, 4)),
        Refused(StateError, "says", "hx", code="state-rank"),
        lacks="flatten",
    ),
    "A decoder as wide as one projected direction is made wider on both sides.": Case(
        call(
            "nn.LSTM(3, 4, proj_size=2)(input, (h, c))", input=(7, 5, 3), h=(2, 5, 2), c=(2, 5, 4)
        ),
        Refused(StateError, "says", "hx", code=CODE),
        fix=(
            'rnnkit.states.bridge(hx, "sum")',
            fix(
                "LSTM(..., hidden_size=8, proj_size=4)",
                "3",
                hx=LSTMState(filled(1, 5, 4), filled(1, 5, 8)),
            ),
        ),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused, and what the message says to type runs."""
    case.check()


def test_the_directions_of_each_layer_side_by_side() -> None:
    """What a cell is told to take is what a layer's bridge would make of it."""
    state = rnnkit.GRU(3, 4, bidirectional=True)(filled(7, 5, 3))[1]

    assert state.transpose(0, 1).flatten(1).equal(rnnkit.states.bridge(state)[0])
