"""The demonstration: who is speaking, and six mistakes made on the way.

``python -m rnnkit`` trains a bidirectional LSTM to tell nine speakers apart by recordings of two
vowels, then makes six classic mistakes on the same recordings and shows what ``torch.nn`` and
rnnkit said to each. ``--namespace torch.nn`` trains the same net by torch's own classes.

The recordings are Japanese Vowels (Kudo, Toyama and Shimbo, 1999) of the UCI archive, which the
wheel of sktime carries; sktime itself is not imported.
"""

import argparse
import importlib.metadata
import importlib.util
import platform
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from rnnkit._demo import mistakes
from rnnkit._demo.mistakes import BATCH, FEATURES, HIDDEN, SPEAKERS
from rnnkit._demo.screen import COLUMNS, progress, say
from rnnkit.typing import BatchFirst

EPOCHS = 20
INSTALL = 'pip install "rnnkit[demo]"'
Lengths = Int64[Tensor, " batch"]
Features = Float[Tensor, " feature"]


class Recordings(NamedTuple):
    """Recordings, padded with zeros to the longest, and who speaks in each."""

    input: BatchFirst
    lengths: Lengths
    speaker: Int64[Tensor, " batch"]

    @property
    def valid(self) -> Bool[Tensor, "batch seq"]:
        """True at the steps of a recording, false at its padding."""
        return torch.arange(self.input.size(1)) < self.lengths[:, None]

    def scaled(self, mean: Features, deviation: Features) -> "Recordings":
        """Give each feature mean 0 and deviation 1, leaving the padding zero."""
        scaled = (self.input - mean) / deviation
        return self._replace(input=scaled.where(self.valid[:, :, None], 0.0))

    def take(self, rows: Int64[Tensor, " rows"]) -> "Recordings":
        """Select some recordings, no longer padded than these need."""
        lengths = self.lengths[rows]
        return Recordings(self.input[rows, : int(lengths.max())], lengths, self.speaker[rows])

    def batches(self, order: Int64[Tensor, " batch"]) -> "list[Recordings]":
        """Cut the recordings, in this order, into batches; the last one may be smaller."""
        return [self.take(rows) for rows in torch.split(order, BATCH)]


class Data(NamedTuple):
    """What to learn from, and what to be judged by."""

    train: Recordings
    test: Recordings


class Classifier(torch.nn.Module):
    """A bidirectional LSTM; where its two directions end, a linear layer tells the speaker."""

    lstm: torch.nn.LSTM
    head: torch.nn.Linear

    def __init__(self, nn: ModuleType) -> None:
        """Take the recurrent layer from ``nn``: ``torch.nn`` or ``rnnkit.nn``."""
        super().__init__()
        self.lstm = nn.LSTM(FEATURES, HIDDEN, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * HIDDEN, SPEAKERS)

    def forward(self, input: BatchFirst, lengths: Lengths) -> Float[Tensor, "batch speaker"]:
        """Score each speaker for each recording."""
        # Packed, so that the forward direction ends, and the backward one begins, at a
        # recording's own last step and not in its padding.
        packed = pack_padded_sequence(input, lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        scores: Tensor = self.head(torch.cat([h[0], h[1]], dim=1))
        return scores


def _read(path: Path) -> Recordings:
    """Read a .ts file: a line a recording, its features apart by colons, the speaker last."""
    lines = [line for line in path.read_text().splitlines() if line[:1] not in {"#", "@", ""}]
    # The files go speaker by speaker. Neighbours in a batch would be the same man, and a net that
    # mixes up the recordings of a batch would be helped by it.
    order = torch.randperm(len(lines), generator=torch.Generator().manual_seed(0)).tolist()
    steps, speaker = [], []
    for *features, name in (lines[row].split(":") for row in order):
        steps.append(torch.tensor([[float(x) for x in row.split(",")] for row in features]).T)
        speaker.append(int(name) - 1)
    lengths = torch.tensor([len(recording) for recording in steps])
    return Recordings(pad_sequence(steps, batch_first=True), lengths, torch.tensor(speaker))


def load() -> Data:
    """Read the recordings that sktime ships, each feature scaled by what is learned from.

    Raises:
        SystemExit: sktime, or its copy of the recordings, is not there.
    """
    spec = importlib.util.find_spec("sktime")
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"The demonstration reads recordings that come with sktime; install it: {INSTALL}")
    folder = Path(spec.submodule_search_locations[0], "datasets", "data", "JapaneseVowels")
    if not folder.is_dir():
        sys.exit(f"This version of sktime has no JapaneseVowels; install one that has: {INSTALL}")
    train, test = (_read(folder / f"JapaneseVowels_{part}.ts") for part in ("TRAIN", "TEST"))
    learned = train.input[train.valid]
    mean, deviation = learned.mean(dim=0), learned.std(dim=0)
    return Data(train.scaled(mean, deviation), test.scaled(mean, deviation))


