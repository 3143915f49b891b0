"""The operator of a layer whose samples start again: what the loop over steps gives, and no surprise."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.library import opcheck

import rnnkit
from rnnkit._base.state import state_of
from rnnkit._kernels.compiled.reset_operator import run_reset_operators
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.stack import Stack
from rnnkit._modules.cell_base import direction_of
from tests.compiles import compiles
from tests.kernels.paths import LENGTHS, SEQ, case_of, each_kind, made, mask
from tests.strategies import gradients, memories, tensors_of


def stack_of(cell, *, reverse=False):
    """A layer in one direction, of this cell."""
    return Stack([[direction_of(cell, reverse=reverse)]])


@each_kind
@given(
    data=st.data(), memory=memories, is_own=st.booleans(), reverse=st.booleans(), bias=st.booleans()
)
def test_it_is_the_loop(kind, data, memory, *, is_own, reverse, bias):
    """Results and all gradients are those of the loop over steps, whatever the loss is made of.

    However its tensors lie in memory, results are in one piece.
    """
    which = data.draw(st.sampled_from([(0,), (1,), (0, 1)]))
    case = replace(case_of(kind, bias=bias), memory=memory)
    (cell,) = case.module(rnnkit).cells()
    x = case.numbers()
    hx = case.tensors()
    own = replace(case, seed=1).tensors()
    lengths = case.laid_out("lengths", torch.tensor(LENGTHS))
    lengths = data.draw(st.sampled_from([None, lengths]))
    first = own if is_own else [torch.zeros_like(tensor) for tensor in own]
    cell.initial_state = lambda _: state_of([tensor[0] for tensor in first])
    leaves = [x, *hx, *cell.parameters(), *(own if is_own else [])]

    def results(output, ends):
        found = [output, *ends]
        chosen = [found[place] for place in which]
        return [*found, *gradients(chosen, leaves, memory.get("gradients"))]

    output, ends = run_reset_operators(
        stack_of(cell, reverse=reverse), x, hx,
        None if lengths is None else Lengths(lengths, None, SEQ), mask(),
        own if is_own else None,
    )  # fmt: skip
    expected, state = rnnkit.unroll(
        cell, x, state_of([tensor[0] for tensor in hx]),
        lengths=lengths, reset=mask(), reverse=reverse, fused=False,
    )  # fmt: skip

    found = results(output, [end.squeeze(0) for end in ends])
    torch.testing.assert_close(found, results(expected, tensors_of(state)))
    assert all(one.is_contiguous() for one in found)


@compiles
@pytest.mark.slow
@each_kind
@pytest.mark.parametrize("lengths", [None, torch.tensor(LENGTHS)])
def test_torchs_own_check_of_operators(kind, lengths):
    """Schema, registration, shapes without numbers and tracing: ``opcheck`` finds nothing."""
    case, layer, x = made(kind, bias=lengths is None)
    h, c = (*case.tensors(), None)[:2]
    (direction,) = stack_of(*layer.cells()).directions
    arguments = (
        x, h, c if c is None else c.detach(), direction.weights, None, None, mask(), lengths,
        direction.recurrence.name, direction.bias, direction.reverse,
    )  # fmt: skip

    opcheck(torch.ops.rnnkit.resets.default, arguments)


@compiles
@each_kind
def test_resets_without_numbers(kind):
    """Where no number is computed results and gradients have the shapes and dtypes of numbers."""
    case, layer, x = made(kind)
    state = case.tensors()
    stack = stack_of(*layer.cells())

    def run():
        output, ends = run_reset_operators(stack, x, state, None, mask(), None)
        found = [output, *ends, *gradients([output, *ends], [x, *layer.parameters()])]
        return [(t.shape, t.dtype) for t in found]

    expected = run()
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        assert run() == expected
