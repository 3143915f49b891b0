"""What a ``Recurrent`` is made of, and its states: what is said of others, and what to type."""

from inline_snapshot import snapshot
from torch import Tensor

import rnnkit
from rnnkit import ArgumentError, StateError
from tests.checks.refusals import Case, Counter, Refused, call, filled, fix, table

CASES = {
    "So does a Recurrent.": Case(
        call(
            "rnnkit.unroll(layer, input)",
            layer=rnnkit.Recurrent(rnnkit.GRUCell(3, 4)),
            input=(7, 5, 3),
        ),
        Refused(ArgumentError, "lacks", "cell", code="unroll-cell"),
        fix=fix("layer(input)", where="@"),
    ),
    "Two cells by position, each a layer.": Case(
        call("rnnkit.Recurrent(a, b)", a=rnnkit.GRUCell(3, 4), b=rnnkit.GRUCell(4, 5)),
        Refused(ArgumentError, "lacks", "cells", code="recurrent-positions"),
        fix=fix("rnnkit.Recurrent([a, b])", where="@(filled(7, 5, 3))"),
        message=snapshot("""\
Recurrent takes its cells in one list, got 2 arguments by position
  Recurrent(a GRUCell, a GRUCell)
  fix       rnnkit.Recurrent([a, b]), if each reads the output of the one before
  or        rnnkit.Recurrent(a, reverse_cells=b), if b runs from the end
  more      python -m rnnkit explain recurrent-positions\
"""),
    ),
    "Two cells by position, one for each direction.": Case(
        call("rnnkit.Recurrent(a, b)", a=rnnkit.GRUCell(3, 4), b=rnnkit.GRUCell(3, 4)),
        Refused(ArgumentError, "lacks", "cells", code="recurrent-positions"),
        fix=fix("rnnkit.Recurrent(a, reverse_cells=b)", where="@(filled(7, 5, 3))"),
    ),
    "Two cells by position, which may be either.": Case(
        call("rnnkit.Recurrent(a, b)", a=rnnkit.GRUCell(4, 4), b=Counter(lambda hx: hx)),
        Refused(ArgumentError, "lacks", "cells", code="recurrent-positions"),
        fix=(
            fix("rnnkit.Recurrent([a, b])", where="@(filled(7, 5, 4))"),
            fix("rnnkit.Recurrent(a, reverse_cells=b)", where="@(filled(7, 5, 4))"),
        ),
        message=snapshot("""\
Recurrent takes its cells in one list, got 2 arguments by position
  Recurrent(a GRUCell, a Counter)
  fix       rnnkit.Recurrent([a, b]), if each reads the output of the one before
  or        rnnkit.Recurrent(a, reverse_cells=b), if b runs from the end
  more      python -m rnnkit explain recurrent-positions\
"""),
    ),
    "Three projected cells by position.": Case(
        call(
            "rnnkit.Recurrent(a, b, c)",
            a=rnnkit.ProjectedLSTMCell(3, 4, 2),
            b=rnnkit.LSTMCell(2, 5),
            c=rnnkit.LSTMCell(5, 5),
        ),
        Refused(ArgumentError, "lacks", "cells", code="recurrent-positions"),
        fix=fix("rnnkit.Recurrent([a, b, c])", where="@(filled(7, 5, 3))"),
    ),
    "Two lists by position.": Case(
        call(
            "rnnkit.Recurrent(a, b)", a=rnnkit.GRU(3, 4, 2).cells(), b=rnnkit.GRU(3, 4, 2).cells()
        ),
        Refused(ArgumentError, "lacks", "cells", code="recurrent-positions"),
        has="rnnkit.Recurrent(a, reverse_cells=b), if b runs from the end\n",
    ),
    "An option by position.": Case(
        call("rnnkit.Recurrent(a, True)", a=rnnkit.GRUCell(3, 4)),
        Refused(ArgumentError, "lacks", "cells", code="recurrent-positions"),
        fix=fix("rnnkit.Recurrent(a, ...)", "batch_first=True", where="@(filled(5, 7, 3))"),
    ),
    "No cells.": Case(
        "rnnkit.Recurrent()",
        Refused(ArgumentError, "lacks", code="option-unknown"),
        has="  fix       Recurrent(cells, ...)\n",
    ),
    "A cell for the backward direction that reads what the forward one returns.": Case(
        "rnnkit.Recurrent(GRUCell(3, 4), reverse_cells=GRUCell(4, 5))",
        Refused(ArgumentError, "lacks", "reverse_cells", code="recurrent-directions"),
        fix=fix(
            "rnnkit.Recurrent([cell, next_cell])",
            where="@(filled(7, 5, 3))",
            cell=rnnkit.GRUCell(3, 4),
            next_cell=rnnkit.GRUCell(4, 5),
        ),
        message=snapshot("""\
Recurrent: reverse_cells read what cells read, but input_size is 3 and 4
  fix       rnnkit.Recurrent([cell, next_cell]) for two layers
  more      python -m rnnkit explain recurrent-directions\
"""),
    ),
    "A class in the list of cells.": Case(
        "rnnkit.Recurrent([GRUCell])",
        Refused(ArgumentError, "lacks", "cells", code="recurrent-cells"),
        fix=fix("GRUCell(...)", "3, 4", where="rnnkit.Recurrent([@])(filled(7, 5, 3))"),
    ),
    "Other objects in the place of cells.": Case(
        "rnnkit.Recurrent([filled(3, 4)])",
        Refused(ArgumentError, "lacks", "cells", code="recurrent-cells", annotated=True),
        fix=fix(
            "rnnkit.Recurrent(cells)(input)", where="@", cells=rnnkit.GRUCell(3, 4), input=(7, 5, 3)
        ),
        message=snapshot("""\
Recurrent: cells must be a cell or a list of cells, got a Tensor of shape (3, 4)
  the cells come first, then the input
  fix       rnnkit.Recurrent(cells)(input)
  more      python -m rnnkit explain recurrent-cells\
"""),
    ),
    "Nothing in the place of cells.": Case(
        "rnnkit.Recurrent(None)",
        Refused(ArgumentError, "lacks", "cells", code="recurrent-cells", annotated=True),
        fix=fix(
            "[rnnkit.GRUCell(input_size, hidden_size)]",
            where="rnnkit.Recurrent(@)",
            input_size=3,
            hidden_size=4,
        ),
    ),
    "The class of a cell in its place.": Case(
        "rnnkit.Recurrent(GRUCell)",
        Refused(ArgumentError, "lacks", "cells", code="recurrent-cells", annotated=True),
        fix=fix("GRUCell(...)", "3, 4", where="rnnkit.Recurrent(@)"),
        message=snapshot("""\
Recurrent: cells must be a cell or a list of cells, got the type GRUCell
  a cell is a torch.nn.Module, called with one step and a state
  fix       GRUCell(...), a cell of this class
  more      python -m rnnkit explain recurrent-cells\
"""),
    ),
    "The name of a class in its place.": Case(
        "rnnkit.Recurrent('GRUCell')",
        Refused(ArgumentError, "lacks", "cells", code="recurrent-cells", annotated=True),
        has="got 'GRUCell'",
    ),
    "The state of one cell is put into a tuple.": Case(
        call(
            "rnnkit.Recurrent(LSTMCell(3, 4))(input, hx)",
            input=(7, 5, 3),
            hx=(filled(5, 4), filled(5, 4)),
        ),
        Refused(StateError, "lacks", "hx", code="recurrent-state"),
        fix="(hx,)",
        message=snapshot("""\
hx must be a tuple of 1 state, got 2 of them
  Recurrent carries one state for each cell; this is the state itself
  hx        expected layer by layer, starting with the forward direction    got 2 of them
  fix       (hx,)
  more      python -m rnnkit explain recurrent-state\
"""),
    ),
    "So is one tensor.": Case(
        call("rnnkit.Recurrent(GRUCell(3, 4))(input, hx)", input=(7, 5, 3), hx=(5, 4)),
        Refused(StateError, "lacks", "hx", code="recurrent-state", annotated=True),
        fix="(hx,)",
    ),
    "A size in the place of cells.": Case(
        "rnnkit.Recurrent(3, 4)",
        Refused(ArgumentError, "lacks", "cells", code="recurrent-cells", annotated=True),
        fix=fix(
            "[rnnkit.GRUCell(input_size, hidden_size)]",
            where="rnnkit.Recurrent(@)",
            input_size=3,
            hidden_size=4,
        ),
        message=snapshot("""\
Recurrent: cells must be a cell or a list of cells, got 3
  a cell is a torch.nn.Module, called with one step and a state
  fix       [rnnkit.GRUCell(input_size, hidden_size)], one cell for each layer
  more      python -m rnnkit explain recurrent-cells\
"""),
    ),
    "What is no state.": Case(
        "rnnkit.Recurrent(GRUCell(3, 4))(filled(7, 5, 3), 5)",
        Refused(StateError, "lacks", "hx", code="recurrent-state", annotated=True),
        message=snapshot("""\
hx must be a tuple of 1 state, got 5
  Recurrent carries one state for each cell
  hx        expected layer by layer, starting with the forward direction    got 5
  fix       output, hx = layer(input): the second is such a tuple; or hx=None for zeros
  more      python -m rnnkit explain recurrent-state\
"""),
    ),
    "Three tensors are no state of one cell.": Case(
        call("rnnkit.Recurrent(LSTMCell(3, 4))(filled(7, 5, 3), (h, h, h))", h=(5, 4)),
        Refused(StateError, "lacks", "hx", code="recurrent-state"),
        has="  fix       output, hx = layer(input)",
    ),
    "Of two layers with a user's cell below, the second reads another width.": Case(
        call(
            "rnnkit.Recurrent([cell, GRUCell(8, 4)], reverse_cells=[cell, GRUCell(4, 4)])",
            cell=Counter(lambda hx: hx),
        ),
        Refused(ArgumentError, "lacks", "reverse_cells", code="recurrent-directions"),
        has="input_size is 8 and 4",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """What is passed is named, with the place that it belongs to."""
    case.check()


def test_third_party_states_of_three_axes_are_no_layers() -> None:
    """Two cells whose states have three axes, as many as there are cells, run."""

    class Memory(Counter):
        def forward(self, input: Tensor, hx: Tensor) -> Tensor:
            return hx + input.unsqueeze(-1)

    layer = rnnkit.Recurrent([Memory(None)])
    _, state = layer(filled(7, 1, 3), (filled(1, 3, 2),))

    assert state[0].shape == (1, 3, 2)
