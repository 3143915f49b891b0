"""Six classic mistakes, each made and fixed on the recordings of the demonstration.

Each is a text of code with a gap, which a wrong and a right line fill. Where the code leaves a
``model``, the mistake costs test accuracy; else it is judged by whether the code runs.
"""

import functools
import importlib.util
import inspect
import linecache
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from rnnkit._demo.listening import listen, listen_apart
from rnnkit._demo.screen import COLUMNS, paragraph, say
from rnnkit._diagnostics.dependency_map import dependency_map
from rnnkit._diagnostics.verify import verify
from rnnkit.typing import BatchFirst

FEATURES, SPEAKERS, HIDDEN = 12, 9, 40
BATCH = 32
CHUNK = 5
#: How many recordings the picture at the end is of.
MAPPED = 8
pack = functools.partial(pack_padded_sequence, batch_first=True, enforce_sorted=False)


@dataclass(frozen=True)
class Mistake:
    """A mistake, and how to tell it.

    Attributes:
        title: what was done.
        program: Python with ``nn``, a ``scene`` and the names of this file; ``{}`` is the gap.
        wrong: what does it, in the gap.
        right: what should stand there.
        because: what the wrong line does.
        fatal: whether torch may end the process.
    """

    title: str
    program: str
    wrong: str
    right: str
    because: str
    fatal: bool = False


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

    def play(self, mistake: Mistake, nn: ModuleType, *, right: bool = False) -> float | None:
        """Make a mistake, or do it right, by the layers of ``nn``."""
        code = inspect.cleandoc(mistake.program).format(mistake.right if right else mistake.wrong)
        name = f"<{mistake.title}>"
        # So that a traceback quotes the line.
        linecache.cache[name] = len(code), None, code.splitlines(), name
        names = {**globals(), "nn": nn, "scene": self}
        torch.manual_seed(self.seed)
        exec(compile(code, name, "exec"), names)  # noqa: S102
        return self.study(names["model"]) if "model" in names else None


class LastStep(torch.nn.Module):
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


class Served(torch.nn.Module):
    """Learns from whole recordings; serves them in chunks, as they come in.

    A recording that has ended leaves the batch. ``step`` runs ``lstm`` on those that go on.
    """

    step: Callable[..., Any]

    def __init__(self, lstm: torch.nn.Module) -> None:
        super().__init__()
        self.lstm = lstm
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
            _, state = self.step(packed, h, c, live)
            h, c = (old.index_copy(1, live, new) for old, new in zip((h, c), state, strict=True))
        scores: Tensor = self.head(h[0])
        return scores


MISTAKES = (
    Mistake(
        title="batch_first given by position",
        program="model = LastStep({})",
        wrong="nn.LSTM(FEATURES, HIDDEN, 2, True)",
        right="nn.LSTM(FEATURES, HIDDEN, 2, batch_first=True)",
        because="The fourth argument is bias. The LSTM runs over the recordings of a batch "
        "instead of over their time, so that each answer depends on its neighbours.",
    ),
    Mistake(
        title="the state of a larger batch",
        program="""
            class Server(Served):
                def step(self, packed, h, c, live):
                    return {}

            model = Server(nn.LSTM(FEATURES, HIDDEN, batch_first=True))
        """,
        wrong="self.lstm(packed, (h, c))",
        right="self.lstm(packed, (h[:, live], c[:, live]))",
        because="Recordings are served in chunks, and leave the batch where they end. Their states "
        "stay, so the others are continued from the state of somebody else.",
    ),
    Mistake(
        title="a state without the second direction",
        program="""
            lstm = nn.LSTM(FEATURES, HIDDEN, bidirectional=True)
            packed = pack(scene.input, scene.lengths)
            h = torch.randn(2, BATCH, HIDDEN)
            {}
        """,
        wrong="lstm(packed, (h, torch.zeros(1, BATCH, HIDDEN)))",
        right="lstm(packed, (h, torch.zeros(2, BATCH, HIDDEN)))",
        because="The LSTM is bidirectional and h has both directions. For packed input torch does "
        "not look at the size of c, and reads memory that is not there.",
        fatal=True,
    ),
    Mistake(
        title="batch_first forgotten, state given",
        program="""
            x = scene.input
            h = c = torch.zeros(1, x.size(0), HIDDEN)
            {}
        """,
        wrong="nn.LSTM(FEATURES, HIDDEN)(x, (h, c))",
        right="nn.LSTM(FEATURES, HIDDEN, batch_first=True)(x, (h, c))",
        because="torch blames the state, which is right. Sizing it by x.size(1) ends the error, "
        "and trains over the batch as in mistake 1. No shape shows that; rnnkit.verify does.",
    ),
    Mistake(
        title="an LSTM's two states for a GRU",
        program="""
            h = c = torch.zeros(1, BATCH, HIDDEN)
            gru, packed = nn.GRU(FEATURES, HIDDEN), pack(scene.input, scene.lengths)
            {}
        """,
        wrong="gru(packed, (h, c))",
        right="gru(packed, h)",
        because="A GRU carries one tensor; torch calls a tensor's method on whatever it got.",
    ),
    Mistake(
        title="float64, as NumPy reads it",
        program="""
            lstm = nn.LSTM(FEATURES, HIDDEN)
            x = scene.input.double()
            {}
        """,
        wrong="lstm(pack(x, scene.lengths))",
        right="lstm(pack(x.float(), scene.lengths))",
        because="The numbers are float64 and the weights float32. torch names neither.",
    ),
)


