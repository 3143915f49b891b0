"""``python -m rnnkit``: what it trains, what it says, and that its mistakes are what they claim."""

import importlib.metadata
import importlib.util
import runpy
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
import torch

import rnnkit
from rnnkit._demo import mistakes, screen
from rnnkit._demo import speakers as demonstration
from rnnkit._demo.listening import listen, listen_apart
from rnnkit._demo.mistakes import BATCH, FEATURES, HIDDEN, MISTAKES, Mistake, Scene

WITHOUT_SKTIME = """
import runpy, sys
sys.modules["sktime"] = None
runpy.run_module("rnnkit", run_name="__main__")
"""

ANSWERS = ("UserWarning", "StateError", "StateError", "LayoutError", "StateError", "DtypeError")

needs_recordings = pytest.mark.skipif(
    importlib.util.find_spec("sktime") is None,
    reason="the recordings come with sktime, which is not installed",
)
each_mistake = pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.title)
each_namespace = pytest.mark.parametrize(
    "nn", [torch.nn, rnnkit.nn], ids=lambda namespace: namespace.__name__
)


def try_out(model: torch.nn.Module) -> float:
    """Call a classifier in training and in use, without learning anything."""
    scene = make_scene()
    for mode in (True, False):
        model.train(mode)(scene.input, scene.lengths)
    return 0.5


def make_scene() -> Scene:
    """Make a batch that looks like the recordings and has their sizes."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(7, 24, (BATCH,), generator=generator)
    lengths[3] = 23
    return Scene(torch.randn(BATCH, 23, FEATURES, generator=generator), lengths, try_out, seed=0)


@pytest.fixture(scope="module")
def data() -> demonstration.Data:
    """Read the recordings once."""
    return demonstration.load()


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


@needs_recordings
def test_reads_all_recordings(data: demonstration.Data) -> None:
    """All recordings are there, with the lengths and the speakers that the archive states."""
    train, test = data

    assert train.input.shape == (270, 26, 12)
    assert test.input.shape == (370, 29, 12)
    assert train.speaker.bincount().tolist() == [30] * 9
    assert test.speaker.bincount().tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert int(min(train.lengths.min(), test.lengths.min())) == 7


@needs_recordings
def test_scales_what_is_spoken(data: demonstration.Data) -> None:
    """Each feature has mean 0 and deviation 1 over the steps spoken; padding stays zero."""
    spoken = data.train.input[data.train.valid]

    torch.testing.assert_close(spoken.mean(dim=0), torch.zeros(12), atol=1e-5, rtol=0)
    torch.testing.assert_close(spoken.std(dim=0), torch.ones(12))
    assert not data.train.input[~data.train.valid].any()


@needs_recordings
def test_padding_does_not_matter(data: demonstration.Data) -> None:
    """A recording alone gets the scores that it gets in a padded batch."""
    torch.manual_seed(0)
    model = demonstration.Classifier(rnnkit.nn)
    batch = data.train.take(torch.arange(5))

    alone = [
        model(one.input, one.lengths)
        for one in (data.train.take(torch.tensor([row])) for row in range(5))
    ]

    torch.testing.assert_close(model(batch.input, batch.lengths), torch.cat(alone))


@needs_recordings
def test_namespaces_train_alike(data: demonstration.Data) -> None:
    """Both namespaces give the same loss in every step, bit for bit, and the same accuracy."""
    assert demonstration.train(rnnkit.nn, data, 1, 2) == demonstration.train(torch.nn, data, 1, 2)


@needs_recordings
def test_seed_decides(data: demonstration.Data) -> None:
    """One seed gives one training, another seed another."""
    first, again, other = (demonstration.train(rnnkit.nn, data, seed, 1)[0] for seed in (1, 1, 2))

    assert first == again
    assert first != other


@pytest.mark.slow
@needs_recordings
def test_tells_the_speakers_apart(data: demonstration.Data) -> None:
    """Trained as the demonstration trains, the classifier names 95 of 100 speakers."""
    _, share = demonstration.train(rnnkit.nn, data, seed=0)

    assert share >= 0.95


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
