"""What ``unroll`` refuses, of rnnkit's cells and of a user's, and states of each."""

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from rnnkit import ArgumentError, CellError, DtypeError, LayoutError, ShapeError, StateError
from tests.checks.refusals import (
    CONTENT,
    Case,
    Counter,
    Embedded,
    Refused,
    Sums,
    call,
    filled,
    fix,
    fixed,
    refusal,
    table,
)


class Plain:
    """A user's cell that is no Module."""

    def __call__(self, input: Tensor, hx: Tensor) -> Tensor:
        """Add a step."""
        return hx + input


CASES = {
    "A cell without a first state has none to start again from, whatever hx is given.": Case(
        call(
            "rnnkit.unroll(cell, filled(7, 5, 3), filled(5, 3), reset=reset)",
            cell=Plain(),
            reset=torch.ones(7, 5),
        ),
        Refused(CellError, "lacks", "cell", code="cell-initial-state", annotated=True),
        message=snapshot("""\
Plain has no initial_state(batch_size), from which a sample starts again
  fix       a method initial_state(self, batch_size)
  more      python -m rnnkit explain cell-initial-state\
"""),
    ),
    "Token ids are refused before the first step.": Case(
        "unroll(GRUCell(3, 4), filled(7, 5, dtype=torch.int64))",
        Refused(DtypeError, "lacks"),
        message=snapshot("""\
RNN input dtype (torch.int64) does not match weight dtype (torch.float32).
  unroll of GRUCell(3, 4): the input holds no real floating-point numbers
  input     expected torch.float32    got torch.int64
  fix       numbers: input.float()
            token ids: torch.nn.Embedding(vocabulary, 3)(input)
  more      python -m rnnkit explain input-numbers\
"""),
    ),
    "So are doubles for a cell of floats.": Case(
        "unroll(GRUCell(3, 4), filled(7, 5, 3, dtype=torch.float64))",
        Refused(DtypeError, "lacks"),
        message=snapshot("""\
RNN input dtype (torch.float64) does not match weight dtype (torch.float32). Convert input: input.to(torch.float32), or convert model: model.to(torch.float64)
  unroll of GRUCell(3, 4): input and weights differ in dtype
  input     expected torch.float32    got torch.float64
  evidence  float64 is what NumPy makes of Python's numbers
  fix       input.to(torch.float32), or model.to(torch.float64)
  more      python -m rnnkit explain input-dtype\
"""),
    ),
    "A cell that is no Module is called by its class alone.": Case(
        call("unroll(cell, 'text')", cell=Plain()),
        Refused(ArgumentError, "lacks", annotated=True),
        message=snapshot("""\
input must be a Tensor, got 'text'
  Plain
  input     expected a Tensor    got 'text'
  fix       a floating-point tensor
  more      python -m rnnkit explain input-type\
"""),
    ),
    **{
        f"A number alone has no steps, for {cell} with batch_first={flag}.": Case(
            call(
                f"unroll({cell}, input, batch_first={flag})",
                input=torch.tensor(1.0),
                Embedded=Embedded,
            ),
            Refused(ShapeError, "lacks", actual=()),
            has="unroll: Expected input to be 2D or 3D, got 0D instead",
        )
        for cell in ("GRUCell(3, 4)", "Embedded()")
        for flag in (False, True)
    },
    **{
        f"One vector is refused with the axis that it lacks, for {cell} with batch_first={flag}.": Case(
            call(
                f"unroll({cell}, input, batch_first={flag})",
                input=(3,),
                Embedded=Embedded,
            ),
            Refused(ShapeError, "lacks"),
            fix=fix("input.unsqueeze(0)", gives=[[CONTENT] * 3]),
        )
        for cell in ("GRUCell(3, 4)", "Embedded()")
        for flag in (False, True)
    },
    **{
        f"One sequence of no steps is refused, whatever the option for batches is: {flag}.": Case(
            call(f"unroll(GRUCell(3, 4), input, batch_first={flag})", input=(0, 3)),
            Refused(ShapeError, "lacks"),
            has="the input has no steps",
        )
        for flag in (False, True)
    },
    "The state of one sequence has no batch axis.": Case(
        call("unroll(GRUCell(3, 4), input, hx)", input=(7, 3), hx=(6,)),
        Refused(StateError, "lacks"),
        message=snapshot("""\
hidden0 has inconsistent hidden_size: got 6, expected 4
  unroll of GRUCell(3, 4): hx is 6 wide, hidden_size=4 is wanted
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (hidden_size=4,)    got (6,)
  fix       hx=None or cell.initial_state(None): zeros
            torch.nn.Linear(6, 4) between the two
  more      python -m rnnkit explain state-width\
"""),
    ),
    "Of a batch-first call, a state as long as the input's axis 1 tells of the other layout.": Case(
        call("unroll(GRUCell(3, 4), input, hx, batch_first=True)", input=(5, 7, 3), hx=(7, 4)),
        Refused(LayoutError, "lacks"),
        fix="input.transpose(0, 1)",
        message=snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 7
  unroll of GRUCell(3, 4): the input looks seq-first, but batch_first=True
  input     expected (batch, seq, input_size=3)    got (5, 7, 3)
  hx        expected (batch=5, hidden_size=4)    got (7, 4)
  evidence  hx has batch 7, which is axis 1 of the input
  fix       unroll(..., batch_first=False), or input.transpose(0, 1)
            hx=None or cell.initial_state(5): zeros, if the sequences are new
  more      python -m rnnkit explain layout-seq-first\
"""),
    ),
    "A state with its axes swapped is refused, as the cell itself does.": Case(
        call("unroll(GRUCell(3, 4), input, hx)", input=(7, 5, 3), hx=(4, 5)),
        Refused(StateError, "lacks", code="state-transposed"),
        fix="hx.t()",
    ),
    "A list of steps is refused with the call that stacks them.": Case(
        call("unroll(GRUCell(3, 4), steps)", steps=[filled(5, 3), filled(5, 3)]),
        Refused(ArgumentError, "lacks", "input", code="input-type", annotated=True),
        fix=fix("torch.stack(input)", into="steps", input=[filled(5, 3), filled(5, 3)]),
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
  more      python -m rnnkit explain state-cell-batch\
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
  more      python -m rnnkit explain layout-batch-first\
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
  more      python -m rnnkit explain batch-size\
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
  more      python -m rnnkit explain state-cell-batch\
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


@pytest.mark.unhooked("the annotation refuses it first")
def test_packed_sequence() -> None:
    """A PackedSequence is refused with the two that it is made of."""
    x = nn.utils.rnn.pack_sequence([filled(7, 3), filled(2, 3)])

    error = refusal(ArgumentError, "lacks", lambda _: rnnkit.unroll(rnnkit.GRUCell(3, 4), x))
    assert str(error) == snapshot("""\
input must be a Tensor, got a PackedSequence
  GRUCell(3, 4)
  input     expected a Tensor    got a PackedSequence
  fix       input, lengths = torch.nn.utils.rnn.pad_packed_sequence(input), and lengths=lengths
  more      python -m rnnkit explain input-type\
""")
    advised = "input, lengths = torch.nn.utils.rnn.pad_packed_sequence(input)"
    input, lengths = fixed(error, advised.partition(" = ")[2], input=x)
    rnnkit.unroll(rnnkit.GRUCell(3, 4), input, lengths=lengths)
