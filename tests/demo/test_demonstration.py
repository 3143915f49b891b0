"""``python -m rnnkit``: what it says, on a terminal and in a pipe."""

import importlib.metadata
import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import rnnkit
from rnnkit._demo import mistakes, screen
from rnnkit._demo import speakers as demonstration
from rnnkit._demo.listening import Outcome
from rnnkit._demo.mistakes import MISTAKES
from tests.demo.scenes import (
    ANSWERS,
    make_scene,
    needs_recordings,
)

WITHOUT_SKTIME = """
import runpy, sys
sys.modules["sktime"] = None
runpy.run_module("rnnkit", run_name="__main__")
"""


@pytest.mark.slow
def test_says_what_to_install() -> None:
    """Without the extra, one sentence names it and the exit status is 1."""
    command = [sys.executable, "-c", WITHOUT_SKTIME]

    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603

    assert done.stderr == (
        "The demonstration reads recordings that come with sktime; "
        'install it: pip install "rnnkit[demo]"\n'
    )
    assert done.returncode == 1


def test_names_versions_without_recordings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The versions are printed first, so that they can be had without the extra."""
    monkeypatch.setitem(sys.modules, "sktime", None)

    with pytest.raises(SystemExit):
        demonstration.main([])

    assert [part.split()[0] for part in capsys.readouterr().out.split(", ")] == [
        "rnnkit",
        "torch",
        "jaxtyping",
        "beartype",
        "python",
    ]


def test_names_versions_of_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The versions can be had from a checkout that nobody installed."""

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)

    assert demonstration.versions().startswith("rnnkit (not installed), torch (not installed)")


def test_sktime_without_recordings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package of that name which has no recordings is refused by a sentence as well."""
    (tmp_path / "sktime").mkdir()
    (tmp_path / "sktime" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "sktime", raising=False)
    importlib.invalidate_caches()

    with pytest.raises(SystemExit, match="This version of sktime has no JapaneseVowels"):
        demonstration.load()


@pytest.mark.slow
@needs_recordings
def test_report_fits_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Everything is told within 80 columns: each epoch, each mistake, a table, and a picture."""
    monkeypatch.chdir(tmp_path)
    demonstration.main(["--epochs", "2"])

    lines = capsys.readouterr().out.splitlines()
    table = lines[lines.index("", 1 + [line[:6] for line in lines].index("   mis")) - 6 :][:6]

    assert max(map(len, lines)) <= 80
    assert not any("\x1b" in line for line in lines)
    assert sum(line.startswith("  epoch ") for line in lines) == 2
    assert sum(line.startswith("   torch.nn  ") for line in lines) == len(MISTAKES)
    assert tuple(line.split()[-1] for line in table) == ANSWERS
    assert any("LeakError: output of sample" in line for line in lines[-12:])
    assert (tmp_path / "rnnkit-map.png").stat().st_size > 5000


@needs_recordings
def test_mistakes_follow_a_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With rnnkit's layers the mistakes are made after the training, and the first is found."""
    monkeypatch.setattr(
        mistakes, "show", lambda scene, nn: screen.say(f"{len(scene.input)} {nn.__name__}")
    )
    monkeypatch.setattr(
        mistakes, "find", lambda scene, folder: screen.say(f"{scene.seed} {folder}")
    )

    demonstration.main(["--epochs", "1", "--seed", "3"])

    assert capsys.readouterr().out.splitlines()[-2:] == ["32 rnnkit.nn", f"3 {Path.cwd()}"]


def test_each_mistake_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each mistake it is told what torch says and what rnnkit says, and again in a table."""
    dead = Outcome("SIGSEGV", "no message; the process is dead")
    monkeypatch.setattr(mistakes, "listen_apart", lambda *_: dead)

    mistakes.show(make_scene(), rnnkit.nn)

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("Mistake ")] == [
        f"Mistake {number}: {mistake.title}" for number, mistake in enumerate(MISTAKES, start=1)
    ]
    assert sum("SIGSEGV" in line for line in lines) == 2 * sum(each.fatal for each in MISTAKES)
    assert tuple(line.split()[-1] for line in lines[-2 - len(MISTAKES) : -2]) == ANSWERS


def test_a_mistake_is_found_and_drawn(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """``verify`` finds the first mistake, and its picture is saved."""
    mistakes.find(make_scene(), tmp_path)

    assert "LeakError: output of sample" in capsys.readouterr().out
    assert (tmp_path / "rnnkit-map.png").stat().st_size > 5000


def test_no_picture_without_matplotlib(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without matplotlib the mistake is found all the same, and a sentence says what is missing."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    mistakes.find(make_scene(), tmp_path)

    assert 'pip install "rnnkit[demo]"' in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def as_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the output look like a terminal's."""
    pytest.importorskip("rich", reason="colour is rich's")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_colour_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal a style is an escape sequence around the text."""
    as_on_a_terminal(monkeypatch)
    screen.say("an error", "red")

    assert capsys.readouterr().out == "\x1b[31man error\x1b[0m\n"


def test_no_colour_where_it_is_not_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR, set to anything, turns colours off."""
    as_on_a_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    screen.say("an error", "red")

    assert capsys.readouterr().out == "an error\n"


def test_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal a bar shows how far a training is, above it the lines that are reported."""
    as_on_a_terminal(monkeypatch)
    with screen.progress(2) as report:
        report("  epoch 1")
        report("")

    said = capsys.readouterr().out
    assert "  epoch 1" in said
    assert "training" in said
    assert "100%" in said


def test_no_bar_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe there are the reported lines, and no others."""
    with screen.progress(2) as report:
        report("  epoch 1")
        report("")

    assert capsys.readouterr().out == "  epoch 1\n"


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the demonstration with one word and no traceback."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demonstration, "main", interrupted)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    # Another test may have imported it, of which runpy would warn.
    monkeypatch.delitem(sys.modules, "rnnkit.__main__", raising=False)
    threads = torch.get_num_threads()
    try:
        with pytest.raises(SystemExit, match="Stopped"):
            runpy.run_module("rnnkit", run_name="__main__")
    finally:
        torch.set_num_threads(threads)
