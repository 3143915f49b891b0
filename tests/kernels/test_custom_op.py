"""The operator of one layer in one direction: torch's numbers, torch's gradients, no surprise for a compiler."""

import importlib
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck
from torch.testing import assert_close

from rnnkit._kernels.compiled import direction as single
from rnnkit._kernels.compiled import operators, reset_operator
from rnnkit._kernels.compiled.operators import run_operator
from tests.compiles import compiles
from tests.covering import covers
from tests.strategies import assert_same, gradients, laid_out, memories

# torch says so where oneDNN is switched off.
pytestmark = pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN:UserWarning")

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
modes = pytest.mark.parametrize("mode", GATES)
#: No two axes are of one size.
STEPS = 5
BATCH = 2
INPUT = 3
HIDDEN = 7
PROJECTED = 4


class Call(NamedTuple):
    """One layer in one direction, its input and its first state."""

    mode: str
    weights: list[Tensor]
    input: Tensor
    state: tuple[Tensor, ...]
    bias: bool
    reverse: bool

    @property
    def leaves(self) -> list[Tensor]:
        """What gradients are taken of."""
        return [self.input, *self.state, *self.weights]

    def by_operator(self) -> list[Tensor]:
        """Run rnnkit's operator: output and state."""
        output, state = run_operator(
            self.mode, self.weights, self.input, self.state, bias=self.bias, reverse=self.reverse
        )
        return [output, *state]

    def by_torch(self) -> list[Tensor]:
        """Run torch's kernel."""
        input = self.input.flip(0) if self.reverse else self.input
        kernel = getattr(torch, self.mode.lower())
        hx = self.state if self.mode == "LSTM" else self.state[0]
        output, *ends = kernel(input, hx, self.weights, self.bias, 1, 0.0, True, False, False)
        return [output.flip(0) if self.reverse else output, *ends]

    def arguments(self, train: bool) -> tuple[Any, ...]:
        """What the operator itself takes."""
        h, c = (*self.state, None)[:2]
        return (
            self.input, h, c, self.weights, self.mode, self.bias, self.reverse, None, train,
        )  # fmt: skip


def call(
    mode: str,
    steps: int = STEPS,
    batch: int = BATCH,
    *,
    bias: bool = True,
    reverse: bool = False,
    dtype: torch.dtype = torch.float32,
    projected: bool = False,
    memory: dict[str, str] | None = None,
) -> Call:
    """A call with random numbers, each tensor a leaf that requires a gradient."""
    ways = memory or {}
    rows = GATES[mode] * HIDDEN
    output = PROJECTED if projected else HIDDEN
    shapes = [(rows, INPUT), (rows, output), *([(rows,), (rows,)] if bias else [])]
    if projected:
        shapes.append((PROJECTED, HIDDEN))
    states = [(1, batch, output), *([(1, batch, HIDDEN)] if mode == "LSTM" else [])]

    def leaf(part: str, *shape: int) -> Tensor:
        return laid_out(torch.randn(*shape, dtype=dtype), ways.get(part, "")).requires_grad_()

    weights = [leaf("weights", *shape) for shape in shapes]
    state = tuple(leaf(part, *shape) for part, shape in zip("hc", states, strict=False))
    return Call(mode, weights, leaf("input", steps, batch, INPUT), state, bias, reverse)


def check(
    one: Call,
    which: Any = (0, 1, 2),
    memory: dict[str, str] | None = None,
    leaves: list[Tensor] | None = None,
    *,
    exact: bool = True,
):
    """Compare the operator with torch's kernel: results to the bit, gradients as close as it gets.

    A GRU that is trained keeps its gates, which torch's kernel does not: it is written out.
    """
    results = one.by_operator(), one.by_torch()
    way, leaves = (memory or {}).get("gradients", ""), leaves or one.leaves

    # Of weights that are not in one piece, torch's kernel has other last bits without gradients.
    exact = exact and not memory and one.mode != "GRU"
    exactly = {"rtol": 0.0, "atol": 0.0} if exact else {}
    assert_close(*results, **exactly)
    found, expected = (
        gradients([each[n] for n in which if n < len(each)], leaves, way) for each in results
    )
    assert_close(found, expected)
    # An operator returns no tensor twice, as oneDNN does the gradient of both biases.
    places = [gradient.data_ptr() for gradient in found if gradient.numel()]
    assert len({*places}) == len(places)


@modes
@given(data=st.data())
def test_torchs_numbers(mode, data):
    """Whatever the call and part of the results, they and their gradients are those of torch's kernel."""
    steps = data.draw(st.integers(1, 6))
    batch = data.draw(st.integers(0, 4))
    bias, reverse, projected = (data.draw(st.booleans()) for _ in range(3))
    memory = data.draw(memories)
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    which = data.draw(st.sampled_from([(0,), (1,), (2,), (0, 1), (0, 1, 2)]))
    torch.manual_seed(steps)
    one = call(
        mode, steps, batch, bias=bias, reverse=reverse, dtype=dtype, memory=memory,
        projected=projected and mode == "LSTM",
    )  # fmt: skip
    # The c of an LSTM is result 2; the others end with h.
    check(one, [place for place in which if place <= len(one.state)] or [0], memory)
    # A compiler takes this for granted.
    assert all(result.is_contiguous() for result in one.by_operator())


