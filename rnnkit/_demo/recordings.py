"""Recorded speech that comes with the package, and a way to train a classifier of speakers."""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rnnkit.typing import BatchFirst, Lengths

FILE = Path(__file__).parent / "vowels.pt"
SPEAKERS = 9
TRAIN = 270
BATCH = 32
EPOCHS = 10


class Recordings(NamedTuple):
    """Recordings, padded with zeros to the longest, and the speaker of each."""

    input: BatchFirst
    lengths: Lengths
    speaker: Int[Tensor, " batch"]

    def take(self, rows: slice | Tensor) -> "Recordings":
        """Select some recordings, padded only to the longest of these."""
        lengths = self.lengths[rows]
        return Recordings(self.input[rows, : int(lengths.max())], lengths, self.speaker[rows])


def load() -> tuple[Recordings, Recordings]:
    """Return the recordings for training and for testing, scaled by those for training."""
    saved = torch.load(FILE, weights_only=True)
    steps = saved["steps"].float()
    lengths = saved["lengths"].long()
    known = steps[: int(lengths[:TRAIN].sum())]
    steps = (steps - known.mean(dim=0)) / known.std(dim=0)
    padded = pad_sequence(steps.split(lengths.tolist()), batch_first=True)
    every = Recordings(padded, lengths, saved["speakers"].long())
    return every.take(slice(TRAIN)), every.take(slice(TRAIN, None))


class Trained(NamedTuple):
    """What became of a classifier: its training loss, and its accuracy on the test recordings."""

    first_loss: float
    last_loss: float
    accuracy: float


def train_and_test(model: torch.nn.Module) -> Trained:
    """Train a classifier of speakers, then let it name the speakers of the test recordings."""
    train, test = load()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = [_train_once(model, train, optimizer) for _ in range(EPOCHS)]

    model.eval()
    batches = torch.split(torch.arange(len(test.speaker)), BATCH)
    with torch.no_grad():
        named = torch.cat([model(*test.take(rows)[:2]).argmax(1) for rows in batches])
    return Trained(losses[0], losses[-1], int((named == test.speaker).sum()) / len(named))


def _train_once(
    model: torch.nn.Module, train: Recordings, optimizer: torch.optim.Optimizer
) -> float:
    """Train on each recording once; return the mean loss of the batches."""
    losses = []
    for rows in torch.split(torch.randperm(TRAIN), BATCH):
        input, lengths, speaker = train.take(rows)
        loss = torch.nn.functional.cross_entropy(model(input, lengths), speaker)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)
