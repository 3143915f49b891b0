"""What ``step`` of a layer and of a ``Recurrent`` refuses: x_t and state, as they are typed there."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor

import rnnkit
from rnnkit import ArgumentError, DtypeError, LayoutError, ShapeError, StateError
from tests.checks.refusals import Case, Refused, Sums, call, filled, fix, table

TWO = [rnnkit.GRUCell(3, 4), rnnkit.LSTMCell(4, 5)]
OF_GRU, OF_LSTM = filled(5, 4), (filled(5, 5), filled(5, 5))

CASES = {
    "The width of x_t.": Case(
        call("nn.GRU(3, 4).step(x_t)", x_t=(5, 2)),
        Refused(ShapeError, "lacks", "x_t", (None, 3), (5, 2), code="input-width"),
        fix=fix("GRU(2, ...)", "4", where="nn.@.step(x_t)"),
        message=snapshot("""\
x_t.size(-1) must be equal to input_size. Expected 3, got 2
  GRU(3, 4): x_t is 2 wide, the weights are for 3
  x_t       expected (batch, input_size=3)    got (5, 2)
  fix       GRU(2, ...), or x_t with 3 features
  more      python -m rnnkit explain input-width\
"""),
    ),
    "The axes of x_t.": Case(
        call("nn.GRU(3, 4, batch_first=True).step(x_t)", x_t=(3, 5)),
        Refused(LayoutError, "lacks", "x_t", code="layout-features"),
        fix="x_t.t()",
    ),
    "Token ids.": Case(
        call("nn.GRU(3, 4).step(x_t)", x_t=torch.ones(5, dtype=torch.int64)),
        Refused(DtypeError, "lacks", "x_t", code="input-numbers"),
        fix=fix("torch.nn.Embedding(vocabulary, 3)(x_t)", into="x_t", vocabulary=7),
        message=snapshot("""\
RNN x_t dtype (torch.int64) does not match weight dtype (torch.float32).
  GRU(3, 4): x_t holds no real floating-point numbers
  x_t       expected torch.float32    got torch.int64
  fix       numbers: x_t.float()
            token ids: torch.nn.Embedding(vocabulary, 3)(x_t)
  more      python -m rnnkit explain input-numbers\
"""),
    ),
    "The batch of the state.": Case(
        call("nn.LSTM(3, 4, 2).step(x_t, state)", x_t=(5, 3), state=(filled(2, 4, 4),) * 2),
        Refused(StateError, "lacks", "state", (2, 5, 4), (2, 4, 4), code="state-batch"),
        fix=fix("layer.initial_state(5)", into="state", layer=rnnkit.LSTM(3, 4, 2)),
        message=snapshot("""\
Expected hidden[0] size (2, 5, 4), got [2, 4, 4]
  LSTM(3, 4, num_layers=2): h is for a batch of 4, x_t has 5
  x_t       expected (batch, input_size=3)    got (5, 3)
  h         expected (num_layers=2, batch=5, hidden_size=4)    got (2, 4, 4)
  c         expected (num_layers=2, batch=5, hidden_size=4)    got (2, 4, 4)
  fix       state=None or layer.initial_state(5): zeros
  more      python -m rnnkit explain state-batch\
"""),
    ),
    "The state of one sample is no sign of a layout: a step has no seq axis.": Case(
        call("nn.GRU(3, 4).step(x_t, state)", x_t=(5, 3), state=(1, 1, 4)),
        Refused(StateError, "lacks", "state", (1, 5, 4), (1, 1, 4), code="state-one-sample"),
        fix="rnnkit.states.expand(state, 5)",
    ),
    "The state of a batch in an unbatched step.": Case(
        call("nn.GRU(3, 4).step(x_t, state)", x_t=(3,), state=(1, 1, 4)),
        Refused(StateError, "lacks", "state", (1, 4), (1, 1, 4), code="state-rank"),
        fix="state.squeeze(0)",
        message=snapshot("""\
GRU.step: Expected state to be 2D, got 3D instead
  GRU(3, 4): state has 3 axes in place of 2
  x_t       expected (input_size=3,)    got (3,)
  state     expected (num_layers=1, hidden_size=4)    got (1, 1, 4)
  fix       state.squeeze(0)
  more      python -m rnnkit explain state-rank\
"""),
    ),
    "A cell's state.": Case(
        call("nn.GRU(3, 4).step(x_t, state)", x_t=(5, 3), state=(5, 4)),
        Refused(StateError, "lacks", "state", code="state-rank"),
        fix="state.unsqueeze(0)",
    ),
    "A pair whose c is missing is completed first.": Case(
        call("nn.LSTM(3, 4).step(x_t, (h, None))", x_t=(5, 3), h=(1, 4, 4)),
        Refused(StateError, "lacks", "state", code="state-batch"),
        has="\n  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 4)\n",
    ),
    "Lengths have no place in a step.": Case(
        call("nn.GRU(3, 4).step(x_t, state)", x_t=(5, 3), state=[1, 1, 1, 1, 1]),
        Refused(StateError, "lacks", "state", code="state-structure", annotated=True),
        lacks="lengths",
    ),
    "A state whose dtype differs.": Case(
        call("nn.GRU(3, 4).step(x_t, state)", x_t=(5, 3), state=torch.ones(1, 5, 4).double()),
        Refused(DtypeError, "lacks", "state", code="state-dtype"),
        fix="rnnkit.states.to(state, torch.float32)",
    ),
    "The name that a call has for x_t.": Case(
        call("nn.GRU(3, 4).step(input=input)", input=(5, 3)),
        Refused(ArgumentError, "lacks", "input", code="arguments-of-a-call"),
        fix=fix("x_t=input", where="nn.GRU(3, 4).step(@)"),
        message=snapshot("""\
