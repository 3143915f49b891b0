"""What ``Recurrent`` refuses, and how it reports a cell that fails."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from rnnkit import ArgumentError, CellError, LayoutError, LengthsError, ShapeError, StateError
from tests.checks.refusals import Case, Refused, call, filled, fix, table


class Failing(nn.Module):
    """A user's cell that does what it is told to at its third step."""

    def __init__(self, act: Callable[[], Any]) -> None:
        """Count from zero."""
        super().__init__()
        self.act = act
        self.steps = 0

    def forward(self, input: Tensor, hx: Tensor) -> Any:  # noqa: ARG002 - the protocol's
        """Act at the third step."""
        self.steps += 1
        return self.act() if self.steps == 3 else hx

    def initial_state(self, batch_size: int) -> Tensor:
        """Return a state as wide as the input."""
        return filled(batch_size, 4)


def raises() -> None:
    """Fail in a way of its own."""
    message = "cannot multiply"
    raise ValueError(message)


#: Two layers of different kinds.
TWO = [rnnkit.GRUCell(3, 4), rnnkit.LSTMCell(4, 6)]


CASES = {
    "A layer of nothing is refused.": Case(
        "Recurrent([])",
        Refused(ArgumentError, "lacks"),
        message=snapshot("""\
Recurrent: cells must be a cell or a list of cells, got an empty list
  a cell is a torch.nn.Module, called with one step and a state
  fix       [rnnkit.GRUCell(input_size, hidden_size)], one cell for each layer
  more      python -m rnnkit explain recurrent-cells\
"""),
    ),
    "What is no module is refused, in a list too.": Case(
        call("Recurrent([None, anything])", anything=rnnkit.GRUCell),
        Refused(ArgumentError, "lacks", annotated=True),
        message=snapshot("""\
Recurrent: cells must be a cell or a list of cells, got None
  a cell is a torch.nn.Module, called with one step and a state
  fix       [rnnkit.GRUCell(input_size, hidden_size)], one cell for each layer
  more      python -m rnnkit explain recurrent-cells\
"""),
    ),
    "One cell for two layers' backward directions is refused.": Case(
        call("Recurrent(two, reverse_cells=reverse)", reverse=rnnkit.GRUCell(3, 4), two=TWO),
        Refused(ArgumentError, "lacks", "reverse_cells"),
        message=snapshot("""\
Recurrent: 2 cells forward and 1 backward
  fix       one reverse cell for each layer
  more      python -m rnnkit explain recurrent-directions\
"""),
    ),
    "A whole layer is refused with the call that gives its cells.": Case(
        call("Recurrent(lstm)", lstm=rnnkit.LSTM(3, 4)),
        Refused(ArgumentError, "lacks", "cells", annotated=True),
        message=snapshot("""\
Recurrent: cells must be cells, got the layer LSTM
  a layer runs over a whole sequence, a cell takes one step
  fix       LSTM(...).cells(), or LSTMCell(...)
  more      python -m rnnkit explain recurrent-layer\
"""),
    ),
    "A whole layer is refused in the place of the reverse cells.": Case(
        call("Recurrent(LSTMCell(3, 4), reverse_cells=gru)", gru=[torch.nn.GRU(3, 4)]),
        Refused(ArgumentError, "lacks", annotated=True),
        message=snapshot("""\
Recurrent: reverse_cells must be cells, got the layer GRU
  a layer runs over a whole sequence, a cell takes one step
  fix       GRU(...).cells(), or GRUCell(...)
  more      python -m rnnkit explain recurrent-layer\
"""),
    ),
    **{
        f"Dropout is a probability: {dropout!r} is none.": Case(
            call("Recurrent(two, dropout=dropout)", two=TWO, dropout=dropout),
            Refused(ArgumentError, "lacks", annotated=True),
        )
        for dropout in (-0.1, 1.5, True, "half")
    },
    "A bare tensor is refused for the states of two cells.": Case(
        call("Recurrent(two)(input, anything)", input=(7, 5, 3), anything=(5, 4), two=TWO),
        Refused(StateError, "lacks", code="recurrent-state"),
        has="\n  fix       output, hx = layer(input): the second is such a tuple; or",
    ),
    "A tuple of another number of states is refused.": Case(
        call("Recurrent(two)(input, hx)", input=(7, 5, 3), hx=(filled(5, 4),), two=TWO),
        Refused(StateError, "lacks", "hx"),
        fix=fix("output, hx = layer(input)", into="hx", layer=rnnkit.Recurrent(TWO)),
        message=snapshot("""\
hx must be a tuple of 2 states, got 1 of them
  Recurrent carries one state for each cell
  hx        expected layer by layer, starting with the forward direction    got 1 of them
  fix       output, hx = layer(input): the second is such a tuple; or hx=None for zeros
  more      python -m rnnkit explain recurrent-state\
"""),
    ),
    "A state that belongs to the other cell is refused by the first cell that sees it.": Case(
        call(
            "Recurrent(two)(input, (pair, h))",
            input=(7, 5, 3),
            h=(5, 4),
            pair=(filled(5, 6), filled(5, 6)),
            two=TWO,
        ),
        Refused(StateError, "lacks"),
        message=snapshot("""\
hx must be one tensor, got a tuple of 2: (5, 6), (5, 6)
  Recurrent of GRUCell(3, 4) carries one tensor
  hx        expected (batch=5, hidden_size=4)
  fix       None as hx[0] for zeros
  more      python -m rnnkit explain state-structure\
"""),
    ),
    "The input's width is that of the first cell.": Case(
        call("Recurrent(two)(filled(7, 5, 2))", two=TWO),
        Refused(ShapeError, "lacks"),
        message=snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 2
  Recurrent of GRUCell(3, 4): the input is 2 wide, the weights are for 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 2)
  fix       GRUCell(2, ...), or an input with 3 features
  more      python -m rnnkit explain input-width\
"""),
    ),
    "A cell that reads another width than the one below gives is refused.": Case(
        "Recurrent([GRUCell(3, 4), GRUCell(6, 4)])(filled(7, 5, 3))",
        Refused(ShapeError, "lacks", code="input-width"),
        has="\n  fix       GRUCell(4, ...), or an input with 6 features\n",
    ),
    "A state whose batch is on the other axis of the input tells the layout.": Case(
        call(
            "Recurrent(two)(input, hx)",
            two=TWO,
            input=(5, 7, 3),
            hx=rnnkit.Recurrent(TWO).initial_state(5),
        ),
        Refused(LayoutError, "lacks"),
        fix=fix("Recurrent(..., batch_first=True)", "two"),
        message=snapshot("""\
Input batch size 7 doesn't match hidden0 batch size 5
  Recurrent of GRUCell(3, 4): the input looks batch-first, but batch_first=False
  input     expected (seq, batch, input_size=3)    got (5, 7, 3)
  hx        expected (batch=7, hidden_size=4)    got (5, 4)
  evidence  hx has batch 5, which is axis 0 of the input
  fix       Recurrent(..., batch_first=True), or input.transpose(0, 1)
  more      python -m rnnkit explain layout-batch-first\
"""),
    ),
    "So do lengths that are as many as the other axis is long.": Case(
        call(
            "Recurrent(two)(input, lengths=lengths)",
            two=TWO,
            input=(5, 7, 3),
            lengths=[7, 6, 5, 4, 3],
        ),
        Refused(LengthsError, "lacks", code="layout-batch-first"),
        fix=fix("Recurrent(..., batch_first=True)", "two"),
    ),
    "A cell of torch's own has no first state for a sample without steps: rnnkit's is named.": Case(
        "Recurrent(torch.nn.GRUCell(3, 4))(filled(7, 5, 3), lengths=[7, 3, 0, 1, 2])",
        Refused(CellError, "lacks", annotated=True),
        message=snapshot("""\
GRUCell has no initial_state(batch_size), and no hx was given
  fix       rnnkit.GRUCell, or a method initial_state(self, batch_size)
  more      python -m rnnkit explain cell-initial-state\
"""),
    ),
    "Nor has it one to give.": Case(
        "Recurrent(torch.nn.GRUCell(3, 4)).initial_state(5)",
        Refused(CellError, "lacks", code="cell-initial-state", annotated=True),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()


def test_failing_cell() -> None:
    """What a user's cell raises goes on as it is, with step, layer and direction beside it."""
    cells = [rnnkit.GRUCell(3, 4), rnnkit.GRUCell(8, 4)]
    deep = rnnkit.Recurrent(cells, reverse_cells=[rnnkit.GRUCell(3, 4), Failing(raises)])

    with pytest.raises(ValueError, match="cannot multiply") as caught:
        deep(filled(7, 5, 3))
    assert type(caught.value) is ValueError
    assert caught.value.__notes__ == [
        "at step 4, in Failing",
        "in layer 1, backward direction, of Recurrent",
    ]


def test_cell_that_returns_no_state() -> None:
    """A cell that gives something of another kind than its state is told at which step."""
    x = filled(7, 5, 4)

    for result in (None, (filled(5, 4), filled(5, 4))):
        cell = Failing(lambda result=result: result)
        with pytest.raises(rnnkit.CellError, match="as state at step 2, returned") as caught:
            rnnkit.Recurrent(cell)(x)
        assert caught.value.step == 2
        assert caught.value.__notes__ == ["in layer 0, forward direction, of Recurrent"]
