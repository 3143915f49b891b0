"""``python -m rnnkit``: what it prints, on a terminal and in a pipe."""

import importlib.util
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rnnkit._demo import listening, recordings, show
from rnnkit._demo.listening import Outcome, listen_in_child
from rnnkit._demo.mistakes import MISTAKES
from tests.places import ROOT

ANSWERS = ["RnnkitWarning", "StateError", "StateError", "LayoutError", "StateError", "DtypeError"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Train for one epoch, start no child, and run in an empty folder."""
    crash = Outcome("SIGSEGV", "no message; the process crashed")
    monkeypatch.setattr(recordings, "EPOCHS", 1)
    monkeypatch.setattr(show, "listen_in_child", lambda *_: crash)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("every", [False, True])
def test_what_is_shown(every, quick, capsys):
    """Two tables, as in the quick start, mistakes in full, and verify's report; no file.

    The silent mistakes come first. In the report a row with nothing to say beside the finding says so.
    """
    show.main(["--all"] if every else [])

    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line[:1].isdigit()]
    assert [row.split()[-1] for row in rows] == ANSWERS
    page = (ROOT / "docs" / "quickstart.md").read_text()
    assert [row for row in [rows[0][:34], rows[1][:34], *rows[2:]] if row not in page] == []
    assert sum(line.startswith("Mistake ") for line in lines) == (len(MISTAKES) if every else 1)
    assert sum("SIGSEGV" in line for line in lines) == (2 if every else 1)
    assert MISTAKES[2].fatal
    assert "The first runs in a child process, which will crash." in lines
    assert any("fix        LSTM(..., batch_first=True)" in line for line in lines)
    assert any(line.startswith("rnnkit.verify: 1 mistake found (") for line in lines)
    assert sum("fix the mistake above first" in line for line in lines) == 4
    assert lines[-6].startswith("  axes  input[0] (batch, seq, 12)")
    assert max(map(len, lines)) <= 80
    assert not any("\x1b" in line for line in lines)
    assert not list(quick.iterdir())


def test_save(quick, capsys, monkeypatch):
    """``--save`` writes the picture, and without matplotlib names what to install."""
    show.find(save=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit):
        show.main(["--save"])

    assert 'pip install "rnnkit[plot]"' in capsys.readouterr().err
    assert (quick / show.PICTURE).stat().st_size > 5000


def test_one_mistake(quick, capsys):
    """A single mistake that nothing stops ends with the accuracy that it leaves."""
    show.main(["--mistake", "2", "--namespace", "torch.nn"])

    assert quick
    assert capsys.readouterr().out.splitlines()[-1].startswith("no error; test accuracy ")


@pytest.mark.slow
def test_one_mistake_ends_as_it_will():
    """A single mistake is not caught; the traceback quotes the wrong line."""
    command = [sys.executable, "-m", "rnnkit", "--mistake", "5"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603

    assert f"\n    {MISTAKES[4].wrong}\n" in done.stderr
    assert "\nrnnkit.StateError: hx must be one tensor" in done.stderr
    assert done.returncode == 1


def test_child(monkeypatch):
    """The outcome of a child process is its signal, or the last line of its traceback."""
    for code, stderr, shown in (
        (-signal.SIGSEGV, "", "SIGSEGV: no message; the process crashed"),
        (1, "Traceback:\n  ...\nRuntimeError: sizes: 3 and 4\n", "RuntimeError: sizes: 3 and 4"),
        (0, "", "silence"),
    ):
        done = subprocess.CompletedProcess([], code, "", stderr)
        monkeypatch.setattr(listening.subprocess, "run", lambda *_, done=done, **__: done)

        assert str(listen_in_child("--mistake", "3")) == shown


def test_colour(capsys, monkeypatch):
    """A terminal with rich shows colours, unless NO_COLOR is set."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    show.say("an error", "red")
    monkeypatch.setenv("NO_COLOR", "1")
    show.say("an error", "red")

    assert capsys.readouterr().out == "\x1b[31man error\x1b[0m\nan error\n"


def test_interrupted(monkeypatch):
    """Ctrl-C ends the demonstration with one word and no traceback."""

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(show, "main", interrupted)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    # Another test may have imported it, and runpy would warn of that.
    monkeypatch.delitem(sys.modules, "rnnkit.__main__", raising=False)
    with pytest.raises(SystemExit, match="Stopped"):
        runpy.run_module("rnnkit", run_name="__main__")
