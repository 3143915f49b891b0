"""Forecasting with a cell of one's own, and with the cells of a GRU.

A forecaster takes a layer of cells, whichever they are: ``rnnkit.Recurrent(cell)`` runs a cell that
is written here, and ``rnnkit.Recurrent.of(layer)`` the cells of a layer, with the layer's weights.
It learns the next value of a series, and forecasts by reading its own values, step by step.

    python -m docs.examples.forecasting
"""

import math

import torch
from torch import Tensor, nn

import rnnkit

HIDDEN = 24
KNOWN = 20
AHEAD = 10


class LayerNormGRUCell(nn.Module):
    """One step of a GRU whose gates and new values are layer-normalised."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        """Make the weights."""
        super().__init__()
        self.hidden_size = hidden_size
        both = input_size + hidden_size
        self.gates = nn.Sequential(nn.Linear(both, 2 * hidden_size), nn.LayerNorm(2 * hidden_size))
        self.new = nn.Linear(both, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, input: Tensor, hx: Tensor) -> Tensor:
        """Run one step: input is ``(batch, input_size)``, the state ``(batch, hidden_size)``."""
        r, z = self.gates(torch.cat([input, hx], dim=1)).sigmoid().chunk(2, dim=1)
        n = self.norm(self.new(torch.cat([input, r * hx], dim=1))).tanh()
        return torch.lerp(n, hx, z)

    def initial_state(self, batch_size: int) -> Tensor:
        """Return zeros, on the device of the weights."""
        return self.norm.weight.new_zeros(batch_size, self.hidden_size)


class Forecaster(nn.Module):
    """Says by how much the next value of a series differs from the last."""

    def __init__(self, layer: rnnkit.Recurrent[Tensor]) -> None:
        """Take what reads the series."""
        super().__init__()
        self.layer = layer
        self.change = nn.Linear(HIDDEN, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Say what follows each step of ``(batch, seq, 1)``."""
        output, _ = self.layer(x)
        return x + self.change(output)

    @torch.no_grad()
    def forecast(self, x: Tensor) -> Tensor:
        """Say what follows ``(batch, seq, 1)``: ``(batch, AHEAD, 1)``."""
        output, state = self.layer(x)
        value = x[:, -1] + self.change(output[:, -1])
        values = [value]
        while len(values) < AHEAD:
            y_t, state = self.layer.step(value, state)
            value = value + self.change(y_t)
            values.append(value)
        return torch.stack(values, dim=1)


def draw(batch: int) -> Tensor:
    """Draw waves of several speeds, ``(batch, KNOWN + AHEAD, 1)``."""
    speed = 0.3 + 0.3 * torch.rand(batch, 1)
    phase = 2 * math.pi * torch.rand(batch, 1)
    return (speed * torch.arange(KNOWN + AHEAD) + phase).sin()[:, :, None]


def error(model: Forecaster) -> float:
    """Return the squared error of forecasts of new series."""
    series = draw(200)
    return (model.forecast(series[:, :KNOWN]) - series[:, KNOWN:]).square().mean().item()


def train(model: Forecaster) -> None:
    """Learn the next value at each step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(80):
        series = draw(32)
        loss = (model(series[:, :-1]) - series[:, 1:]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> tuple[float, float]:
    """Return the error of both forecasters together, before the training and after it."""
    torch.manual_seed(0)
    own = rnnkit.Recurrent(LayerNormGRUCell(1, HIDDEN), batch_first=True)
    gru = rnnkit.Recurrent.of(rnnkit.GRU(1, HIDDEN, batch_first=True))
    models = [Forecaster(own), Forecaster(gru)]
    before = sum(map(error, models))
    for model in models:
        train(model)
    return before, sum(map(error, models))


if __name__ == "__main__":
    print("error: {:.3f}, then {:.3f}".format(*main()))  # noqa: T201 - what it is for
