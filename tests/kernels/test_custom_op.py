"""The operator of one layer in one direction: torch's numbers, torch's gradients, no surprise for a compiler."""

import importlib
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.library import opcheck
from torch.testing import assert_close

from rnnkit._base.state import state_of
from rnnkit._kernels.compiled import direction as single
from rnnkit._kernels.compiled import operators, reset_operator
from rnnkit._kernels.compiled.operators import run_operator
from tests.compiles import compiles, without_onednn
from tests.kernels.paths import case_of, each_kind
from tests.strategies import assert_same, gradients, memories

# torch says so where oneDNN is switched off.
pytestmark = pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN:UserWarning")


class Call:
    """A layer in one direction, its input and its first state, all leaves that want gradients."""

    def __init__(self, kind, *, reverse=False, bias=True, **more):
        case = case_of(kind, torch.float32, bias=bias)
        case = replace(case, **more)
        self.layer = case.module(nn)
        self.weights = [*self.layer.parameters()]
        self.input = case.numbers()
        self.state = case.tensors()
        self.reverse = reverse

    @property
    def leaves(self):
        """What gradients are taken of."""
        return [self.input, *self.state, *self.weights]

    def by_operator(self):
        """Run rnnkit's operator: output and state."""
        output, state = run_operator(
            self.layer.mode, self.weights, self.input, self.state,
            bias=self.layer.bias, reverse=self.reverse,
        )  # fmt: skip
        return [output, *state]

    def by_torch(self):
        """Run torch's kernel."""
        input = self.input.flip(0) if self.reverse else self.input
        kernel = getattr(torch, self.layer.mode.lower())
        options = (self.layer.bias, 1, 0.0, True, False, False)
        output, *ends = kernel(input, state_of(self.state), self.weights, *options)
        return [output.flip(0) if self.reverse else output, *ends]

    def arguments(self, train):
        """What the operator itself takes."""
        h, c = (*self.state, None)[:2]
        return (
            self.input, h, c, self.weights, self.layer.mode, self.layer.bias, self.reverse,
            None, train,
        )  # fmt: skip


def check(one, which=(0, 1, 2), memory=None, leaves=None, *, exact=True):
    """Compare the operator with torch's kernel: results to the bit, gradients as close as it gets.

    A GRU that is trained keeps its gates, which torch's kernel does not: it is written out.
    """
    results = one.by_operator(), one.by_torch()
    way = (memory or {}).get("gradients")
    leaves = leaves or one.leaves

    # Of weights that are not in one piece, torch's kernel has other last bits without gradients.
    exact = exact and not memory and one.layer.mode != "GRU"
    exactly = {"rtol": 0.0, "atol": 0.0} if exact else {}
    assert_close(*results, **exactly)
    found, expected = (
        gradients([each[n] for n in which if n < len(each)], leaves, way) for each in results
    )
    assert_close(found, expected)
    # An operator returns no tensor twice, as oneDNN does the gradient of both biases.
    places = [gradient.data_ptr() for gradient in found if gradient.numel()]
    assert len({*places}) == len(places)


@each_kind
@given(
    data=st.data(), memory=memories, seq=st.integers(1, 6), batch=st.integers(0, 4),
    dtype=st.sampled_from([torch.float32, torch.float64]), bias=st.booleans(), reverse=st.booleans(),
)  # fmt: skip
def test_torchs_numbers(kind, data, memory, **drawn):
    """Whatever the call and part of the results, they and their gradients are those of torch's kernel."""
    which = data.draw(st.sampled_from([(0,), (1,), (2,), (0, 1), (0, 1, 2)]))
    one = Call(kind, memory=memory, **drawn)
    # The c of an LSTM is result 2; the others end with h.
    check(one, [place for place in which if place <= len(one.state)] or [0], memory)
    # A compiler takes this for granted.
    assert all(result.is_contiguous() for result in one.by_operator())


@each_kind
def test_without_onednn(kind, monkeypatch):
    """A torch without oneDNN's private kernels, or with oneDNN switched off, has other ways."""
    one = Call(kind)
    with without_onednn():
        check(one)
    for name in ("ONEDNN", "ONEDNN_BACKWARD"):
        with monkeypatch.context() as patch:
            patch.setattr(single, name, None)
            check(one, exact=False)


