"""The codes of refusals: one list, one page, and what the code itself raises."""

import ast
import pathlib
import re

import rnnkit
from rnnkit._base.codes import CODES, GROUPS
from rnnkit._diagnostics.probes.table import ASKED, PROBES

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "errors.md").read_text()
CODE = re.compile(r"[a-z]+(-[a-z]+)+")
ENTRY = re.compile(r"^### (\S+)\n\n(.+)$", re.MULTILINE)


def literals() -> set[str]:
    """Return every string in the sources, but for the list itself, that looks like a code."""
    found: set[str] = set()
    for path in pathlib.Path(rnnkit.__file__).parent.rglob("*.py"):
        if path.name != "codes.py":
            nodes = ast.walk(ast.parse(path.read_text()))
            texts = (node.value for node in nodes if isinstance(node, ast.Constant))
            found |= {text for text in texts if isinstance(text, str) and CODE.fullmatch(text)}
    return found


def keywords() -> set[str]:
    """Return every string that is given as a code by name."""
    found: set[str] = set()
    for path in pathlib.Path(rnnkit.__file__).parent.rglob("*.py"):
        found |= set(re.findall(r'\bcode="([a-z-]*)"', path.read_text()))
    return found


def test_the_page_has_an_anchor_for_each_code_with_its_sentence() -> None:
    """List and page are the same, in the same order and under the same headings."""
    refusals, leaks = PAGE.split("## Leaks\n")

    assert dict(ENTRY.findall(refusals)) == CODES
    assert re.findall(r"^## (.+)$", refusals, re.MULTILINE) == list(GROUPS)
    assert [code for code, _ in ENTRY.findall(leaks)] == list(PROBES | ASKED)


def test_each_code_is_raised_somewhere_and_none_beside() -> None:
    """The list has no code too many; nothing is raised with a code that is not listed."""
    assert set(CODES) <= literals()
    assert keywords() - {""} <= set(CODES)


def test_a_sentence_stands_for_one_code() -> None:
    """Two codes never say the same."""
    assert len(set(CODES.values())) == len(CODES)