def _tell(mistake: Mistake, number: int, torchs: str, ours: str) -> None:
    say(f"\n\nMistake {number}: {mistake.title}\n", "bold")
    say(textwrap.indent(textwrap.fill(mistake.because, COLUMNS - 3), "   ") + "\n")
    paragraph("written", mistake.wrong)
    paragraph("intended", mistake.right)
    paragraph("torch.nn", torchs, "red")
    paragraph("rnnkit", ours, "green")


def show(scene: Scene, nn: ModuleType) -> None:
    """Make every mistake by torch's layers and by those of ``nn``; print both, and a table."""
    say(f"\n\nNow {len(MISTAKES)} mistakes on the same recordings, by torch.nn and by rnnkit.")
    table = [("", "mistake", "torch.nn", "rnnkit")]
    for number, mistake in enumerate(MISTAKES, start=1):
        by_torch, by_us = (functools.partial(scene.play, mistake, each) for each in (torch.nn, nn))
        torchs = listen_apart(number, scene.seed) if mistake.fatal else listen(by_torch)
        ours = listen(by_us)
        told, told_ours, brief = str(torchs), str(ours), str(torchs)
        if torchs.value is not None:
            right = by_torch(right=True)
            told += f". Test accuracy {torchs.value:.1%}; written as intended, {right:.1%}."
            brief = f"silence; {right:.1%} -> {torchs.value:.1%}"
        if ours.value is not None:
            told_ours += f"\n  It continues, as torch does: test accuracy {ours.value:.1%}."
        _tell(mistake, number, told, told_ours)
        brief = textwrap.shorten(brief, 25, placeholder=" ...")
        table.append((str(number), mistake.title, brief, ours.kind or "silence"))
    say("\n")
    for place, row in enumerate(table):
        say("{:<2} {:<36} {:<26} {}".format(*row), "" if place else "bold")
    say("\nTo see one end as it will: python -m rnnkit --namespace torch.nn --mistake 3")


def find(scene: Scene, folder: Path) -> None:
    """Have ``verify`` find the first mistake, which no shape shows, and save its picture."""
    say("\n\nMistake 1 once more: torch is silent, and rnnkit.verify is not.\n", "bold")
    model = LastStep(torch.nn.LSTM(FEATURES, HIDDEN, 2, True))
    say(">>> rnnkit.verify(model, recordings, lengths)")
    found = listen(lambda: verify(model, scene.input, scene.lengths))
    paragraph("rnnkit", str(found), "green")
    if importlib.util.find_spec("matplotlib") is None:
        say('\nIts picture needs matplotlib: pip install "rnnkit[demo]"')
        return
    import matplotlib as mpl  # noqa: PLC0415 - an optional extra

    mpl.use("Agg")
    few = scene.lengths[:MAPPED]
    found_map = dependency_map(model, scene.input[:MAPPED, : int(few.max())], few)
    axes = found_map.plot("independent", "LSTM(12, 40, 2, True): samples read samples")
    path = folder / "rnnkit-map.png"
    axes.figure.savefig(path, dpi=150)
    say(f"\nWhich sample depends on which, as a picture: {path.name}")
