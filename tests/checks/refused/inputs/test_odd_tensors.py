"""Tensors that are no plain ones: which one it is, and what makes a plain one of it."""

import pytest
import torch
from inline_snapshot import snapshot
from torch._subclasses import FakeTensorMode

import rnnkit
from rnnkit import ArgumentError, LengthsError, StateError
from tests.checks.refusals import Case, Refused, call, filled, packed, table

NESTED = torch.nested.nested_tensor([filled(7, 3), filled(5, 3)], layout=torch.jagged)
STATES = torch.nested.nested_tensor([filled(2, 4), filled(2, 4)], layout=torch.jagged)
FAKE = FakeTensorMode()
#: A cell says the same of a step, by itself and over a sequence.
NESTED_STEP = snapshot("""\
input must be a dense tensor, got a nested one
  GRUCell(3, 4): torch has no recurrent kernels for nested tensors
  fix       input.to_padded_tensor(0.0)
  more      input-layout, in the docs under "Errors"\
""")

CASES = {
    "A nested input of a layer is padded, and has lengths.": Case(
        call("nn.GRU(3, 4, batch_first=True)(input)", input=NESTED),
        Refused(ArgumentError, "mumbles", "input", code="input-layout"),
        message=snapshot("""\
input must be a dense tensor, got a nested one
  GRU(3, 4, batch_first=True): torch has no recurrent kernels for nested tensors
  fix       input.to_padded_tensor(0.0) and lengths=[len(one) for one in input.unbind()]
  more      input-layout, in the docs under "Errors"\
"""),
    ),
    "One of a cell is padded.": Case(
        "nn.GRUCell(3, 4)(torch.nested.nested_tensor([filled(3), filled(3)]))",
        Refused(ArgumentError, "mumbles", "input", code="input-layout"),
        message=NESTED_STEP,
    ),
    "One that is given to a step is padded.": Case(
        "nn.GRU(3, 4).step(torch.nested.nested_tensor([filled(3), filled(3)]))",
        Refused(ArgumentError, "lacks", "x_t", code="input-layout"),
        has="\n  GRU(3, 4): torch has no recurrent kernels for nested tensors\n",
    ),
    "A sparse state has no last hidden.": Case(
        call("nn.GRU(3, 4).last_hidden(state)", state=filled(1, 2, 4).to_sparse()),
        Refused(StateError, "lacks", "state"),
    ),
    "One of a cell that is unrolled is padded.": Case(
        call("unroll(GRUCell(3, 4), input)", input=NESTED),
        Refused(ArgumentError, "lacks", "input", code="input-layout"),
        message=NESTED_STEP,
    ),
    "A sparse state with the batch on axis 0 is filled, though torch reads one with the layers there.": Case(
        call(
            "nn.RNN(3, 4, 2, state_batch_first=True)(input, hx)",
            input=(7, 2, 3),
            hx=filled(2, 2, 4).to_sparse(),
        ),
        Refused(StateError, "lacks", "hx", code="state-layout"),
        fix="hx.to_dense()",
    ),
    "A sparse state of packed input is filled.": Case(
        call(
            "nn.LSTM(3, 4)(pack_padded_sequence(input, [7, 7]), (h, c))",
            input=(7, 2, 3),
            h=filled(1, 2, 4),
            c=filled(1, 2, 4).to_sparse(),
        ),
        Refused(StateError, "unsafe", "hx", code="state-layout"),
        message=snapshot("""\
hx must be a dense tensor, got torch.sparse_coo
  LSTM(3, 4): torch computes no step with it here
  fix       tuple(tensor.to_dense() for tensor in hx)
            where hx is your state
  more      state-layout, in the docs under "Errors"\
"""),
    ),
    "A nested state is padded.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 2, 3), hx=STATES),
        Refused(StateError, "mumbles", "hx", code="state-layout"),
        message=snapshot("""\
hx must be a dense tensor, got a nested one
  GRU(3, 4): torch computes no step with it here
  fix       hx.to_padded_tensor(0.0)
            where hx is your state
  more      state-layout, in the docs under "Errors"\
"""),
    ),
    "A fake state beside numbers is replaced.": Case(
        call("nn.GRU(3, 4)(input, hx)", input=(7, 2, 3), hx=FAKE.from_tensor(filled(1, 2, 4))),
        Refused(StateError, "mumbles", "hx", code="state-layout"),
        message=snapshot("""\
hx must be a dense tensor, got FakeTensor
  GRU(3, 4): torch computes no step with it here
  fix       a plain tensor in place of the FakeTensor
  more      state-layout, in the docs under "Errors"\
"""),
    ),
    "A fake input of real weights is replaced.": Case(
        call("nn.GRUCell(3, 4)(input)", input=FAKE.from_tensor(filled(2, 3))),
        Refused(ArgumentError, "mumbles", "input", code="input-layout"),
        message=snapshot("""\
input must be a dense tensor, got FakeTensor
  GRUCell(3, 4): torch computes no step with it here
  fix       a plain tensor in place of the FakeTensor
  more      input-layout, in the docs under "Errors"\
"""),
    ),
    "Fake data of packed input are replaced.": Case(
        call(
            "nn.GRU(3, 4)(input._replace(data=data))",
            input=packed(2, 1),
            data=FAKE.from_tensor(filled(3, 3)),
        ),
        Refused(ArgumentError, "mumbles", "input", code="input-layout"),
    ),
    "A masked input is replaced.": Case(
        "nn.GRU(3, 4)(torch.masked.masked_tensor(filled(7, 5, 3), filled(7, 5, 3) > 0))",
        Refused(ArgumentError, "mumbles", "input", code="input-layout"),
    ),
    "Fake lengths of a real input hold nothing.": Case(
        call(
            "nn.GRU(3, 4)(filled(7, 2, 3), lengths=lengths)",
            lengths=FAKE.from_tensor(torch.tensor([7, 5])),
        ),
        Refused(LengthsError, "lacks", "lengths", (2,), (2,), code="lengths-kind"),
        message=snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths hold no values to look at
  input     expected (seq, batch, input_size=3)    got (7, 2, 3)
  lengths   expected (batch=2,), integers    got torch.int64 (2,)
  fix       a list of ints
  more      lengths-kind, in the docs under "Errors"\
"""),
    ),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors")
@pytest.mark.filterwarnings("ignore:.*for MaskedTensor")
@table(CASES)
def test_refused(case: Case) -> None:
    """The tensor is named by what it is, and by what makes a dense one of it."""
    case.check()


def test_what_torch_says_is_kept() -> None:
    """It is the cause of our error, which a traceback then shows."""
    with pytest.raises(ArgumentError) as caught:
        rnnkit.GRUCell(3, 4)(FAKE.from_tensor(filled(2, 3)))

    assert caught.value.__cause__ is not None


def test_plain_input_of_fake_weights() -> None:
    """Of an input and weights, the one is fake as the other is, or it is refused."""
    with FAKE:
        cell = rnnkit.GRUCell(3, 4)

    with pytest.raises(ArgumentError):
        cell(filled(2, 3))
