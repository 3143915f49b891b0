"""States that ``unroll`` refuses, and sequences that are lists of steps."""

import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

from rnnkit import ArgumentError, LayoutError, StateError
from tests.checks.refusals import Case, Counter, Refused, call, filled, table


class Embedded(nn.Module):
    """A user's cell that reads whole numbers, and has a weight named as ours."""

    def __init__(self) -> None:
        """Make a table of ten rows."""
        super().__init__()
        self.weight_ih = nn.Parameter(torch.ones(10, 4))

    def forward(self, input: Tensor, hx: Tensor) -> Tensor:
        """Add the rows that are named."""
        return hx + self.weight_ih[input].sum(-2)

    def initial_state(self, batch_size: int) -> Tensor:
        """Begin with nothing."""
        return torch.zeros(batch_size, 4)


class Sums(nn.Module):
    """A user's cell that adds up what it reads, three features wide."""

    def forward(self, input: Tensor, hx: Tensor) -> Tensor:
        """Add a step."""
        return hx + input

    def initial_state(self, batch_size: int) -> Tensor:
        """Begin with nothing."""
        return torch.zeros(batch_size, 3)


class Plain:
    """A user's cell that is no Module."""

    def __call__(self, input: Tensor, hx: Tensor) -> Tensor:
        """Add a step."""
        return hx + input


CASES = {
    "A state with its axes swapped is refused, as the cell itself does.": Case(
        call("unroll(GRUCell(3, 4), input, hx)", input=(7, 5, 3), hx=(4, 5)),
        Refused(StateError, "lacks"),
        fix="hx.t()",
        message=snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 4
  unroll of GRUCell(3, 4): hx has its axes swapped
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (batch=5, hidden_size=4)    got (4, 5)
  fix       hx.t()
            where hx is your state
  more      state-transposed, in the docs under "Errors"\
"""),
    ),
    "A list of steps is refused with the call that stacks them.": Case(
        call("unroll(GRUCell(3, 4), steps)", steps=[filled(5, 3), filled(5, 3)]),
        Refused(ArgumentError, "lacks", "input", annotated=True),
        message=snapshot("""\
input must be a Tensor, got a list
  GRUCell(3, 4)
  input     expected a Tensor    got a list
  fix       torch.nn.utils.rnn.pad_sequence(input), or torch.stack(input) for equal lengths
  more      input-type, in the docs under "Errors"\
"""),
    ),
    "A user's cell has a state for as many samples as the input.": Case(
        call("unroll(cell, input, hx)", cell=Sums(), input=(7, 5, 3), hx=(4, 3)),
        Refused(StateError, "lacks", "hx", (5,), (4, 3)),
        message=snapshot("""\
Expected hidden batch size 5, got [4]
  unroll of Sums: a cell's state has the batch on axis 0
  input     expected (seq, batch, feature)    got (7, 5, 3)
  hx        expected (batch=5, ...)    got (4, 3)
  fix       hx=None or cell.initial_state(5), if the sequences are new
            where cell is this module
  more      state-cell-batch, in the docs under "Errors"\
"""),
    ),
    "Each tensor of a user's state is looked at.": Case(
        call("unroll(cell, input, (h, c))", cell=Sums(), input=(7, 5, 3), h=(5, 3), c=(4, 3)),
        Refused(StateError, "lacks", "hx", (5,), (4, 3)),
    ),
    **{
        f"A state for as many samples as there are steps tells the layout, batch_first={flag}.": Case(
            call(
                f"unroll(cell, input, hx, batch_first={flag})",
                cell=Sums(),
                input=(7, 5, 3),
                hx=(batch, 3),
            ),
            Refused(LayoutError, "lacks", "hx"),
            fix="input.transpose(0, 1)",
        )
        for flag, batch in ((False, 7), (True, 5))
    },
    "The message says on which axis the state's batch was found.": Case(
        call("unroll(cell, input, hx)", cell=Sums(), input=(7, 5, 3), hx=(7, 3)),
        Refused(LayoutError, "lacks"),
        message=snapshot("""\
Expected hidden batch size 5, got [7]
  unroll of Sums: the input looks batch-first, but batch_first=False
  input     expected (seq, batch, feature)    got (7, 5, 3)
  hx        expected (batch=5, ...)    got (7, 3)
  evidence  hx has batch 7, which is axis 0 of the input
  fix       unroll(..., batch_first=True), or input.transpose(0, 1)
  more      layout-batch-first, in the docs under "Errors"\
"""),
    ),
    **{
        f"{module} makes no state for a batch size that is none: {size!r}.": Case(
            f"rnnkit.{module}.initial_state({size!r})",
            Refused(ArgumentError, "lacks", "batch_size", annotated=True),
        )
        for module in ("LSTM(3, 4)", "GRUCell(3, 4)")
        for size in (-1, True, 2.0, "5")
    },
    "A negative batch size is refused with what would do.": Case(
        "rnnkit.LSTM(3, 4).initial_state(-1)",
        Refused(ArgumentError, "lacks"),
        message=snapshot(
            """\
LSTM.initial_state: batch_size must be an int from 0, or None for a state without batch axis, got -1
  more      batch-size, in the docs under "Errors"\
"""
        ),
    ),
    "A third-party cell's state of one sample is expanded.": Case(
        call(
            "rnnkit.unroll(cell, filled(7, 5, 3), hx)",
            cell=Counter(lambda hx: hx),
            hx=(1, 4),
        ),
        Refused(StateError, "lacks", "hx", (5,), (1, 4), code="state-cell-batch"),
        fix="rnnkit.states.expand(hx, 5)",
        message=snapshot("""\
Expected hidden batch size 5, got [1]
  unroll of Counter: a cell's state has the batch on axis 0
  input     expected (seq, batch, feature)    got (7, 5, 3)
  hx        expected (batch=5, ...)    got (1, 4)
  fix       rnnkit.states.expand(hx, 5), if all samples start from it
            hx=None or cell.initial_state(5), if the sequences are new
            where hx is your state and cell is this module
  more      state-cell-batch, in the docs under "Errors"\
"""),
    ),
    "A first state of as many samples.": Case(
        "nn.GRU(3, 4).initial_state(2**63)",
        Refused(ArgumentError, "lacks", "batch_size", code="batch-size"),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()
