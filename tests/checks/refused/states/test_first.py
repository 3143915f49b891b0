"""First states of a user's own that do not fit the call that asks for them."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import LSTMState, StateError
from tests.checks.refusals import Case, Refused, call, filled, table

RESET = torch.ones(7, 5)


class Checks(rnnkit.GRU):
    """A layer with a check of its own, which torch's forward runs."""

    def check_input(self, *args: Any) -> None:
        """Do what torch does."""
        super().check_input(*args)


def beginning(first: Any, base: Any = rnnkit.GRU, **options: Any) -> Any:
    """Return a module that begins from this state, whatever the batch."""
    kind: Any = type("Begins", (base,), {"initial_state": lambda *_: first})
    return kind(3, 4, **options)


CASES = {
    "A state from which samples start again is held to the batch, where hx is right, too.": Case(
        call(
            "layer(filled(7, 5, 3), filled(1, 5, 4), reset=reset)",
            layer=beginning(filled(1, 8, 4)),
            reset=RESET,
        ),
        Refused(StateError, "lacks", "hx", (1, 5, 4), (1, 8, 4), code="state-batch"),
        message=snapshot("""\
Expected hidden size (1, 5, 4), got [1, 8, 4]
  Begins(3, 4): hx is for a batch of 8, the input has 5
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 8, 4)
  evidence  8 > 5: probably left from a larger batch, as when the last of an epoch is smaller
  fix       hx=None or layer.initial_state(5): zeros, if the sequences are new
            rnnkit.states.select(hx, slice(5)), if the first samples went on
  more      python -m rnnkit explain state-batch\
"""),
    ),
    "It is held to the layers.": Case(
        call(
            "layer(filled(7, 5, 3), filled(1, 5, 4), reset=reset)",
            layer=beginning(filled(2, 5, 4)),
            reset=RESET,
        ),
        Refused(StateError, "lacks", "hx", (1, 5, 4), (2, 5, 4), code="state-bidirectional"),
    ),
    "That of one sample is expanded by the user: torch would read beyond its end.": Case(
        call(
            "layer(filled(7, 5, 3), filled(1, 5, 4), reset=reset)",
            layer=beginning(filled(1, 1, 4)),
            reset=RESET,
        ),
        Refused(StateError, "lacks", "hx", (1, 5, 4), (1, 1, 4), code="state-one-sample"),
    ),
    "With the batch first it is read as hx is.": Case(
        call(
            "layer(filled(7, 5, 3), filled(5, 1, 4), reset=reset)",
            layer=beginning(filled(1, 5, 4), state_batch_first=True),
            reset=RESET,
        ),
        Refused(StateError, "lacks", "hx", (5, 1, 4), (1, 5, 4)),
    ),
    "Of one sequence it has no batch.": Case(
        call(
            "layer(filled(7, 3), filled(1, 4), reset=reset)",
            layer=beginning(filled(1, 1, 4)),
            reset=torch.ones(7),
        ),
        Refused(StateError, "lacks", "hx", (1, 4), (1, 1, 4)),
    ),
    "Of an LSTM it is a pair.": Case(
        call(
            "layer(filled(7, 5, 3), reset=reset, hx=(filled(1, 5, 4), filled(1, 5, 4)))",
            layer=beginning(LSTMState(filled(1, 5, 4), filled(1, 4, 4)), rnnkit.LSTM),
            reset=RESET,
        ),
        Refused(StateError, "lacks", "hx", (1, 5, 4), (1, 4, 4)),
    ),
    "unroll asks a cell for its first state, and holds it to the batch.": Case(
        call("unroll(cell, filled(7, 5, 3))", cell=beginning(filled(1, 4), rnnkit.GRUCell)),
        Refused(StateError, "lacks", "hx", (5, 4), (1, 4), code="state-one-sample"),
        message=snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 1
  unroll of Begins(3, 4): hx is for one sample, the input has 5
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (batch=5, hidden_size=4)    got (1, 4)
  fix       rnnkit.states.expand(hx, 5), if all samples start from it
            hx=None or cell.initial_state(5): zeros, if the sequences are new
  more      python -m rnnkit explain state-one-sample\
"""),
    ),
    "In a loop over steps it would be broadcast.": Case(
        call(
            "unroll(cell, filled(7, 5, 3), fused=False)",
            cell=beginning(filled(1, 4), rnnkit.GRUCell),
        ),
        Refused(StateError, "lacks", "hx", (5, 4), (1, 4), code="state-one-sample"),
    ),
    "unroll holds the state from which samples start again to it.": Case(
        call(
            "unroll(cell, filled(5, 7, 3), filled(5, 4), reset=reset.t(), batch_first=True)",
            cell=beginning(filled(8, 4), rnnkit.GRUCell),
            reset=RESET,
        ),
        Refused(StateError, "lacks", "hx", (5, 4), (8, 4), code="state-batch"),
    ),
    "A check of the user's own hides no hx where there are lengths, which torch's forward lacks.": Case(
        call(
            "layer(filled(7, 5, 3), filled(1, 8, 4), lengths=[7, 6, 5, 4, 3])", layer=Checks(3, 4)
        ),
        Refused(StateError, "lacks", "hx", (1, 5, 4), (1, 8, 4), code="state-batch"),
    ),
    "Nor where samples start again.": Case(
        call(
            "layer(filled(7, 5, 3), filled(1, 1, 4), reset=reset)", layer=Checks(3, 4), reset=RESET
        ),
        Refused(StateError, "lacks", "hx", (1, 5, 4), (1, 1, 4), code="state-one-sample"),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()


@pytest.mark.parametrize(
    "run",
    [
        lambda: beginning(filled(1, 8, 4))(filled(7, 5, 3), filled(1, 5, 4), reset=RESET),
        lambda: rnnkit.unroll(beginning(filled(8, 4), rnnkit.GRUCell), filled(7, 5, 3)),
    ],
    ids=["layer", "unroll"],
)
def test_note(run: Any) -> None:
    """A note says that it was the first state, and not the hx that the call was given."""
    with pytest.raises(StateError) as caught:
        run()

    assert caught.value.__notes__ == ["hx is what initial_state returned"]
