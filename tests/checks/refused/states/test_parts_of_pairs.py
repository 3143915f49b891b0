"""Pairs of which one part or both are wrong, and what is no state: what is typed for each."""

import torch
from inline_snapshot import snapshot

from rnnkit import StateError
from tests.checks.refusals import Case, Refused, call, table


class NameOfMoreThanTwentyLetters:
    """An object whose class has a long name."""


CASES = {
    "A cell's pair with its axes swapped.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, c))", input=(5, 3), h=(4, 5), c=(4, 5)),
        Refused(StateError, "says", "hx", (5, 4), (4, 5)),
        code="state-transposed",
        fix="tuple(t.t() for t in hx)",
        has="  fix       tuple(t.t() for t in hx)\n",
    ),
    "Of a cell's pair c alone.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, c))", input=(5, 3), h=(5, 4), c=(4, 5)),
        Refused(StateError, "says", "hx", (5, 4), (4, 5)),
        code="state-transposed",
        has="  fix       (h, c.t())\n",
    ),
    "A pair of a bidirectional layer for one direction.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=(7, 5, 3), h=(2, 5, 4), c=(2, 5, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (2, 5, 4)),
        code="state-bidirectional",
        message=snapshot("""\
Expected hidden[0] size (1, 5, 4), got [2, 5, 4]
  LSTM(3, 4): h has two rows for each layer, as the state of a bidirectional layer
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (2, 5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (2, 5, 4)
  evidence  2 is twice num_layers=1
  fix       rnnkit.states.bridge(hx, "sum") adds the directions
            LSTM(..., hidden_size=8) and rnnkit.states.bridge(hx, "concat")
            tuple(t[-1:] for t in hx), if hx is from one direction of twice as many layers
            where hx is your state
  more      state-bidirectional, in the docs under "Errors"\
"""),
    ),
    "Of a pair h alone.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=(7, 5, 3), h=(2, 5, 4), c=(1, 5, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (2, 5, 4)),
        code="state-bidirectional",
        has="  (h[-1:], c), if hx is from one direction of twice as many layers\n",
    ),
    "Two steps of output may be two rows.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(2, 5, 3), hx=(2, 5, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (2, 5, 4)),
        code="state-bidirectional",
        message=snapshot("""\
Expected hidden size (1, 5, 4), got [2, 5, 4]
  GRU(3, 4): hx has two rows for each layer, as the state of a bidirectional layer
  input     expected (seq, batch, input_size=3)    got (2, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (2, 5, 4)
  evidence  2 is twice num_layers=1
  fix       rnnkit.states.bridge(hx, "sum") adds the directions
            GRU(..., hidden_size=8) and rnnkit.states.bridge(hx, "concat")
            hx[-1:], if hx is from one direction of twice as many layers
            if hx is an output: output, hx = ...: of what a layer returns, the state is the second
            where hx is your state
  more      state-bidirectional, in the docs under "Errors"\
"""),
    ),
    "Booleans in the place of the state.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=torch.ones(5, dtype=torch.bool)),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), (5,)),
        code="lengths-as-state",
        has="the second argument is the state, and it holds booleans\n",
    ),
    "Integers in the place of the state of an unrolled cell.": Case(
        call("rnnkit.unroll(GRUCell(3, 4), input, hx)", input=(7, 5, 3), hx=torch.arange(5)),
        Refused(StateError, "lacks", "hx", (5, 4), (5,)),
        code="lengths-as-state",
        message=snapshot("""\
hx must be a state, got a Tensor of shape (5,)
  unroll of GRUCell(3, 4): the second argument is the state, and it holds integers, as lengths are
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  fix       unroll(cell, input, lengths=hx): lengths are given by name
            where hx is your state
  more      lengths-as-state, in the docs under "Errors"\
"""),
    ),
    "One integer in a list.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 1, 3), hx=[7]),
        Refused(StateError, "mumbles", "hx", (1, 1, 4), ()),
        code="lengths-as-state",
    ),
    "Integers are no state of a cell, and no lengths either.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(5, 3), hx=[7, 5, 3, 2, 1]),
        Refused(StateError, "mumbles", "hx", (5, 4), ()),
        code="state-structure",
    ),
    "Objects of a long name.": Case(
        call("nn.GRU(3, 4)(input, [made])", input=(7, 5, 3), made=NameOfMoreThanTwentyLetters()),
        Refused(StateError, "mumbles", "hx"),
        code="state-structure",
        has="got a list of 1: NameOfMoreThanTwe...\n",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is told as its sizes say."""
    case.check()
