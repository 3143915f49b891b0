"""Make every mistake of the gallery, and write who notices: ``python -m docs.detect``.

It writes the tables of ``gallery/index.md``, and ends with an error if a fixed one is objected to.
"""

import functools
import re
import sys
import types
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch

import rnnkit
import rnnkit.nn
from benchmarks.report import Table
from benchmarks.subjects import NAIVE
from docs.mistakes import INDEX, Mistake, mistakes
from rnnkit._demo.listening import Outcome, listen

MARK = "<!-- What follows is written by `python -m docs.detect`. -->\n"
#: rnnkit's modules, as the tables call them.
OURS = "rnnkit, one import changed"
MAKES = {
    "torch.nn": torch.nn,
    "naive wrapper": types.SimpleNamespace(**{**vars(torch.nn), **NAIVE}),
    OURS: rnnkit.nn,
}
OTHERS = ("lengths=", "verify", "trace")
#: A cell for what was tried, and found nothing.
NOTHING = "\N{EN DASH}"


def verdict(said: Outcome, mistake: Mistake) -> str:
    """Judge what was said: a clear message names what has to be changed."""
    if not said.kind:
        return "silent"
    clear = re.search(mistake.how["fault"], said.text)
    return f"{'clear' if clear else 'obscure'}: {said.kind}"


def by_lengths(mistake: Mistake) -> str:
    """Run a layer with ``lengths=``, and see that each sample gets what it gets alone."""
    layer, padded, counts = mistake.ready(mistake.how["lengths"], rnnkit.nn)()
    try:
        output, state = layer(padded, lengths=counts)
    except rnnkit.RnnkitError as error:
        return type(error).__name__
    for place, count in enumerate(counts):
        last = layer.last_hidden(state)[place : place + 1]
        wanted = torch.zeros_like(last)  # without a step, what it started from
        if count:
            alone, end = layer(padded[place : place + 1, :count])
            torch.testing.assert_close(output[place : place + 1, :count], alone)
            wanted = layer.last_hidden(end)
        torch.testing.assert_close(last, wanted)
    return "right"


def by_verify(mistake: Mistake) -> str:
    """Name the probe that finds a mistake, if one does."""
    try:
        mistake.ready(mistake.verified, torch.nn)()
    except rnnkit.LeakError as error:
        return error.probe
    return NOTHING


def notes_of(mistake: Mistake) -> list[str]:
    """Return the notes of a report of ``verify``."""
    return list(mistake.ready(mistake.verified, torch.nn)().notes)


def by_trace(mistake: Mistake) -> str:
    """Quote the first mark in a trace, if there is one."""
    marked = mistake.ready(mistake.traced, torch.nn)().marked
    return str(marked[0].marks[0]) if marked else NOTHING


@dataclass(frozen=True)
class Row:
    """A mistake, and a cell for each way to notice it; empty where that cannot be tried."""

    mistake: Mistake
    cells: dict[str, str]

    def kind(self, make: str) -> str:
        """Return whether a make is silent, obscure or clear."""
        return self.cells[make].partition(":")[0]

    @property
    def others(self) -> list[str]:
        """What finds it beside the modules' own messages."""
        return [name for name in OTHERS if self.cells[name] not in ("", NOTHING)]

    @property
    def found(self) -> str:
        """Who of rnnkit's finds it."""
        said = self.cells[OURS].partition(": ")[2]
        marks = [said] if self.kind(OURS) == "clear" else []
        marks += ["`lengths=`"] if self.cells["lengths="] == "right" else []
        marks += [f"verify: {self.cells['verify']}"] if "verify" in self.others else []
        marks += ["trace"] if "trace" in self.others else []
        return f"✓ {', '.join(marks)}" if marks else self.mark(OURS)

    def mark(self, make: str) -> str:
        """Mark whether a make names what has to be changed."""
        return f"{'✓' if self.kind(make) == 'clear' else '✗'} {self.kind(make)}"

    @property
    def is_left(self) -> bool:
        """Whether nothing of rnnkit's finds it."""
        return self.kind(OURS) != "clear" and not self.others


