"""Models as people write them: for each mistake that no shape shows, a wrong twin and a right one.

A twin is made with ``torch.nn`` or ``rnnkit.nn``; the two differ in one expression.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnkit

BATCH, SEQ, FEATURE, HIDDEN, VOCABULARY = 4, 7, 3, 6, 11
LENGTHS = (3, 7, 5, 2)


class Model(nn.Module):
    """Modules by name, and what they compute."""

    def __init__(self, compute: Callable[..., Any], **modules: nn.Module) -> None:
        """Register the modules."""
        super().__init__()
        self.compute = compute
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *inputs: Any) -> Any:
        """Compute."""
        return self.compute(self, *inputs)


@dataclass(frozen=True)
class Twin:
    """A mistake: how to make the model with and without it, and what finds it."""

    make: Callable[[ModuleType, bool], nn.Module]
    probe: str
    module: str
    inputs: Callable[[], tuple[Tensor, ...]]
    options: dict[str, Any] = field(default_factory=dict)


def numbers(*shape: int) -> Tensor:
    """Return numbers, the same ones in each call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def tokens(*shape: int) -> Tensor:
    """Return tokens, the same ones in each call."""
    return torch.randint(1, VOCABULARY, shape, generator=torch.Generator().manual_seed(4))


def padded() -> tuple[Tensor, Tensor]:
    """Return a batch that ends in zeros, and its lengths."""
    lengths = torch.tensor(LENGTHS)
    return numbers(BATCH, SEQ, FEATURE) * mask(lengths).unsqueeze(-1), lengths


def mask(lengths: Tensor, steps: int = SEQ) -> Tensor:
    """Return what is no padding."""
    return torch.arange(steps) < lengths.unsqueeze(1)


def reason(report: rnnkit.Report, probe: str) -> str:
    """Return why a probe was skipped."""
    (check,) = [check for check in report.checks if check.probe == probe]
    assert check.outcome == "skipped"
    return check.detail


def text(error: BaseException) -> str:
    """Return a message without the numbers of lines, which change."""
    return re.sub(r"\.py:\d+", ".py:...", str(error))


def batch_first_forgotten(nn: ModuleType, right: bool) -> nn.Module:
    """Label each step."""
    layer = nn.LSTM(FEATURE, HIDDEN, batch_first=right)
    return Model(lambda m, x: m.head(m.lstm(x)[0]), lstm=layer, head=nn.Linear(HIDDEN, 2))


def viewed_state(nn: ModuleType, right: bool) -> nn.Module:
    """Classify by the states of both layers."""

    def compute(m: Any, x: Tensor) -> Tensor:
        _, h_n = m.gru(x)
        return m.head((h_n.transpose(0, 1) if right else h_n).reshape(len(x), -1))

    layer = nn.GRU(FEATURE, HIDDEN, num_layers=2, batch_first=True)
    return Model(compute, gru=layer, head=nn.Linear(2 * HIDDEN, 2))


def viewed_input(nn: ModuleType, right: bool) -> nn.Module:
    """Bring the batch into the layer's order."""

    def compute(m: Any, x: Tensor) -> Tensor:
        batch, seq, feature = x.shape
        turned = x.transpose(0, 1) if right else x.view(seq, batch, feature)
        return m.head(m.rnn(m.norm(turned))[0][-1])

    parts = {"norm": nn.LayerNorm(FEATURE), "rnn": nn.RNN(FEATURE, HIDDEN)}
    return Model(compute, **parts, head=nn.Linear(HIDDEN, 2))


def pooled_padding(nn: ModuleType, right: bool) -> nn.Module:
    """Classify by the mean over the steps."""

    def compute(m: Any, x: Tensor, lengths: Tensor) -> Tensor:
        output, _ = m.gru(x)
        if not right:
            return m.head(output.mean(1))
        valid = mask(lengths, x.shape[1]).unsqueeze(-1)
        return m.head((output * valid).sum(1) / lengths.unsqueeze(1))

    layer = nn.GRU(FEATURE, HIDDEN, batch_first=True)
    return Model(compute, gru=layer, head=nn.Linear(HIDDEN, 2))


def last_of_padded(nn: ModuleType, right: bool) -> nn.Module:
    """Classify by the last step."""

    def compute(m: Any, x: Tensor, lengths: Tensor) -> Tensor:
        output, _ = m.lstm(x)
        last = lengths - 1 if right else torch.full_like(lengths, -1)
        return m.head(output[torch.arange(len(x)), last])

    layer = nn.LSTM(FEATURE, HIDDEN, batch_first=True)
    return Model(compute, lstm=layer, head=nn.Linear(HIDDEN, 2))


def last_of_bidirectional(nn: ModuleType, right: bool) -> nn.Module:
    """Classify by what both directions end with."""

    def compute(m: Any, x: Tensor) -> Tensor:
        output, (h_n, _) = m.lstm(x)
        return m.head(torch.cat([h_n[-2], h_n[-1]], 1) if right else output[:, -1])

    layer = nn.LSTM(FEATURE, HIDDEN, batch_first=True, bidirectional=True)
    return Model(compute, lstm=layer, head=nn.Linear(2 * HIDDEN, 2))


