"""States that are not the tensors that a layer carries: what is typed for each."""

import numpy as np
import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import StateError
from tests.checks.refusals import Case, Refused, call, filled, table


class NameOfMoreThanTwentyLetters:
    """An object whose class has a long name."""


CASES = {
    **{
        f"Of many parts a message shows four, and dots only if there are more: {given}.": Case(
            call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=[filled(1, 9)] * given),
            Refused(StateError, "mumbles"),
            has=f"got a list of {given}: (1, 9), (1, 9), (1, 9), (1, 9){dots}\n",
        )
        for given, dots in ((4, ""), (5, ", ..."), (6, ", ..."))
    },
    "A list that holds the one layer's state is refused with the call that stacks it.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=[filled(5, 4)]),
        Refused(StateError, "mumbles"),
        fix="torch.stack(hx)",
        message=snapshot("""\
hx must be one tensor, got a list of 1: (5, 4)
  GRU(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       torch.stack(hx), if these are the states layer by layer
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "A list of each layer's two directions is refused with the call that joins them.": Case(
        call(
            "nn.GRU(3, 4, 2, bidirectional=True)(input, hx)",
            input=(7, 5, 3),
            hx=[filled(2, 5, 4), filled(2, 5, 4)],
        ),
        Refused(StateError, "mumbles"),
        fix="torch.cat(hx)",
        message=snapshot("""\
hx must be one tensor, got a list of 2: (2, 5, 4), (2, 5, 4)
  GRU(3, 4, num_layers=2, bidirectional=True) carries one tensor
  hx        expected (num_layers * directions = 4, batch=5, hidden_size=4)
  fix       torch.cat(hx), if these are the states layer by layer
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "A cell has no layers: a list for it holds its samples.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(2, 3), hx=[filled(4), filled(4)]),
        Refused(StateError, "mumbles"),
        fix="torch.stack(hx)",
        message=snapshot("""\
hx must be one tensor, got a list of 2: (4,), (4,)
  GRUCell(3, 4) carries one tensor
  hx        expected (batch=2, hidden_size=4)
  fix       torch.stack(hx), if these are the states sample by sample
  more      python -m rnnkit explain state-structure\
"""),
    ),
    **{
        f"A list from which no state can be made is refused with zeros instead: {what}.": Case(
            call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=parts),
            Refused(StateError, "mumbles"),
            has="\n  fix       hx=None for zeros",
        )
        for what, parts in {
            "numbers": [torch.tensor(0.0), torch.tensor(0.0)],
            "no batch": [filled(1, 5), filled(1, 5)],
            "unlike": [filled(5, 4), filled(1, 4)],
            "one missing": [filled(5, 4), None],
            "both missing": [None, None],
            "one layer too many": [filled(5, 4)] * 3,
        }.items()
    },
    "A NumPy array is refused with the call that makes it a tensor.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=np.zeros((1, 5, 4), dtype=np.float32)),
        Refused(StateError, "mumbles"),
        fix="torch.as_tensor(hx)",
        message=snapshot("""\
hx must be one tensor, got an ndarray
  GRU(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       torch.as_tensor(hx).to(input)
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "An LSTM's pair given to a GRU is refused with the half that fits.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(filled(1, 5, 4), filled(1, 5, 4))),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), (), code="state-structure"),
        fix="hx[0]",
    ),
    "A tuple of one tensor given to an RNN is refused with its member.": Case(
        call("nn.RNN(3, 4)(input, hx)", input=(7, 5, 3), hx=(filled(1, 5, 4),)),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        fix="hx[0]",
        message=snapshot("""\
hx must be one tensor, got a tuple of 1: (1, 5, 4)
  RNN(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       hx[0]
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "A layer's whole result in the place of the state is refused with its second part.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=rnnkit.LSTM(3, 4)(filled(7, 5, 3))),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), (), code="state-structure"),
        fix="hx[1]",
    ),
    "The same is refused of a layer that carries one tensor.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=rnnkit.GRU(3, 4)(filled(7, 5, 3))),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), (), code="state-structure"),
        fix="hx[1]",
    ),
    "A list of one state for each layer is refused with the call that joins them.": Case(
        call("nn.GRU(3, 4, 3)(input, hx)", input=(7, 5, 3), hx=[filled(1, 5, 4)] * 3),
        Refused(StateError, "mumbles", "hx", (3, 5, 4), ()),
        fix="torch.cat(hx)",
        message=snapshot("""\
hx must be one tensor, got a list of 3: (1, 5, 4), (1, 5, 4), (1, 5, 4)
  GRU(3, 4, num_layers=3) carries one tensor
  hx        expected (num_layers=3, batch=5, hidden_size=4)
  fix       torch.cat(hx), if these are the states layer by layer
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "Two layers make no difference to that.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=[filled(1, 5, 4)] * 2),
        Refused(StateError, "mumbles", "hx", (2, 5, 4), (), code="state-structure"),
        fix="torch.cat(hx)",
    ),
    "A number in the place of a state is refused.": Case(
        "nn.GRU(3, 4)(filled(7, 5, 3), 0)",
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        message=snapshot("""\
hx must be one tensor, got 0
  GRU(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       hx=None for zeros
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "A number in the place of a pair is refused.": Case(
        "nn.LSTM(3, 4)(filled(7, 5, 3), 0)",
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got 0
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       hx=None for zeros
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "An empty tuple is refused.": Case(
        "nn.GRU(3, 4)(filled(7, 5, 3), ())",
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        message=snapshot("""\
hx must be one tensor, got an empty tuple
  GRU(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       hx=None for zeros
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "An empty tuple is refused for a pair.": Case(
        "nn.LSTM(3, 4)(filled(7, 5, 3), ())",
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got an empty tuple
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       hx=None for zeros
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "A dictionary in the place of a state is refused.": Case(
        call("nn.LSTM(3, 4)(filled(7, 5, 3), hx)", hx={"h": filled(1, 5, 4)}),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a dict
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       hx=None for zeros
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "A cell's pair with its axes swapped.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, c))", input=(5, 3), h=(4, 5), c=(4, 5)),
        Refused(StateError, "says", "hx", (5, 4), (4, 5), code="state-transposed"),
        fix="tuple(t.t().contiguous() for t in hx)",
        has="  fix       tuple(t.t().contiguous() for t in hx)\n",
    ),
    "Of a cell's pair c alone.": Case(
        call("nn.LSTMCell(3, 4)(input, (h, c))", input=(5, 3), h=(5, 4), c=(4, 5)),
        Refused(StateError, "says", "hx", (5, 4), (4, 5), code="state-transposed"),
        has="  fix       (h, c.t().contiguous())\n",
    ),
    "A pair of a bidirectional layer for one direction.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=(7, 5, 3), h=(2, 5, 4), c=(2, 5, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (2, 5, 4), code="state-bidirectional"),
        message=snapshot("""\
Expected hidden[0] size (1, 5, 4), got [2, 5, 4]
  LSTM(3, 4): h has two rows for each layer, as the state of a bidirectional layer
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (2, 5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (2, 5, 4)
  fix       rnnkit.states.bridge(hx, "sum") adds the directions
            tuple(t[-1:] for t in hx), if it is from one direction of twice as many layers
            LSTM(..., hidden_size=8) and rnnkit.states.bridge(hx, "concat")
  more      python -m rnnkit explain state-bidirectional\
"""),
    ),
    "Of a pair h alone.": Case(
        call("nn.LSTM(3, 4)(input, (h, c))", input=(7, 5, 3), h=(2, 5, 4), c=(1, 5, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (2, 5, 4), code="state-bidirectional"),
        has="  (h[-1:], c), if it is from one direction of twice as many layers\n",
    ),
    "Two steps of output may be two rows.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(2, 5, 3), hx=(2, 5, 4)),
        Refused(StateError, "says", "hx", (1, 5, 4), (2, 5, 4), code="state-bidirectional"),
        message=snapshot("""\
Expected hidden size (1, 5, 4), got [2, 5, 4]
  GRU(3, 4): hx has two rows for each layer, as the state of a bidirectional layer
  input     expected (seq, batch, input_size=3)    got (2, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (2, 5, 4)
  fix       rnnkit.states.bridge(hx, "sum") adds the directions
            hx[-1:], if it is from one direction of twice as many layers
            GRU(..., hidden_size=8) and rnnkit.states.bridge(hx, "concat")
  more      python -m rnnkit explain state-bidirectional\
"""),
    ),
    "Booleans in the place of the state.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=torch.ones(5, dtype=torch.bool)),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), (5,), code="lengths-as-state"),
        has="the second argument is the state, and it holds booleans\n",
    ),
    "Integers in the place of the state of an unrolled cell.": Case(
        call("rnnkit.unroll(GRUCell(3, 4), input, hx)", input=(7, 5, 3), hx=torch.arange(5)),
        Refused(StateError, "lacks", "hx", (5, 4), (5,), code="lengths-as-state"),
        message=snapshot("""\
hx must be a state, got a Tensor of shape (5,)
  unroll of GRUCell(3, 4): the second argument is the state, and it holds integers, as lengths are
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  fix       unroll(cell, input, lengths=hx): lengths are given by name
  more      python -m rnnkit explain lengths-as-state\
"""),
    ),
    "One integer in a list.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 1, 3), hx=[7]),
        Refused(StateError, "mumbles", "hx", (1, 1, 4), (), code="lengths-as-state"),
    ),
    "Integers are no state of a cell, and no lengths either.": Case(
        call("nn.GRUCell(3, 4)(input, hx)", input=(5, 3), hx=[7, 5, 3, 2, 1]),
        Refused(StateError, "mumbles", "hx", (5, 4), (), code="state-structure"),
    ),
    "Objects of a long name.": Case(
        call("nn.GRU(3, 4)(input, [made])", input=(7, 5, 3), made=NameOfMoreThanTwentyLetters()),
        Refused(StateError, "mumbles", "hx", code="state-structure"),
        has="got a list of 1: NameOfMoreThanTwe...\n",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
