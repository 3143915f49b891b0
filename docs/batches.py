"""Draw what ``lengths=`` and ``reset=`` do to a batch: ``python -m docs.batches``.

Both pictures are measured: a cell is blue if the gradient of a state or an output reaches it.
"""

import sys
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

import rnnkit
from docs.maps import FOLDER, INK, style, write
from rnnkit._diagnostics.tell.picture import DEPENDS, FORBIDDEN, LINES

#: The marks have the colors of red cells and, on blue cells, of paper.
MARK: dict[str, Any] = {"linestyle": "none", "markersize": 9, "clip_on": False}


def grid(ax: Any, reached: Tensor, rows: str, columns: str) -> None:
    """Draw a cell for each sample (down) and step (across), blue where a gradient arrives."""
    colors = ListedColormap(["none", DEPENDS])
    cells = reached.long().tolist()
    ax.pcolormesh(cells, cmap=colors, vmin=0, vmax=1, edgecolors=LINES, linewidth=0.6)
    ax.set_aspect("equal")
    ax.invert_yaxis()
    samples, steps = reached.shape
    ax.set_xticks([at + 0.5 for at in range(steps)], [str(at) for at in range(steps)])
    ax.set_yticks([at + 0.5 for at in range(samples)], [str(at) for at in range(samples)])
    ax.tick_params(length=0)
    ax.set_xlabel(columns)
    ax.set_ylabel(rows)
    for side in ax.spines.values():
        side.set_visible(False)


def mark(ax: Any, places: Tensor, **look: Any) -> None:
    """Put a mark into the middle of each cell that is true."""
    samples, steps = places.nonzero(as_tuple=True)
    ax.plot((steps + 0.5).tolist(), (samples + 0.5).tolist(), **MARK, **look)


def reached_by(source: Tensor, result: Tensor) -> Tensor:
    """Return at which places of a batch, without its features, a result has a gradient."""
    (slope,) = torch.autograd.grad(result.sum(), source)
    return slope.ne(0).any(-1)


def draw_lengths() -> None:
    """Draw which steps each sample's state has read, and which of them is its last."""
    x = torch.randn(3, 6, 3, requires_grad=True)
    gru = rnnkit.GRU(3, 4, batch_first=True)
    output, state = gru(x, lengths=[6, 2, 4])
    read = reached_by(x, state)
    is_last = read & (output == state[0].unsqueeze(1)).all(-1)

    figure, ax = plt.subplots(figsize=(5.6, 2.9), layout="constrained")
    grid(ax, read, "sample", "step")
    end: dict[str, Any] = {"marker": "o", "color": "white"}
    mark(ax, is_last, **end)
    ax.plot([5, 6, 6, 5, 5], [0, 0, 3, 3, 0], color=FORBIDDEN, linewidth=2, clip_on=False)
    figure.legend(
        handles=[
            Patch(fc=DEPENDS, ec=LINES, label="the state has read it"),
            Patch(fc="none", ec=LINES, label="padding: nothing reads it"),
            Line2D([], [], **MARK, **end, mec=INK, label="the sample's own last step: its state"),
            Patch(fc="none", ec=FORBIDDEN, lw=2, label="output[:, -1]: zeros where it is padding"),
        ],
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
    write(figure, "batch-lengths.svg")


def draw_resets() -> None:
    """Draw which steps of a rollout the last output has read, and where episodes begin."""
    steps = 20
    envs = 6
    x = torch.randn(steps, envs, 5, requires_grad=True)
    starts = torch.rand(steps, envs) < 0.1
    output, _ = rnnkit.LSTM(5, 16, num_layers=2)(x, reset=starts)
    read = reached_by(x, output[-1]).t()

    figure, ax = plt.subplots(figsize=(5.6, 3.0), layout="constrained")
    grid(ax, read, "environment", "step of the rollout")
    begin: dict[str, Any] = {"marker": ">", "color": FORBIDDEN, "mec": "white"}
    mark(ax, starts.t(), **begin)
    figure.legend(
        handles=[
            Line2D([], [], **MARK, **begin, label="reset= is true: an episode begins"),
            Patch(fc=DEPENDS, ec=LINES, label="the last output depends on it"),
            Patch(fc="none", ec=LINES, label="forgotten"),
        ],
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
    write(figure, "batch-resets.svg")


def main() -> None:
    """Draw both."""
    mpl.use("svg")
    style()
    torch.manual_seed(0)
    draw_lengths()
    draw_resets()
    sys.stdout.write(f"drawn into {FOLDER}\n")


if __name__ == "__main__":
    main()
