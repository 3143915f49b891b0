"""A layer where a cell is wanted, a class where a module is: what is said, and what to type."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor

import rnnkit
from rnnkit import ArgumentError, CellError, LayoutError
from tests.checks.refusals import Case, Refused, call, filled, table

unroll = "unroll-cell"


class Counter(torch.nn.Module):
    """A cell that returns what it is told to."""

    def __init__(self, returns: Any) -> None:
        """Take what makes a result of a state."""
        super().__init__()
        self.returns = returns

    def initial_state(self, batch_size: int) -> Tensor:
        """Return ones."""
        return torch.ones(batch_size, 4)

    def forward(self, input: Tensor, hx: Any) -> Any:
        """Return what is made of the state."""
        del input
        return self.returns(hx)


CASES = {
    "A layer runs over a sequence itself.": Case(
        call("rnnkit.unroll(layer, input)", layer=torch.nn.GRU(3, 4), input=(7, 5, 3)),
        Refused(ArgumentError, "lacks", "cell"),
        code=unroll,
        message=snapshot("""\
unroll takes a cell, got the layer GRU
  a layer runs over a sequence itself
  fix       layer(input)
            where layer is this module
  more      unroll-cell, in the docs under "Errors"\
"""),
        marks=(pytest.mark.unhooked("the annotation refuses it first"),),
    ),
    "So does a Recurrent.": Case(
        call(
            "rnnkit.unroll(layer, input)",
            layer=rnnkit.Recurrent(rnnkit.GRUCell(3, 4)),
            input=(7, 5, 3),
        ),
        Refused(ArgumentError, "lacks", "cell"),
        code=unroll,
    ),
    "Several cells are a Recurrent.": Case(
        call("rnnkit.unroll(cells, input)", cells=rnnkit.GRU(3, 4, 2).cells(), input=(7, 5, 3)),
        Refused(ArgumentError, "lacks", "cell"),
        code=unroll,
        message=snapshot("""\
unroll takes one cell, got a list
  several cells are a layer's, one above the other
  fix       rnnkit.Recurrent(cells)(input), where cells is what you passed
  more      unroll-cell, in the docs under "Errors"\
"""),
        marks=(pytest.mark.unhooked("the annotation refuses it first"),),
    ),
    "The cell comes first.": Case(
        call("rnnkit.unroll(input, cell)", cell=rnnkit.GRUCell(3, 4), input=(7, 5, 3)),
        Refused(ArgumentError, "lacks", "cell"),
        code=unroll,
        message=snapshot("""\
unroll takes a cell, got a Tensor of shape (7, 5, 3)
  the cell is the first argument, the input the second
  fix       rnnkit.unroll(cell, input)
  more      unroll-cell, in the docs under "Errors"\
"""),
        marks=(pytest.mark.unhooked("the annotation refuses it first"),),
    ),
    "A class is no cell yet.": Case(
        call("rnnkit.unroll(GRUCell, input)", input=(7, 5, 3)),
        Refused(ArgumentError, "lacks", "cell"),
        code=unroll,
        message=snapshot("""\
unroll takes a cell, got the type GRUCell
  a class is no module yet
  fix       rnnkit.unroll(GRUCell(...), input)
  more      unroll-cell, in the docs under "Errors"\
"""),
    ),
    "What cannot be called is no cell.": Case(
        call("rnnkit.unroll(None, input)", input=(7, 5, 3)),
        Refused(ArgumentError, "lacks", "cell"),
        code=unroll,
        message=snapshot("""\
unroll takes a cell, got None
  a cell is called with one step and a state, and returns the next state
  fix       rnnkit.unroll(rnnkit.GRUCell(3, ...), input)
  more      unroll-cell, in the docs under "Errors"\
"""),
        marks=(pytest.mark.unhooked("the annotation refuses it first"),),
    ),
    "Two cells, of which the second was meant as the next layer.": Case(
        "rnnkit.Recurrent(GRUCell(3, 4), GRUCell(4, 5))",
        Refused(ArgumentError, "lacks", "reverse_cells"),
        code="recurrent-directions",
        message=snapshot("""\
Recurrent: reverse_cells read what cells read, but input_size is 3 and 4
  the second argument is the backward direction, not the next layer
  fix       rnnkit.Recurrent([cell, next_cell]) for two layers
  more      recurrent-directions, in the docs under "Errors"\
"""),
    ),
    "A class in the list of cells.": Case(
        "rnnkit.Recurrent([GRUCell])",
        Refused(ArgumentError, "lacks", "cells"),
        code="recurrent-cells",
        message=snapshot("""\
Recurrent: cells must be a cell or a list of cells, got the type GRUCell
  fix       GRUCell(...), a cell of this class
  more      recurrent-cells, in the docs under "Errors"\
"""),
    ),
    "A cell that returns (output, state).": Case(
        call("rnnkit.unroll(cell, filled(7, 5, 3))", cell=Counter(lambda hx: (hx, hx))),
        Refused(CellError, "lacks", "cell"),
        code="cell-result",
        message=snapshot("""\
