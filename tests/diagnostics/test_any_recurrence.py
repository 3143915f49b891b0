"""What counts as recurrent: ``Recurrent``, loops over anybody's cells, layers run by ``forward``."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers
from tests.diagnostics.small import said

X = numbers(BATCH, SEQ, FEATURE)


class Dropped(nn.Module):
    """Calls a layer by its ``forward``, as weight dropout does."""

    def __init__(self, module: nn.Module) -> None:
        """Keep the layer."""
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any) -> Any:
        """Run it."""
        return self.module.forward(*inputs)


class Elman(nn.Module):
    """A cell of linear layers, with a state that may be left out."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.i, self.h = nn.Linear(FEATURE, HIDDEN), nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """Run a step."""
        return torch.tanh(self.i(x) + (0 if h is None else self.h(h)))


class Loop(nn.Module):
    """Runs a cell along the steps, or along the samples."""

    def __init__(self, cell: nn.Module, *, dim: int) -> None:
        """Keep the cell."""
        super().__init__()
        self.cell, self.dim = cell, dim

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        """Run."""
        state, outputs = None, []
        for x_t in x.unbind(self.dim):
            state = self.cell(x_t, state)
            outputs.append(state)
        return torch.stack(outputs, self.dim), state


#: A layer over the steps, or over the samples, what a message calls it, and what turns it.
LAYERS: dict[str, tuple[Callable[[bool], nn.Module], str, str]] = {
    "Recurrent": (
        lambda right: rnnkit.Recurrent([rnnkit.GRUCell(FEATURE, HIDDEN)], batch_first=right),
        "layer",
        "Recurrent(..., batch_first=True), or input.transpose(0, 1)",
    ),
    "Recurrent over torch's cell": (
        lambda right: rnnkit.Recurrent([nn.GRUCell(FEATURE, HIDDEN)], batch_first=right),
        "layer",
        "Recurrent(..., batch_first=True), or input.transpose(0, 1)",
    ),
    "called by forward": (
        lambda right: Dropped(nn.LSTM(FEATURE, HIDDEN, batch_first=right)),
        "layer.module",
        "LSTM(..., batch_first=True), or input.transpose(0, 1)",
    ),
    "a loop over torch's cell": (
        lambda right: Loop(nn.GRUCell(FEATURE, HIDDEN), dim=int(right)),
        "layer",
        "input.transpose(0, 1) before the loop, and the same of outputs stacked after it",
    ),
    "a loop over a cell of its own": (
        lambda right: Loop(Elman(), dim=int(right)),
        "layer",
        "input.transpose(0, 1) before the loop, and the same of outputs stacked after it",
    ),
}


def model(name: str, *, right: bool) -> nn.Module:
    """Make a model of a layer and a head."""
    layer = LAYERS[name][0](right)
    return Model(lambda m, x: m.head(m.layer(x)[0]), layer=layer, head=nn.Linear(HIDDEN, 2))


@pytest.mark.parametrize("name", LAYERS)
def test_it_counts(name: str) -> None:
    """What is recurrent is asked to remember, and judged, and never said not to be there."""
    report = rnnkit.verify(model(name, right=True), X, causal=True)

    assert {"memory", "use", "gradient"} <= set(report.checked)
    assert "no recurrent module" not in str(report)


@pytest.mark.parametrize("alone", [False, True], ids=["in a model", "as the model"])
@pytest.mark.parametrize("name", LAYERS)
def test_forgotten_batch_first(name: str, alone: bool) -> None:
    """A loop over the samples is undone before it is named."""
    if alone and name == "called by forward":
        pytest.skip("the model itself is hooked as any other")
    made, label = model(name, right=False), LAYERS[name][1]

    message = said(made.get_submodule("layer") if alone else made, X)

    label = "the model" if alone else label
    assert f"cause      {label} reads axis 0 of its input as seq, but the batch is there" in message
    assert f"fix        {LAYERS[name][2]}" in message
    assert "no recurrent module" not in message


def refined(m: Any, x: Tensor) -> Tensor:
    """Apply a block again and again."""
    for _ in range(3):
        x = m.block(x)
    return x


def step_by_step(m: Any, x: Tensor) -> Tensor:
    """Compute each step by itself, with dropout twice on one tensor, which it returns."""
    return torch.stack([m.drop(x_t) + m.block(m.drop(x_t)) for x_t in x.unbind(1)], 1)


@pytest.mark.parametrize("compute", [refined, step_by_step])
def test_what_is_no_loop_over_time(compute: Callable[..., Tensor]) -> None:
    """What gets its own output, but not once for each step, need not remember."""
    made = Model(compute, block=nn.Linear(FEATURE, FEATURE), drop=nn.Dropout(0.5))
    report = rnnkit.verify(made, X)

    assert report.findings == []
    assert "memory" not in report.checked
