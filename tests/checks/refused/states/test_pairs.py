"""Pairs (h, c) that an LSTM refuses, with a projection too, whose h is narrower than c."""

import numpy as np
from inline_snapshot import snapshot

import rnnkit
from rnnkit import StateError
from tests.checks.refusals import Case, Refused, call, filled, fix, refusal, table

CASES = {
    "A message about the structure tells both shapes where h and c differ.": Case(
        call("nn.LSTM(3, 4, proj_size=2)(input, hx)", input=(7, 5, 3), hx=(1, 5, 2)),
        Refused(StateError, "mumbles"),
        fix="(hx, None)",
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a Tensor of shape (1, 5, 2)
  LSTM(3, 4, proj_size=2) carries the pair (h, c)
  hx        expected (h, c), h (num_layers=1, batch=5, proj_size=2) and c (num_layers=1, batch=5, hidden_size=4)
  fix       (hx, None), which starts c from zeros
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "One tensor of another rank is brought to h's shape, not to c's.": Case(
        call("nn.LSTM(3, 4, proj_size=2)(input, hx)", input=(7, 5, 3), hx=(5, 2)),
        Refused(StateError, "mumbles"),
        fix="(hx.unsqueeze(0), None)",
    ),
    "Two h stacked are no pair: the advice to part them is not given.": Case(
        call("nn.LSTM(3, 4, proj_size=2)(input, hx)", input=(7, 5, 3), hx=(2, 1, 5, 2)),
        Refused(StateError, "mumbles"),
        lacks="tuple(hx)",
    ),
    "Three parts of which the first two are h and c are refused with the call that keeps those.": Case(
        call(
            "nn.LSTM(3, 4, proj_size=2)(input, hx)",
            input=(7, 5, 3),
            hx=(filled(1, 5, 2), filled(1, 5, 4), filled(1, 5, 4)),
        ),
        Refused(StateError, "says"),
        fix="hx[:2]",
    ),
    "If the second of three is as narrow as h, it is no c.": Case(
        call("nn.LSTM(3, 4, proj_size=2)(input, hx)", input=(7, 5, 3), hx=(filled(1, 5, 2),) * 3),
        Refused(StateError, "mumbles"),
        lacks="hx[:2]",
    ),
    "An h of a width that the layer has nowhere is refused with its own option.": Case(
        call(
            "nn.LSTM(3, 4, proj_size=2)(input, hx)",
            input=(7, 5, 3),
            hx=(filled(1, 5, 3), filled(1, 5, 4)),
        ),
        Refused(StateError, "says", code="state-width"),
        fix=fix("(None, c)", into="hx", c=(1, 5, 4)),
    ),
    "A c as narrow as h is refused by its own width.": Case(
        call(
            "nn.LSTM(3, 4, proj_size=2)(input, hx)",
            input=(7, 5, 3),
            hx=(filled(1, 5, 2), filled(1, 5, 2)),
        ),
        Refused(StateError, "says", code="state-width"),
        fix=fix("(h, None)", into="hx", h=(1, 5, 2)),
    ),
    "An h twice as wide is refused with the proj_size that it fits.": Case(
        call(
            "nn.LSTM(3, 6, proj_size=2)(input, hx)",
            input=(7, 5, 3),
            hx=(filled(1, 5, 4), filled(1, 5, 8)),
        ),
        Refused(StateError, "says", code="state-twice-as-wide"),
        fix=fix("LSTM(..., proj_size=4)", "3, 8"),
    ),
    "Where twice the width is no projection any more, no such option is advised.": Case(
        call(
            "nn.LSTM(3, 5, proj_size=3)(input, hx)",
            input=(7, 5, 3),
            hx=(filled(1, 5, 6), filled(1, 5, 5)),
        ),
        Refused(StateError, "says"),
        message=snapshot("""\
Expected hidden[0] size (1, 5, 3), got [1, 5, 6]
  LSTM(3, 5, proj_size=3): h is 6 wide, proj_size=3 is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, proj_size=3)    got (1, 5, 6)
  c         expected (num_layers=1, batch=5, hidden_size=5)    got (1, 5, 5)
  evidence  6 is twice 3: both directions side by side
  fix       torch.nn.Linear(6, 3) between the two
  more      python -m rnnkit explain state-twice-as-wide\
"""),
    ),
    "A c twice as wide as it should be, beside an h that fits, is not what the layer is widened for.": Case(
        call(
            "nn.LSTM(3, 4, proj_size=2)(input, hx)",
            input=(7, 5, 3),
            hx=(filled(1, 5, 2), filled(1, 5, 8)),
        ),
        Refused(StateError, "says", code="state-twice-as-wide"),
        lacks="LSTM(...",
    ),
    "Without a projection, an h twice as wide is refused with the hidden_size that it fits.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(filled(1, 5, 8), filled(1, 5, 8))),
        Refused(StateError, "says", code="state-twice-as-wide"),
        fix=fix("LSTM(..., hidden_size=8)", "3"),
    ),
    "A c that has the shape of a wrong h, and is right, is not called wrong alike.": Case(
        call(
            "nn.LSTM(3, 4, proj_size=2)(input, hx)",
            input=(7, 5, 3),
            hx=(filled(1, 5, 4), filled(1, 5, 4)),
        ),
        Refused(StateError, "says"),
        lacks="alike",
    ),
    "One array is no pair: it is not offered to an LSTM.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=np.zeros((1, 5, 4), dtype=np.float32)),
        Refused(StateError, "mumbles"),
        has="\n  fix       hx=None for zeros\n",
    ),
    "One tensor of another rank is refused with what brings it to h's.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(5, 4)),
        Refused(StateError, "mumbles"),
        fix="(hx.unsqueeze(0), None)",
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a Tensor of shape (5, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       (hx.unsqueeze(0), None), which starts c from zeros
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "One tensor that no short expression brings to h's shape is refused with zeros instead.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(1, 5, 9)),
        Refused(StateError, "mumbles"),
        has="\n  fix       hx=None for zeros\n",
    ),
    "Three parts of which only the first fits are refused with zeros instead.": Case(
        call(
            "nn.LSTM(3, 4)(input, hx)",
            input=(7, 5, 3),
            hx=(filled(1, 5, 4), filled(7, 5, 4), filled(1, 5, 4)),
        ),
        Refused(StateError, "mumbles"),
        has="\n  fix       hx=None for zeros\n",
    ),
    "One tensor given to an LSTM is refused with the pair that starts c from zeros.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(1, 5, 4)),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), (1, 5, 4), code="state-structure"),
        fix="(hx, None)",
    ),
    "The pair stacked in one tensor are refused with the call that parts them.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(2, 1, 5, 4)),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), (2, 1, 5, 4), code="state-structure"),
        fix="tuple(hx)",
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
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "Unbatched they are refused too, where torch drops the third in silence.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 3), hx=(filled(1, 4),) * 3),
        Refused(StateError, "accepts", "hx", (1, 4), (), code="state-structure"),
        has="\n  fix       hx[:2], if the first two are h and c\n",
    ),
    "Three tensors given to an LSTM are refused.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(filled(1, 5, 4),) * 3),
        Refused(StateError, "says", "hx", (1, 5, 4), (), code="state-structure"),
        has="\n  fix       hx[:2], if the first two are h and c\n",
    ),
    "A tuple of h alone is refused.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=(filled(1, 5, 4),)),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 1: (1, 5, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       (hx[0], None), which starts c from zeros
  more      python -m rnnkit explain state-structure\
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
  more      python -m rnnkit explain state-structure\
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
  more      python -m rnnkit explain state-structure\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()


def test_list_of_a_pair_for_a_cell() -> None:
    """A list of h and a wrong c is refused for c, as a tuple is."""
    x, h, c = filled(5, 3), filled(5, 4), filled(5, 6)
    messages = {
        str(refusal(rnnkit.StateError, "says", lambda nn, hx=hx: nn.LSTMCell(3, 4)(x, hx)))
        for hx in ([h, c], (h, c))
    }
    assert len(messages) == 1
    assert "c is 6 wide" in messages.pop()
