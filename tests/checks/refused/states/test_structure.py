"""States that are not the one tensor that a layer carries."""

import numpy as np
import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import StateError
from tests.checks.refusals import Case, Refused, call, filled, table

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
            where hx is your state
  more      state-structure, in the docs under "Errors"\
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
            where hx is your state
  more      state-structure, in the docs under "Errors"\
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
            where hx is your state
  more      state-structure, in the docs under "Errors"\
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
  fix       torch.as_tensor(hx)
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "An LSTM's pair given to a GRU is refused with the half that fits.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=(filled(1, 5, 4), filled(1, 5, 4))),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        fix="hx[0]",
        message=snapshot("""\
hx must be one tensor, got a tuple of 2: (1, 5, 4), (1, 5, 4)
  GRU(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       hx[0], if this is an LSTM's (h, c)
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
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
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "A layer's whole result in the place of the state is refused with its second part.": Case(
        call("nn.LSTM(3, 4)(input, hx)", input=(7, 5, 3), hx=rnnkit.LSTM(3, 4)(filled(7, 5, 3))),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        fix="hx[1]",
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 2: (7, 5, 4), LSTMState
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       hx[1], if this is a layer's result (output, state)
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "The same is refused of a layer that carries one tensor.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 5, 3), hx=rnnkit.GRU(3, 4)(filled(7, 5, 3))),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        fix="hx[1]",
        message=snapshot("""\
hx must be one tensor, got a tuple of 2: (7, 5, 4), (1, 5, 4)
  GRU(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       hx[1], if this is a layer's result (output, state)
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
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
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "Two layers make no difference to that.": Case(
        call("nn.GRU(3, 4, 2)(input, hx)", input=(7, 5, 3), hx=[filled(1, 5, 4)] * 2),
        Refused(StateError, "mumbles", "hx", (2, 5, 4), ()),
        fix="torch.cat(hx)",
        message=snapshot("""\
hx must be one tensor, got a list of 2: (1, 5, 4), (1, 5, 4)
  GRU(3, 4, num_layers=2) carries one tensor
  hx        expected (num_layers=2, batch=5, hidden_size=4)
  fix       torch.cat(hx), if these are the states layer by layer
            where hx is your state
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "A number in the place of a state is refused.": Case(
        "nn.GRU(3, 4)(filled(7, 5, 3), 0)",
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        message=snapshot("""\
hx must be one tensor, got 0
  GRU(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       hx=None for zeros
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "A number in the place of a pair is refused.": Case(
        "nn.LSTM(3, 4)(filled(7, 5, 3), 0)",
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got 0
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       hx=None for zeros, or (h, c)
  more      state-structure, in the docs under "Errors"\
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
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "An empty tuple is refused for a pair.": Case(
        "nn.LSTM(3, 4)(filled(7, 5, 3), ())",
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got an empty tuple
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       hx=None for zeros, or (h, c)
  more      state-structure, in the docs under "Errors"\
"""),
    ),
    "A dictionary in the place of a state is refused.": Case(
        call("nn.LSTM(3, 4)(filled(7, 5, 3), hx)", hx={"h": filled(1, 5, 4)}),
        Refused(StateError, "mumbles", "hx", (1, 5, 4), ()),
        message=snapshot("""\
lstm expects two hidden states: hx is (h, c), got a dict
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       hx=None for zeros, or (h, c)
  more      state-structure, in the docs under "Errors"\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
