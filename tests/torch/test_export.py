"""A model with our modules is exported, written and read, as one with torch's."""

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.modules.cells_of_users import LayerNormLSTMCell
from tests.torch.side_by_side import (
    CELLS,
    INPUT,
    LAYERS,
    OLD_STRICT,
    assert_close,
    carried,
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
        """Hold the parts."""
        super().__init__()
        self.before = nn.Linear(INPUT, INPUT)
        self.core = core
        self.eval()

    def forward(self, x: Tensor, hx: Any = None) -> Any:
        """Run the recurrent module on the transformed input."""
        return self.core(self.before(x), hx)


def through_file(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """A program that was written and read."""
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file)


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
    assert sorted(programs[1].state_dict) == sorted(theirs.state_dict())
    for batch in (2, 5, 9):
        x = sample(name, batch=batch)
        assert_close(theirs(x), programs[1].module()(x))


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@six
@modes
def test_exported_and_read_from_a_file(name: str, strict: bool) -> None:
    """States go in and come out of a program that was read from a file, LSTMState as itself."""
    torch.manual_seed(0)
    theirs, ours = pair(name, Parent)
    x, state = sample(name), carried(name, kind=rnnkit.LSTMState._make)

    read = through_file(torch.export.export(ours, (x, state), strict=strict)).module()
    result = read(x, state)

    assert_close(theirs(x, state), result)
    assert type(result) is type(ours(x, state))
    if name in LAYERS:
        assert type(result[1]) is type(state)


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


CELLS_OF_LAYERS = {
    "unfused": lambda: rnnkit.Recurrent(LayerNormLSTMCell(INPUT, 4)),
    "two ways": lambda: rnnkit.Recurrent(
        rnnkit.GRUCell(INPUT, 4), reverse_cells=rnnkit.GRUCell(INPUT, 4)
    ),
}


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@pytest.mark.parametrize("kind", CELLS_OF_LAYERS)
@modes
def test_layer_of_cells(kind: str, strict: bool) -> None:
    """A layer over cells, a user's or rnnkit's, is exported step by step."""
    model = Parent(CELLS_OF_LAYERS[kind]())
    x = sample("LSTM")

    program = torch.export.export(model, (x,), strict=strict)

    torch.testing.assert_close(program.module()(x), model(x))