Counter took a Tensor of shape (5, 4) as state at step 0, returned a tuple
  fix       return state, in place of return output, state: its first tensor is the output
  more      cell-result, in the docs under "Errors"\
"""),
    ),
    "A cell that carries a pair, and returns its output beside it.": Case(
        call(
            "rnnkit.unroll(cell, filled(7, 5, 3), (filled(5, 4), filled(5, 4)))",
            cell=Counter(lambda hx: (hx[0], hx)),
        ),
        Refused(CellError, "lacks", "cell"),
        code="cell-result",
    ),
    "A cell that returns a list.": Case(
        call("rnnkit.unroll(cell, filled(7, 5, 3))", cell=Counter(lambda hx: [hx])),
        Refused(CellError, "lacks", "cell"),
        code="cell-result",
        message=snapshot("""\
Counter took a Tensor of shape (5, 4) as state at step 0, returned a list
  fix       return tuple(state), where state is what the cell returns
  more      cell-result, in the docs under "Errors"\
"""),
    ),
    "convert of a class.": Case(
        "rnnkit.convert(torch.nn.LSTM)",
        Refused(ArgumentError, "lacks", "model"),
        code="model-type",
        message=snapshot("""\
convert takes a model, a torch.nn.Module, got the type LSTM
  a class is no module yet
  fix       rnnkit.convert(LSTM(...), ...)
  more      model-type, in the docs under "Errors"\
"""),
        marks=(pytest.mark.unhooked("the annotation refuses it first"),),
    ),
    "convert of nothing.": Case(
        "rnnkit.convert(None)",
        Refused(ArgumentError, "lacks", "model"),
        code="model-type",
        message=snapshot("""\
convert takes a model, a torch.nn.Module, got None
  fix       rnnkit.convert(model, ...)
  more      model-type, in the docs under "Errors"\
"""),
        marks=(pytest.mark.unhooked("the annotation refuses it first"),),
    ),
    "convert of weights.": Case(
        "rnnkit.convert(torch.nn.LSTM(3, 4).state_dict())",
        Refused(ArgumentError, "lacks", "model"),
        code="model-type",
        message=snapshot("""\
convert takes a model, a torch.nn.Module, got an OrderedDict
  these look like weights, which are the same in torch's and rnnkit's modules
  fix       model.load_state_dict(...), then rnnkit.convert(model, ...)
  more      model-type, in the docs under "Errors"\
"""),
        marks=(pytest.mark.unhooked("the annotation refuses it first"),),
    ),
    "A call of what convert returned.": Case(
        "rnnkit.convert(torch.nn.LSTM(3, 4))(filled(7, 5, 3))",
        Refused(ArgumentError, "lacks", "model"),
        code="convert-result",
        message=snapshot("""\
convert returns a report of what it changed, which is no model
  the model that was given is changed in place
  fix       rnnkit.convert(model), then model(input)
  more      convert-result, in the docs under "Errors"\
"""),
    ),
    "A mask laid out the other way.": Case(
        call("rnnkit.unroll(GRUCell(3, 4), filled(7, 5, 3), reset=reset)", reset=torch.ones(5, 7)),
        Refused(LayoutError, "lacks", "reset"),
        code="mask-shape",
        fix="reset.t()",
        message=snapshot("""\
reset must have shape (7, 5), got (5, 7)
  unroll of GRUCell(3, 4): the mask looks batch-first, but batch_first=False
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.float32 (5, 7)
  fix       reset.t()
  more      mask-shape, in the docs under "Errors"\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """What is passed is named, with the place that it belongs to."""
    case.check()


def test_a_state_whose_second_part_grows_is_no_output() -> None:
    """A cell may begin with None and carry a tuple from there on: it is not accused."""
    cell = Counter(lambda hx: (hx[0] + 1, (hx[0], hx[0])))

    output, _ = rnnkit.unroll(cell, filled(7, 5, 3), (filled(5, 4), None))

    assert output.shape == (7, 5, 4)


def test_third_party_states_of_three_axes_are_no_layers() -> None:
    """Two cells whose states have three axes, as many as there are cells, run."""

    class Memory(Counter):
        def forward(self, input: Tensor, hx: Tensor) -> Tensor:
            return hx + input.unsqueeze(-1)

    layer = rnnkit.Recurrent([Memory(None)])
    _, state = layer(filled(7, 1, 3), (filled(1, 3, 2),))

    assert state[0].shape == (1, 3, 2)


def test_torch_s_own_failure_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lack of memory is no fault of the arguments."""

    def fail(*_: object) -> Tensor:
        message = "out of memory"
        raise RuntimeError(message)

    monkeypatch.setattr(Tensor, "to", fail)

    with pytest.raises(RuntimeError, match="out of memory") as caught:
        rnnkit.states.to(filled(2, 4), "cpu")
    assert not isinstance(caught.value, rnnkit.RnnkitError)
