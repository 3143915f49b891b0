"""Six classic mistakes, each made and fixed on the recordings of the demonstration.

Each is a function of the namespace whose layers it uses, with the mistake in the branch that is
not ``right``. It returns a test accuracy where the mistake costs accuracy, and ``None`` where it
is judged by whether the call goes through.
"""

import functools
import signal
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from rnnkit.typing import BatchFirst

FEATURES, SPEAKERS, HIDDEN = 12, 9, 40
BATCH = 32
CHUNK = 5
COLUMNS = 100
pack = functools.partial(pack_padded_sequence, batch_first=True, enforce_sorted=False)


@dataclass(frozen=True)
class Scene:
    """What a mistake is made with: one batch, and a way to train a net and measure it.

    Attributes:
        input: recordings, batch-first and padded.
        lengths: the steps of each.
        study: trains a classifier called with such a batch; returns its test accuracy.
        seed: what random numbers start from.
    """

    input: BatchFirst
    lengths: Int64[Tensor, " batch"]
    study: Callable[[torch.nn.Module], float]
    seed: int

    def play(self, mistake: "Mistake", nn: ModuleType, *, right: bool = False) -> float | None:
        """Make a mistake, or do it right, by the layers of ``nn``."""
        torch.manual_seed(self.seed)
        return mistake.act(nn, self, right)


@dataclass(frozen=True)
class Mistake:
    """A mistake, and how to tell it.

    Attributes:
        act: makes it, or does the right thing instead.
        title: what was done.
        wrong: the line of code that did it.
        right: the line that should stand there.
        because: what the wrong line does.
        fatal: whether torch may end the process.
    """

    act: Callable[[ModuleType, Scene, bool], float | None]
    title: str
    wrong: str
    right: str
    because: str
    fatal: bool = False


class _LastStep(torch.nn.Module):
    """Tells the speaker by an LSTM's output at the last step of a padded recording."""

    def __init__(self, lstm: torch.nn.Module) -> None:
        super().__init__()
        self.lstm = lstm
        self.head = torch.nn.Linear(HIDDEN, SPEAKERS)

    def forward(
        self, input: BatchFirst, lengths: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "batch speaker"]:
        output, _ = self.lstm(input)
        scores: Tensor = self.head(output[torch.arange(len(lengths)), lengths - 1])
        return scores


def positional(nn: ModuleType, scene: Scene, right: bool) -> float | None:
    """Ask for batch-first input in the place of ``bias``."""
    if right:
        return scene.study(_LastStep(nn.LSTM(FEATURES, HIDDEN, 2, batch_first=True)))
    return scene.study(_LastStep(nn.LSTM(FEATURES, HIDDEN, 2, True)))


class _Served(torch.nn.Module):
    """Learns from whole recordings; serves them in chunks, as they come in.

    A recording that has ended leaves the batch. With ``narrow``, so does its state.
    """

    def __init__(self, lstm: torch.nn.Module, *, narrow: bool) -> None:
        super().__init__()
        self.lstm = lstm
        self.narrow = narrow
        self.head = torch.nn.Linear(HIDDEN, SPEAKERS)

    def forward(
        self, input: BatchFirst, lengths: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "batch speaker"]:
        h = c = torch.zeros(1, len(lengths), HIDDEN)
        chunk = input.size(1) if self.training else CHUNK
        for start in range(0, input.size(1), chunk):
            live = torch.nonzero(lengths > start).flatten()
            steps = (lengths[live] - start).clamp(max=chunk)
            packed = pack(input[live, start : start + chunk], steps)
            if self.narrow:
                _, state = self.lstm(packed, (h[:, live], c[:, live]))
            else:
                _, state = self.lstm(packed, (h, c))
            h, c = (old.index_copy(1, live, new) for old, new in zip((h, c), state, strict=True))
        scores: Tensor = self.head(h[0])
        return scores


def larger_batch(nn: ModuleType, scene: Scene, right: bool) -> float | None:
    """Keep the state of recordings that have left the batch."""
    return scene.study(_Served(nn.LSTM(FEATURES, HIDDEN, batch_first=True), narrow=right))


def one_direction(nn: ModuleType, scene: Scene, right: bool) -> None:
    """Forget the second direction in one of the two states."""
    lstm, packed = nn.LSTM(FEATURES, HIDDEN, bidirectional=True), pack(scene.input, scene.lengths)
    h = torch.randn(2, BATCH, HIDDEN)
    if right:
        lstm(packed, (h, torch.zeros(2, BATCH, HIDDEN)))
    else:
        lstm(packed, (h, torch.zeros(1, BATCH, HIDDEN)))


def seq_first(nn: ModuleType, scene: Scene, right: bool) -> None:
    """Size the state by the batch, and leave the layer in the other layout."""
    x = scene.input
    h = c = torch.zeros(1, x.size(0), HIDDEN)
    if right:
        nn.LSTM(FEATURES, HIDDEN, batch_first=True)(x, (h, c))
    else:
        nn.LSTM(FEATURES, HIDDEN)(x, (h, c))


def pair_for_gru(nn: ModuleType, scene: Scene, right: bool) -> None:
    """Replace an LSTM by a GRU, and go on passing two states."""
    h = c = torch.zeros(1, BATCH, HIDDEN)
    gru, packed = nn.GRU(FEATURES, HIDDEN), pack(scene.input, scene.lengths)
    if right:
        gru(packed, h)
    else:
        gru(packed, (h, c))


def double(nn: ModuleType, scene: Scene, right: bool) -> None:
    """Pass what NumPy reads as it comes."""
    lstm = nn.LSTM(FEATURES, HIDDEN)
    x = scene.input.double()
    if right:
        lstm(pack(x.float(), scene.lengths))
    else:
        lstm(pack(x, scene.lengths))