@each_kind
def test_frozen_and_tied_weights(kind):
    """A frozen weight gets no gradient, and one that stands twice gets the sum of both."""
    one = Call(kind)
    one.weights[0].requires_grad_(False)
    one.weights[3] = one.weights[2]

    check(one, leaves=[one.input, *one.state, *one.weights[1:3]])

    assert one.weights[0].grad is None


@each_kind
@pytest.mark.parametrize("lowered", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("by_autocast", [False, True])
def test_half_precision(kind, lowered, by_autocast):
    """Each result has torch's dtype and numbers, without oneDNN's LSTM on any CPU, and its gradient."""
    one = Call(kind, dtype=torch.float32 if by_autocast else lowered)
    with without_onednn():
        with torch.autocast("cpu", dtype=lowered, enabled=by_autocast):
            expected = one.by_torch()
            found = one.by_operator()
        assert_same(expected, found)
        tolerance = 0.02 if by_autocast else 0
        derived = (gradients(results, one.leaves) for results in (found, expected))
        assert_close(*derived, rtol=tolerance, atol=tolerance)


@each_kind
@pytest.mark.parametrize(
    ("lowered", "of_state"),
    [(None, torch.float32), (torch.bfloat16, torch.float32), (torch.bfloat16, torch.bfloat16)],
)
def test_shapes_without_numbers(kind, lowered, of_state):
    """Where no number is computed results have torch's shapes and dtypes, and gradients those of leaves."""
    one = Call(kind)
    one.state = tuple(tensor.detach().to(of_state).requires_grad_() for tensor in one.state)
    with (
        without_onednn(),
        torch.autocast("cpu", dtype=lowered, enabled=lowered is not None),
    ):
        expected = one.by_torch()
        with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
            found = one.by_operator()
            derived = gradients(found, one.leaves)

    for actual, wanted in ((found, expected), (derived, one.leaves)):
        assert [(t.shape, t.dtype) for t in actual] == [(t.shape, t.dtype) for t in wanted]


@each_kind
def test_no_gradient_is_asked_for(kind):
    """Without gradients nothing is saved, and the results are the same."""
    one = Call(kind)
    with torch.no_grad():
        expected = one.by_torch()
        found = one.by_operator()
        left = torch.ops.rnnkit.layer(*one.arguments(train=False))[3]

    assert_same(expected, found)
    assert not any(result.requires_grad for result in found)
    assert left.untyped_storage().nbytes() == 0


CHECKED = [
    {"kind": "LSTM"}, {"kind": "LSTM", "bias": False, "reverse": True},
    {"kind": "GRU"}, {"kind": "RNN", "bias": False}, {"kind": "RNN relu", "reverse": True},
    {"kind": "LSTM", "dtype": torch.float64}, {"kind": "LSTM proj"},
    {"kind": "GRU", "batch": 0}, {"kind": "LSTM", "seq": 1, "batch": 1, "dtype": torch.float64},
]  # fmt: skip


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("kind", CHECKED, ids=lambda kind: "-".join(map(str, kind.values())))
def test_torchs_own_check_of_operators(kind):
    """Schema, registration, shapes without numbers and tracing: ``opcheck`` finds nothing."""
    opcheck(torch.ops.rnnkit.layer.default, Call(**kind).arguments(train=True))


def into_a_larger_buffer(tensor: Tensor) -> Tensor:
    """A copy whose storage goes on behind its end."""
    return torch.cat([tensor.detach().flatten(), tensor.new_zeros(64)])[:-64].view(tensor.shape)


@each_kind
@pytest.mark.parametrize("pack", [torch.clone, into_a_larger_buffer])
def test_hooks_may_copy_what_is_saved(kind, pack):
    """Gradients stay the same where hooks copy the saved tensors, oneDNN's workspace among them."""
    one = Call(kind, seq=10)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found = one.by_operator()

    assert_close(gradients(found, one.leaves), gradients(one.by_torch(), one.leaves))


@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no such LSTM on this CPU"
)
def test_onednns_lstm_under_autocast():
    """The LSTM of oneDNN in bfloat16 gives torch's numbers, in its dtypes."""
    one = Call("LSTM")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = one.by_torch()
        found = one.by_operator()

    assert_same(expected, found)
    assert_close(gradients(found, one.leaves), gradients(expected, one.leaves))


def test_loaded_again():
    """Whoever loads the operators again in a process, as a reload does, finds those of the first load."""
    again = importlib.reload(operators)
    importlib.reload(reset_operator)
    one = Call("GRU")

    assert_close(one.by_operator(), one.by_torch())
    assert again.LIBRARY is torch.ops.rnnkit.library
