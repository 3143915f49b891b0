"""What ``unroll`` refuses, of rnnkit's cells and of a user's, and that it takes what is right."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from rnnkit import ArgumentError, CellError, DtypeError, LayoutError, ShapeError, StateError
from tests.checks.refusals import CONTENT, Case, Refused, call, filled, fix, fixed, refusal, table


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
  more      cell-initial-state, in the docs under "Errors"\
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
  more      input-numbers, in the docs under "Errors"\
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
  more      input-dtype, in the docs under "Errors"\
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
  more      input-type, in the docs under "Errors"\
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
            or a torch.nn.Linear(6, 4) between the two
            where cell is this module
  more      state-width, in the docs under "Errors"\
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
            if hx is from a larger batch: rnnkit.states.select(hx, positions), or hx=None for zeros
            where hx is your state
  more      layout-seq-first, in the docs under "Errors"\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused as its row says, and what the message says to type runs."""
    case.check()


def test_whole_numbers_for_a_users_cell() -> None:
    """What a user's cell reads is its own affair, whatever its weights are called."""
    output, state = rnnkit.unroll(Embedded(), torch.ones(7, 5, 3, dtype=torch.int64))
    assert torch.equal(state, torch.full((5, 4), 21.0))
    assert torch.equal(output[0], torch.full((5, 4), 3.0))


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
  more      input-type, in the docs under "Errors"\
""")
    advised = "input, lengths = torch.nn.utils.rnn.pad_packed_sequence(input)"
    input, lengths = fixed(error, advised.partition(" = ")[2], input=x)
    rnnkit.unroll(rnnkit.GRUCell(3, 4), input, lengths=lengths)


@pytest.mark.parametrize("given", [(None, None), (filled(4), filled(4)), [filled(4), None]])
def test_pair_of_one_sequence(given: Any) -> None:
    """Each form of the pair that a cell takes for one step is taken for one sequence."""
    output, state = rnnkit.unroll(rnnkit.LSTMCell(3, 4), filled(7, 3), given)
    assert output.shape == (7, 4)
    assert state.h.shape == state.c.shape == (4,)


@pytest.mark.parametrize("batch", [0, 1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("missing", ["h", "c", "both"])
def test_zeros_for_what_is_missing(batch: int, dtype: torch.dtype, missing: str) -> None:
    """None in a pair stands for zeros, of a projected cell too."""
    for cell in (
        rnnkit.LSTMCell(3, 4, dtype=dtype),
        rnnkit.LSTM(3, 4, proj_size=2, dtype=dtype).cells()[0],
    ):
        x = torch.ones(7, batch, 3, dtype=dtype)
        zeros = cell.initial_state(batch)
        whole = rnnkit.LSTMState(zeros.h + 1, zeros.c + 1)
        names = ("h", "c") if missing == "both" else (missing,)
        given = [None if name in names else getattr(whole, name) for name in ("h", "c")]
        filled_up = [zeros[k] if part is None else part for k, part in enumerate(given)]
        for one, other in zip(
            rnnkit.unroll(cell, x, given)[1], rnnkit.unroll(cell, x, filled_up)[1], strict=True
        ):
            assert torch.equal(one, other)


def test_zeros_lie_where_the_input_lies() -> None:
    """They are made on the input's device."""
    cell = rnnkit.LSTMCell(3, 4, device="meta")
    h = torch.zeros(5, 4, device="meta")
    _, state = rnnkit.unroll(cell, torch.ones(7, 5, 3, device="meta"), (h, None))
    assert state.c.device.type == "meta"


def test_a_vector_is_the_state_of_one_sequence() -> None:
    """Without a batch, a user's state is handed to the cell with a batch of one."""
    output, end = rnnkit.unroll(Sums(), torch.ones(7, 3), torch.tensor([1.0, 2.0, 3.0]))

    assert output.shape == (7, 3)
    assert end.tolist() == [8.0, 9.0, 10.0]