MISTAKES = (
    Mistake(
        positional,
        title="batch_first given by position",
        wrong="nn.LSTM(FEATURES, HIDDEN, 2, True)",
        right="nn.LSTM(FEATURES, HIDDEN, 2, batch_first=True)",
        because="The fourth argument is bias. The LSTM runs over the recordings of a batch "
        "instead of over their time, so that each answer depends on its neighbours.",
    ),
    Mistake(
        larger_batch,
        title="the state of a larger batch",
        wrong="self.lstm(packed, (h, c))",
        right="self.lstm(packed, (h[:, live], c[:, live]))",
        because="Recordings are served in chunks, and leave the batch where they end. Their states "
        "stay, so the others are continued from the state of somebody else.",
    ),
    Mistake(
        one_direction,
        title="a state without the second direction",
        wrong="lstm(packed, (h, torch.zeros(1, BATCH, HIDDEN)))",
        right="lstm(packed, (h, torch.zeros(2, BATCH, HIDDEN)))",
        because="The LSTM is bidirectional and h has both directions. For packed input torch does "
        "not look at the size of c, and reads memory that is not there.",
        fatal=True,
    ),
    Mistake(
        seq_first,
        title="batch_first forgotten, state given",
        wrong="nn.LSTM(FEATURES, HIDDEN)(x, (h, c))",
        right="nn.LSTM(FEATURES, HIDDEN, batch_first=True)(x, (h, c))",
        because="torch blames the state, which is right; who believes it and sizes the state by "
        "x.size(1) trains over the batch as in mistake 1. No shape shows that; rnnkit.verify does.",
    ),
    Mistake(
        pair_for_gru,
        title="an LSTM's two states for a GRU",
        wrong="gru(packed, (h, c))",
        right="gru(packed, h)",
        because="A GRU carries one tensor; torch calls a tensor's method on whatever it got.",
    ),
    Mistake(
        double,
        title="float64, as NumPy reads it",
        wrong="lstm(pack(x, scene.lengths))",
        right="lstm(pack(x.float(), scene.lengths))",
        because="The numbers are float64 and the weights float32. torch names neither.",
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What came of a mistake: the error or warning, if any, and the test accuracy, if any."""

    said: str
    share: float | None = None


def witness(scene: Scene, mistake: Mistake, nn: ModuleType) -> Outcome:
    """Make a mistake by the layers of ``nn`` and note what is said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            share = scene.play(mistake, nn)
        except Exception as error:  # noqa: BLE001  whatever is raised is what is to be shown
            return Outcome(f"{type(error).__name__}: {error}")
    said = [f"{warning.category.__name__}: {warning.message}" for warning in caught]
    return Outcome("\n".join(said), share)


def witness_apart(number: int, seed: int) -> Outcome:
    """Make a mistake by torch's layers in a process of its own, which it may end."""
    command = [sys.executable, "-m", "rnnkit", "--namespace", "torch.nn"]
    command += ["--mistake", str(number), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode < 0:
        return Outcome(f"{signal.Signals(-done.returncode).name}: no message; the process is dead")
    lines = done.stderr.strip().splitlines()
    return Outcome(lines[-1] if done.returncode and lines else "")


def _paragraph(label: str, text: str) -> None:
    """Print a text beside its label; its further lines keep their own columns."""
    first, *others = text.splitlines()
    label = f"   {label:<10}"
    print(textwrap.fill(first, COLUMNS, initial_indent=label, subsequent_indent=" " * 13))
    for line in others:
        print(textwrap.fill(line, COLUMNS, initial_indent="   ", subsequent_indent=" " * 15))


def _tell(mistake: Mistake, number: int, torchs: str, ours: str) -> None:
    print(f"\n\nMistake {number}: {mistake.title}\n")
    print(textwrap.indent(textwrap.fill(mistake.because, COLUMNS - 3), "   ") + "\n")
    _paragraph("written", mistake.wrong)
    _paragraph("meant", mistake.right)
    _paragraph("torch.nn", torchs)
    _paragraph("rnnkit", ours)


def show(scene: Scene, nn: ModuleType) -> None:
    """Make every mistake by torch's layers and by those of ``nn``; print both, and a table."""
    print(f"\n\nNow {len(MISTAKES)} mistakes on the same recordings, by torch.nn and by rnnkit.")
    table = [("", "the mistake", "torch.nn", "rnnkit")]
    for number, mistake in enumerate(MISTAKES, start=1):
        apart = mistake.fatal
        torchs = witness_apart(number, scene.seed) if apart else witness(scene, mistake, torch.nn)
        ours = witness(scene, mistake, nn)
        told, told_ours, brief = torchs.said or "silence", ours.said or "silence", torchs.said
        if torchs.share is not None:
            meant = scene.play(mistake, torch.nn, right=True)
            told += f". Test accuracy {torchs.share:.1%} instead of {meant:.1%}."
            brief = f"silence; {meant:.1%} became {torchs.share:.1%}"
        if ours.share is not None:
            told_ours += (
                f"\n  It goes on after that, as torch does: test accuracy {ours.share:.1%}."
            )
        _tell(mistake, number, told, told_ours)
        brief = textwrap.shorten(brief or "silence", 44, placeholder=" ...")
        table.append((str(number), mistake.title, brief, ours.said.split(":")[0] or "silence"))
    print("\n")
    for row in table:
        print("{:<2} {:<37} {:<44}  {}".format(*row))
    print("\nTo see one end as it will: python -m rnnkit --namespace torch.nn --mistake 3")
