"""Nested tensors, and what makes a dense one of them."""

import pytest
import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import ArgumentError
from tests.checks.refusals import Case, Refused, Sums, call, filled, table

NESTED = torch.nested.nested_tensor([filled(7, 3), filled(5, 3)], layout=torch.jagged)
STATES = torch.nested.nested_tensor([filled(2, 4), filled(2, 4)], layout=torch.jagged)
SPARSE = filled(1, 2, 4).to_sparse()
#: A cell says the same of a step, by itself and over a sequence.
NESTED_STEP = snapshot("""\
input must be a dense tensor, got a nested one
  GRUCell(3, 4): torch has no recurrent kernels for other tensors
  fix       input.to_padded_tensor(0.0)
  more      python -m rnnkit explain input-layout\
""")

CASES = {
    "A nested input of a layer is padded, and has lengths.": Case(
        call("nn.GRU(3, 4, batch_first=True)(input)", input=NESTED),
        Refused(ArgumentError, "mumbles", "input", code="input-layout"),
        message=snapshot("""\
input must be a dense tensor, got a nested one
  GRU(3, 4, batch_first=True): torch has no recurrent kernels for other tensors
  fix       input.to_padded_tensor(0.0) and lengths=[len(one) for one in input.unbind()]
  more      python -m rnnkit explain input-layout\
"""),
    ),
    "One of a cell is padded.": Case(
        "nn.GRUCell(3, 4)(torch.nested.nested_tensor([filled(3), filled(3)]))",
        Refused(ArgumentError, "mumbles", "input", code="input-layout"),
        message=NESTED_STEP,
    ),
    "One of a cell, in the other layout, is padded.": Case(
        call("nn.GRUCell(3, 4)(input)", input=NESTED),
        Refused(ArgumentError, "mumbles", "input", code="input-layout"),
        message=NESTED_STEP,
    ),
    "One that is given to a step is padded.": Case(
        "nn.GRU(3, 4).step(torch.nested.nested_tensor([filled(3), filled(3)]))",
        Refused(ArgumentError, "lacks", "x_t", code="input-layout"),
        has="\n  GRU(3, 4): torch has no recurrent kernels for other tensors\n",
    ),
    "One of a cell that is unrolled is padded.": Case(
        call("unroll(GRUCell(3, 4), input)", input=NESTED),
        Refused(ArgumentError, "lacks", "input", code="input-layout"),
        message=NESTED_STEP,
    ),
    "One of a user's cell is padded.": Case(
        call("unroll(cell, input)", cell=Sums(), input=NESTED),
        Refused(ArgumentError, "lacks", "input", code="input-layout"),
        has="\n  Sums(): torch has no recurrent kernels for other tensors\n",
    ),
    "A sparse sequence is filled before it is unrolled.": Case(
        call("unroll(GRUCell(3, 4), input)", input=filled(7, 5, 3).to_sparse()),
        Refused(ArgumentError, "lacks", "input", code="input-layout"),
        fix="input.to_dense()",
    ),
    "A nested state is padded.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 2, 3), hx=STATES),
        Refused(ArgumentError, "mumbles", "hx", code="input-layout"),
        message=snapshot("""\
hx must be a dense tensor, got a nested one
  GRU(3, 4): torch has no recurrent kernels for other tensors
  fix       hx.to_padded_tensor(0.0)
  more      python -m rnnkit explain input-layout\
"""),
    ),
    "What torch's class does not have either is filled: a first state, where samples start again.": Case(
        call(
            "layer(filled(7, 2, 3), filled(1, 2, 4), reset=torch.ones(7, 2))",
            layer=type("Own", (rnnkit.GRU,), {"initial_state": lambda *_: SPARSE})(3, 4),
        ),
        Refused(ArgumentError, "lacks", "hx", code="input-layout"),
        has="hx must be a dense tensor, got torch.sparse_coo\n",
    ),
    "A state of a projected cell.": Case(
        call(
            "ProjectedLSTMCell(3, 4, 2)(filled(2, 3), (h, c))",
            h=filled(2, 2).to_sparse(),
            c=filled(2, 4),
        ),
        Refused(ArgumentError, "lacks", "hx", code="input-layout"),
        has="  fix       hx.to_dense()\n",
    ),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@table(CASES)
def test_refused(case: Case) -> None:
    """The tensor is named, and what makes a dense one of it."""
    case.check()