def fit(
    model: torch.nn.Module,
    recordings: Recordings,
    epochs: int,
    report: Callable[[str], object] | None = None,
) -> list[float]:
    """Train a classifier; return the loss of each step, and report a line for each epoch."""
    batches = -(-len(recordings.lengths) // BATCH)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * batches)
    losses: list[float] = []
    model.train()
    for epoch in range(1, epochs + 1):
        right = 0
        for batch in recordings.batches(torch.randperm(len(recordings.lengths))):
            scores = model(batch.input, batch.lengths)
            loss = torch.nn.functional.cross_entropy(scores, batch.speaker)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            right += int((scores.argmax(dim=1) == batch.speaker).sum())
        if report is not None:
            mean = sum(losses[-batches:]) / batches
            share = right / len(recordings.lengths)
            report(f"  epoch {epoch:2}/{epochs}   loss {mean:.4f}   right in training {share:6.1%}")
    return losses


def accuracy(model: torch.nn.Module, recordings: Recordings) -> float:
    """Return the share of recordings whose speaker the model names."""
    model.eval()
    with torch.no_grad():
        right = sum(
            int((model(batch.input, batch.lengths).argmax(dim=1) == batch.speaker).sum())
            for batch in recordings.batches(torch.arange(len(recordings.lengths)))
        )
    return right / len(recordings.lengths)


def train(
    nn: ModuleType,
    data: Data,
    seed: int,
    epochs: int = EPOCHS,
    report: Callable[[str], object] | None = None,
) -> tuple[list[float], float]:
    """Train the classifier by the layers of ``nn``; return its losses and its test accuracy."""
    torch.manual_seed(seed)
    model = Classifier(nn)
    losses = fit(model, data.train, epochs, report)
    return losses, accuracy(model, data.test)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return "(not installed)"


def versions() -> str:
    """Name the versions that a report of a bug should name."""
    names = ("rnnkit", "torch", "jaxtyping", "beartype")
    found = [f"{name} {_version(name)}" for name in names]
    return ", ".join([*found, f"python {platform.python_version()}"])


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m rnnkit",
        description="Train a speaker classifier, then make six classic mistakes with it.",
        epilog="python -m rnnkit explain CODE: what the code of an error means.",
    )
    parser.add_argument(
        "--namespace",
        choices=("rnnkit.nn", "torch.nn"),
        default="rnnkit.nn",
        help="whose LSTM to train; with torch.nn, no mistakes are shown (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    parser.add_argument(
        "--mistake",
        type=int,
        choices=range(1, len(mistakes.MISTAKES) + 1),
        help="make only this mistake, in the namespace, and let it end as it will",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the demonstration."""
    given = _arguments(argv)
    say(textwrap.fill(versions(), COLUMNS))
    data = load()
    nn = importlib.import_module(given.namespace)

    def study(model: torch.nn.Module) -> float:
        with progress(given.epochs) as report:
            fit(model, data.train, given.epochs, lambda _: report(""))
        return accuracy(model, data.test)

    scene = mistakes.Scene(*data.train.take(torch.arange(BATCH))[:2], study, given.seed)
    if given.mistake is not None:
        share = scene.play(mistakes.MISTAKES[given.mistake - 1], nn)
        say("no error" if share is None else f"no error; test accuracy {share:.1%}")
        return
    lengths = torch.cat([data.train.lengths, data.test.lengths])
    say(
        f"\nJapanese Vowels (UCI): {len(data.train.lengths)} recordings to learn from, "
        f"{len(data.test.lengths)} to test,\n"
        f"by {SPEAKERS} speakers; {FEATURES} features, {int(lengths.min())} to "
        f"{int(lengths.max())} steps.\n"
        f"\n{given.namespace}.LSTM({FEATURES}, {HIDDEN}, batch_first=True, bidirectional=True), "
        f"seed {given.seed}\n"
    )
    with progress(given.epochs) as report:
        _, share = train(nn, data, given.seed, given.epochs, report)
    say(f"\n  test accuracy {share:.1%}", "bold")
    if nn is not torch.nn:
        mistakes.show(scene, nn)
        mistakes.find(scene, Path.cwd())
