"""Sequences of any length: exported and compiled with the number of steps left open."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

import rnnkit
from rnnkit import LSTMState
from tests.torch.side_by_side import OLD_STRICT
from tests.torch.test_transforms import Torch, Unrolled, sequences
from tests.torch.test_transforms import pytestmark as transforms

pytestmark = [pytest.mark.slow, *transforms]

STEPS, SAMPLES = Dim("steps", min=2, max=64), Dim("samples", min=2, max=64)


class Begins(nn.Module):
    """A layer of cells that begins from states of a kind, or from none."""

    def __init__(self, kind: Any) -> None:
        """Make the cells."""
        super().__init__()
        self.core, self.kind = rnnkit.Recurrent(rnnkit.LSTM(3, 4, num_layers=2).cells()), kind

    def forward(self, x: Tensor) -> Any:
        """Run over a sequence."""
        ones = x.new_ones(x.shape[1], 4)
        return self.core(x, self.kind and [self.kind((ones, ones))] * 2)


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@pytest.mark.parametrize(
    ("kind", "strict"),
    [(None, False), pytest.param(list, True, marks=OLD_STRICT), (LSTMState, False)],
)
def test_states_of_any_number_of_steps(kind: Any, strict: bool) -> None:
    """The states that come out are of the kind that they are in eager mode, whatever goes in."""
    module, x = Begins(kind).eval(), sequences(seq=9)

    program = torch.export.export(
        module, (sequences(),), dynamic_shapes=({0: STEPS},), strict=strict
    )
    output, states = program.module()(x)

    torch.testing.assert_close((output, states), module(x))
    assert [type(state) for state in states] == [LSTMState, LSTMState]


@pytest.mark.filterwarnings("ignore:The tensor attributes self.core:UserWarning")
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_torch_exports_one_number_of_steps(kind: str) -> None:
    """The layers of torch write the number of steps into the program."""
    module, x = Torch(kind).eval(), sequences()
    with pytest.raises(torch._dynamo.exc.UserError, match="specialized it to be a constant"):
        torch.export.export(module, (x,), dynamic_shapes=({0: STEPS},), strict=False)


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
def test_one_graph_for_any_number_of_steps() -> None:
    """Compiled, a new number of steps costs no new graph once the axis is seen to vary."""
    module, graphs = Unrolled("GRU"), []
    torch._dynamo.reset()

    def count(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled: Any = torch.compile(module, backend=count, fullgraph=True)
    for seq in (3, 4, 5, 7, 11, 13):
        x = sequences(seq=seq)
        torch.testing.assert_close(compiled(x), module(x))
    assert len(graphs) == 2
