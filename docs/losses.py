"""Draw what a swapped axis costs, the README's picture: ``python -m docs.losses``.

The task is the one of "My model does not learn": the first of six steps shows which of four classes
a sample has, and the model must name it after the last step.
"""

import math
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from docs.maps import INK, style, write
from rnnkit._diagnostics.tell.picture import FORBIDDEN

BATCH = 32
CLASSES = 4
STEPS = 100
#: The color of the training that works.
LEARNS = "#4a88b8"


class Classifier(nn.Module):
    """Read a sequence, and name its class."""

    def __init__(self, **options: bool) -> None:
        """Make its layer; the options are torch's."""
        super().__init__()
        self.lstm = nn.LSTM(CLASSES, 16, **options)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of the classes for x, (batch, seq, 4)."""
        output, _ = self.lstm(x)
        scores: Tensor = self.head(output[:, -1])
        return scores


def draw_batch() -> tuple[Tensor, Tensor]:
    """Draw samples whose first step shows the class, and the classes."""
    x = torch.randn(BATCH, 6, CLASSES)
    classes = torch.randint(CLASSES, (BATCH,))
    x[:, 0] = 3.0 * nn.functional.one_hot(classes, CLASSES)
    return x, classes


def losses(model: nn.Module) -> list[float]:
    """Train a model, and return its loss after each step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    found = []
    for _ in range(STEPS):
        x, classes = draw_batch()
        loss = nn.functional.cross_entropy(model(x), classes)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        found.append(loss.item())
    return found


def draw_curve(ax: Any, values: list[float], color: str, text: str, height: float) -> None:
    """Draw the losses of a training, and what it trained above the curve, at a height."""
    ax.plot(values, color=color, linewidth=1.8)
    ax.text(STEPS, height, text, color=color, ha="right", weight="bold")


def main() -> None:
    """Train with the mistake and after the fix, and draw both."""
    mpl.use("svg")
    style()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    wrong = losses(Classifier())
    right = losses(Classifier(batch_first=True))

    figure, ax = plt.subplots(figsize=(4.2, 2.1), layout="constrained")
    chance = math.log(CLASSES)
    ax.axhline(chance, color=INK, linestyle=":", linewidth=1)
    draw_curve(ax, wrong, FORBIDDEN, "LSTM(4, 16)", 1.65)
    draw_curve(ax, right, LEARNS, "LSTM(4, 16, batch_first=True)", 0.25)
    ax.set(xlabel="training step", ylabel="loss", ylim=(0, 2), xlim=(0, STEPS))
    ax.set_yticks([0, chance], ["0", "chance"])
    ax.spines[["top", "right"]].set_visible(False)
    write(figure, "loss.svg")


if __name__ == "__main__":
    main()
