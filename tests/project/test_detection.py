"""The gallery's tables of who notices a mistake: they are what comes out now, and fair."""

import re

import pytest
import torch

pytest.importorskip("benchmarks", reason="the naive wrapper is in the repository, not in the wheel")

from docs import detect
from docs.mistakes import INDEX, Mistake, mistakes
from rnnkit._demo.listening import Outcome
from tests.places import README

ALL = [mistake for there in mistakes().values() for mistake in there]
unhooked = pytest.mark.unhooked("the hook's own errors come before what is judged here")


@pytest.mark.needs_torch("2.13", "torch says some of it in other words")
@unhooked
@pytest.mark.slow
def test_tables_are_what_comes_out():
    """The tables of the gallery are what ``python -m docs.detect`` would write now."""
    assert INDEX.read_text() == detect.written(INDEX.read_text())


def test_each_mistake_stands_in_the_frame():
    """Each heading of a page beside the index is a mistake.

    Below each mistake stand the symptom and, as code that runs, what is right.
    """
    headings = set()
    for page in {*INDEX.parent.glob("*.md")} - {INDEX}:
        for section in re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]:
            headings.add((page.stem, section.partition("\n")[0]))
            _, right = section.split("\n**Right**")
            assert "\n**The mistake.**" in section, section
            assert "\n```python\n" in right, section

    assert {(mistake.page, mistake.title) for mistake in ALL} == headings


def test_the_readme_has_the_figures_of_the_gallery():
    """It counts the mistakes, those that torch is silent about, and how many of these are found."""
    text = INDEX.read_text()
    (silent,) = map(int, re.findall(r"^\| torch\.nn +\| (\d+)", text, re.MULTILINE))
    missed = len(re.findall(r"^- \[.*\) \(silent", text, re.MULTILINE))

    assert f"[{len(ALL)} mistakes]" in README
    assert (
        f"\nfor {silent}. rnnkit finds or prevents {silent - missed} of these {silent}." in README
    )


@unhooked
@pytest.mark.slow
def test_mended():
    """Nobody says anything once the fix is in place: no make, no probe, no trace."""
    rows = [row for there in detect.rows().values() for row in there]

    assert len(rows) == len(ALL)
    assert [objection for row in rows for objection in detect.objections(row)] == []


def test_unknown_mend():
    """A fix of what is not there is refused, so that none goes untried."""
    mistake = Mistake("page", "title", "x = 1", {"model": "f", "inputs": "x", "fix": {"y": "z"}})

    with pytest.raises(ValueError, match="nothing there reads 'y'"):
        mistake.fixed()


def test_verdict_of_an_error():
    """An error is clear if its text has what the section says is at fault."""
    mistake = Mistake("page", "title", "", {"model": "f", "inputs": "", "fault": "hx"})
    verdicts = [detect.verdict(Outcome("ValueError", text), mistake) for text in ("hx", "rows")]

    assert verdicts == ["clear: ValueError", "obscure: ValueError"]


def test_parameters_that_are_merely_listed():
    """What jaxtyping lists below its message names nothing: the listing has all parameters."""
    lstm = detect.MAKES["naive wrapper"].LSTM(3, 4)

    said = detect.listen(lambda: lstm(torch.zeros(5, 2, 3), (torch.zeros(1, 2, 4),)))

    assert said.kind == "TypeCheckError"
    assert "'hx'" in said.text
    assert "'input'" not in said.text
