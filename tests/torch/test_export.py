"""A model with our modules is exported, written and read, as one with torch's."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.torch.side_by_side import (
    CELLS,
    INPUT,
    OLD_STRICT,
    assert_close,
    modes,
    pair,
    sample,
    six,
)

# Torch's own layers make export warn of the list in which they hold their weights.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The tensor attributes? .*_flat_weights:UserWarning"),
]


class Parent(nn.Module):
    """A model with a recurrent module behind a linear one."""

    def __init__(self, core: nn.Module) -> None:
        """Keep the parts."""
        super().__init__()
        self.before = nn.Linear(INPUT, INPUT)
        self.core = core
        self.eval()

    def forward(self, x: Tensor, hx: Any = None) -> Any:
        """Run the recurrent module on the transformed input."""
        return self.core(self.before(x), hx)


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@six
@modes
def test_exported(name: str, strict: bool) -> None:
    """A program is torch's: as many nodes, the same parameters, the same results for any batch."""
    torch.manual_seed(0)
    theirs, ours = pair(name, Parent)
    free = {"x": {0 if name in CELLS else 1: torch.export.Dim("batch", min=2, max=64)}}

    programs = [
        torch.export.export(model, (sample(name),), dynamic_shapes=free, strict=strict)
        for model in (theirs, ours)
    ]

    nodes = [len(program.graph.nodes) for program in programs]
    assert nodes[0] == nodes[1]
    # Who loads a program for a number of steps needs no rnnkit.
    assert not any("rnnkit" in str(node.target) for node in programs[1].graph.nodes)
    assert sorted(programs[1].state_dict) == sorted(theirs.state_dict())
    for batch in (2, 5, 9):
        x = sample(name, batch=batch)
        assert_close(theirs(x), programs[1].module()(x))


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@pytest.mark.parametrize(
    ("name", "strict"),
    [("RNN", False), pytest.param("LSTM", True, marks=OLD_STRICT), ("GRU", False)],
)
def test_deep_layer_that_names_its_axes(name: str, strict: bool) -> None:
    """Stacked bidirectional layers, batch first, are exported; their caller's names step aside."""
    torch.manual_seed(0)
    theirs, ours = pair(name, Parent, num_layers=2, bidirectional=True, batch_first=True)
    ours.core.axes = {"seq": "time"}
    x = sample(name).transpose(0, 1)

    assert_close(theirs(x), torch.export.export(ours, (x,), strict=strict).module()(x))
