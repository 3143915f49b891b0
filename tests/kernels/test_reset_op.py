"""The operator of a layer whose samples start again: what the loop over steps gives, and no surprise."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

import rnnkit
from rnnkit._kernels.compiled.resets import run_reset_operators
from rnnkit._kernels.lengths import Lengths
from rnnkit._modules.unroll import _as_layer, _stack_of
from tests.compiles import compiles
from tests.strategies import gradients, laid_out, memories, tensors_of

SEQ, BATCH, INPUT, HIDDEN = 6, 4, 3, 5
LENGTHS = [6, 0, 3, 5]
KINDS: dict[str, Any] = {
    "LSTM": rnnkit.LSTMCell,
    "projected": lambda *sizes, **options: rnnkit.ProjectedLSTMCell(*sizes, 2, **options),
    "GRU": rnnkit.GRUCell,
    "RNN": rnnkit.RNNCell,
    "no bias": lambda *sizes, **options: rnnkit.GRUCell(*sizes, bias=False, **options),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def mask() -> Tensor:
    """A mask with a reset at the first step, several at one step, and one beyond a length."""
    reset = torch.rand(SEQ, BATCH, generator=torch.Generator().manual_seed(1)) < 0.4
    reset[0, 2] = reset[5, 2] = True
    return reset


def random_state(cell: Any) -> Any:
    """A state of random numbers, of which gradients are taken."""
    state = cell.initial_state(BATCH)
    return rnnkit.states.to(
        type(state)(torch.randn_like(t).requires_grad_() for t in state)
        if isinstance(state, tuple)
        else torch.randn_like(state).requires_grad_(),
        torch.float64,
    )


def results(output: Tensor, state: Any, leaves: list[Tensor], which: int | None) -> list[Tensor]:
    """Output, state, and the gradients by all of them or by one."""
    found = [output, *tensors_of(state)]
    chosen = found if which is None else [found[which]]
    weights = [torch.linspace(-1, 1, t.numel(), dtype=t.dtype).view(t.shape) for t in chosen]
    grads = torch.autograd.grad(chosen, leaves, weights, allow_unused=True, materialize_grads=True)
    return [*found, *grads]


@pytest.mark.covering(3)
@kinds
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("own_start", [False, True])
@pytest.mark.parametrize("which", [None, 0, 1])
def test_it_is_the_loop(
    kind: str, reverse: bool, lengths: Any, own_start: bool, which: int | None
) -> None:
    """Results and all gradients are those of the loop over steps, whatever the loss is made of."""
    cell = KINDS[kind](INPUT, HIDDEN, dtype=torch.float64)
    x = torch.randn(SEQ, BATCH, INPUT, dtype=torch.float64).requires_grad_()
    hx, first = random_state(cell), random_state(cell)
    if own_start:
        cell.initial_state = lambda _: first
    leaves = [x, *tensors_of(hx), *cell.parameters(), *(tensors_of(first) if own_start else [])]
    each = torch.tensor(lengths) if lengths else None
    counts = None if each is None else Lengths(each, None, SEQ)

    output, ends = run_reset_operators(
        _stack_of(cell, reverse=reverse), x, _as_layer(hx), counts, mask(),
        _as_layer(first) if own_start else None,
    )  # fmt: skip
    expected = rnnkit.unroll(
        cell, x, hx, lengths=lengths, reset=mask(), reverse=reverse, fused=False
    )

    torch.testing.assert_close(
        results(output, [end.squeeze(0) for end in ends], leaves, which),
        results(*expected, leaves, which),
    )


@kinds
@given(memory=memories, reverse=st.booleans())
def test_any_memory(kind: str, memory: dict[str, str], reverse: bool) -> None:
    """However its tensors lie in memory, the results are the same, and in one piece."""
    torch.manual_seed(1)
    cell = KINDS[kind](INPUT, HIDDEN, dtype=torch.float64)
    x = torch.randn(SEQ, BATCH, INPUT, dtype=torch.float64)
    state = [tensor.detach() for tensor in tensors_of(random_state(cell))]
    parts = zip(("input", "lengths", *"hc"), (x, torch.tensor(LENGTHS), *state), strict=False)
    drawn = [laid_out(tensor, memory.get(part, "")) for part, tensor in parts]
    pieces = [tensor.clone(memory_format=torch.contiguous_format) for tensor in drawn]

    def run(x: Tensor, each: Tensor, *hx: Tensor) -> list[Tensor]:
        leaves = [x, *hx, *cell.parameters()]
        for leaf in leaves:
            leaf.requires_grad_()
        output, ends = run_reset_operators(
            _stack_of(cell, reverse=reverse), x, tuple(tensor.unsqueeze(0) for tensor in hx),
            Lengths(each, None, SEQ), mask(), None,
        )  # fmt: skip
        return [output, *ends, *gradients([output, *ends], leaves, memory.get("gradients", ""))]

    found, expected = run(*drawn), run(*pieces)

    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert all(one.is_contiguous() for one in found)


@compiles
@pytest.mark.slow
@kinds
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_torchs_own_check_of_operators(kind: str, lengths: Any) -> None:
    """Schema, registration, shapes without numbers and tracing: ``opcheck`` finds nothing."""
    cell = KINDS[kind](INPUT, HIDDEN, dtype=torch.float64)
    stack = _stack_of(cell, reverse=False)
    (direction,) = stack.directions
    h, c = (*(t.detach().unsqueeze(0) for t in tensors_of(random_state(cell))), None)[:2]
    x = torch.randn(SEQ, BATCH, INPUT, dtype=torch.float64).requires_grad_()
    each = None if lengths is None else torch.tensor(lengths)
    arguments = (
        x, h.requires_grad_(), c, direction.weights, None, None, mask(), each,
        direction.mode, direction.bias, direction.reverse,
    )  # fmt: skip

    opcheck(torch.ops.rnnkit.resets.default, arguments)
