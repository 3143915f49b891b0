"""Draw the figures of the benchmarks' page: ``python -m docs.charts``, after ``nox -s bench``.

Each picture has a row for what is compared and a dot for each size that was measured. The verdicts
below the pictures and the README's sentences on costs are written from the same figures.
"""

import re
import statistics
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

from benchmarks.report import unfolded
from docs.maps import INK, style, write
from docs.pages import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
README = ROOT / "README.md"
COSTS = re.compile(r"(?<=<!-- costs -->\n\n).*?(?=\n\n<!-- /costs -->)", re.DOTALL)
DOT = "#4a88b8"
WORSE = "#d1495b"
#: A table's rows, each a dict by column.
Rows = list[dict[str, str]]


class Panel(NamedTuple):
    """What of a table is drawn: its columns, or some columns of the rows of one kind.

    ``limit`` is where a value is as good as what it is compared with.
    """

    table: str
    axis: str
    limit: float | None = 1.0
    #: The column that names a row of the picture; none: each column is one.
    key: str = ""
    #: The columns that are drawn, each with what is added to the name of its row.
    values: Mapping[str, str] = {}
    only: Mapping[str, str] = {}

    def rows(self, tables: Mapping[str, Rows]) -> dict[str, list[float]]:
        """Read the numbers of each row of the picture."""
        found: dict[str, list[float]] = {}
        for row in tables[self.table]:
            if any(row[column] != value for column, value in self.only.items()):
                continue
            columns = self.values or dict.fromkeys(list(row)[1:], "")
            for column, added in columns.items():
                name = f"{row[self.key]}{added}" if self.key else column
                if row[column]:
                    found.setdefault(name, []).append(number(row[column]))
        return found


#: The pictures, by the name of the file.
CHARTS = {
    "calls": [Panel("Checked calls as sizes grow", "time of a call / torch.nn's")],
    "lengths": [
        Panel("Mixed lengths as sizes grow", "time of lengths= / packing by hand"),
        Panel(
            "Resets",
            "time of a training step / without resets",
            limit=None,
            key="layer",
            values={"reset/without": ", reset=", "loop/without": ", a loop over cells"},
            only={"passes": "forward + backward"},
        ),
    ],
    "unroll": [
        Panel("Unrolled cells as sizes grow", "time of unroll / the layer"),
        Panel(
            "Compiled models",
            "time of a training step, compiled / eager",
            key="recurrent part",
            values={"compiled/eager": ""},
        ),
    ],
    "verify": [Panel("Time of verify", "time of verify / one forward pass", limit=None)],
}


def number(cell: str) -> float:
    """Read a cell's number, without its spread."""
    return float(cell.split(maxsplit=1)[0])


def draw(name: str, panels: list[Panel], tables: Mapping[str, Rows]) -> None:
    """Draw a picture into its file."""
    parts = [panel.rows(tables) for panel in panels]
    counts = [len(rows) for rows in parts]
    figure, axes = plt.subplots(
        len(panels),
        figsize=(5.6, 0.7 + 0.75 * len(panels) + 0.3 * sum(counts)),
        layout="constrained",
        squeeze=False,
        height_ratios=counts,
    )
    for panel, rows, ax in zip(panels, parts, axes[:, 0], strict=True):
        fill(ax, panel, rows)
    figure.legend(
        handles=legend(panels, parts),
        loc="outside lower center",
        ncols=2,
        frameon=False,
        columnspacing=1.2,
        handlelength=1.4,
    )
    write(figure, f"bench-{name}.svg")


