"""What ``verify`` costs, in forward passes of the model and in the time of one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

import rnnkit
from benchmarks.growth import Growth, Sizes
from benchmarks.lengths import lengths_of
from benchmarks.report import Table
from benchmarks.timing import Effort, compare, quiet

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

    def verify(self) -> object:
        """Verify the model; what is found is the result."""
        try:
            return rnnkit.verify(self.model, *self.inputs, **self.options)
        except rnnkit.LeakError as error:
            return error


def _numbers(sizes: Sizes) -> tuple[Tensor, ...]:
    return (torch.randn(sizes.batch, sizes.seq, sizes.hidden),)


def _tagger(sizes: Sizes) -> Case:
    return Case(Labels(sizes.hidden, bidirectional=False), _numbers(sizes), {"causal": True})


def _both_directions(sizes: Sizes) -> Case:
    return Case(Labels(sizes.hidden, bidirectional=True), _numbers(sizes), {})


def _classifier(sizes: Sizes) -> Case:
    lengths = lengths_of(sizes.batch, sizes.seq, sizes.fill)
    valid = torch.arange(sizes.seq) < lengths.unsqueeze(1)
    tokens = torch.randint(1, 50, (sizes.batch, sizes.seq)) * valid
    return Case(Classes(sizes.hidden), (tokens, lengths), {"lengths": lengths})


def _leak(sizes: Sizes) -> Case:
    return Case(Labels(sizes.hidden, bidirectional=True), _numbers(sizes), {"causal": True})


CASES: dict[str, Callable[[Sizes], Case]] = {
    "LSTM, causal": _tagger,
    "bidirectional LSTM": _both_directions,
    "2-layer bidirectional GRU, lengths": _classifier,
    "bidirectional LSTM, causal": _leak,
}


def tables(effort: Effort) -> list[Table]:
    """Count and time, as batch and seq grow."""

    def measure(name: str, sizes: Sizes) -> dict[str, object]:
        torch.manual_seed(0)
        case = CASES[name](sizes)
        case.model.eval()
        timings = compare({"forward": case.forward, "verify": case.verify}, effort.brief())
        return {"passes": passes(case), "time": timings["verify"]}

    grown = Growth(effort, BASE, VARIED, list(CASES), measure)
    return [
        grown.table(
            "Forward passes of verify",
            "How often `verify` runs the model, on at most four samples of the batch. In the last\n"
            "column it finds a leak: the backward direction reads later steps.",
            "passes",
        ),
        grown.table(
            "Time of verify",
            "By the time of one forward pass over the whole batch, without gradients.",
            "time",
        ),
    ]


def passes(case: Case) -> int:
    """Count how often the model is called while it is verified."""
    calls: list[nn.Module] = []

    def count(module: nn.Module, _: object) -> None:
        # Copies of the model are run, never the model itself.
        if type(module) is type(case.model):
            calls.append(module)

    handle = register_module_forward_pre_hook(count)
    try:
        with quiet():
            case.verify()
    finally:
        handle.remove()
    return len(calls)
