"""A layer where a cell is wanted, a class where a module is: what is said, and what to type."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor

import rnnkit
from rnnkit import ArgumentError, CellError, DtypeError, StateError
from tests.checks.refusals import Case, Refused, call, filled, fix, table

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
        message=snapshot('''\
convert takes a model, a torch.nn.Module, got the type LSTM
  a class is no module yet
  fix       rnnkit.convert(LSTM(...), ...)
  more      model-type, in the docs under "Errors"\
'''),
    ),
    "convert of nothing.": Case(
        "rnnkit.convert(None)",
        Refused(ArgumentError, "lacks", "model"),
        code="model-type",
        message=snapshot('''\
convert takes a model, a torch.nn.Module, got None
  fix       rnnkit.convert(model, ...)
  more      model-type, in the docs under "Errors"\
'''),
    ),
    "convert of weights.": Case(
        "rnnkit.convert(torch.nn.LSTM(3, 4).state_dict())",
        Refused(ArgumentError, "lacks", "model"),
        code="model-type",
        message=snapshot('''\
convert takes a model, a torch.nn.Module, got an OrderedDict
  these look like weights, which are the same in torch's and rnnkit's modules
  fix       model.load_state_dict(...), then rnnkit.convert(model, ...)
  more      model-type, in the docs under "Errors"\
'''),
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
        Refused(ArgumentError, "lacks", "reset"),
        code="mask-shape",
        fix="reset.t()",
        message=snapshot("""\
reset must have shape (7, 5), got (5, 7)
  the mask is laid out the other way
  fix       reset.t()
  more      mask-shape, in the docs under "Errors"\
"""),
    ),
    "A mask with a third axis.": Case(
        call(
            "rnnkit.unroll(GRUCell(3, 4), filled(7, 5, 3), reset=reset)", reset=torch.ones(7, 5, 1)
        ),
        Refused(ArgumentError, "lacks", "reset"),
        code="mask-shape",
        fix="reset.squeeze(-1)",
    ),
    "A mask with both.": Case(
        call(
            "rnnkit.unroll(GRUCell(3, 4), filled(7, 5, 3), reset=reset)", reset=torch.ones(5, 7, 1)
        ),
        Refused(ArgumentError, "lacks", "reset"),
        code="mask-shape",
        fix="reset.squeeze(-1).t()",
    ),
    "Positions in the place of a mask.": Case(
        call("rnnkit.unroll(GRUCell(3, 4), filled(7, 5, 3), reset=reset)", reset=[2, 4]),
        Refused(ArgumentError, "lacks", "reset"),
        code="mask-shape",
        message=snapshot("""\
reset must have shape (7, 5), got (2,)
  one flag for each sample: positions are not a mask
  fix       mask = torch.zeros((7, 5), dtype=torch.bool); mask[step, sample] = True where a sample starts again
  more      mask-shape, in the docs under "Errors"\
"""),
    ),
    "Positions of samples in the place of a mask.": Case(
        call("rnnkit.states.reset(filled(5, 4), mask)", mask=[0, 3]),
        Refused(ArgumentError, "lacks", "mask"),
        code="mask-shape",
        fix=fix(
            "torch.zeros((5,), dtype=torch.bool).index_fill(0, positions, True)",
            into="mask",
            positions=torch.tensor([0, 3]),
        ),
    ),
    "An initial state of one sample is expanded.": Case(
        call("rnnkit.states.reset(filled(5, 4), [0, 1, 0, 0, 0], initial)", initial=(1, 4)),
        Refused(ArgumentError, "lacks", "initial"),
        code="initial-shape",
        fix="rnnkit.states.expand(initial, 5)",
    ),
    "An initial state of another dtype is converted.": Case(
        call(
            "rnnkit.states.reset(filled(2, 4), [0, 1], initial)",
            initial=filled(2, 4, dtype=torch.float64),
        ),
        Refused(ArgumentError, "lacks", "initial"),
        code="initial-shape",
        fix="rnnkit.states.to(initial, torch.float32)",
    ),
    "What is no dtype and no device.": Case(
        'rnnkit.states.to(filled(2, 4), "nonsense")',
        Refused(ArgumentError, "lacks", "args"),
        code="to-arguments",
        message=snapshot("""\
to takes the arguments of Tensor.to: a dtype, a device or a tensor
  to('state', 'nonsense')
  fix       rnnkit.states.to(state, torch.float64), or to(state, 'cuda')
  more      to-arguments, in the docs under "Errors"\
"""),
    ),
    "No arguments of Tensor.to.": Case(
        "rnnkit.states.to(filled(2, 4), [1])",
        Refused(ArgumentError, "lacks", "args"),
        code="to-arguments",
    ),
    "A state of several samples is not expanded.": Case(
        "rnnkit.states.expand(filled(2, 3, 4), 5)",
        Refused(StateError, "lacks", "state", (None, None, None), (2, 3, 4)),
        code="expand-batch",
        message=snapshot("""\
expand takes the state of one sample, got (2, 3, 4)
  axis 1 is the batch, and has 3
  fix       rnnkit.states.select(state, [0]), for that of the first sample
  more      expand-batch, in the docs under "Errors"\
