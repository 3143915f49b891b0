"""What Dynamo compiles of a model with a recurrent layer in it, under default settings."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.compiles import compiles
from tests.torch.side_by_side import HIDDEN, INPUT, layers, pair, sample

pytestmark = [
    pytest.mark.slow,
    compiles,
]


class Lines(nn.Module):
    """A model of a user's, with a submodule of theirs on each side of its layer."""

    def __init__(self, core: nn.Module, nested: bool) -> None:
        """Keep the parts."""
        super().__init__()
        self.core, self.nested = core, nested
        self.before, self.after = Scaled(INPUT), Scaled(HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer in a line of its own, or on what is computed in the same line."""
        if self.nested:
            return self.after(self.core(self.before(torch.sin(x)))[0]).cos()
        x = self.before(torch.sin(x))
        output, _ = self.core(x)
        return self.after(output).cos()


class Scaled(nn.Module):
    """A submodule of a user's."""

    def __init__(self, width: int) -> None:
        """Make the weight."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Scale the features."""
        return torch.tanh(x * self.weight)


@layers
@pytest.mark.skipif(
    torch.__version__ >= "2.15", reason="torch 2.15 goes on in a graph behind the layer"
)
@pytest.mark.parametrize("nested", [False, True])
def test_what_is_compiled_without_the_switch(name: str, nested: bool) -> None:
    """What stands before the line that reads the layer, and a user's submodules; no more."""
    found = []
    for core in pair(name):
        operations: list[list[str]] = []

        def note(graph: torch.fx.GraphModule, _: Any, noted: Any = operations) -> Any:
            calls = [node for node in graph.graph.nodes if node.op.startswith("call")]
            noted.append([getattr(node.target, "__name__", node.target) for node in calls])
            return graph.forward

        torch._dynamo.reset()
        torch.compile(Lines(core, nested), backend=note)(sample(name))
        found.append(operations)

    alone = ["mul", "tanh"]
    assert found[1] == found[0] == [alone if nested else ["sin", *alone], alone]


@layers
@pytest.mark.needs_torch("2.15", "an older one never looks into a layer's functions")
def test_many_sizes_without_the_switch(name: str) -> None:
    """Ten sizes hit no limit: of a function of ours that is compiled, none is compiled ten times."""
    _, ours = pair(name)
    torch._dynamo.reset()
    compiled = torch.compile(Lines(ours, nested=False), backend="eager")

    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        for steps in range(5, 15):
            compiled(sample(name, steps))
