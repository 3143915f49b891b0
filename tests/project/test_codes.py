"""The codes of refusals: one list, the page "Errors", and what the code itself raises."""

import ast
import pathlib
import re

import rnnkit
from rnnkit._diagnostics.probes import PROBES
from tests.codes import CODES, LEAKS, REFUSALS

CODE = re.compile(r"[a-z]+(-[a-z]+)+")
FILES = list(pathlib.Path(rnnkit.__file__).parent.rglob("*.py"))


def literals() -> set[str]:
    """Return every string in the sources that looks like a code."""
    nodes = (node for path in FILES for node in ast.walk(ast.parse(path.read_text())))
    texts = (node.value for node in nodes if isinstance(node, ast.Constant))
    return {text for text in texts if isinstance(text, str) and CODE.fullmatch(text)}


def keywords() -> set[str]:
    """Return every string that is given as a code by name."""
    given = re.compile(r'\b(?:code=|warn\(\s*)"([a-z-]*)"')
    return {code for path in FILES for code in given.findall(path.read_text())}


def test_each_code_is_raised_somewhere_and_none_beside() -> None:
    """The page has no code too many; nothing is raised with a code that it does not list."""
    assert set(CODES) <= literals()
    assert keywords() - {""} <= set(CODES)


def test_a_sentence_stands_for_one_code() -> None:
    """No code is listed twice, and two never say the same."""
    assert len(REFUSALS) == len(CODES) == len(set(CODES.values()))


def test_each_probe_has_its_place_among_the_leaks() -> None:
    """The page lists the codes of leaks in the order of the probes."""
    assert [code for code, _ in LEAKS] == list(PROBES)
