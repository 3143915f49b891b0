"""What ``Recurrent`` refuses, and how it reports a cell that fails."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.checks.refusals import filled


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


def refused(error: type[rnnkit.RnnkitError], act: Callable[[], object]) -> str:
    """Return the text of the error, which is of exactly that class."""
    with pytest.raises(rnnkit.RnnkitError) as caught:
        act()
    assert type(caught.value) is error
    assert str(filled(1).item()) not in str(caught.value)
    return str(caught.value)


def layer(**options: Any) -> rnnkit.Recurrent:
    """Make two layers of different kinds."""
    return rnnkit.Recurrent([rnnkit.GRUCell(3, 4), rnnkit.LSTMCell(4, 6)], **options)


def test_no_cells() -> None:
    """A layer of nothing is refused."""
    assert refused(rnnkit.ArgumentError, lambda: rnnkit.Recurrent([])) == snapshot(
        "Recurrent: cells must be a cell or a list of cells, got an empty list"
    )


@pytest.mark.unhooked("beartype refuses first, by the annotation")
def test_no_module() -> None:
    """What is no module is refused, alone or in a list."""
    anything: Any = rnnkit.GRUCell

    assert refused(rnnkit.ArgumentError, lambda: rnnkit.Recurrent(anything)) == snapshot(
        "Recurrent: cells must be a cell or a list of cells, got the type GRUCell"
    )
    assert refused(rnnkit.ArgumentError, lambda: rnnkit.Recurrent([None, anything])) == snapshot(
        "Recurrent: cells must be a cell or a list of cells, got None"
    )


def test_other_number_of_reverse_cells() -> None:
    """One cell for two layers' backward directions is refused."""
    reverse = rnnkit.GRUCell(3, 4)

    assert refused(rnnkit.ArgumentError, lambda: layer(reverse_cells=reverse)) == snapshot(
        "Recurrent: 2 cells, but 1 reverse_cells: one of each for every layer"
    )


@pytest.mark.unhooked("beartype refuses first, by the annotation")
def test_layer_instead_of_cells() -> None:
    """A whole layer is refused with the call that gives its cells."""
    lstm: Any = rnnkit.LSTM(3, 4)

    assert refused(rnnkit.ArgumentError, lambda: rnnkit.Recurrent(lstm)) == snapshot("""\
Recurrent: cells holds LSTM, a layer over whole sequences
  fix       LSTM(...).cells(), or LSTMCell(...)\
""")
    gru: Any = [torch.nn.GRU(3, 4)]
    assert refused(
        rnnkit.ArgumentError, lambda: rnnkit.Recurrent(rnnkit.LSTMCell(3, 4), gru)
    ) == snapshot("""\
Recurrent: reverse_cells holds GRU, a layer over whole sequences
  fix       GRU(...).cells(), or GRUCell(...)\
""")


@pytest.mark.unhooked("beartype refuses first, by the annotation")
@pytest.mark.parametrize("dropout", [-0.1, 1.5, True, "half"])
def test_impossible_dropout(dropout: Any) -> None:
    """Dropout is a probability."""
    refused(rnnkit.ArgumentError, lambda: layer(dropout=dropout))


def test_one_state_for_two_cells() -> None:
    """A bare tensor, or a tuple of another number, is refused."""
    x, h = filled(7, 5, 3), filled(5, 4)
    anything: Any = h

    assert refused(rnnkit.StateError, lambda: layer()(x, anything)) == snapshot("""\
hx must be a tuple of 2 states, got a Tensor of shape (5, 4)
  Recurrent carries one state for each cell
  hx        expected layer by layer, the forward direction first    got a Tensor of shape (5, 4)
  fix       hx=None, or the state that this layer returned\
""")
    assert refused(rnnkit.StateError, lambda: layer()(x, (h,))) == snapshot("""\
hx must be a tuple of 2 states, got 1 of them
  Recurrent carries one state for each cell
  hx        expected layer by layer, the forward direction first    got 1 of them
  fix       hx=None, or the state that this layer returned\
""")


