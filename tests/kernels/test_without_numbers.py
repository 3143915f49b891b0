"""What a compiler sees of the operators: results and gradients of the shapes and dtypes of numbers."""

import pytest
import torch

from rnnkit._kernels.compiled.resets import run_reset_operators
from rnnkit._kernels.stack import Stack
from rnnkit._modules.unroll import as_layer, direction_of
from tests.compiles import compiles
from tests.kernels import test_reset_op as resets
from tests.kernels.test_custom_op import call, modes
from tests.strategies import gradients

pytestmark = pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN:UserWarning")


@pytest.mark.covering(3)
@pytest.mark.parametrize("lowered", [None, torch.bfloat16])
@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("halved", [False, True])
@modes
def test_shapes_without_numbers(
    mode: str, lowered: torch.dtype | None, projected: bool, halved: bool
) -> None:
    """Where no number is computed each result has the shape and dtype that torch gives it."""
    if (projected and mode != "LSTM") or (halved and lowered is None):
        return
    one = call(mode, projected=projected)
    if halved:
        one = one._replace(state=tuple(tensor.detach().to(lowered) for tensor in one.state))
    with (
        torch.backends.mkldnn.flags(enabled=False),
        torch.autocast("cpu", dtype=lowered, enabled=lowered is not None),
    ):
        expected = one.by_torch()
        with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
            found = one.by_operator()

    assert [(t.shape, t.dtype) for t in found] == [(t.shape, t.dtype) for t in expected]


@pytest.mark.parametrize("projected", [False, True])
@modes
def test_gradients_without_numbers(mode: str, projected: bool) -> None:
    """Where no number is computed each gradient has the shape and dtype of what it is of."""
    if projected and mode != "LSTM":
        return
    one = call(mode, projected=projected)
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        found = gradients(one.by_operator(), one.leaves)

    assert [(t.shape, t.dtype) for t in found] == [(t.shape, t.dtype) for t in one.leaves]


@compiles
@resets.kinds
def test_resets_without_numbers(kind: str) -> None:
    """Where no number is computed results and gradients have the shapes and dtypes of numbers."""
    cell = resets.KINDS[kind](resets.INPUT, resets.HIDDEN, dtype=torch.float64)
    x = torch.randn(resets.SEQ, resets.BATCH, resets.INPUT, dtype=torch.float64).requires_grad_()
    state = as_layer(resets.random_state(cell))
    stack = Stack([[direction_of(cell, reverse=False)]])
    leaves = [x, *cell.parameters()]

    def run() -> list[tuple[torch.Size, torch.dtype]]:
        output, ends = run_reset_operators(stack, x, state, None, resets.mask(), None)
        found = [output, *ends, *gradients([output, *ends], leaves)]
        return [(t.shape, t.dtype) for t in found]

    expected = run()
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        assert run() == expected
