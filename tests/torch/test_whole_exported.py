"""An exported program is whole: rnnkit's operator for any number of steps, torch's program for these."""

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.compiles import WHOLE, switched_on, trained
from tests.torch.side_by_side import HIDDEN, INPUT, OLD_STRICT

pytestmark = WHOLE
_switched_on = pytest.fixture(autouse=True)(switched_on)
#: Each class by one of torch's two ways to export.
strictly = pytest.mark.parametrize(
    ("name", "strict"),
    [("RNN", False), pytest.param("LSTM", True, marks=OLD_STRICT), ("GRU", False)],
)


def program_of(model: nn.Module, x: Tensor, axes: dict[int, Any] | None, strict: bool) -> Any:
    """Export a model, write the program, and read it again."""
    program = torch.export.export(model, (x,), dynamic_shapes=axes and (axes,), strict=strict)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file)


class Plain(nn.Module):
    """A model of one argument."""

    def __init__(self, core: nn.Module) -> None:
        """Hold the part."""
        super().__init__()
        self.core = core

    def forward(self, x: Tensor) -> Any:
        """Run the recurrent part."""
        return self.core(x)


@strictly
@pytest.mark.needs_torch("2.13", "its exporter fixes the number of steps")
@pytest.mark.filterwarnings("ignore:The tensor attributes? .*_flat_weights:UserWarning")
def test_exported_for_any_number_of_steps(name: str, strict: bool) -> None:
    """With seq and batch left open the program is right for all of them, and can be trained."""
    options = {"num_layers": 2, "bidirectional": True, "batch_first": True}
    model = Plain(getattr(rnnkit, name)(INPUT, HIDDEN, **options).eval())
    axes = {0: torch.export.Dim("batch", min=2), 1: torch.export.Dim("seq", min=2)}

    program = program_of(model, torch.randn(4, 6, INPUT), axes, strict)

    for batch, steps in ((4, 6), (3, 11)):
        x = torch.randn(batch, steps, INPUT)
        torch.testing.assert_close(program.module()(x), model(x))
    again = program.module()
    torch.testing.assert_close(trained(again, again, x)[0], trained(model, model, x)[0])
    assert any("rnnkit.layer" in str(node.target) for node in program.graph.nodes)


@strictly
@pytest.mark.filterwarnings("ignore:The tensor attributes? .*_flat_weights:UserWarning")
def test_exported_for_these_steps_is_torchs_program(name: str, strict: bool) -> None:
    """A program for a number of steps needs no rnnkit where it is loaded."""
    model = Plain(getattr(rnnkit, name)(INPUT, HIDDEN).eval())
    axes = {1: torch.export.Dim("batch", min=2)}

    program = program_of(model, torch.randn(6, 4, INPUT), axes, strict)

    assert not any("rnnkit" in str(node.target) for node in program.graph.nodes)