def legend(panels: list[Panel], parts: list[dict[str, list[float]]]) -> list[Line2D]:
    """Explain each mark that a picture has."""
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o", "alpha": 0.8, "mew": 0}
    bar: dict[str, Any] = {"linestyle": "none", "marker": "|", "markersize": 12, "mew": 1.5}
    line: dict[str, Any] = {"linewidth": 0.8, "linestyle": ":"}
    rows = [
        (panel, row) for panel, part in zip(panels, parts, strict=True) for row in part.values()
    ]

    handles = [Line2D([], [], **dot, color=DOT, label="one size")]
    if any(is_worse(number, panel) for panel, row in rows for number in row):
        handles.append(Line2D([], [], **dot, color=WORSE, label="slower by more than 5 %"))
    if any(len(row) > 1 for _, row in rows):
        handles.append(Line2D([], [], **bar, color=INK, label="median, as at the right"))
    if any(panel.limit for panel in panels):
        handles.append(Line2D([], [], **line, color=INK, label="equal times"))
    return handles


def is_worse(number: float, panel: Panel) -> bool:
    """Return whether a dot is red: by more than five hundredths above the limit."""
    return panel.limit is not None and number > panel.limit + 0.05


def fill(ax: Any, panel: Panel, rows: Mapping[str, list[float]]) -> None:
    """Draw one panel: dots, their median as a bar and as a number."""
    for place, numbers in enumerate(rows.values()):
        dots = [WORSE if is_worse(n, panel) else DOT for n in numbers]
        ax.scatter(numbers, [place] * len(numbers), c=dots, alpha=0.8, linewidths=0)
        middle = statistics.median(numbers)
        if len(numbers) > 1:
            ax.plot([middle] * 2, [place - 0.3, place + 0.3], color=INK)
        ax.annotate(
            f"{middle:.3g}" if middle >= 10 else f"{middle:.2f}",
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
        )
    if panel.limit:
        ax.axvline(panel.limit, color=INK, linewidth=0.8, linestyle=":")
    ax.set_xlim(left=0)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_xlabel(f"{panel.axis} (lower is better)")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def texts(rows: Rows, ending: str = "", **only: str) -> list[str]:
    """Read the columns whose name has this ending, in the rows that fit; the first is a name."""
    return [
        cell
        for row in rows
        if all(row[key] == value for key, value in only.items())
        for column, cell in list(row.items())[1:]
        if cell and column.endswith(ending)
    ]


def cells(rows: Rows, ending: str = "", **only: str) -> list[float]:
    """Read the numbers of such columns."""
    return [number(cell) for cell in texts(rows, ending, **only)]


def is_above(cell: str, limit: float) -> bool:
    """Return whether a number is above a limit by more than its spread, as it is printed."""
    _, _, spread = cell.partition("±")
    least = number(cell) - float(spread.split(maxsplit=1)[0] if spread else 0)
    return round(least, 2) > limit


def share(cells: list[str], limit: float = 1.0) -> str:
    """Write how many cells are not above a limit; empty if all are not."""
    fits = [cell for cell in cells if not is_above(cell, limit)]
    return "" if len(fits) == len(cells) else f"{len(fits)} of {len(cells)}"


def span(*numbers: float) -> str:
    """Write the range of some numbers, with as many digits as mean something."""
    digits = 0 if min(numbers) > 5 else 1 if max(numbers) > 5 else 2
    return f"{min(numbers):.{digits}f} to {max(numbers):.{digits}f}"


def checked_calls(tables: Mapping[str, Rows]) -> list[str]:
    """Return the cells of all checked calls beside torch's, for the page and the README."""
    detailed = texts(tables["Checked calls, one by one"], "rnnkit/torch")
    return detailed + texts(tables["Checked calls as sizes grow"])


def of_calls(tables: Mapping[str, Rows]) -> str:
    """Write how long checked calls take, and how many rows are above the limit that they have."""
    calls = checked_calls(tables)
    some = share(calls)
    headline = "Within measurement noise, no checked call takes longer than torch's"
    if some:
        headline = f"Within measurement noise, {some} checked calls take no longer than torch's"
    rows = tables["Checked calls, one by one"]
    above = sum("exceeded" in row["budget"] for row in rows)
    others = len(calls) - len(rows)
    return f"""\
**{headline}.** Checked
calls take {span(*map(number, calls))} times as long as torch's. These are the calls of two tables:
the {len(rows)} rows of "Checked calls, one by one" and the {others} cells of "Checked calls as
sizes grow". The column *budget* of the first table has the largest ratio that we allow; it is
exceeded in {above} of {len(rows)} rows."""