step() got an unexpected keyword argument 'input'
  step takes x_t, state
  fix       x_t=input
  more      python -m rnnkit explain arguments-of-a-call\
"""),
    ),
    "The name that a call has for the state.": Case(
        call("Recurrent(GRUCell(3, 4)).step(filled(5, 3), hx=hx)", hx=None),
        Refused(ArgumentError, "lacks", "hx", code="arguments-of-a-call"),
        fix=fix("state=hx", where="Recurrent(GRUCell(3, 4)).step(filled(5, 3), @)"),
    ),
    "Of a Recurrent: the width of x_t.": Case(
        call("Recurrent(two).step(x_t)", two=TWO, x_t=(5, 2)),
        Refused(ShapeError, "lacks", "x_t", (None, 3), (5, 2), code="input-width"),
        has="\n  x_t       expected (batch, input_size=3)    got (5, 2)\n",
    ),
    "Of a Recurrent: the state of its second cell.": Case(
        call(
            "layer.step(x_t, (one, other))",
            layer=rnnkit.Recurrent(TWO, batch_first=True),
            x_t=(5, 3),
            one=OF_GRU,
            other=(filled(4, 5), filled(5, 5)),
        ),
        Refused(StateError, "lacks", "state", (5, 5), (4, 5), code="state-batch"),
        fix=fix("(None, state[1][1])", into="other", state=(OF_GRU, (filled(4, 5), filled(5, 5)))),
        message=snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 4
  LSTMCell(4, 5): h is for a batch of 4, x_t has 5
  h         expected (batch=5, hidden_size=5)    got (4, 5)
  c         expected (batch=5, hidden_size=5)    got (5, 5)
  fix       (None, state[1][1]) as state[1], which starts h from zeros
  more      python -m rnnkit explain state-batch\
"""),
    ),
    "Of a Recurrent: one state for all.": Case(
        call("Recurrent(GRUCell(3, 4)).step(x_t, state)", x_t=(5, 3), state=(5, 4)),
        Refused(StateError, "lacks", "state", code="recurrent-state", annotated=True),
        fix="(state,)",
        message=snapshot("""\
state must be a tuple of 1 state, got a Tensor of shape (5, 4)
  Recurrent carries one state for each cell; this is the state itself
  state     expected layer by layer, starting with the forward direction    got a Tensor of shape (5, 4)
  fix       (state,)
  more      python -m rnnkit explain recurrent-state\
"""),
    ),
    "Of a Recurrent whose cells do not fit: x_t is right.": Case(
        call("Recurrent([GRUCell(3, 4), GRUCell(6, 4)]).step(x_t)", x_t=(5, 3)),
        Refused(ShapeError, "lacks", "input", code="input-width"),
    ),
    "Of a Recurrent with a user's cell, the state of one sample.": Case(
        call("Recurrent([cell]).step(x_t, (hx,))", cell=Sums(), x_t=(5, 3), hx=(1, 3)),
        Refused(StateError, "lacks", "hx", code="state-cell-batch"),
        fix="rnnkit.states.expand(hx, 5)",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()


class Masked(rnnkit.GRUCell):
    """A cell whose state has a mask beside h."""

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Run a step on the units that are left."""
        h, mask = hx
        return super().forward(input, h * mask), mask


class Reversed(rnnkit.GRU):
    """A layer that takes its state with the batch in front."""

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Run over a sequence."""
        return super().forward(input, hx.transpose(0, 1))


def test_a_forward_of_a_users_own_is_not_accused() -> None:
    """What it takes as its state is right; what another cell, or its own call, refuses is told."""
    cells = rnnkit.Recurrent([Masked(3, 4), rnnkit.GRUCell(4, 4)])
    right = (filled(5, 4), filled(5, 4))

    with pytest.raises(StateError, match=r"state\[1\] is for a batch of 2"):
        cells.step(filled(5, 3), (right, filled(2, 4)))
    with pytest.raises(ShapeError, match="the input is 2 wide"):
        cells.step(filled(5, 2), (right, filled(5, 4)))
    with pytest.raises(ShapeError, match="the input is 2 wide"):
        Reversed(3, 4).step(filled(5, 2), filled(5, 1, 4))
    assert Reversed(3, 4).step(filled(5, 3), filled(5, 1, 4))[0].shape == (5, 4)


@pytest.mark.unhooked("the hook complains first")
def test_a_step_without_x_t() -> None:
    """Python's own complaint names no class that nobody can import."""
    step: Any = rnnkit.GRU(3, 4).step

    with pytest.raises(
        TypeError, match=r"^step\(\) missing 1 required positional argument: 'x_t'$"
    ):
        step()
