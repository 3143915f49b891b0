"""The benchmarks' tables: each can be made, and the page in docs has them all.

No test here looks at a time: tables are made with next to no effort.
"""

import contextlib
import itertools
import os
import re
import sys

import pytest
import torch

pytest.importorskip("benchmarks", reason="the benchmarks are in the repository, not in the wheel")

from benchmarks import imports
from benchmarks.__main__ import main, topics
from benchmarks.growth import Sizes, growth
from benchmarks.report import Table, budget, unfolded
from benchmarks.timing import QUICK, Effort
from docs import charts
from tests.compiles import compiles
from tests.places import README, ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method`"),
]

PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


def rows_of(text: str) -> list[list[str]]:
    """Read the cells of a table in Markdown, without the line below its head."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


#: Small sizes, by their names in the topics: with those of the page the kernels take most of the time.
SMALL = {"BASE": Sizes(2, 3, 4, 0.5), "SHAPES": [(2, 3, 4, 5)], "LONG": [(8, 2)]}


@compiles
def test_each_table_can_be_made(monkeypatch):
    """Topics make the tables of the page, no other ones, with rows that have a cell for every column.

    What inductor has compiled before is not compiled anew, and one process imports torch for all.
    """
    found = unfolded(PAGE)
    seconds = imports._import(os.environ)
    monkeypatch.setattr(imports, "_import", lambda _: seconds)
    monkeypatch.setattr("torch._inductor.utils.fresh_cache", contextlib.nullcontext)
    for topic, (name, sizes) in itertools.product(topics().values(), SMALL.items()):
        if hasattr(sys.modules[topic.__module__], name):
            monkeypatch.setattr(sys.modules[topic.__module__], name, sizes)
    made = {name: topic(QUICK) for name, topic in topics().items()}

    for table in itertools.chain(*made.values()):
        rows = rows_of(str(table))
        assert len(rows) == len(table.rows) + 1 > 1, table.title
        assert {len(row) for row in rows} == {len(table.columns)}, table.title
        assert table.title in found, "write the page again: nox -s bench"
        assert list(found[table.title][0]) == list(table.columns), table.title
    assert all(made.values())
    assert list(found) == [table.title for tables in made.values() for table in tables]


def test_readme_has_the_costs_of_the_page():
    """Sentences on costs, here and in the README, are those of the page's figures, and so are the pictures.

    How long a checked call takes is read of the same tables, for both.
    """
    tables = unfolded(PAGE)
    costs = charts.costs(tables)
    verdicts = charts.verdicts(tables)
    written = charts.COSTS.search(README)

    assert written[0] == costs, "write it again: python -m docs.charts"
    assert all(verdict in PAGE for verdict in verdicts.values())
    figures = [re.findall(r"(\d\.\d\d to \d\.\d\d)", text) for text in (costs, verdicts["calls"])]
    assert figures[0][0] == figures[1][0]
    for panels in charts.CHARTS.values():
        assert all(all(numbers) for panel in panels for numbers in panel.rows(tables).values())


def test_a_verdict_counts_the_rows_above_their_limit():
    """No sentence says that a check or lengths= costs nothing where a row says that it does."""
    tables = unfolded(PAGE)
    calls = tables["Checked calls, one by one"]
    grown = tables["Checked calls as sizes grow"]
    lengths = tables["Mixed lengths as sizes grow"]
    for row in calls:
        row |= {"rnnkit/torch": "0.99 ±0.01", "budget": "1.02"}
    for rows, ending in ((grown, ""), (lengths, "backward")):
        for row in rows:
            row |= {key: "0.99" for key in row if key != "varied" and key.endswith(ending)}
    kind = grown[0]

    quiet = charts.verdicts(tables)
    calls[1] |= {"rnnkit/torch": "1.40 ±0.01", "budget": "1.02 **exceeded**"}
    calls[2] |= {"rnnkit/torch": "1.40 ±0.40"}
    kind |= {"GRU": "1.20 ±0.10"}
    lengths[0] |= {"GRU, forward + backward": "1.30 ±0.02"}
    loud = charts.verdicts(tables)

    number = len(charts.checked_calls(tables))
    assert "no checked call takes longer than torch's" in quiet["calls"]
    assert "exceeded in 0 of 36 rows" in quiet["calls"]
    assert f"{number - 2} of {number} checked calls take no longer" in loud["calls"]
    assert "0.99 to 1.40" in loud["calls"]
    assert "exceeded in 1 of 36 rows" in loud["calls"]
    assert "no slower than packing**" in quiet["lengths"]
    assert "no slower than packing in 31 of 32 sizes" in loud["lengths"]


def test_what_is_printed_is_written(tmp_path, capsys, monkeypatch):
    """With --write, the page has what was printed: the machine, and the tables of all topics."""
    one, two = (Table(title, "Note.", ("x",), [(title,)]) for title in ("One", "Two"))
    found = {"first": lambda _: [one], "second": lambda _: [two]}
    monkeypatch.setattr("benchmarks.__main__.topics", lambda: found)
    page = tmp_path / "page.md"

    main(["--quick", "--write", str(page)])

    written = page.read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    assert f"torch {torch.__version__}" in written
    assert f"{one}\n{two}" in printed
    assert unfolded(written) == {"One": [{"x": "One"}], "Two": [{"x": "Two"}]}


def test_what_is_asked_for(tmp_path, capsys):
    """A misspelt topic, and a page with some topics only, end before anything is measured."""
    page = tmp_path / "page.md"
    for arguments, sentence in (
        (["failures", "--quick", "--write", str(page)], "a page has all topics"),
        (["cals"], "no topic cals; there are calls, choosing, compiling"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert sentence in " ".join(capsys.readouterr().err.split())
    assert not page.exists()

    main(["failures", "--quick"])
    titles = [line for line in capsys.readouterr().out.splitlines() if line.startswith("#")]
    assert titles == ["# Benchmarks", "## Failing calls"]


def test_one_size_is_varied_at_a_time():
    """Each row of a growth table has the base's sizes but one, and each case is measured once."""
    measured = []

    def measure(column, sizes):
        measured.append((column, sizes))
        return "" if column == "b" and sizes.seq != 2 else f"{column} {sizes.batch} {sizes.seq}"

    varied = {"batch": (1, 4), "seq": (2, 5)}
    table = growth("Title", "Note.", Effort(), Sizes(1, 2, 3), varied, ("a", "b"), measure)

    assert table.columns == ("varied", "a", "b")
    assert table.rows == [
        ("batch 1", "a 1 2", "b 1 2"),
        ("batch 4", "a 4 2", "b 4 2"),
        ("seq 2", "a 1 2", "b 1 2"),
        ("seq 5", "a 1 5", ""),
    ]
    assert "Otherwise batch 1, seq 2" in table.note
    assert len(measured) == len(set(measured)) == 6
    # The least effort measures the first of each size.
    assert growth("T", "N", QUICK, Sizes(1, 2, 3), varied, ("a",), lambda *_: 1).rows == [
        ("batch 1", "1"),
        ("seq 2", "1"),
    ]


def test_budget_is_judged_as_it_is_printed():
    """A value over its budget is marked, unless it is equal as printed, or the noise is as large."""
    assert budget(1.019, 1.02) == budget(1.024, 1.02) == "1.02"
    assert budget(1.026, 1.02) == "1.02 **exceeded**"
    assert budget(99.9, 100.0, "ms") == "100 ms"
    assert budget(1.4, 1.0, "ms") == "1 ms **exceeded**"
    assert budget(1.05, 1.02, spread=0.03) == "1.02 (unclear)"
    assert budget(1.05, 1.02, spread=0.01) == "1.02 **exceeded**"
