"""Draw the figures of the benchmarks' page: ``python -m docs.charts``, after ``nox -s bench``.

Each picture has a row for what is compared and a dot for each size that was measured.
"""

import re
import statistics
import sys
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt

from docs.maps import INK, style, write
from docs.pages import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
DOT, WORSE = "#4a88b8", "#d1495b"


class Chart(NamedTuple):
    """A picture: the tables whose columns are its rows, and what stands around it.

    ``limit`` is where a value is as good as what it is compared with.
    """

    name: str
    tables: dict[str, str]
    label: str
    limit: float | None


CHARTS = (
    Chart("calls", {"Checked calls as sizes grow": "{}"}, "time of a call / torch.nn's", 1.0),
    Chart(
        "lengths", {"Mixed lengths as sizes grow": "{}"}, "time of lengths= / packing by hand", 1.0
    ),
    Chart("unroll", {"Unrolled cells as sizes grow": "{}"}, "time of unroll / the layer", 1.0),
    Chart("verify", {"Time of verify": "{}"}, "time of verify / one forward pass", None),
)


def columns(page: str, title: str) -> dict[str, list[float]]:
    """Read the numbers of a table, column by column, without their spread."""
    section = next(body for head, body in SECTION.findall(page) if head == title)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    numbers: dict[str, list[float]] = {name: [] for name in head[1:]}
    for row in rows:
        for name, cell in zip(head[1:], row[1:], strict=True):
            if cell:
                numbers[name].append(float(cell.split()[0]))
    return numbers


def draw(chart: Chart, page: str) -> None:
    """Draw a chart into its file."""
    rows = {
        label.format(name): numbers
        for title, label in chart.tables.items()
        for name, numbers in columns(page, title).items()
    }
    height = 0.8 + 0.34 * len(rows)
    figure, axes = plt.subplots(figsize=(6.4, height), layout="constrained")
    for place, numbers in enumerate(rows.values()):
        dots = [WORSE if chart.limit and n > chart.limit + 0.05 else DOT for n in numbers]
        axes.scatter(numbers, [place] * len(numbers), c=dots, alpha=0.8, linewidths=0)
        axes.plot([statistics.median(numbers)] * 2, [place - 0.3, place + 0.3], color=INK)
    if chart.limit:
        axes.axvline(chart.limit, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xlim(left=0)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xlabel(chart.label)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    write(figure, f"bench-{chart.name}.svg")


def main() -> None:
    """Draw all of them from the page as it is."""
    mpl.use("svg")
    style()
    for chart in CHARTS:
        draw(chart, PAGE.read_text())
    sys.stdout.write("drawn\n")


if __name__ == "__main__":
    main()
