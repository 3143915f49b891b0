"""A dependency map as a picture, drawn with matplotlib."""

import textwrap
from collections.abc import Sequence
from typing import Any

from torch import Tensor

#: How many indices are written along an axis at most: more would collide.
LABELS = 8
DEPENDS, FAINT, FORBIDDEN = "#33658a", "#9dc0dc", "#d1495b"
#: Seen on white paper and on a dark page.
LINES = "#8c8c8c"


def draw(found: Any, forbidden: Tensor | None, title: str, ax: Any) -> Any:
    """Draw a DependencyMap, on axes of matplotlib's or on new ones; return the axes."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - an optional extra
    from matplotlib.colors import ListedColormap  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415
    from matplotlib.transforms import ScaledTranslation  # noqa: PLC0415

    axes = plt.subplots(figsize=(4.2, 4.6), layout="constrained")[1] if ax is None else ax
    kinds = found.matrix.long()
    if found.faint is not None:
        kinds = kinds + found.faint.long()
    if forbidden is not None:
        kinds = kinds.masked_fill(forbidden, 3)
    # Where nothing depends, the paper is seen, whatever colour it has.
    colours = ListedColormap(["none", DEPENDS, FAINT, FORBIDDEN])
    axes.pcolormesh(kinds.tolist(), cmap=colours, vmin=0, vmax=3, edgecolors=LINES, linewidth=0.4)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    for axis, indices in ((axes.xaxis, found.inputs), (axes.yaxis, found.outputs)):
        _label(axis, indices)
    axes.set_xlabel(f"input, index on axis {found.dim}{_thinned(found.inputs)}")
    axes.set_ylabel(f"output, index on axis {found.out_dim}{_thinned(found.outputs)}")
    patches = [Patch(color=DEPENDS, label="depends")]
    if found.faint is not None:
        patches.append(Patch(color=FAINT, label="depends, below rounding"))
    if forbidden is not None:
        patches.append(Patch(color=FORBIDDEN, label="depends, and must not"))
    if "·" in found.notes:
        patches.append(Patch(facecolor="none", edgecolor=LINES, label="no change seen"))
    # Below the axis label, by inches: a part of the axes' height would be nothing for a few rows.
    below = axes.transAxes + ScaledTranslation(0, -0.55, axes.figure.dpi_scale_trans)
    place: Any = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "bbox_transform": below}
    axes.legend(handles=patches, fontsize="small", ncols=2, frameon=False, **place)
    lines = [textwrap.fill(line, 34) for line in title.splitlines()]
    axes.set_title("\n".join(lines), fontsize="medium")
    return axes


def _label(axis: Any, indices: Sequence[int]) -> None:
    """Write the indices below the middles of their cells, no more than there is room for."""
    every = -(-len(indices) // LABELS)
    middles = [place + 0.5 for place in range(0, len(indices), every)]
    axis.set_ticks(middles, [str(index) for index in indices[::every]])


def _thinned(indices: Sequence[int]) -> str:
    """Say if indices between the first and the last were left out."""
    if len(indices) < 2 or indices[1] - indices[0] == 1:
        return ""
    every = indices[1] - indices[0]
    text = f",\nevery {every}{ {2: 'nd', 3: 'rd'}.get(every, 'th') }"
    return text if (indices[-1] - indices[0]) % every == 0 else f"{text}, and the last"
