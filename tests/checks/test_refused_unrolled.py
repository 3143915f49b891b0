"""What ``unroll`` refuses of a cell whose widths it knows, and that it takes what is right."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.checks.refusals import filled, fixed


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


class Plain:
    """A user's cell that is no Module."""

    def __call__(self, input: Tensor, hx: Tensor) -> Tensor:
        """Add a step."""
        return hx + input


def refused(expected: type[rnnkit.RnnkitError], *args: Any, **options: Any) -> Any:
    """The error of a wrong call of unroll, of exactly the expected class."""
    with pytest.raises(rnnkit.RnnkitError) as caught:
        rnnkit.unroll(*args, **options)
    assert type(caught.value) is expected
    return caught.value


def test_whole_numbers() -> None:
    """Token ids are refused before the first step."""
    error = refused(rnnkit.DtypeError, rnnkit.GRUCell(3, 4), filled(7, 5, dtype=torch.int64))
    assert str(error) == snapshot("""\
RNN input dtype (torch.int64) does not match weight dtype (torch.float32).
  unroll of GRUCell(3, 4): the input holds no real floating-point numbers
  input     expected torch.float32    got torch.int64
  fix       numbers: input.float()
            token ids: torch.nn.Embedding(vocabulary, 3)(input)\
""")


def test_doubles() -> None:
    """So are doubles for a cell of floats."""
    error = refused(rnnkit.DtypeError, rnnkit.GRUCell(3, 4), filled(7, 5, 3, dtype=torch.float64))
    assert str(error) == snapshot("""\
RNN input dtype (torch.float64) does not match weight dtype (torch.float32). Convert input: input.to(torch.float32), or convert model: model.to(torch.float64)
  unroll of GRUCell(3, 4): input and weights differ in dtype
  input     expected torch.float32    got torch.float64
  evidence  float64 is what NumPy makes of Python's numbers
  fix       input.to(torch.float32), or model.to(torch.float64)\
""")


def test_whole_numbers_for_a_users_cell() -> None:
    """What a user's cell reads is its own affair, whatever its weights are called."""
    output, state = rnnkit.unroll(Embedded(), torch.ones(7, 5, 3, dtype=torch.int64))
    assert torch.equal(state, torch.full((5, 4), 21.0))
    assert torch.equal(output[0], torch.full((5, 4), 3.0))


@pytest.mark.unhooked("the annotation refuses it first")
def test_no_tensor_for_what_is_no_module() -> None:
    """A cell that is no Module is called by its class alone."""
    error = refused(rnnkit.ArgumentError, Plain(), "text")
    assert str(error) == snapshot("""\
input must be a Tensor, got 'text'
  Plain
  input     expected a Tensor    got 'text'
  fix       a floating-point tensor\
""")


@pytest.mark.unhooked("the annotation refuses it first")
def test_packed_sequence() -> None:
    """A PackedSequence is refused with the two that it is made of."""
    x = nn.utils.rnn.pack_sequence([filled(7, 3), filled(2, 3)])

    error = refused(rnnkit.ArgumentError, rnnkit.GRUCell(3, 4), x)
    assert str(error) == snapshot("""\
input must be a Tensor, got a PackedSequence
  GRUCell(3, 4)
  input     expected a Tensor    got a PackedSequence
  fix       input, lengths = torch.nn.utils.rnn.pad_packed_sequence(input), and lengths=lengths\
""")
    advised = "input, lengths = torch.nn.utils.rnn.pad_packed_sequence(input)"
    input, lengths = fixed(error, advised.partition(" = ")[2], input=x)
    rnnkit.unroll(rnnkit.GRUCell(3, 4), input, lengths=lengths)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("cell", [rnnkit.GRUCell(3, 4), Embedded()], ids=["ours", "a user's"])
def test_no_axes(cell: nn.Module, batch_first: bool) -> None:
    """A number alone has no steps."""
    error = refused(rnnkit.ShapeError, cell, torch.tensor(1.0), batch_first=batch_first)
    assert error.actual == ()
    assert "unroll: Expected input to be 2D or 3D, got 0D instead" in str(error)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("cell", [rnnkit.GRUCell(3, 4), Embedded()], ids=["ours", "a user's"])
def test_one_axis(cell: nn.Module, batch_first: bool) -> None:
    """One vector is refused as one step too few axes, with the axis that it lacks."""
    error = refused(rnnkit.ShapeError, cell, filled(3), batch_first=batch_first)
    fixed(error, "input.unsqueeze(0)", input=filled(3))


@pytest.mark.parametrize("batch_first", [False, True])
def test_no_steps(batch_first: bool) -> None:
    """One sequence of no steps is refused, whatever the option for batches is."""
    error = refused(rnnkit.ShapeError, rnnkit.GRUCell(3, 4), filled(0, 3), batch_first=batch_first)
    assert "the input has no steps" in str(error)


def test_state_of_one_sequence() -> None:
    """The state of one sequence has no batch axis."""
    x, hx = filled(7, 3), filled(6)

    error = refused(rnnkit.StateError, rnnkit.GRUCell(3, 4), x, hx)
    assert str(error) == snapshot("""\
hidden0 has inconsistent hidden_size: got 6, expected 4
  unroll of GRUCell(3, 4): hx is 6 wide, hidden_size=4 is wanted
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (hidden_size=4,)    got (6,)
  fix       cell.initial_state(None), or hx=None, or a Linear(6, 4) between\
""")


def test_state_that_tells_of_seq_first_input() -> None:
    """Of a batch-first call, a state as long as the input's axis 1 tells of the other layout."""
    x, hx = filled(5, 7, 3), filled(7, 4)

    error = refused(rnnkit.LayoutError, rnnkit.GRUCell(3, 4), x, hx, batch_first=True)
    assert str(error) == snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 7
  unroll of GRUCell(3, 4): the input looks seq-first, but batch_first=True
  input     expected (batch, seq, input_size=3)    got (5, 7, 3)
  hx        expected (batch=5, hidden_size=4)    got (7, 4)
  evidence  hx has batch 7, which is axis 1 of the input
  fix       unroll(..., batch_first=False), or input.transpose(0, 1)
            if hx is left from a batch of 7 instead: hx=None, or the samples that went on\
""")
    rnnkit.unroll(
        rnnkit.GRUCell(3, 4), fixed(error, "input.transpose(0, 1)", input=x), hx, batch_first=True
    )


def test_swapped_axes() -> None:
    """A state with its axes swapped is refused, as the cell itself does."""
    x, hx = filled(7, 5, 3), filled(4, 5)

    error = refused(rnnkit.StateError, rnnkit.GRUCell(3, 4), x, hx)
    assert str(error) == snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 4
  unroll of GRUCell(3, 4): hx has its axes swapped
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (batch=5, hidden_size=4)    got (4, 5)
  fix       hx.t()\
""")
    rnnkit.unroll(rnnkit.GRUCell(3, 4), x, fixed(error, "hx.t()", hx=hx))


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