"""),
    ),
    "A state without batch axis is told how to get one.": Case(
        call("rnnkit.states.expand(state, 5)", state=(2, 4)),
        Refused(StateError, "lacks", "state", (None, None), (2, 4)),
        code="expand-batch",
        fix="state.unsqueeze(1)",
    ),
    "An initial state that fits nowhere.": Case(
        "rnnkit.states.reset(filled(5, 4), [0, 1, 0, 0, 0], filled(3, 4))",
        Refused(ArgumentError, "lacks", "initial"),
        code="initial-shape",
        lacks="fix",
    ),
    "A third-party cell's state of one sample is expanded.": Case(
        call(
            "rnnkit.unroll(cell, filled(7, 5, 3), hx)",
            cell=Counter(lambda hx: hx),
            hx=(1, 4),
        ),
        Refused(StateError, "lacks", "hx", (5,), (1, 4)),
        code="state-cell-batch",
        fix="rnnkit.states.expand(hx, 5)",
    ),
    "A batch that is no count.": Case(
        "rnnkit.states.expand(filled(2, 1, 4), -1)",
        Refused(ArgumentError, "lacks", "batch_size"),
        code="expand-size",
    ),
    "States of two widths are not joined.": Case(
        "rnnkit.states.cat([filled(1, 3, 4), filled(1, 3, 5)])",
        Refused(StateError, "lacks", "states"),
        code="cat-sizes",
        message=snapshot("""\
cat takes states that differ in their batch alone
  got (1, 3, 4), (1, 3, 5), whose batch is axis 1
  more      cat-sizes, in the docs under "Errors"\
"""),
    ),
    "States and None are not joined.": Case(
        "rnnkit.states.cat([filled(1, 3, 4), None])",
        Refused(ArgumentError, "lacks", "states"),
        code="states-of-one-kind",
        message=snapshot("""\
cat takes a list of states, all of one kind: tensors, pairs, or None
  more      states-of-one-kind, in the docs under "Errors"\
"""),
    ),
    "A cell's state is not taken apart.": Case(
        "rnnkit.states.to_layers(filled(5, 4))",
        Refused(StateError, "lacks", "state", (None, None, None), (5, 4)),
        code="to-layers-axes",
        message=snapshot("""\
to_layers takes the state of a layer, (layers * directions, batch, hidden)
  got (5, 4)
  more      to-layers-axes, in the docs under "Errors"\
"""),
    ),
    "How a state is bridged is not printed if it is a tensor.": Case(
        "rnnkit.states.bridge(filled(2, 3, 4), filled(2))",
        Refused(ArgumentError, "lacks", "how"),
        code="bridge-how",
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


class Odd(rnnkit.GRU):
    """A layer that cannot print itself."""

    def extra_repr(self) -> str:
        """Fail."""
        message = "no options"
        raise ValueError(message)


def test_a_failing_extra_repr_does_not_replace_the_error() -> None:
    """What a user's class prints is cut or left out; the error is ours."""
    with pytest.raises(DtypeError, match=r"Odd\(\.\.\.\): input and weights differ"):
        Odd(3, 4)(filled(7, 5, 3, dtype=torch.float64))


LONG: dict[str, Callable[[], object]] = {
    "a long list as a pair": lambda: rnnkit.LSTM(3, 4)(
        filled(7, 5, 3), [filled(1, 5, 4)] * 100_000
    ),
    "many ints as a state": lambda: rnnkit.GRU(3, 4)(filled(7, 5, 3), [1] * 100_000),
    "a long string as lengths": lambda: rnnkit.GRU(3, 4)(filled(7, 5, 3), lengths="x" * 100_000),
    "a long string as size": lambda: rnnkit.GRU(3, "4" * 100_000),
    "a huge int": lambda: rnnkit.GRU(3, 10**5000),
    "a long name": lambda: rnnkit.GRU(3, 4, **{"x" * 100_000: 1}),
    "long axes": lambda: rnnkit.GRU(3, 4, axes={"seq": "x " * 100_000}),
    "a long how": lambda: rnnkit.states.bridge(filled(2, 3, 4), "x" * 100_000),
    "a long device": lambda: rnnkit.states.to(filled(2, 4), "x" * 100_000),
    "sixty axes": lambda: rnnkit.GRU(3, 4)(filled(*[1] * 60, 2, 2)),
    "nested state": lambda: rnnkit.GRU(3, 4).last_hidden([[filled(1)] * 1000] * 1000),
    "a long class name": lambda: type("X" * 100_000, (rnnkit.GRU,), {})(3, 4)(filled(7, 5, 2)),
}


@pytest.mark.parametrize("act", LONG.values(), ids=LONG)
def test_no_message_is_long(act: Callable[[], object]) -> None:
    """Whatever is quoted goes through one brief form."""
    with pytest.raises(rnnkit.RnnkitError) as caught:
        act()

    assert len(str(caught.value)) < 2000


def test_errors_survive_pickling_with_their_code() -> None:
    """A worker process sends errors back whole; a DataLoader makes them of their text alone."""
    with pytest.raises(StateError) as caught:
        rnnkit.GRU(3, 4)(filled(7, 5, 3), filled(1, 8, 4))
    error = caught.value
    again = pickle.loads(pickle.dumps(error))

    assert (again.code, again.argument, again.actual) == ("state-batch", "hx", (1, 8, 4))
    assert str(again) == str(error)
    assert type(error)("text").code == ""
    assert rnnkit.CellError("text").step == 0


def test_a_leak_has_the_name_of_its_probe_for_a_code() -> None:
    """It needs no list of its own."""
    assert rnnkit.LeakError("text", "batch", "encoder").code == "batch"