def test_states_in_another_order() -> None:
    """A state that belongs to the other cell is refused by the first cell that sees it."""
    x, h = filled(7, 5, 3), filled(5, 4)
    pair = (filled(5, 6), filled(5, 6))

    assert refused(rnnkit.StateError, lambda: layer()(x, (pair, h))) == snapshot("""\
hx must be one tensor, got a tuple of 2: (5, 6), (5, 6)
  Recurrent of GRUCell(3, 4) carries one tensor
  hx        expected (batch=5, hidden_size=4)
  fix       hx=None for zeros\
""")


def test_input_of_another_width() -> None:
    """The input's width is that of the first cell."""
    assert refused(rnnkit.ShapeError, lambda: layer()(filled(7, 5, 2))) == snapshot("""\
input.size(-1) must be equal to input_size. Expected 3, got 2
  Recurrent of GRUCell(3, 4): the input is 2 wide, the weights are for 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 2)
  fix       GRUCell(2, ...), or an input with 3 features\
""")


def test_layers_that_do_not_fit() -> None:
    """A cell that reads another width than the one below gives is refused."""
    wrong = rnnkit.Recurrent([rnnkit.GRUCell(3, 4), rnnkit.GRUCell(6, 4)])

    assert refused(rnnkit.ShapeError, lambda: wrong(filled(7, 5, 3))) == snapshot("""\
input.size(-1) must be equal to input_size. Expected 6, got 4
  Recurrent of GRUCell(6, 4): the input is 4 wide, the weights are for 6
  input     expected (seq, batch, input_size=6)    got (7, 5, 4)
  fix       GRUCell(4, ...), or an input with 6 features\
""")


def test_batch_first_input() -> None:
    """A state whose batch lies on the other axis of the input tells the layout."""
    x, hx = filled(5, 7, 3), layer().initial_state(5)

    assert refused(rnnkit.LayoutError, lambda: layer()(x, hx)) == snapshot("""\
Input batch size 7 doesn't match hidden0 batch size 5
  Recurrent of GRUCell(3, 4): the input looks batch-first, but batch_first=False
  input     expected (seq, batch, input_size=3)    got (5, 7, 3)
  hx        expected (batch=7, hidden_size=4)    got (5, 4)
  evidence  hx has batch 5, which is axis 0 of the input
  fix       Recurrent(..., batch_first=True), or input.transpose(0, 1)\
""")
    layer(batch_first=True)(x, hx)


def test_lengths_of_another_layout() -> None:
    """So do lengths that are as many as the other axis is long."""
    x, lengths = filled(5, 7, 3), [7, 6, 5, 4, 3]

    assert refused(rnnkit.LengthsError, lambda: layer()(x, lengths=lengths)) == snapshot("""\
Expected `len(lengths)` to be equal to batch_size, but got 5 (batch_size=7)
  Recurrent of GRUCell(3, 4): the input looks batch-first, but batch_first=False
  input     expected (seq, batch, input_size=3)    got (5, 7, 3)
  lengths   expected (batch=7,), integers    got a list of 5
  evidence  there are 5 lengths, and axis 0 of the input is as long
  fix       Recurrent(..., batch_first=True), or input.transpose(0, 1)\
""")
    layer(batch_first=True)(x, lengths=lengths)


def test_failing_cell() -> None:
    """What a user's cell raises goes on as it is, with step, layer and direction beside it."""
    cells = [rnnkit.GRUCell(3, 4), rnnkit.GRUCell(8, 4)]
    deep = rnnkit.Recurrent(cells, [rnnkit.GRUCell(3, 4), Failing(raises)])

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


@pytest.mark.unhooked("beartype refuses first, by the annotation")
def test_cell_that_has_no_first_state() -> None:
    """A cell of torch's own has no first state: rnnkit's is named."""
    cell: Any = torch.nn.GRUCell(3, 4)
    made = rnnkit.Recurrent(cell)

    assert refused(rnnkit.CellError, lambda: made(filled(7, 5, 3))) == snapshot("""\
GRUCell has no initial_state(batch_size), and no hx was given
  fix       rnnkit.GRUCell, or a method initial_state(self, batch_size)\
""")
