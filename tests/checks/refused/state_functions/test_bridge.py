"""States that ``rnnkit.states.bridge`` refuses: what is said of each, and what to type."""

from inline_snapshot import snapshot

from rnnkit import ArgumentError, LSTMState, StateError
from tests.checks.refusals import Case, Refused, call, filled, fix, table

CASES = {
    "A state with an odd number of rows comes from no bidirectional layer.": Case(
        "rnnkit.states.bridge(LSTMState(filled(3, 5, 6), filled(3, 5, 6)))",
        Refused(StateError, "lacks", "state", actual=(3, 5, 6)),
        message=snapshot("""\
bridge takes the state of a bidirectional layer, (layers * 2, batch, hidden)
  got (3, 5, 6)
  fix       pass it as it is
  more      python -m rnnkit explain bridge-rows\
"""),
    ),
    "With state_batch_first the rows are on axis 1.": Case(
        "rnnkit.states.bridge(filled(4, 3, 6), state_batch_first=True)",
        Refused(StateError, "lacks", actual=(4, 3, 6)),
        message=snapshot("""\
bridge takes the state of a bidirectional layer, (batch, layers * 2, hidden)
  got (4, 3, 6)
  fix       rnnkit.states.bridge(state), if it is (layers * 2, batch, hidden)
            pass it as it is, if its layer runs in one direction
  more      python -m rnnkit explain bridge-rows\
"""),
    ),
    "A cell's state has no rows to join.": Case(
        "rnnkit.states.bridge(filled(3, 6))",
        Refused(StateError, "lacks", code="bridge-rows"),
        has="\n  fix       pass it as it is\n",
    ),
    "A batch-first layer's state is in torch's order.": Case(
        call("rnnkit.states.bridge(state, state_batch_first=True)", state=(2, 5, 4)),
        Refused(StateError, "lacks", code="bridge-rows"),
        fix=fix("rnnkit.states.bridge(state)", where="nn.RNN(3, 8)(filled(7, 5, 3), @)"),
    ),
    "A pair in torch's order, whose directions are added.": Case(
        call(
            "rnnkit.states.bridge(state, 'sum', state_batch_first=True)",
            state=LSTMState(filled(4, 5, 4), filled(4, 5, 4)),
        ),
        Refused(StateError, "lacks", code="bridge-rows"),
        fix=fix('rnnkit.states.bridge(state, "sum")', where="nn.LSTM(3, 4, 2)(filled(7, 5, 3), @)"),
    ),
    "A batch-first state without the option.": Case(
        call("rnnkit.states.bridge(state)", state=(5, 2, 4)),
        Refused(StateError, "lacks", code="bridge-rows"),
        fix=fix(
            "rnnkit.states.bridge(state, state_batch_first=True)",
            where="nn.GRU(3, 8, state_batch_first=True)(filled(7, 5, 3), @)",
        ),
        has="pass it as it is, if its layer runs in one direction\n",
    ),
    "Three layers of one direction need no bridge.": Case(
        call("rnnkit.states.bridge(state)", state=(3, 5, 4)),
        Refused(StateError, "lacks", code="bridge-rows"),
        has="\n  fix       pass it as it is\n",
    ),
    "A way to join that is not known is refused.": Case(
        call("rnnkit.states.bridge(filled(4, 3, 6), how)", how="mean"),
        Refused(ArgumentError, "lacks", "how", annotated=True),
        message=snapshot("""\
how must be 'concat' or 'sum', got 'mean'
  more      python -m rnnkit explain bridge-how\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
