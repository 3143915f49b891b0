"""Gradients of what torch compiles of a loop: those of eager mode, at each length."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

import rnnkit
from tests.compiles import by_inductor, count_afresh, graphs_made, layers_in_graphs
from tests.torch.models import HIDDEN, WIDTH, Loops, Model, layer_of
from tests.torch.tools.tools import marks

pytestmark = marks

no_slices = pytest.mark.needs_torch("2.12", "Dynamo of torch 2.8 takes no slice of a named tuple")
#: The first is compiled as it is; at the second Dynamo leaves the number of steps open.
LENGTHS = (2, 3)
BATCH = 5


class Headed(nn.Module):
    """A recurrent part below a linear layer, which reads its output, and all states or a layer's.

    Which memory inductor uses again depends on the graph: with a layer below, fewer were wrong.
    """

    def __init__(self, core):
        super().__init__()
        self.core = core
        self.head = nn.Linear(HIDDEN, 2)

    def forward(self, x, **given):
        """Run both."""
        output, states = self.core(x, **given)
        for state in pytree.tree_leaves(states):
            if state.dim() == output.dim():
                output = output + state.mean()
        return self.head(output)


class Case(NamedTuple):
    """A recurrent part, and how it is called and compiled."""

    core: Callable[[], nn.Module]
    resets: bool = False
    lowered: bool = False
    dynamic: bool | None = None


def loops(name, count, **options):
    """Make so many cells of a class, one above the other."""
    kind = getattr(rnnkit, name)
    return Loops(*(kind(HIDDEN if k else WIDTH, HIDDEN) for k in range(count)), **options)


CASES = {
    "cell, resets, autocast": Case(
        lambda: loops("GRUCell", 1), resets=True, lowered=True
    ),
    "layers, resets, autocast": Case(
        lambda: layer_of("GRU", num_layers=2), resets=True, lowered=True
    ),
    "cells, all states": Case(lambda: loops("LSTMCell", 2, return_states=True)),
    "cells, not fused, any length": Case(
        lambda: loops("LSTMCell", 2, fused=False), dynamic=True
    ),
    "cells, all states, autocast, any length": Case(
        lambda: loops("RNNCell", 2, return_states=True), lowered=True, dynamic=True
    ),
    "cell, not fused, resets, autocast, any length": Case(
        lambda: loops("GRUCell", 1, fused=False), resets=True, lowered=True, dynamic=True
    ),
}  # fmt: skip


def farthest(found: list[Any], expected: list[Any]) -> float:
    """How far a gradient is from the right one, by their norms, where that is most."""
    pairs = zip(found, expected, strict=True)
    return max(float((one - right).norm() / right.norm()) for one, right in pairs)


def slopes(model, run, x, given, case):
    """Gradients of a training step."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=case.lowered):
        scores = run(x, **given)
    scores.float().square().sum().backward()
    return [weight.grad for weight in model.parameters()]


@by_inductor
@no_slices
@pytest.mark.parametrize("name", CASES)
def test_compiled(name):
    """A compiled training step has the gradients of an eager one, at each length."""
    case = CASES[name]
    off = []
    model = Headed(case.core())
    compiled = torch.compile(model, fullgraph=True, dynamic=case.dynamic)
    for steps in LENGTHS:
        x = torch.randn(steps, BATCH, WIDTH)
        given = {"reset": torch.rand(steps, BATCH) < 0.3} if case.resets else {}
        with layers_in_graphs():
            found, expected = (slopes(model, run, x, given, case) for run in (compiled, model))
        off.append(farthest(found, expected))

    # Compiled, what lies between two operations is not rounded to a half each time.
    assert max(off) < (0.03 if case.lowered else 1e-4), off


@by_inductor
@no_slices
def test_compiled_without_gradients():
    """Where nobody asks for gradients, a compiled loop is as right, in a graph for each length."""
    model = Model(loops("LSTMCell", 1, return_states=True))
    compiled = torch.compile(model, fullgraph=True, dynamic=True)
    count_afresh()
    for steps in LENGTHS:
        x = torch.randn(steps, BATCH, WIDTH)
        mask = torch.rand(steps, BATCH) < 0.3
        lengths = torch.tensor([steps, 1, 0, 1, 2])
        with torch.no_grad():
            found = compiled(x, reset=mask, lengths=lengths)
            expected = model(x, reset=mask, lengths=lengths)
        torch.testing.assert_close(found, expected)
    assert graphs_made() == len(set(LENGTHS))
