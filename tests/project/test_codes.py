"""The codes of refusals: one list, the page "Errors", what the code raises, and what ``explain`` prints."""

import ast
import re
import subprocess
import sys

import pytest

from rnnkit._diagnostics.probes.table import PROBES
from rnnkit._explain import explain
from tests.codes import CODES, LEAKS, REFUSALS
from tests.places import FILES

CODE = re.compile(r"[a-z]+(-[a-z]+)+")


def literals() -> set[str]:
    """Return every string in the sources that looks like a code."""
    nodes = (node for path in FILES for node in ast.walk(ast.parse(path.read_text())))
    texts = (node.value for node in nodes if isinstance(node, ast.Constant))
    return {text for text in texts if isinstance(text, str) and CODE.fullmatch(text)}


def keywords() -> set[str]:
    """Return every string that is given as a code by name."""
    given = re.compile(r'\b(?:code=|warn\(\s*)"([a-z-]*)"')
    return {code for path in FILES for code in given.findall(path.read_text())}


def test_the_page_of_codes():
    """It has each code that is raised, no other, once, with its own sentence; leaks as probes run."""
    assert set(CODES) <= literals()
    assert keywords() - {""} <= set(CODES)
    assert len(REFUSALS) == len(CODES) == len(set(CODES.values()))
    assert [code for code, _ in LEAKS] == list(PROBES)


def test_each_code_is_explained(capsys):
    """Its section is printed, with its own sentence and no Markdown.

    Without a code, each one stands with its sentence under its topic.
    """
    sentences = CODES | dict(LEAKS)
    for code, sentence in sentences.items():
        explain([code])
        printed = capsys.readouterr().out

        assert printed.startswith(f"{code}\n\n{sentence}\n")
        assert "```" not in printed
        assert "##" not in printed

    explain([])
    lines = capsys.readouterr().out.splitlines()
    listed = [tuple(line.split(maxsplit=1)) for line in lines if line.startswith("  ")]
    assert lines[0] == "The input's layout"
    assert listed == [*sentences.items()]


def test_other_arguments_end_in_a_sentence():
    """An unknown code gets the nearest ones, anything else the usage."""
    with pytest.raises(SystemExit, match="did you mean state-batch"):
        explain(["state-bach"])
    for arguments in (["xxxx"], ["--all"], ["batch", "alone"]):
        with pytest.raises(SystemExit, match="usage: python"):
            explain(arguments)


@pytest.mark.parametrize("installed", [True, False])
def test_a_terminal_gets_colour_where_rich_is(installed, monkeypatch, capsys):
    """On a terminal rich paints the section; where it is not installed the text is plain."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not installed:
        monkeypatch.setitem(sys.modules, "rich", None)
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    explain(["state-batch"])
    printed = capsys.readouterr().out

    assert ("\x1b[1mstate-batch" in printed) == installed
    assert "state-batch" in printed


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_reader_that_leaves_early(tmp_path):
    """``explain | head`` says nothing of that, in an empty folder, too."""
    command = [sys.executable, "-m", "rnnkit", "explain"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True) as process:  # noqa: S603
        process.stdout.close()  # type: ignore[union-attr]
        said = process.stderr.read()  # type: ignore[union-attr]

    assert "Error" not in said
