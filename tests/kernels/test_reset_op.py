"""The operator of a layer whose samples start again: what the loop over steps gives, and no surprise."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

import rnnkit
from rnnkit._base.state import state_of
from rnnkit._kernels.compiled.reset_operator import run_reset_operators
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.stack import Stack
from rnnkit._modules.cell_base import direction_of
from rnnkit._modules.unroll_run import as_layer
from tests.compiles import compiles
from tests.strategies import gradients, laid_out, memories, tensors_of

SEQ = 6
BATCH = 4
INPUT = 3
HIDDEN = 5
LENGTHS = [6, 0, 3, 5]
KINDS = {
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
    zeros = tensors_of(cell.initial_state(BATCH))
    return state_of([torch.randn_like(tensor).requires_grad_() for tensor in zeros])


@kinds
@given(data=st.data())
def test_it_is_the_loop(kind, data):
    """Results and all gradients are those of the loop over steps, whatever the loss is made of.

    However its tensors lie in memory, results are in one piece.
    """
    memory, reverse, own_start = data.draw(memories), *(data.draw(st.booleans()) for _ in range(2))
    which = data.draw(st.sampled_from([(0,), (1,), (0, 1)]))
    torch.manual_seed(1)
    cell = KINDS[kind](INPUT, HIDDEN, dtype=torch.float64)
    states = [tensors_of(random_state(cell)) for _ in range(2)]
    x, hx, first = (
        [laid_out(t.detach(), memory.get(part, "")).requires_grad_() for part, t in parts]
        for parts in (
            [("input", torch.randn(SEQ, BATCH, INPUT, dtype=torch.float64))],
            *(zip("hc", state, strict=False) for state in states),
        )
    )
    each = laid_out(torch.tensor(LENGTHS), memory.get("lengths", ""))
    each = each if data.draw(st.booleans()) else None
    start = first if own_start else [torch.zeros_like(tensor) for tensor in first]
    cell.initial_state = lambda _: state_of(start)
    leaves = [*x, *hx, *cell.parameters(), *(first if own_start else [])]

    def results(output: Tensor, ends: list[Tensor]) -> list[Tensor]:
        found = [output, *ends]
        chosen = [found[place] for place in which]
        return [*found, *gradients(chosen, leaves, memory.get("gradients", ""))]

    output, ends = run_reset_operators(
        Stack([[direction_of(cell, reverse=reverse)]]), x[0], as_layer(state_of(hx)),
        None if each is None else Lengths(each, None, SEQ), mask(),
        as_layer(state_of(first)) if own_start else None,
    )  # fmt: skip
    lengths = None if each is None else each.tolist()
    expected, state = rnnkit.unroll(
        cell, x[0], state_of(hx), lengths=lengths, reset=mask(), reverse=reverse, fused=False
    )

    found = results(output, [end.squeeze(0) for end in ends])
    torch.testing.assert_close(found, results(expected, tensors_of(state)))
    assert all(one.is_contiguous() for one in found)


@compiles
@pytest.mark.slow
@kinds
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_torchs_own_check_of_operators(kind, lengths):
    """Schema, registration, shapes without numbers and tracing: ``opcheck`` finds nothing."""
    cell = KINDS[kind](INPUT, HIDDEN, dtype=torch.float64)
    stack = Stack([[direction_of(cell, reverse=False)]])
    (direction,) = stack.directions
    h, c = (*(t.detach().unsqueeze(0) for t in tensors_of(random_state(cell))), None)[:2]
    x = torch.randn(SEQ, BATCH, INPUT, dtype=torch.float64).requires_grad_()
    each = None if lengths is None else torch.tensor(lengths)
    arguments = (
        x, h.requires_grad_(), c, direction.weights, None, None, mask(), each,
        direction.recurrence.name, direction.bias, direction.reverse,
    )  # fmt: skip

    opcheck(torch.ops.rnnkit.resets.default, arguments)


@compiles
@kinds
def test_resets_without_numbers(kind):
    """Where no number is computed results and gradients have the shapes and dtypes of numbers."""
    cell = KINDS[kind](INPUT, HIDDEN, dtype=torch.float64)
    x = torch.randn(SEQ, BATCH, INPUT, dtype=torch.float64).requires_grad_()
    state = as_layer(random_state(cell))
    stack = Stack([[direction_of(cell, reverse=False)]])
    leaves = [x, *cell.parameters()]

    def run() -> list[tuple[torch.Size, torch.dtype]]:
        output, ends = run_reset_operators(stack, x, state, None, mask(), None)
        found = [output, *ends, *gradients([output, *ends], leaves)]
        return [(t.shape, t.dtype) for t in found]

    expected = run()
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        assert run() == expected
