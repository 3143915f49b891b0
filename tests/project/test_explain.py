"""``python -m rnnkit explain``: what it prints of the page of errors that the package has."""

import pathlib
import subprocess
import sys

import pytest

from rnnkit._explain import explain
from tests.codes import CODES, LEAKS


@pytest.mark.parametrize("code", [*CODES, *dict(LEAKS)])
def test_each_code_is_explained(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its section is printed, with its own sentence and no Markdown."""
    explain([code])
    printed = capsys.readouterr().out

    assert printed.startswith(f"{code}\n\n{(CODES | dict(LEAKS))[code]}\n")
    assert "```" not in printed
    assert "##" not in printed


def test_without_a_code_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each code stands with its sentence under its topic."""
    explain([])
    lines = capsys.readouterr().out.splitlines()

    assert lines[0] == "The input's layout"
    assert [line.split(maxsplit=1) for line in lines if line.startswith("  ")] == [
        [code, sentence] for code, sentence in (CODES | dict(LEAKS)).items()
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["state-bach"], "did you mean state-batch"),
        (["xxxx"], "usage: python -m rnnkit explain"),
        (["--all"], "usage: "),
        (["batch", "alone"], "usage: "),
    ],
)
def test_other_arguments_end_in_a_sentence(arguments: list[str], said: str) -> None:
    """An unknown code gets the nearest ones, anything else the usage."""
    with pytest.raises(SystemExit, match=said):
        explain(arguments)


@pytest.mark.parametrize("installed", [True, False])
def test_a_terminal_gets_colour_where_rich_is(
    installed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
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
def test_it_runs_anywhere(tmp_path: pathlib.Path) -> None:
    """The line that a message ends with is a command, from an empty folder too."""
    command = [sys.executable, "-m", "rnnkit", "explain", "state-batch"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S603

    assert done.stdout.startswith(
        "state-batch\n\nThe state was kept from a call with another batch"
    )
