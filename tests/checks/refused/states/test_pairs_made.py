"""What is given to an LSTM in place of the pair (h, c), and what makes a pair of it."""

from inline_snapshot import snapshot

from rnnkit import StateError
from tests.checks.refusals import Case, Refused, call, filled, table

CASES = {
    "One tensor for one sample is refused with the repetition, and its condition after the pair.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(1, 1, 4)),
        Refused(StateError, "mumbles"),
        fix="(hx.repeat(1, 5, 1), None)",
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a Tensor of shape (1, 1, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       (hx.repeat(1, 5, 1), None), which starts c from zeros, if all start from the same values
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "One tensor that no short expression brings to h's shape is refused with zeros instead.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(1, 5, 9)),
        Refused(StateError, "mumbles"),
        has="\n  fix       hx=None for zeros, or (h, c)\n",
    ),
    "Three parts of which only the first fits are refused with zeros instead.": Case(
        call(
            "nn.LSTM(3, 4)(input, hx)",
            input=(7, 5, 3),
            hx=(filled(1, 5, 4), filled(7, 5, 4), filled(1, 5, 4)),
        ),
        Refused(StateError, "mumbles"),
        has="\n  fix       hx=None for zeros, or (h, c)\n",
    ),
    "One tensor given to an LSTM is refused with the pair that starts c from zeros.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(1, 5, 4)),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), (1, 5, 4)),
        fix="(hx, None)",
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a Tensor of shape (1, 5, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       (hx, None), which starts c from zeros
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "The pair stacked in one tensor are refused with the call that parts them.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(2, 1, 5, 4)),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), (2, 1, 5, 4)),
        fix="tuple(hx)",
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a Tensor of shape (2, 1, 5, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       tuple(hx), if h and c are stacked on axis 0
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "Unbatched they are refused too, where torch unpacks them in silence.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 3), hx=(2, 1, 4)),
        Refused(StateError, "accepts", "hx", (1, 4), (2, 1, 4)),
        fix="tuple(hx)",
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a Tensor of shape (2, 1, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, hidden_size=4)
  fix       tuple(hx), if h and c are stacked on axis 0
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "Unbatched they are refused too, where torch drops the third in silence.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 3), hx=(filled(1, 4),) * 3),
        Refused(StateError, "accepts", "hx", (1, 4), ()),
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 3: (1, 4), (1, 4), (1, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, hidden_size=4)
  fix       hx[:2], if the first two are h and c
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "Three tensors given to an LSTM are refused.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(filled(1, 5, 4),) * 3),
        Refused(StateError, "says", "hx", (1, 5, 4), ()),
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 3: (1, 5, 4), (1, 5, 4), (1, 5, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       hx[:2], if the first two are h and c
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "A tuple of h alone is refused.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(filled(1, 5, 4),)),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 1: (1, 5, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       (hx[0], None), which starts c from zeros
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "A list of one pair for each layer is refused with the call that joins them.": Case(
        call(
            "nn.LSTM(3, 4, 2)(input, hx)",
            input=(7, 5, 3),
            hx=[(filled(1, 5, 4), filled(1, 5, 4))] * 2,
        ),
        Refused(StateError, "mumbles", "hx", (2, 5, 4), ()),
        fix="rnnkit.states.from_layers(hx)",
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 2: tuple, tuple
  LSTM(3, 4, num_layers=2) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=2, batch=5, hidden_size=4)
  fix       rnnkit.states.from_layers(hx), if these are the states layer by layer
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "A number in the place of c is refused.": Case(
        call("nn.LSTM(3, 4)(filled(7, 5, 3), hx)", hx=(filled(1, 5, 4), 0.0)),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 2: (1, 5, 4), float
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       (hx[0], None), which starts c from zeros
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
