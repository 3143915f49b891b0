"""What ``verify`` costs, in forward passes of the model and in the time of one."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import rnnkit
from benchmarks.growth import Sizes, growth
from benchmarks.lengths import lengths_of
from benchmarks.report import Table
from benchmarks.timing import Effort, compare

BASE = Sizes(batch=4, seq=20, hidden=64, fill=0.5)
VARIED = {"batch": (1, 2, 4, 16, 64), "seq": (5, 20, 80, 320)}


class Labels(nn.Module):
    """A label for each step."""

    def __init__(self, hidden: int, *, bidirectional: bool) -> None:
        """Make one layer and a head."""
        super().__init__()
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(hidden * (1 + bidirectional), 5)

    def forward(self, x: Tensor) -> Any:
        """Read ``(batch, seq, feature)``."""
        return self.head(self.lstm(x)[0])


class Classes(nn.Module):
    """A class for each sample of padded tokens."""

    def __init__(self, hidden: int) -> None:
        """Make an embedding, two layers in two directions, and a head."""
        super().__init__()
        self.words = nn.Embedding(50, hidden)
        self.gru = rnnkit.GRU(hidden, hidden, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, 5)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Any:
        """Read ``(batch, seq)``."""
        _, state = self.gru(self.words(tokens), lengths=lengths)
        return self.head(self.gru.last_hidden(state))


class Case(NamedTuple):
    """A model, what it is called with, and how it is verified."""

    model: nn.Module
    inputs: tuple[Tensor, ...]
    options: dict[str, Any]

    def forward(self) -> object:
        """Run the model once, as ``verify`` runs it, on the whole batch."""
        with torch.no_grad():
            return self.model(*self.inputs)

    def verify(self) -> rnnkit.Report:
        """Verify the model."""
        return rnnkit.verify(self.model, *self.inputs, **self.options, raises=False)


def _tagger(sizes: Sizes, *, bidirectional: bool = False, **options: Any) -> Case:
    x = torch.randn(sizes.batch, sizes.seq, sizes.hidden)
    return Case(Labels(sizes.hidden, bidirectional=bidirectional), (x,), options)


def _classifier(sizes: Sizes) -> Case:
    lengths = lengths_of(sizes.batch, sizes.seq, sizes.fill)
    valid = torch.arange(sizes.seq) < lengths.unsqueeze(1)
    tokens = torch.randint(1, 50, (sizes.batch, sizes.seq)) * valid
    return Case(Classes(sizes.hidden), (tokens, lengths), {"lengths": lengths})


CASES: dict[str, Callable[[Sizes], Case]] = {
    "LSTM, causal": partial(_tagger, causal=True),
    "bidirectional LSTM": partial(_tagger, bidirectional=True),
    "2-layer bidirectional GRU, lengths": _classifier,
    "bidirectional LSTM, causal": partial(_tagger, bidirectional=True, causal=True),
}


def tables(effort: Effort) -> list[Table]:
    """Count and time, as batch and seq grow."""

    def measure(name: str, sizes: Sizes) -> str:
        torch.manual_seed(0)
        case = CASES[name](sizes)
        case.model.eval()
        timings = compare({"forward": case.forward, "verify": case.verify}, effort.brief())
        return f"{timings['verify']} ({case.verify().passes})"

    return [
        growth(
            "Time of verify",
            "The time of verify divided by the time of one forward pass. The number of passes is\n"
            "in brackets. The last model has a leak.",
            *(effort, BASE, VARIED, list(CASES), measure),
        )
    ]
