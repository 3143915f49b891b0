"""Draw the dependency maps of real models: ``python docs/maps.py``."""

import io
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from matplotlib.text import Text
from torch import Tensor, nn

import rnnkit
from rnnkit import DependencyMap
from rnnkit._diagnostics.tell.picture import FORBIDDEN, HATCH, PAPER

FOLDER = pathlib.Path(__file__).resolve().parent / "pictures"
#: The ink of text and lines, which a dark page turns light.
INK = "#2b2b33"
#: How wide the text of a page is on a phone of 360 pixels, and a picture's smallest letters there.
PHONE = 328
LEAST = 8
DARK = "<style>@media (prefers-color-scheme: dark) {svg {color: #e6e6ee}}</style>"


class Tagger(nn.Module):
    """The layer of the README, with a head."""

    def __init__(self, **options: bool) -> None:
        """Make its layer; the options are torch's."""
        super().__init__()
        self.lstm = nn.LSTM(3, 8, **options)
        width = 16 if options.get("bidirectional") else 8
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Tag each step of x, (batch, seq, 3)."""
        tags: Tensor = self.head(self.lstm(x)[0])
        return tags


class Pooled(nn.Module):
    """A model that takes the mean over all steps, padding too."""

    def __init__(self) -> None:
        """Make its layer."""
        super().__init__()
        self.gru = nn.GRU(3, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return one mean for a sample, as an axis of one step."""
        means: Tensor = self.gru(x)[0].mean(dim=1, keepdim=True)
        return means


class Panel(NamedTuple):
    """A map, what it is to be held to, and what stands around it."""

    found: DependencyMap
    rule: Any
    title: str
    axis: str

    def draw(self, ax: Any) -> None:
        """Draw it on matplotlib's axes."""
        self.found.plot(rule=self.rule, title=self.title, ax=ax)
        ax.set_xlabel(f"input {self.axis}")
        ax.set_ylabel(f"output {self.axis}")


def save(name: str, panel: Panel, forbidden: Sequence[int] = ()) -> None:
    """Draw a panel into a file, some columns of inputs hatched in red."""
    figure, ax = plt.subplots(figsize=(3.4, 4.08), layout="constrained")
    panel.draw(ax)
    for column in forbidden:
        ax.axvspan(column, column + 1, fc=FORBIDDEN, ec=PAPER, hatch=HATCH, linewidth=0)
    put_legend_below(figure, ax)
    write(figure, name)


def put_legend_below(figure: Any, ax: Any) -> None:
    """Explain the colors below the panel: beside them the legend would be wider than it."""
    legend = ax.get_legend()
    texts = [text.get_text() for text in legend.get_texts()]
    marks = legend.legend_handles
    legend.remove()
    figure.legend(marks, texts, loc="outside lower center", ncols=2, frameon=False)


def smallest_text(figure: Any) -> float:
    """Return how many pixels the smallest text has on a phone, which shrinks wide figures."""
    figure.draw_without_rendering()  # labels of ticks have no text before
    shrinks = min(1, PHONE / (96 * figure.get_figwidth()))
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    return min(text.get_fontsize() for text in texts) * 96 / 72 * shrinks


def write(figure: Any, name: str) -> None:
    """Write a figure, its ink for light pages and for dark ones; refuse text too small to read."""
    smallest = smallest_text(figure)
    if smallest < LEAST:
        message = f"{name} has text of {smallest:.1f} pixels on a phone, less than {LEAST}"
        raise ValueError(message)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    text = drawn.getvalue().replace(INK, "currentColor")
    start = text.index(">", text.index("<svg")) + 1
    head = text[:start].replace("<svg", f'<svg color="{INK}"')
    (FOLDER / name).write_text(head + DARK + text[start:])


def style() -> None:
    """Have matplotlib write the same file from the same figure, with text that can be read."""
    mpl.rcParams["svg.hashsalt"] = "rnnkit"  # the same file from the same map
    mpl.rcParams["svg.fonttype"] = "none"  # text that can be read and searched
    mpl.rcParams["font.sans-serif"] = ["Helvetica", "Arial", "DejaVu Sans"]
    for name in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"):
        mpl.rcParams[name] = INK


def main() -> None:
    """Draw all of them."""
    mpl.use("svg")
    style()
    torch.manual_seed(0)
    x = torch.randn(5, 7, 3)
    swapped = rnnkit.dependency_map(Tagger(), x)
    causal = rnnkit.dependency_map(Tagger(batch_first=True), x, dim=1)
    both_ways = rnnkit.dependency_map(Tagger(batch_first=True, bidirectional=True), x, dim=1)
    pooled = rnnkit.dependency_map(Pooled(), torch.randn(1, 6, 3), dim=1)

    title = "Swapped: samples\nread earlier samples"
    save("map-swapped.svg", Panel(swapped, "independent", title, "sample"))
    title = "Right: a step depends on itself\nand on earlier steps"
    save("map-right.svg", Panel(causal, "causal", title, "step"))
    title = "Bidirectional language model:\nsteps read the future"
    save("map-bidirectional.svg", Panel(both_ways, "causal", title, "step"))
    title = "Padding is read: steps 3 to 5\nare beyond the length (hatched)"
    save("map-padding.svg", Panel(pooled, None, title, "step"), forbidden=range(3, 6))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    main()
    sys.stdout.write(f"drawn into {FOLDER}\n")
