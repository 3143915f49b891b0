"""Samples that start again in compiled code: one whole graph, which does not grow with the steps."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.strategies import tensors_of
from tests.torch.side_by_side import HIDDEN, INPUT
from tests.torch.test_whole_graphs import Parent, Unrolled, _switched_on, trained
from tests.torch.test_whole_graphs import pytestmark as whole

__all__ = ["_switched_on"]  # a fixture

pytestmark = whole

BATCH = 4
CORES: dict[str, Any] = {
    "a layer": lambda name: getattr(rnnkit, name)(INPUT, HIDDEN, 2, bidirectional=True),
    "Recurrent": lambda name: rnnkit.Recurrent(
        getattr(rnnkit, f"{name}Cell")(INPUT, HIDDEN),
        reverse_cells=getattr(rnnkit, f"{name}Cell")(INPUT, HIDDEN),
    ),
    "unroll": lambda name: Unrolled(getattr(rnnkit, f"{name}Cell")(INPUT, HIDDEN)),
}


def mask(steps: int) -> Tensor:
    """Where samples start again: at many steps, the first among them."""
    reset = torch.rand(steps, BATCH, generator=torch.Generator().manual_seed(1)) < 0.3
    reset[0, 1] = True
    return reset


def model_of(kind: str, name: str) -> nn.Module:
    """A recurrent part between two linear ones."""
    return Parent(CORES[kind](name), HIDDEN * (1 if kind == "unroll" else 2))


@pytest.mark.parametrize(
    ("kind", "name"), [("a layer", "LSTM"), ("unroll", "GRU"), ("Recurrent", "RNN")]
)
def test_a_graph_does_not_grow(kind: str, name: str) -> None:
    """It has as many nodes for three steps as for fifty."""
    model, nodes = model_of(kind, name), []

    def count(graph: torch.fx.GraphModule, _: Any) -> Any:
        nodes.append(len(graph.graph.nodes))
        return graph.forward

    for steps in (3, 50):
        torch._dynamo.reset()
        x, lengths = torch.randn(steps, BATCH, INPUT), torch.tensor([steps, 0, steps - 1, 1])
        compiled = torch.compile(model, fullgraph=True, backend=count, dynamic=False)
        compiled(x, reset=mask(steps), lengths=lengths)

    assert nodes[0] == nodes[1]


@pytest.mark.parametrize("name", ["GRU"])
def test_one_graph_for_all_sizes(name: str) -> None:
    """Under aot_eager two sizes make two graphs, however many follow."""
    model, graphs = model_of("a layer", name), []

    def count(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(graph)
        return torch._dynamo.backends.debugging.aot_eager(graph, inputs)

    compiled = torch.compile(model, fullgraph=True, backend=count)
    for steps in (5, 9, 8, 12):
        x, reset = torch.randn(steps, BATCH, INPUT), mask(steps)
        torch.testing.assert_close(
            trained(model, compiled, x, reset=reset), trained(model, model, x, reset=reset),
            rtol=1e-4, atol=1e-4,
        )  # fmt: skip

    assert len(graphs) == 2


class Learned(rnnkit.LSTM):
    """A layer whose first state is a parameter."""

    def __init__(self, *sizes: int) -> None:
        """Make the parameter."""
        super().__init__(*sizes)
        self.first = nn.Parameter(torch.randn(self.hidden_size))

    def initial_state(self, batch_size: int | None) -> Any:
        """Begin each sample alike."""
        assert batch_size is not None
        state = self.first.expand(1, batch_size, -1)
        return rnnkit.LSTMState(state, state.tanh())


def test_a_first_state_that_is_learned() -> None:
    """What samples start again from gets its gradient."""
    model, x = Parent(Learned(INPUT, HIDDEN), HIDDEN), torch.randn(6, BATCH, INPUT)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")

    torch.testing.assert_close(
        trained(model, compiled, x, reset=mask(6)), trained(model, model, x, reset=mask(6))
    )


@pytest.mark.parametrize("name", ["LSTM"])
def test_under_autocast_the_loop_is_compiled(name: str) -> None:
    """There the operator steps aside: the graph has a loop, and is as right."""
    model, x = model_of("unroll", name), torch.randn(6, BATCH, INPUT)
    with torch.backends.mkldnn.flags(enabled=False), torch.autocast("cpu", dtype=torch.bfloat16):
        found = torch.compile(model, fullgraph=True, backend="aot_eager")(x, reset=mask(6))
        expected = model(x, reset=mask(6))

    for one, other in zip(tensors_of(found), tensors_of(expected), strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=0.05, atol=0.05)


def test_a_mask_of_another_shape_is_refused() -> None:
    """A compiled call is refused as an eager one is."""
    model, x = model_of("a layer", "GRU"), torch.randn(6, BATCH, INPUT)
    with pytest.raises(rnnkit.RnnkitError) as eager:
        model(x, reset=mask(6).t())
    with pytest.raises(rnnkit.RnnkitError) as compiled:
        torch.compile(model, backend="eager")(x, reset=mask(6).t())

    assert str(compiled.value) == str(eager.value)