def examine(mistake: Mistake) -> Row:
    """Make a mistake, and try every way to notice it."""
    said = {make: listen(mistake.ready(mistake.call, nn)) for make, nn in MAKES.items()}
    # What a kernel on a GPU says it says for every make, since all of them run it.
    known = mistake.how.get("on_gpu")
    cells = {make: known or verdict(outcome, mistake) for make, outcome in said.items()}
    runs = cells["torch.nn"] == "silent"
    cells["lengths="] = by_lengths(mistake) if "lengths" in mistake.how else ""
    cells["verify"] = by_verify(mistake) if runs else ""
    cells["trace"] = by_trace(mistake) if runs or "trace" in mistake.how else ""
    return Row(mistake, cells)


def objections(row: Row) -> Iterator[str]:
    """List what is said of a mistake that is fixed, wherever something is looked for."""
    right = row.mistake.fixed()
    runs = {make: right.ready(right.call, nn) for make, nn in MAKES.items()}
    if row.cells["verify"]:
        runs["verify"] = right.ready(right.verified, torch.nn)
    said = {name: listen(run) for name, run in runs.items()}
    if row.cells["trace"] and by_trace(right) != NOTHING:
        said["trace"] = Outcome("a mark", by_trace(right))
    for name, what in said.items():
        if what.kind:
            place = f"{right.page}.md, {right.title}, fixed"
            yield f"{place}: {name} says {what}"


@functools.cache
def rows() -> dict[str, list[Row]]:
    """Make every mistake, by the title of its page."""
    return {title: [examine(each) for each in there] for title, there in mistakes().items()}


def hint(row: Row) -> str:
    """Say if a mistake that is not found makes ``verify`` print a note, and its fix ends that."""
    if row.cells["verify"] != NOTHING or notes_of(row.mistake.fixed()):
        return ""
    return ", but `verify` prints a note" if notes_of(row.mistake) else ""


def summary(made: list[Row]) -> str:
    """Count who notices, and name what nobody finds."""
    counts = []
    for make in MAKES:
        kinds = Counter(row.kind(make) for row in made)
        counts.append((make, *(str(kinds[kind]) for kind in ("silent", "obscure", "clear"))))
    rest = [row for row in made if row.kind(OURS) != "clear"]
    found = Counter(name for row in rest for name in row.others)
    left = [row for row in rest if row.is_left]
    lines = [
        f"{len(rest)} get no clear message from rnnkit's modules. Of these, `lengths=` prevents",
        f"{found['lengths=']}, `verify` finds {found['verify']}, and `trace` marks",
        f"{found['trace']}; some mistakes are counted twice.",
        f"The remaining {len(left)} are not found:\n",
        *(f"- {row.mistake.link} ({row.kind(OURS)}{hint(row)})" for row in left),
        "",
    ]
    note = "How many mistakes get no message, an obscure one, or a clear one."
    columns = ("modules", "silent", "obscure", "clear")
    return "\n".join([str(Table(f"{len(made)} mistakes", note, columns, counts)), *lines])


def tables() -> str:
    """Write the summary, and a table for each page."""
    parts = [summary([row for there in rows().values() for row in there])]
    for title, there in rows().items():
        note = f"{len(there)} mistakes, {len(there) - sum(row.is_left for row in there)} found."
        columns = ("mistake", "rnnkit", "torch.nn", "naive wrapper")
        lines = [
            (row.mistake.link, row.found, row.mark("torch.nn"), row.mark("naive wrapper"))
            for row in there
        ]
        parts.append(str(Table(title, note, columns, lines)))
    return "\n".join(parts)


def written(page: str) -> str:
    """Return the index with the tables that come out now."""
    return f"{page.partition(MARK)[0]}{MARK}\n{tables()}"


if __name__ == "__main__":
    INDEX.write_text(written(INDEX.read_text()))
    objected = [said for there in rows().values() for row in there for said in objections(row)]
    sys.exit("\n".join(objected) or None)
