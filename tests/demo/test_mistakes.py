"""The demonstration's mistakes: each is what it claims to be."""

import signal
import subprocess
import sys
from functools import partial
from types import ModuleType

import pytest
import torch

import rnnkit
from rnnkit._demo import speakers as demonstration
from rnnkit._demo.listening import listen, listen_apart
from rnnkit._demo.mistakes import BATCH, FEATURES, HIDDEN, MISTAKES, Mistake, Scene
from tests.demo.scenes import (
    ANSWERS,
    each_mistake,
    each_namespace,
    make_scene,
    needs_recordings,
)


@each_namespace
@each_mistake
def test_mended(mistake: Mistake, nn: ModuleType) -> None:
    """Done right, each of them runs, with torch's layers and with ours, and nobody warns."""
    make_scene().play(mistake, nn, right=True)


@pytest.mark.parametrize(
    ("mistake", "answer"),
    [
        pytest.param(mistake, answer, id=mistake.title)
        for mistake, answer in zip(MISTAKES, ANSWERS, strict=True)
    ],
)
def test_rnnkit_speaks(mistake: Mistake, answer: str) -> None:
    """Each of the mistakes is answered by rnnkit, with an error or a warning of the right kind."""
    assert listen(partial(make_scene().play, mistake, rnnkit.nn)).kind == answer


def test_silent_end_of_a_mistake() -> None:
    """Who follows torch's advice in the fourth mistake makes a silent one, which verify finds."""

    class Advised(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(FEATURES, HIDDEN)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = c = torch.zeros(1, x.size(1), HIDDEN)
            output: torch.Tensor = self.lstm(x, (h, c))[0]
            return output

    assert "rnnkit.verify" in MISTAKES[3].because
    with pytest.raises(rnnkit.LeakError, match="batch_first=True"):
        rnnkit.verify(Advised(), make_scene().input)


@pytest.mark.slow
@needs_recordings
def test_process_apart() -> None:
    """Made in a process of its own, a mistake is reported as if made in this one."""
    here = listen(partial(make_scene().play, MISTAKES[4], torch.nn))

    assert listen_apart(5, seed=0) == here


def test_process_that_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that a signal ended is reported by the name of the signal."""
    dead = subprocess.CompletedProcess([], -signal.SIGSEGV, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: dead)

    said = str(listen_apart(3, seed=0))

    assert said == "SIGSEGV: no message; the process is dead"


def test_process_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that an error ended is reported by the last line of its traceback."""
    said = "Traceback (most recent call last):\n  ...\nRuntimeError: sizes differ: 3 and 4\n"
    failed = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)

    assert str(listen_apart(3, seed=0)) == "RuntimeError: sizes differ: 3 and 4"


def test_author_is_not_judged() -> None:
    """A name that the code of a mistake does not have is an error of its author, and is raised."""
    unknown = Mistake("title", "{}", wrong="missing", right="", because="")

    with pytest.raises(NameError, match="missing"):
        listen(partial(make_scene().play, unknown, torch.nn))


@pytest.mark.slow
@needs_recordings
@pytest.mark.parametrize("mistake", MISTAKES[:2], ids=lambda mistake: mistake.title)
def test_silence_costs_accuracy(mistake: Mistake, data: demonstration.Data) -> None:
    """To the first two mistakes torch says nothing, and the classifier is worse for it."""

    def study(model: torch.nn.Module) -> float:
        demonstration.fit(model, data.train, demonstration.EPOCHS)
        return demonstration.accuracy(model, data.test)

    scene = Scene(*data.train.take(torch.arange(BATCH))[:2], study, seed=0)

    outcome = listen(partial(scene.play, mistake, torch.nn))

    assert str(outcome) == "silence"
    assert outcome.value < (scene.play(mistake, torch.nn, right=True) or 0) - 0.01


@needs_recordings
def test_torch_shows_no_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    """With torch's namespace, the same training is all that happens."""
    demonstration.main(["--epochs", "1", "--namespace", "torch.nn"])

    assert capsys.readouterr().out.splitlines()[-1].startswith("  test accuracy ")


@pytest.mark.slow
@needs_recordings
def test_one_mistake_ends_as_it_will() -> None:
    """A single mistake is not caught; the traceback can be read, and quotes the wrong line."""
    command = [sys.executable, "-m", "rnnkit", "--mistake", "5"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603

    assert f"\n    {MISTAKES[4].wrong}\n" in done.stderr
    assert "\nrnnkit.StateError: hx must be one tensor" in done.stderr
    assert done.returncode == 1


@needs_recordings
def test_one_silent_mistake_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """A single mistake that nobody stops ends with the accuracy that it leaves."""
    demonstration.main(["--mistake", "2", "--namespace", "torch.nn", "--epochs", "1"])

    assert capsys.readouterr().out.splitlines()[-1].startswith("no error; test accuracy ")