@modes
def test_without_onednn(mode, monkeypatch):
    """A torch without oneDNN's private kernels, or with oneDNN switched off, has other ways."""
    one = call(mode)
    with torch.backends.mkldnn.flags(enabled=False):
        check(one)
    monkeypatch.setattr(single, "ONEDNN_BACKWARD", None)
    check(one, exact=False)


@modes
def test_frozen_and_tied_weights(mode):
    """A frozen weight gets no gradient, and one that stands twice gets the sum of both."""
    one = call(mode)
    one.weights[0].requires_grad_(requires_grad=False)
    one = one._replace(weights=[*one.weights[:3], one.weights[2]])

    check(one, leaves=[one.input, *one.state, *one.weights[1:3]])

    assert one.weights[0].grad is None


@modes
@pytest.mark.parametrize("lowered", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("by_autocast", [False, True])
def test_half_precision(mode, lowered, by_autocast):
    """Each result has torch's dtype and numbers, without oneDNN's LSTM on any CPU, and its gradient."""
    one = call(mode, dtype=torch.float32 if by_autocast else lowered)
    with torch.backends.mkldnn.flags(enabled=False):
        with torch.autocast("cpu", dtype=lowered, enabled=by_autocast):
            expected = one.by_torch()
            found = one.by_operator()
        assert_same(expected, found)
        tolerance = 0.02 if by_autocast else 0
        derived = (gradients(results, one.leaves) for results in (found, expected))
        assert_close(*derived, rtol=tolerance, atol=tolerance)


@covers(2, mode=GATES, projected=[False, True], lowered=[None, torch.bfloat16])
def test_shapes_without_numbers(mode, projected, lowered):
    """Where no number is computed results have torch's shapes and dtypes, and gradients those of leaves."""
    one = call(mode, projected=projected and mode == "LSTM")
    halved = tuple(tensor.detach().to(lowered) for tensor in one.state)
    for each in (one, *([one._replace(state=halved)] if lowered else [])):
        with (
            torch.backends.mkldnn.flags(enabled=False),
            torch.autocast("cpu", dtype=lowered, enabled=lowered is not None),
        ):
            expected = each.by_torch()
            with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
                found = each.by_operator()
                derived = one.leaves if lowered else gradients(found, one.leaves)

        for actual, wanted in ((found, expected), (derived, one.leaves)):
            assert [(t.shape, t.dtype) for t in actual] == [(t.shape, t.dtype) for t in wanted]


@modes
def test_no_gradient_is_asked_for(mode):
    """Without gradients nothing is saved, and the results are the same."""
    one = call(mode)
    with torch.no_grad():
        expected = one.by_torch()
        found = one.by_operator()
        left = torch.ops.rnnkit.layer(*one.arguments(train=False))[3]

    assert_same(expected, found)
    assert not any(result.requires_grad for result in found)
    assert left.untyped_storage().nbytes() == 0


CHECKED = [
    {"mode": "LSTM"}, {"mode": "LSTM", "bias": False, "reverse": True},
    {"mode": "GRU"}, {"mode": "RNN_TANH", "bias": False}, {"mode": "RNN_RELU", "reverse": True},
    {"mode": "LSTM", "dtype": torch.float64}, {"mode": "LSTM", "projected": True},
    {"mode": "GRU", "batch": 0}, {"mode": "LSTM", "steps": 1, "batch": 1, "dtype": torch.float64},
]  # fmt: skip


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("kind", CHECKED, ids=lambda kind: "-".join(map(str, kind.values())))
def test_torchs_own_check_of_operators(kind):
    """Schema, registration, shapes without numbers and tracing: ``opcheck`` finds nothing."""
    opcheck(torch.ops.rnnkit.layer.default, call(**kind).arguments(train=True))


def into_a_larger_buffer(tensor: Tensor) -> Tensor:
    """A copy whose storage goes on behind its end."""
    return torch.cat([tensor.detach().flatten(), tensor.new_zeros(64)])[:-64].view(tensor.shape)


@modes
@pytest.mark.parametrize("pack", [torch.clone, into_a_larger_buffer])
def test_hooks_may_copy_what_is_saved(mode, pack):
    """Gradients stay the same where hooks copy the saved tensors, oneDNN's workspace among them."""
    one = call(mode, steps=10, batch=4)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found = one.by_operator()

    assert_close(gradients(found, one.leaves), gradients(one.by_torch(), one.leaves))


@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no such LSTM on this CPU"
)
def test_onednns_lstm_under_autocast():
    """The LSTM of oneDNN in bfloat16 gives torch's numbers, in its dtypes."""
    one = call("LSTM")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = one.by_torch()
        found = one.by_operator()

    assert_same(expected, found)
    assert_close(gradients(found, one.leaves), gradients(expected, one.leaves))


def test_loaded_again():
    """Whoever loads the operators again in a process, as a reload does, finds those of the first load."""
    again = importlib.reload(operators)
    importlib.reload(reset_operator)
    one = call("GRU")

    assert_close(one.by_operator(), one.by_torch())
    assert again.LIBRARY is torch.ops.rnnkit.library
