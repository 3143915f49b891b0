"""The page of figures: pictures and prose by hand, then every table behind a fold."""

import re
from collections.abc import Sequence

from benchmarks.report import Table, facts, method
from benchmarks.timing import Effort

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