def bidirectional_language_model(nn: ModuleType, right: bool) -> nn.Module:
    """Predict the next token at each step."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.head(m.encoder(m.embed(x))[0])

    layer = nn.GRU(FEATURE, HIDDEN, batch_first=True, bidirectional=not right)
    head = nn.Linear((2 - right) * HIDDEN, VOCABULARY)
    return Model(compute, embed=nn.Embedding(VOCABULARY, FEATURE), encoder=layer, head=head)


def never_advanced(nn: ModuleType, right: bool) -> nn.Module:
    """Loop over the steps."""

    def compute(m: Any, x: Tensor) -> Tensor:
        h = first = x.new_zeros(len(x), HIDDEN)
        for x_t in x.unbind(1):
            h = m.cell(x_t, h if right else first)
        return m.head(h)

    return Model(compute, cell=nn.GRUCell(FEATURE, HIDDEN), head=nn.Linear(HIDDEN, 2))


def kept_state(nn: ModuleType, right: bool) -> nn.Module:
    """Start each batch again, or not."""

    def compute(m: Any, x: Tensor) -> Tensor:
        output, state = m.lstm(x, None if right else m.state)
        m.state = tuple(part.detach() for part in state)
        return m.head(output)

    model = Model(compute, lstm=nn.LSTM(FEATURE, HIDDEN), head=nn.Linear(HIDDEN, 2))
    model.state = None
    return model


def random_state(nn: ModuleType, right: bool) -> nn.Module:
    """Start from zeros, or from random numbers."""

    def compute(m: Any, x: Tensor) -> Tensor:
        fill = torch.zeros if right else torch.randn
        return m.head(m.gru(x, fill(1, len(x), HIDDEN, dtype=x.dtype))[0])

    layer = nn.GRU(FEATURE, HIDDEN, batch_first=True)
    return Model(compute, gru=layer, head=nn.Linear(HIDDEN, 2))


def tiled_beams(nn: ModuleType, right: bool) -> nn.Module:
    """Decode three beams of each sample, which are side by side in the batch."""

    def compute(m: Any, x: Tensor) -> Tensor:
        _, h_n = m.encoder(x)
        start = h_n.repeat_interleave(3, 1) if right else h_n.repeat(1, 3, 1)
        last = x[:, -1:].repeat_interleave(3, 0)
        return m.head(m.decoder(last, start)[0]).view(len(x), 3, 2)

    layers = {name: nn.GRU(FEATURE, HIDDEN, batch_first=True) for name in ("encoder", "decoder")}
    return Model(compute, **layers, head=nn.Linear(HIDDEN, 2))


def directions_of_two_layers(nn: ModuleType, right: bool) -> nn.Module:
    """Classify by the last layer's directions."""

    def compute(m: Any, x: Tensor) -> Tensor:
        _, h_n = m.gru(x)
        return m.head(torch.cat([h_n[-2 if right else 0], h_n[-1]], 1))

    layer = nn.GRU(FEATURE, HIDDEN, num_layers=2, batch_first=True, bidirectional=True)
    return Model(compute, gru=layer, head=nn.Linear(2 * HIDDEN, 2))


def windows_as_one_sequence(nn: ModuleType, right: bool) -> nn.Module:
    """Forecast from a matrix with a window of a series in each row."""

    def compute(m: Any, x: Tensor) -> Tensor:
        output, _ = m.lstm(x.unsqueeze(-1) if right else x)
        return m.head(output[:, -1] if right else output)

    layer = nn.LSTM(1 if right else SEQ, HIDDEN, batch_first=True)
    return Model(compute, lstm=layer, head=nn.Linear(HIDDEN, 1))


def unpacked_padding(nn: ModuleType, right: bool) -> nn.Module:
    """Run a bidirectional layer over a padded batch, packed or not."""

    def compute(m: Any, x: Tensor, lengths: Tensor) -> Tensor:
        given = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        output, _ = m.gru(given if right else x)
        if right:
            output, _ = pad_packed_sequence(output, batch_first=True, total_length=x.shape[1])
        return m.head(output)

    layer = nn.GRU(FEATURE, HIDDEN, batch_first=True, bidirectional=True)
    return Model(compute, gru=layer, head=nn.Linear(2 * HIDDEN, 2))


def _batch() -> tuple[Tensor, ...]:
    return (numbers(BATCH, SEQ, FEATURE),)


def _tokens() -> tuple[Tensor, ...]:
    return (tokens(BATCH, SEQ),)


_PADDED: dict[str, Any] = {"lengths": LENGTHS}

TWINS = {
    "batch_first forgotten": Twin(batch_first_forgotten, "batch", "lstm", _batch),
    "batch_first forgotten, square": Twin(
        batch_first_forgotten, "batch", "lstm", lambda: (numbers(5, 5, FEATURE),)
    ),
    "viewed state": Twin(viewed_state, "batch", "head", _batch),
    "viewed input": Twin(viewed_input, "batch", "norm", _batch),
    "pooled padding": Twin(pooled_padding, "alone", "", padded, _PADDED),
    "last of padded": Twin(last_of_padded, "alone", "", padded, _PADDED),
    "unpacked padding": Twin(unpacked_padding, "alone", "", padded, _PADDED),
    "last of bidirectional": Twin(last_of_bidirectional, "use", "lstm", _batch),
    "bidirectional language model": Twin(
        bidirectional_language_model, "causal", "encoder", _tokens, {"causal": True}
    ),
    "never advanced": Twin(never_advanced, "memory", "", _batch),
    "kept state": Twin(
        kept_state, "repeatable", "", lambda: (numbers(SEQ, BATCH, FEATURE),), {"batch_dim": 1}
    ),
    "random state": Twin(random_state, "repeatable", "", _batch),
    "tiled beams": Twin(tiled_beams, "batch", "decoder", _batch),
    "directions of two layers": Twin(directions_of_two_layers, "use", "gru", _batch),
    "windows as one sequence": Twin(
        windows_as_one_sequence, "batch", "lstm", lambda: (numbers(BATCH, SEQ),)
    ),
}
