"""Lengths of several inputs: who tells ``verify`` more gets no less judged."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, SEQ, Model, mask, numbers, tokens
from tests.diagnostics.small import gru, said

STEPS = 6

#: The sample whose target is longest has the longest source as well.
SOURCE, TARGET = torch.tensor([7, 5, 3, 2]), torch.tensor([6, 4, 5, 2])
X = numbers(BATCH, SEQ, FEATURE) * mask(SOURCE).unsqueeze(2)
Y = numbers(BATCH, STEPS, FEATURE) * mask(TARGET, STEPS).unsqueeze(2)
WORDS = tokens(BATCH, STEPS) * mask(TARGET, STEPS)

#: What a caller tells of the lengths, by name.
TOLD: dict[str, Any] = {
    "source": SOURCE,
    "source by its place": {0: SOURCE},
    "both": {0: SOURCE, 2: TARGET},
    "both, the target first": {2: TARGET, 0: SOURCE},
}


def attend(m: Any, y: Tensor, e: Tensor, valid: Tensor) -> Tensor:
    """Return the steps of a decoder, each with what it reads of an encoder's."""
    d = m.decoder(y)[0]
    scores = (d @ e.mT).masked_fill(~valid, -1e9)
    return torch.cat([d, scores.softmax(2) @ e], 2)


def translator(*, right: bool, every: int = 1, words: bool = False, outer: bool = False) -> Model:
    """Make an encoder and a decoder, whose attention reads the source's padding or does not."""

    def compute(m: Any, x: Tensor, n: Tensor, y: Tensor, k: Tensor) -> Tensor:
        e = m.encoder(x)[0]
        valid = mask(n, x.shape[1]).unsqueeze(1)
        # Where all is masked, as in a row of the target's padding, all is read alike.
        valid = valid & mask(k, y.shape[1]).unsqueeze(2) if outer else valid
        read = attend(m, m.embed(y) if words else y, e, valid if right else valid | True)
        return read[:, : read.shape[1] // every * every : every]

    return Model(compute, encoder=gru(), decoder=gru(), embed=nn.Embedding(11, FEATURE))


@pytest.mark.parametrize("words", [False, True], ids=["numbers", "words"])
@pytest.mark.parametrize("every", [1, 2], ids=["each step", "each second step"])
@pytest.mark.parametrize("name", TOLD)
def test_attention_over_the_padding(name: str, every: int, words: bool) -> None:
    """Attention without a mask is found whatever is told besides the source's lengths."""
    inputs = X, SOURCE, WORDS if words else Y, TARGET
    wrong = translator(right=False, every=every, words=words)
    assert "cut to its" in said(wrong, *inputs, lengths=TOLD[name])
    text = said(wrong, *inputs, lengths=TOLD[name], skip=["alone"])
    assert "depends on what is beyond its length" in text

    right = translator(right=True, every=every, words=words)
    report = rnnkit.verify(right, *inputs, lengths=TOLD[name])
    assert {"alone", "padding"} <= {*report.checked}


def test_steps_of_the_target_beyond_its_length() -> None:
    """An output is judged within the lengths of the input whose steps it has."""
    model = translator(right=True, outer=True)
    told = {0: SOURCE, 2: TARGET}
    report = rnnkit.verify(model, X, SOURCE, Y, TARGET, lengths=told)
    assert {"alone", "padding"} <= {*report.checked}


@pytest.mark.parametrize("source", [SOURCE, torch.full((BATCH,), SEQ)], ids=["padded", "full"])
def test_padding_of_the_target(source: Tensor) -> None:
    """The padding of a further input is judged, also where the first one has none."""

    def pooled(m: Any, x: Tensor, n: Tensor, y: Tensor, k: Tensor) -> Tensor:
        d, e = m.decoder(y)[0], m.encoder(x)[0] * mask(n, x.shape[1]).unsqueeze(2)
        valid = mask(k, y.shape[1]).unsqueeze(2)
        mean = (d * valid).sum(1) / k.unsqueeze(1) if m.right else d.mean(1)
        return e + mean.unsqueeze(1)

    x = numbers(BATCH, SEQ, FEATURE) * mask(source).unsqueeze(2)
    model = Model(pooled, encoder=gru(), decoder=gru())
    told: dict[str, Any] = {"lengths": {0: source, 2: TARGET}}
    model.right = True
    assert "padding" in rnnkit.verify(model, x, source, Y, TARGET, **told).checked
    model.right = False
    assert "cut to its" in said(model, x, source, Y, TARGET, **told)
    text = said(model, x, source, Y, TARGET, skip=["alone"], **told)
    assert text.startswith(
        "output of sample 1 depends on what is beyond its length of 4 steps in input 2\n"
    )
