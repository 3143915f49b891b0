"""Six classic mistakes, each made and mended on the recordings of the demonstration.

Each is a function of the namespace whose layers it uses, with the mistake in the branch that is
not ``right``. It returns a test accuracy where the mistake costs accuracy, and ``None`` where it
is judged by whether the call goes through.
"""

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
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from rnnkit.typing import BatchFirst

WIDTH = 100
CHUNK = 5


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

    @property
    def packed(self) -> PackedSequence:
        """The batch, packed in the order in which it comes."""
        return pack_padded_sequence(
            self.input, self.lengths, batch_first=True, enforce_sorted=False
        )

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
        self.head = torch.nn.Linear(32, 9)

    def forward(
        self, input: BatchFirst, lengths: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "batch speaker"]:
        output, _ = self.lstm(input)
        scores: Tensor = self.head(output[torch.arange(len(lengths)), lengths - 1])
        return scores


def positional(nn: ModuleType, scene: Scene, right: bool) -> float | None:
    """Ask for batch-first input in the place of ``bias``."""
    if right:
        return scene.study(_LastStep(nn.LSTM(12, 32, 2, batch_first=True)))
    return scene.study(_LastStep(nn.LSTM(12, 32, 2, True)))


class _Served(torch.nn.Module):
    """Learns from whole recordings; serves them in chunks, as they come in.

    A recording that has ended leaves the batch. With ``narrow``, so does its state.
    """

    def __init__(self, lstm: torch.nn.Module, *, narrow: bool) -> None:
        super().__init__()
        self.lstm = lstm
        self.narrow = narrow
        self.head = torch.nn.Linear(32, 9)

    def forward(
        self, input: BatchFirst, lengths: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "batch speaker"]:
        h = c = torch.zeros(1, len(lengths), 32)
        chunk = input.size(1) if self.training else CHUNK
        for start in range(0, input.size(1), chunk):
            live = torch.nonzero(lengths > start).flatten()
            packed = pack_padded_sequence(
                input[live, start : start + chunk],
                (lengths[live] - start).clamp(max=chunk),
                batch_first=True,
                enforce_sorted=False,
            )
            if self.narrow:
                _, state = self.lstm(packed, (h[:, live], c[:, live]))
            else:
                _, state = self.lstm(packed, (h, c))
            h, c = (old.index_copy(1, live, new) for old, new in zip((h, c), state, strict=True))
        scores: Tensor = self.head(h[0])
        return scores


def larger_batch(nn: ModuleType, scene: Scene, right: bool) -> float | None:
    """Keep the state of recordings that have left the batch."""
    return scene.study(_Served(nn.LSTM(12, 32, batch_first=True), narrow=right))


def one_direction(nn: ModuleType, scene: Scene, right: bool) -> None:
    """Forget the second direction in one of the two states."""
    lstm = nn.LSTM(12, 32, bidirectional=True)
    h = torch.randn(2, 32, 32)
    if right:
        c = torch.zeros(2, 32, 32)
    else:
        c = torch.zeros(1, 32, 32)
    lstm(scene.packed, (h, c))


def seq_first(nn: ModuleType, scene: Scene, right: bool) -> None:
    """Size the state by the batch, and leave the layer in the other layout."""
    x = scene.input
    h = c = torch.zeros(1, x.size(0), 32)
    if right:
        nn.LSTM(12, 32, batch_first=True)(x, (h, c))
    else:
        nn.LSTM(12, 32)(x, (h, c))


def pair_for_gru(nn: ModuleType, scene: Scene, right: bool) -> None:
    """Replace an LSTM by a GRU, and go on passing two states."""
    h = c = torch.zeros(1, 32, 32)
    gru = nn.GRU(12, 32)
    if right:
        gru(scene.packed, h)
    else:
        gru(scene.packed, (h, c))


def double(nn: ModuleType, scene: Scene, right: bool) -> None:
    """Pass what NumPy reads as it comes."""
    lstm, lengths = nn.LSTM(12, 32), scene.lengths
    x = scene.input.double()
    if right:
        packed = pack_padded_sequence(x.float(), lengths, batch_first=True, enforce_sorted=False)
    else:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    lstm(packed)


MISTAKES = (
    Mistake(
        positional,
        title="batch_first, given by position",
        wrong="nn.LSTM(12, 32, 2, True)",
        right="nn.LSTM(12, 32, 2, batch_first=True)",
        because="The fourth argument is bias. The LSTM runs over the 32 recordings of a batch "
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
        wrong="c = torch.zeros(1, 32, 32)",
        right="c = torch.zeros(2, 32, 32)",
        because="The LSTM is bidirectional and h has both directions. For packed input torch does "
        "not look at the size of c, and reads memory that is not there.",
        fatal=True,
    ),
    Mistake(
        seq_first,
        title="batch_first forgotten, the state sized by the batch",
        wrong="nn.LSTM(12, 32)(x, (h, c))",
        right="nn.LSTM(12, 32, batch_first=True)(x, (h, c))",
        because="torch blames the state, which is right; who believes it and sizes the state by "
        "x.size(1) trains over the batch, as in the first mistake.",
    ),
    Mistake(
        pair_for_gru,
        title="an LSTM's two states for a GRU",
        wrong="gru(scene.packed, (h, c))",
        right="gru(scene.packed, h)",
        because="A GRU carries one tensor; torch calls a tensor's method on whatever it got.",
    ),
    Mistake(
        double,
        title="double precision, as NumPy reads it",
        wrong="packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)",
        right="packed = pack_padded_sequence(x.float(), lengths, ...)",
        because="The numbers are float64 and the weights float32. torch names neither.",
    ),
)
