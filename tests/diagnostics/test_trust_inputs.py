"""Inputs and outputs of every kind are judged, or what is not judged is said."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import (
    BATCH,
    FEATURE,
    HIDDEN,
    LENGTHS,
    SEQ,
    Model,
    mask,
    numbers,
    padded,
    reason,
    tokens,
)
from tests.diagnostics.small import gru

X = numbers(BATCH, SEQ, FEATURE)
COUNTS = torch.tensor(LENGTHS)


def test_sample_of_one_step() -> None:
    """One sample of one step leaves the others to be asked what they remember."""
    lengths = torch.tensor([1, 7, 5, 2])

    def compute(m: Any, x: Tensor, n: Tensor) -> Tensor:
        h = first = x.new_zeros(len(x), HIDDEN)
        for t, x_t in enumerate(x.unbind(1)):
            h = torch.where((t < n).unsqueeze(1), m.cell(x_t, h if m.right else first), h)
        return h

    for right in (True, False):
        model = Model(compute, cell=nn.GRUCell(FEATURE, HIDDEN))
        model.right = right
        if right:
            assert "memory" in rnnkit.verify(model, X, lengths, lengths=lengths).checked
        else:
            with pytest.raises(rnnkit.LeakError, match="nothing is remembered"):
                rnnkit.verify(model, X, lengths, lengths=lengths)


def pair(m: Any, a: Tensor, b: Tensor) -> Tensor:
    """Pool two sentences under their own masks."""

    def vector(given: Tensor) -> Tensor:
        valid = (given != 0).unsqueeze(2)
        return (m.gru(m.embed(given))[0] * valid).sum(1) / valid.sum(1)

    return torch.cat([vector(a), vector(b)], 1)


def test_two_inputs_of_one_width() -> None:
    """Two inputs padded to one width have lengths of their own; each is cut to its own."""
    lengths = torch.tensor([7, 2, 4, 5]), torch.tensor([3, 7, 6, 2])
    a, b = (tokens(BATCH, SEQ) * mask(n) for n in lengths)
    model = Model(pair, gru=gru(), embed=nn.Embedding(11, FEATURE))
    for told in (lengths[0], {0: lengths[0]}, {1: lengths[1]}, dict(enumerate(lengths))):
        assert "alone" in rnnkit.verify(model, a, b, lengths=told).checked
    report = rnnkit.verify(
        model, a, kwargs={"b": b}, call=lambda m, a, b: m(a, b), lengths={"b": lengths[1]}
    )
    assert "alone" in report.checked

    def pooled(m: Any, a: Tensor, b: Tensor) -> Tensor:
        return pair(m, a, b) + m.gru(m.embed(b))[0].mean(1).repeat(1, 2)

    wrong = Model(pooled, gru=gru(), embed=nn.Embedding(11, FEATURE))
    with pytest.raises(rnnkit.LeakError, match="cut to its"):
        rnnkit.verify(wrong, a, b, lengths=dict(enumerate(lengths)))


def test_mask_of_an_input_with_lengths_of_its_own() -> None:
    """A mask that goes with an input is cut with that."""
    lengths = torch.tensor([7, 2, 4, 5]), torch.tensor([3, 6, 5, 2])

    def compute(m: Any, a: Tensor, b: Tensor, valid: Tensor) -> Tensor:
        d = m.gru(b)[0] * valid.unsqueeze(2)
        return m.gru(a)[0] + (d.sum(1) / valid.sum(1, keepdim=True)).unsqueeze(1)

    model = Model(compute, gru=gru())
    b = numbers(BATCH, 6, FEATURE)
    report = rnnkit.verify(
        model, X, b, mask(lengths[1], 6).float(), lengths=dict(enumerate(lengths))
    )
    assert "alone" in report.checked


STATIC: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "as wide as the steps": (
        lambda m, x, s: m.gru(x)[0] + m.wide(s).unsqueeze(1),
        (X, numbers(BATCH, SEQ) + 1),
    ),
    "two of them": (
        lambda m, x, s, u: m.gru(x)[0] + m.wide(s * u).unsqueeze(1),
        (X, numbers(BATCH, SEQ) + 1, numbers(BATCH, SEQ)),
    ),
    "prototypes, as many as samples": (
        lambda m, x, p: m.gru(x)[1][0] @ p.t(),
        (X, numbers(BATCH, HIDDEN)),
    ),
    "flags that are no mask": (
        lambda m, x, flags: m.gru(x * (1 - flags.unsqueeze(2)))[0],
        (X, torch.tensor([[0, 1, 0, 0, 1, 0, 0]] * BATCH).float()),
    ),
}


@pytest.mark.parametrize("name", STATIC)
def test_other_inputs(name: str) -> None:
    """What does not change from step to step, or from sample to sample, is not cut."""
    compute, inputs = STATIC[name]
    report = rnnkit.verify(Model(compute, gru=gru(), wide=nn.Linear(SEQ, HIDDEN)), *inputs)

    assert {"batch", "alone", "memory"} <= {*report.checked}


@pytest.mark.parametrize("right", [True, False])
def test_relative_lengths(right: bool) -> None:
    """Lengths as parts of the longest stay what they are; a sample alone is the longest."""

    def compute(m: Any, x: Tensor, part: Tensor) -> Tensor:
        n = (part * x.shape[1]).round().long()
        assert n.max() == x.shape[1]
        valid = mask(n, x.shape[1]).unsqueeze(2)
        y = m.gru(x)[0]
        return (y * valid).sum(1) / valid.sum(1) if right else y.mean(1)

    x, n = padded()
    model = Model(compute, gru=gru())
    if right:
        report = rnnkit.verify(model, x, n / SEQ, lengths=n)
        assert {"batch", "alone", "padding"} <= {*report.checked}
        assert "batch" in rnnkit.verify(model, x, n / SEQ).checked
    else:
        with pytest.raises(rnnkit.LeakError, match="cut to its"):
            rnnkit.verify(model, x, n / SEQ, lengths=n)


def test_lengths_of_every_kind() -> None:
    """Lengths in an array, or with an axis for nothing, are taken; zero is told in a line."""

    def compute(m: Any, x: Tensor, n: Any) -> Tensor:
        y: Tensor = m.gru(x)[0] * mask(torch.as_tensor(n).view(-1), x.shape[1]).unsqueeze(2)
        return y

    x, n = padded()
    model = Model(compute, gru=gru())
    for told in (n.numpy(), n.unsqueeze(1), list(LENGTHS), np.array(LENGTHS)[:, None]):
        assert "alone" in rnnkit.verify(model, x, n, lengths=told).checked
    assert "alone" in rnnkit.verify(model, x, n.unsqueeze(1), lengths=n).checked
    assert "alone" in rnnkit.verify(model, x, list(LENGTHS), lengths=n).checked
    for wrong in ([3, 7, 0, 2], {}, {2: n}, {"x": n}):
        with pytest.raises(rnnkit.ArgumentError) as error:
            rnnkit.verify(model, x, n, lengths=wrong)
        assert len(str(error.value).splitlines()) == 2


def test_flat_input() -> None:
    """Of input in which batch and seq are one axis, nothing is said."""

    def compute(m: Any, x: Tensor, h: Tensor) -> Any:
        y, h = m.gru(x.view(h.shape[1], -1, FEATURE), h)
        return y.flatten(0, 1), h

    model = Model(compute, gru=gru())
    report = rnnkit.verify(model, numbers(2 * SEQ, FEATURE), numbers(1, 2, HIDDEN))

    assert reason(report, "batch") == snapshot("axis 0 of the input is 2 * 2, batch and seq in one")


class Unflattened(nn.Module):
    """A policy on (steps * envs, feature), wrapped so that steps and envs have an axis each."""

    def __init__(self, *, right: bool = True) -> None:
        """Make the layer."""
        super().__init__()
        self.gru = nn.GRU(FEATURE, HIDDEN)
        self.right = right

    def act(self, x: Tensor, hxs: Tensor, masks: Tensor) -> Tensor:
        """Read from the state how many environments there are, as public code does."""
        envs = hxs.shape[0]
        x = torch.cat([x, masks], 1)
        steps = x.shape[0] // envs
        x = x.view(steps, envs, -1) if self.right else x.view(envs, steps, -1).transpose(0, 1)
        return self.gru(x, hxs.unsqueeze(0))[0].reshape(steps * envs, -1)

    def forward(self, x: Tensor, hxs: Tensor, masks: Tensor) -> Tensor:
        """Flatten the two axes, and return them."""
        steps, envs = x.shape[:2]
        return self.act(x.flatten(0, 1), hxs, masks.reshape(-1, 1)).view(steps, envs, -1)


@pytest.mark.parametrize(
    ("steps", "envs"),
    [(8, 4), (7, 4), (4, 4), (3, 3), (24, 8), (8, 2), (12, HIDDEN), (HIDDEN,) * 2],
)
def test_state_that_says_how_many_samples_there_are(steps: int, envs: int) -> None:
    """A model that runs on a whole state, too, and mixes samples then, is judged with a part of it."""
    inputs = numbers(steps, envs, FEATURE - 1), numbers(envs, HIDDEN), numbers(steps, envs)
    report = rnnkit.verify(Unflattened(), *inputs, batch_dim=1)

    assert {"batch", "alone"} <= {*report.checked}
    assert report.axes["input[1]"] == ("batch", HIDDEN)
    assert report.axes["input[2]"] == ("seq", "batch")
    with pytest.raises(rnnkit.LeakError):
        rnnkit.verify(Unflattened(right=False), *inputs, batch_dim=1)
