"""A layer where a cell is wanted, a class where a module is: what is said, and what to type."""

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor

import rnnkit
from rnnkit import ArgumentError, LayoutError
from tests.checks.refusals import Case, Refused, call, filled, fix, table

unroll = "unroll-cell"


CASES = {
    "A layer runs over a sequence itself.": Case(
        call("rnnkit.unroll(layer, input)", layer=torch.nn.GRU(3, 4), input=(7, 5, 3)),
        Refused(ArgumentError, "lacks", "cell", code=unroll, annotated=True),
        fix=fix("layer(input)", where="@"),
        message=snapshot("""\
unroll takes one cell, got GRU
  a layer runs over a sequence itself
  fix       layer(input)
  more      python -m rnnkit explain unroll-cell\
"""),
    ),
    "Several cells are a Recurrent.": Case(
        call("rnnkit.unroll(cells, input)", cells=rnnkit.GRU(3, 4, 2).cells(), input=(7, 5, 3)),
        Refused(ArgumentError, "lacks", "cell", code=unroll, annotated=True),
        fix=fix("rnnkit.Recurrent(cells)(input)", where="@"),
        message=snapshot("""\
unroll takes one cell, got a list
  several cells, one above the other, are a layer
  fix       rnnkit.Recurrent(cells)(input), where cells is what you passed
  more      python -m rnnkit explain unroll-cell\
"""),
    ),
    "The cell comes first.": Case(
        call("rnnkit.unroll(input, cell)", cell=rnnkit.GRUCell(3, 4), input=(7, 5, 3)),
        Refused(ArgumentError, "lacks", "cell", code=unroll, annotated=True),
        fix=fix("rnnkit.unroll(cell, input)", where="@"),
        message=snapshot("""\
unroll takes one cell, got a Tensor of shape (7, 5, 3)
  the cell comes first, then the input
  fix       rnnkit.unroll(cell, input)
  more      python -m rnnkit explain unroll-cell\
"""),
    ),
    "A class is no cell yet.": Case(
        call("rnnkit.unroll(GRUCell, input)", input=(7, 5, 3)),
        Refused(ArgumentError, "lacks", "cell", code=unroll),
        fix=fix("rnnkit.unroll(GRUCell(...), input)", "3, 4", where="@"),
        message=snapshot("""\
unroll takes one cell, got the type GRUCell
  a class is not a module yet
  fix       rnnkit.unroll(GRUCell(...), input)
  more      python -m rnnkit explain unroll-cell\
"""),
    ),
    "What cannot be called is no cell.": Case(
        call("rnnkit.unroll(None, input)", input=(7, 5, 3)),
        Refused(ArgumentError, "lacks", "cell", code=unroll, annotated=True),
        fix=fix("rnnkit.unroll(rnnkit.GRUCell(3, ...), input)", "4", where="@"),
        message=snapshot("""\
unroll takes one cell, got None
  a cell is called with one step and a state, and returns the next state
  fix       rnnkit.unroll(rnnkit.GRUCell(3, ...), input)
  more      python -m rnnkit explain unroll-cell\
"""),
    ),
    "convert of a class.": Case(
        "rnnkit.convert(torch.nn.LSTM)",
        Refused(ArgumentError, "lacks", "model", code="model-type", annotated=True),
        fix=fix("rnnkit.convert(LSTM(...))", "3, 4", where="@.changed"),
        message=snapshot("""\
convert takes a model, a torch.nn.Module, got the type LSTM
  a class is not a module yet
  fix       rnnkit.convert(LSTM(...))
  more      python -m rnnkit explain model-type\
"""),
    ),
    "convert of nothing.": Case(
        "rnnkit.convert(None)",
        Refused(ArgumentError, "lacks", "model", code="model-type", annotated=True),
        fix=fix("rnnkit.convert(model)", where="@.changed", model=torch.nn.LSTM(3, 4)),
        message=snapshot("""\
convert takes a model, a torch.nn.Module, got None
  fix       rnnkit.convert(model)
  more      python -m rnnkit explain model-type\
"""),
    ),
    "convert of weights.": Case(
        "rnnkit.convert(torch.nn.LSTM(3, 4).state_dict())",
        Refused(ArgumentError, "lacks", "model", code="model-type", annotated=True),
        fix=(
            fix(
                "model.load_state_dict(...)",
                "weights",
                where="@",
                model=rnnkit.LSTM(3, 4),
                weights=torch.nn.LSTM(3, 4).state_dict(),
            ),
            fix("rnnkit.convert(model)", where="@.changed", model=torch.nn.LSTM(3, 4)),
        ),
        message=snapshot("""\
convert takes a model, a torch.nn.Module, got an OrderedDict
  these look like weights, which are the same in torch's and rnnkit's modules
  fix       model.load_state_dict(...), then rnnkit.convert(model)
  more      python -m rnnkit explain model-type\
"""),
    ),
    "A call of what convert returned.": Case(
        "rnnkit.convert(torch.nn.LSTM(3, 4))(filled(7, 5, 3))",
        Refused(ArgumentError, "lacks", "model", code="convert-result"),
        fix=(
            fix("rnnkit.convert(model)", where="@.changed", model=torch.nn.LSTM(3, 4)),
            fix("model(input)", where="@", model=rnnkit.LSTM(3, 4), input=(7, 5, 3)),
        ),
        message=snapshot("""\
convert returns a report of what it changed, which is not a model
  the model that was given is changed in place
  fix       rnnkit.convert(model), then model(input)
  more      python -m rnnkit explain convert-result\
"""),
    ),
    "A call of what revert returned.": Case(
        "rnnkit.revert(rnnkit.LSTM(3, 4))(filled(7, 5, 3))",
        Refused(ArgumentError, "lacks", "model", code="convert-result"),
        fix=(
            fix("rnnkit.revert(model)", where="@.changed", model=rnnkit.LSTM(3, 4)),
            fix("model(input)", where="@", model=rnnkit.LSTM(3, 4), input=(7, 5, 3)),
        ),
        has="revert returns a report of what it changed, which is not a model\n",
    ),
    "A mask laid out the other way.": Case(
        call("rnnkit.unroll(GRUCell(3, 4), filled(7, 5, 3), reset=reset)", reset=torch.ones(5, 7)),
        Refused(LayoutError, "lacks", "reset", code="mask-shape"),
        fix="reset.t()",
        message=snapshot("""\
reset must have shape (7, 5), got (5, 7)
  unroll of GRUCell(3, 4): the mask looks batch-first, but batch_first=False
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.float32 (5, 7)
  fix       reset.t()
  more      python -m rnnkit explain mask-shape\
"""),
    ),
    "Nothing at all.": Case(
        "rnnkit.unroll(5, None)",
        Refused(ArgumentError, "lacks", "cell", code=unroll, annotated=True),
        message=snapshot("""\
unroll takes one cell, got 5
  a cell is called with one step and a state, and returns the next state
  fix       rnnkit.unroll(rnnkit.GRUCell(input_size, ...), input)
  more      python -m rnnkit explain unroll-cell\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """What is passed is named, with the place that it belongs to."""
    case.check()


def test_torch_s_own_failure_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lack of memory is no fault of the arguments."""

    def fail(*_: object) -> Tensor:
        message = "out of memory"
        raise RuntimeError(message)

    monkeypatch.setattr(Tensor, "to", fail)

    with pytest.raises(RuntimeError, match="out of memory") as caught:
        rnnkit.states.to(filled(2, 4), "cpu")
    assert not isinstance(caught.value, rnnkit.RnnkitError)
