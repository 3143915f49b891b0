"""Where a leak first shows, and outputs that cannot be compared, probe by probe."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from beartype import beartype
from jaxtyping import Float, jaxtyped
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from tests.diagnostics.models_of_users import (
    BATCH,
    FEATURE,
    LENGTHS,
    SEQ,
    Model,
    mask,
    numbers,
    padded,
    reason,
    tokens,
)
from tests.diagnostics.small import gru, said

X = numbers(BATCH, SEQ, FEATURE)
PADDED, COUNTS = padded()


class Mixed(nn.GRU):
    """A layer that mixes samples itself."""

    def forward(self, x: Tensor) -> Any:
        """Run, and add what is common."""
        output, state = super().forward(x)
        return output + output.mean(0), state


class Averaged(nn.Module):
    """Mixes samples in a forward that checks its annotations."""

    def __init__(self) -> None:
        """Make a layer."""
        super().__init__()
        self.gru = gru()

    @jaxtyped(typechecker=beartype)
    def forward(self, x: Float[Tensor, "batch seq feature"]) -> Float[Tensor, "..."]:
        """Take off what is common."""
        output: Tensor = self.gru(x)[0]
        return output - output.mean(0)


def wavering(steps: int, x: Tensor) -> int:
    """Return a number that hangs on all values."""
    return int(1e6 * x.abs().sum()) % 977 + steps


def other_modules(m: Any, x: Tensor) -> Tensor:
    """Call a module as often as values decide."""
    y = m.gru(x)[0]
    for _ in range(wavering(1, x)):
        y = y + m.one(x)
    return y


def routed(m: Any, x: Tensor) -> Tensor:
    """Weigh two experts by a softmax over all rows, in place of over the experts."""
    y = m.gru(x)[0].flatten(0, 1)
    weights = m.gate(y).softmax(0)
    mixed = weights[:, :1] * m.one(y) + weights[:, 1:] * m.two(y)
    return m.head(mixed.unflatten(0, x.shape[:2]))


def spelled(m: Any, x: Tensor) -> Tensor:
    """Append what was read of letters, laid out otherwise, to what is embedded after it."""
    letters = m.letters(x.flatten(0, 1).unsqueeze(2))[1].permute(2, 1, 0).reshape(*x.shape[:2], 6)
    return m.gru(torch.cat([m.wide(x), letters], 2))[0]


def scaled(m: Any, x: Tensor) -> Tensor:
    """Divide by the mean over all steps, the later ones too, before anything is embedded."""
    y = x / x.abs().mean(1, keepdim=True)
    return m.gru(torch.cat([m.wide(x), y], 2))[0]


def windows(m: Any, x: Tensor) -> Tensor:
    """Attend within windows that lie one after the other; batch_first is forgotten."""
    rows = m.gru(x[:, :6])[0].reshape(-1, 2, 6)
    return m.head(m.attention(rows, rows, rows)[0].reshape(-1, 6, 6))


def written(m: Any, x: Tensor) -> Tensor:
    """Write into a part of a tensor."""
    y = m.gru(x)[0].clone()
    y[1:] = y[:-1].clone()
    return y


def packed(m: Any, x: Tensor) -> Any:
    """Take the mean off what is packed."""
    n = torch.tensor([3, 7, 2, 5])[: len(x)]
    output, h = m.gru(pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False))
    return output._replace(data=output.data - output.data.mean(0)), h


def plain(m: Any, x: Tensor) -> Tensor:
    """Run a layer."""
    output: Tensor = m.gru(x)[0]
    return output


PARTS: dict[str, nn.Module] = {
    "gate": nn.Linear(6, 2),
    "one": nn.Linear(6, 6),
    "two": nn.Linear(6, 6),
    "head": nn.Linear(6, 2),
    "wide": nn.Linear(FEATURE, 5),
    "letters": nn.GRU(1, 6, batch_first=True),
    "attention": nn.MultiheadAttention(6, 2),
    "conv": nn.Conv1d(FEATURE, 4, 3, padding=1),
}


def model(compute: Callable[..., Any], layer: nn.Module | None = None) -> nn.Module:
    """Make a model of a layer and the parts."""
    return Model(compute, **{**PARTS, "gru": layer or gru()})


CAUSAL = {"causal": True}
#: A wrong model, and rows of its message: without those that begin with "no".
WRONG: dict[str, tuple[nn.Module, dict[str, Any], list[str]]] = {
    "one batch size": (
        model(lambda m, x: m.gru(x.view(BATCH, SEQ, FEATURE))[0], gru(batch_first=False)),
        {},
        [
            "first      gru (GRU), output of call 0",
            "cause      gru reads axis 0 of its input as seq, but the batch is there",
            "fix        GRU(..., batch_first=True), or input.transpose(0, 1)",
        ],
    ),
    "other modules on other values": (
        Model(other_modules, gru=gru(), one=nn.Linear(FEATURE, 6)),
        {},
        ["first      not found: the model calls other modules on other values"],
    ),
    "a convolution": (
        model(lambda m, x: m.conv(x.mT).mT),
        CAUSAL,
        ["first      conv (Conv1d), output of call 0", "by         conv1d(1, 1, 1, 1)", "no cause"],
    ),
    "a layer of a user's": (
        model(plain, Mixed(FEATURE, 6, batch_first=True)),
        {},
        ["first      gru (Mixed), output of call 0", "at         test_verify_places", "no cause"],
    ),
    "behind annotations": (Averaged(), {}, ["at         test_verify_places.py:"]),
    "flat rows": (
        model(routed),
        {},
        [
            "cause      between the output of gate and the input of head",
            "by         softmax(0)",
        ],
    ),
    "a module between": (
        model(spelled, gru(11)),
        {},
        [
            "cause      between the output of letters and the input of gru",
            "by         reshape(4, 7, 6)",
        ],
    ),
    "later steps": (
        model(scaled, gru(8)),
        CAUSAL,
        ["cause      between the model's input and the input of gru", "by         div"],
    ),
    "flat windows": (
        model(windows),
        {},
        ["first      attention (MultiheadAttention), output of call 0"],
    ),
    "packed": (
        model(packed),
        {},
        ["first      after gru, in what the model does with tensors itself", "no by"],
    ),
    "a write into a part": (model(written), {}, ["by         a write to an index"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_place(name: str) -> None:
    """The first module, function and line where a leak shows are named, and no cause made up."""
    wrong, options, rows = WRONG[name]
    lines = said(wrong, **options).splitlines()
    for row in rows:
        label = row.removeprefix("no ")
        found = any(line.removeprefix("  ").startswith(label) for line in lines)
        assert found == (label == row), row


def pooled(m: Any, x: Tensor, n: Tensor) -> Tensor:
    """Take the mean of the valid steps, or of all of them."""
    y, valid = m.one(x)[0], mask(n, x.shape[1]).unsqueeze(2)
    return (y * valid).sum(1) / valid.sum(1) if m.masks else y.mean(1)


@pytest.mark.parametrize("masks", [True, False])
def test_backward_direction_that_starts_in_the_padding(masks: bool) -> None:
    """It is named only if the sample returns the same without it."""
    wrong = Model(pooled, one=gru(bidirectional=True))
    wrong.masks = masks

    message = said(wrong, PADDED, COUNTS, lengths=LENGTHS)

    assert ("the backward direction of one starts in the padding" in message) == masks
    assert ("padding is pooled, or read as the last step" in message) != masks


def embedded(m: Any, x: Tensor, n: Tensor) -> Tensor:
    """Embed tokens, and mask what is beyond the lengths."""
    output: Tensor = m.gru(m.embed(x))[0] * mask(n, x.shape[1]).unsqueeze(2)
    return output


def test_padding_that_is_not_there() -> None:
    """Where all samples are as long as the batch, or tokens tell by value, nothing is tried."""
    full = torch.full((BATCH,), SEQ)
    report = rnnkit.verify(model(lambda m, x, _: plain(m, x)), X, full, lengths=full)
    assert reason(report, "padding") == "every sample is as long as the batch"

    tagger = Model(embedded, embed=nn.Embedding(11, FEATURE), gru=gru())
    report = rnnkit.verify(tagger, tokens(BATCH, SEQ), COUNTS, lengths=LENGTHS)
    assert reason(report, "padding") == "tokens: padding is known by its value"


def many(m: Any, x: Tensor) -> Any:
    """Return as many outputs as values decide."""
    y = m.gru(x)[0]
    return [y] * wavering(1, y) + [None if wavering(0, y) % 2 else y]


def test_outputs_that_waver() -> None:
    """Outputs whose number or shape hangs on values are no obstacle, and are not compared."""
    assert "use" in rnnkit.verify(Model(many, gru=gru()), X).checked

    def shapes(m: Any, x: Tensor) -> Tensor:
        return m.gru(x)[0].mean(2, keepdim=True) * torch.ones(wavering(1, x))

    report = rnnkit.verify(Model(shapes, gru=gru()), X, causal=True, out_seq_dim=1)
    assert re.search("nothing can be compared", reason(report, "causal"))


def test_samples_that_lose_an_axis() -> None:
    """A sample whose batch axis is lost is compared; one that loses its steps, too, is left out."""

    def summed(m: Any, x: Tensor, n: Tensor) -> Tensor:
        return (m.gru(x)[0] * mask(n, x.shape[1]).unsqueeze(2)).sum(1).squeeze()

    report = rnnkit.verify(Model(summed, gru=gru()), PADDED, COUNTS, lengths=LENGTHS)
    assert {"alone", "padding"} <= set(report.checked)

    def squeezed(m: Any, x: Tensor, n: Tensor) -> Tensor:
        return (m.gru(x)[0] * mask(n, x.shape[1]).unsqueeze(2)).squeeze()

    lengths = torch.tensor([1, 3, 5, 7])
    report = rnnkit.verify(Model(squeezed, gru=gru()), X, lengths, lengths=lengths)
    assert "alone" in report.checked