def of_lengths(tables: Mapping[str, Rows]) -> str:
    """Write how long lengths= and reset= take, and in how many sizes they are not slower."""
    lengths = tables["Mixed lengths as sizes grow"]
    resets = tables["Resets"]
    training = {"passes": "forward + backward"}
    headline = "`lengths=` trains no slower than packing"
    some = share(texts(lengths, "backward"))
    if some:
        headline = f"{headline} in {some} sizes"
    return f"""\
**{headline}**: it takes
{span(*cells(lengths, "backward"))} times as long ({span(*cells(lengths, "forward"))} without
gradients). Training with `reset=` takes {span(*cells(resets, "reset/without", **training))} times
as long as training without resets; a loop over the steps takes
{span(*cells(resets, "loop/without", **training))} times as long."""


def verdicts(tables: Mapping[str, Rows]) -> dict[str, str]:
    """Write the sentences below each picture, which claim nothing that a row contradicts."""
    unroll = tables["Unrolled cells as sizes grow"]
    longer = [row for row in unroll if row["varied"] != "seq 1"]
    return {
        "calls": of_calls(tables),
        "lengths": of_lengths(tables),
        "unroll": f"""\
**`unroll` takes {span(*cells(longer))} times as long as the layer** for ten
steps or more, and {span(*cells(unroll, varied="seq 1"))} times as long for a single step.
Compiled training takes
{span(*cells(tables["Compiled models"], "compiled/eager"))} times as long as eager training.""",
        "verify": f"""\
**`verify` takes as long as {span(*cells(tables["Time of verify"]))} forward passes**.
You run it once.""",
    }


def costs(tables: Mapping[str, Rows]) -> str:
    """Write the README's sentences on costs."""
    detailed = tables["Checked calls, one by one"]
    large = tables["Mixed lengths, a large layer"]
    lengths = tables["Mixed lengths as sizes grow"]
    calls = span(*map(number, checked_calls(tables)))
    _, slowest, size = max(
        (number(row[column]), column.partition(",")[0], row["varied"])
        for row in lengths
        for column in row
        if column.endswith("forward")
    )
    annotated = span(*cells(detailed, "naive/torch"))
    trained = span(*cells(lengths, "backward"))
    trained_large = span(*cells(large, "lengths/pack"))
    run = span(*cells(lengths, "forward"))
    verified = span(*cells(tables["Time of verify"]))
    return f"""\
- **A checked call** takes {calls} times as long as torch's; \
annotated with jaxtyping, torch's call takes {annotated} times as long.
- **Training with `lengths=`** takes {trained} times as long as packing by hand, \
and {trained_large} times
  as long at batch 128, 100 steps, hidden size 512. \
Without gradients it takes {run} times as long; \
the slowest case is the {slowest} at {size}.
- **`verify`**, which you run once before training, \
takes as long as {verified} forward passes."""


def main() -> None:
    """Draw all of them from the page as it is."""
    mpl.use("svg")
    style()
    tables = unfolded(PAGE.read_text())
    for name, panels in CHARTS.items():
        draw(name, panels, tables)
    README.write_text(COSTS.sub(lambda _: costs(tables), README.read_text()))
    text = PAGE.read_text()
    for name, verdict in verdicts(tables).items():
        start = text.index(f"bench-{name}.svg)\n\n") + len(f"bench-{name}.svg)\n\n")
        text = text[:start] + verdict + text[text.index("\n\n", start) :]
    PAGE.write_text(text)
    sys.stdout.write("drawn\n")


if __name__ == "__main__":
    main()
