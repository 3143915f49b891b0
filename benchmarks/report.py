"""Tables in GitHub's Markdown, where they were made, and the page of all of them."""

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.timing import CLOCK, Effort


class Table(NamedTuple):
    """One table, with what a reader needs to know to read it."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def __str__(self) -> str:
        """Title, note and table."""
        return f"## {self.title}\n\n{self.note}\n\n{self.grid}\n"

    @property
    def grid(self) -> str:
        """The table as Markdown, its columns aligned for those who read it in a terminal."""
        lines = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [
            f"| {' | '.join(cell.ljust(n) for cell, n in zip(line, widths, strict=True))} |"
            for line in lines
        ]
        text.insert(1, f"|{'|'.join('-' * (n + 2) for n in widths)}|")
        return "\n".join(text)


def budget(value: float, limit: float, unit: str = "", spread: float = 0.0) -> str:
    """What was allowed, and whether the value, to two decimals, is within it.

    A value that noise may have put over it is called unclear.
    """
    allowed = f"{limit:g} {unit}" if unit else f"{limit:.2f}"
    if round(value, 2) <= limit:
        return allowed
    return (
        f"{allowed} (unclear)" if round(value - spread, 2) <= limit else f"{allowed} **exceeded**"
    )


def heading(effort: Effort) -> str:
    """What stands above tables that are printed."""
    return f"# Benchmarks\n\n{facts()}\n\n{method(effort)}"


def facts() -> str:
    """List the machine, the versions and the day."""
    names = ["torch", "rnnkit", "jaxtyping", "beartype", *["torchrl"] * bool(find_spec("torchrl"))]
    versions = [f"{name} {_version(name)}" for name in names]
    lines = [
        f"{_processor()}, {_cores()} cores, one thread",
        ", ".join([f"Python {platform.python_version()}", *versions]),
        f"{datetime.now(UTC):%Y-%m-%d}",
    ]
    return f"{'; '.join(lines)}."


def method(effort: Effort) -> str:
    """Explain how the numbers were made, and how to read them."""
    brief = effort.brief().seconds
    return f"""The candidates run in turn until each comparison has used {effort.seconds:g} s of
`{CLOCK.__name__}` ({brief:g} s in the tables "as sizes grow"). Numbers are medians, ± half the
width of the 95% confidence interval. "a/b" is the time of a divided by the time of b;
"torch/torch" compares torch with itself and shows the noise. "Worst" is the largest ratio.
"Budget" is the limit that we set; "unclear" marks a ratio that exceeds the budget by no more than
the noise.
"""


def _version(name: str) -> str:
    try:
        return torch.__version__ if name == "torch" else metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _cores() -> int:
    # What this process may use, which in a container is less than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    # Python's own platform.processor() is empty, or the mere architecture, on Linux.
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


#: Above it is what people write, below it what is measured.
MARK = "<!-- What follows is written by `nox -s bench`. -->\n"
FOLDED = re.compile(r"^<summary>(.+?)</summary>\n\n(.*?)^</details>", re.MULTILINE | re.DOTALL)


def page(before: str, effort: Effort, tables: Sequence[Table]) -> str:
    """Write the page again below its mark: how and where it was measured, and the tables."""
    parts = [facts(), "", method(effort), *map(folded, tables)]
    return "\n".join([before.partition(MARK)[0] + MARK, *parts])


def folded(table: Table) -> str:
    """Write one table behind a fold."""
    return (
        f"<details>\n<summary>{table.title}</summary>\n\n"
        f"{table.note}\n\n{table.grid}\n\n</details>\n"
    )


def unfolded(text: str) -> dict[str, list[dict[str, str]]]:
    """Read a page: by the title of a table, its rows, each a dict by column."""
    found = {}
    for title, body in FOLDED.findall(text):
        lines = [line for line in body.splitlines() if line.startswith("|")]
        head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        found[title] = [dict(zip(head, row, strict=True)) for row in rows]
    return found
