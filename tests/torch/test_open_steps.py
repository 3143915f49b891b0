"""Sequences of any length: exported and compiled with the number of steps left open."""

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

import rnnkit
from rnnkit import LSTMState
from tests.torch.test_transforms import Stacked, Torch, Unrolled, sequences
from tests.torch.test_transforms import pytestmark as transforms

pytestmark = [pytest.mark.slow, *transforms]

STEPS, SAMPLES = Dim("steps", min=2, max=64), Dim("samples", min=2, max=64)


@pytest.mark.needs_torch("2.13", "the exporter and Dynamo fix the number of steps")
@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@pytest.mark.parametrize(
    ("kind", "options", "strict"),
    [
        ("RNN", {}, True),
        ("LSTM", {"batch_first": True}, True),
        ("GRU", {"reverse": True}, False),
        ("projected", {}, False),
    ],
    ids=str,
)
def test_any_number_of_steps_exported(kind: str, strict: bool, options: dict[str, bool]) -> None:
    """Exported with the time axis left open, it runs over any number of steps and samples."""
    module = Unrolled(kind, **options).eval()
    axes = {0: STEPS, 1: SAMPLES}
    if options.get("batch_first"):
        axes = {0: SAMPLES, 1: STEPS}
    made = [(sequences(), [5, 3]), (sequences(seq=9, batch=3), [9, 0, 4])]
    calls = []
    for x, lengths in made:
        reset = torch.rand(x.shape[:2]) < 0.3
        call = (x, torch.tensor(lengths), reset)
        if options.get("batch_first"):
            call = (x.transpose(0, 1), call[1], reset.T)
        calls.append(call)

    program = torch.export.export(
        module, calls[0], dynamic_shapes=(axes, {0: SAMPLES}, axes), strict=strict
    )
    torch.testing.assert_close(program.module()(*calls[1]), module(*calls[1]))


@pytest.mark.needs_torch("2.13", "the exporter and Dynamo fix the number of steps")
@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
def test_any_number_of_steps_without_lengths() -> None:
    """Nor does it need lengths."""
    module = Unrolled("GRU").eval()

    program = torch.export.export(
        module, (sequences(),), dynamic_shapes=({0: STEPS, 1: SAMPLES},), strict=False
    )

    x = sequences(seq=9, batch=3)
    torch.testing.assert_close(program.module()(x), module(x))


@pytest.mark.needs_torch("2.13", "the exporter and Dynamo fix the number of steps")
@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
def test_any_number_of_steps_saved() -> None:
    """Layers upon layers are exported so too, saved and loaded."""
    module, buffer = Stacked("LSTM").eval(), io.BytesIO()
    axes = {"x": {0: STEPS, 1: SAMPLES}, "lengths": {0: SAMPLES}}
    program = torch.export.export(
        module, (sequences(), torch.tensor([5, 3])), dynamic_shapes=axes, strict=False
    )
    torch.export.save(program, buffer)
    buffer.seek(0)
    loaded = torch.export.load(buffer).module()
    call = (sequences(seq=9, batch=3), torch.tensor([9, 0, 4]))

    torch.testing.assert_close(loaded(*call), module(*call))


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


@pytest.mark.needs_torch("2.13", "the exporter and Dynamo fix the number of steps")
@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@pytest.mark.parametrize(("kind", "strict"), [(None, False), (list, True), (LSTMState, False)])
def test_states_of_any_number_of_steps(kind: Any, strict: bool) -> None:
    """The states that come out are of the kind that they are in eager mode, whatever goes in."""
    module, x = Begins(kind).eval(), sequences(seq=9)

    program = torch.export.export(
        module, (sequences(),), dynamic_shapes=({0: STEPS},), strict=strict
    )
    output, states = program.module()(x)

    torch.testing.assert_close((output, states), module(x))
    assert [type(state) for state in states] == [LSTMState, LSTMState]


@pytest.mark.needs_torch("2.13", "the exporter refuses in other words")
@pytest.mark.filterwarnings("ignore:The tensor attributes self.core:UserWarning")
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_torch_exports_one_number_of_steps(kind: str) -> None:
    """The layers of torch write the number of steps into the program."""
    module, x = Torch(kind).eval(), sequences()
    with pytest.raises(torch._dynamo.exc.UserError, match="specialized it to be a constant"):
        torch.export.export(module, (x,), dynamic_shapes=({0: STEPS},), strict=False)


@pytest.mark.needs_torch("2.13", "the exporter and Dynamo fix the number of steps")
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
