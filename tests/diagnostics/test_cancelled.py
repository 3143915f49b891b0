"""What cancels out leaves its rounding behind: that is no dependency, and the smallest leak is."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from rnnkit._diagnostics import widened
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers

X = numbers(BATCH, SEQ, FEATURE)


def shifted_weights(m: Any, x: Tensor) -> Tensor:
    """Attend, the largest score of the whole batch taken off before the exponential."""
    y = m.gru(x)[0]
    score = m.score(y)
    weight = (score - score.max()).exp()
    return (weight * y).sum(1) / weight.sum(1)


def centred(m: Any, x: Tensor) -> Tensor:
    """Take the mean of the batch off, and put it back after a linear layer."""
    y = m.gru(x)[0]
    mean = y.mean((0, 1))
    return m.head(y - mean) + m.head(mean)


def long_convolution(m: Any, x: Tensor) -> Tensor:
    """Convolve with the steps before, by a Fourier transform of twice as many steps."""
    steps = x.shape[1]
    place = torch.arange(steps, device="cpu", dtype=x.dtype)
    kernel = (m.pole.unsqueeze(1) * place).exp().real
    product = torch.fft.rfft(x.mT, 2 * steps) * torch.fft.rfft(kernel, 2 * steps)
    return m.gru(torch.fft.irfft(product, 2 * steps)[..., :steps].mT)[0]


def masked_late(m: Any, x: Tensor) -> Tensor:
    """Attend to earlier steps, the largest score of all taken off before the mask."""
    y = m.gru(x)[0]
    score = y @ y.mT
    weight = (score - score.amax(2, keepdim=True)).exp().tril()
    return weight / weight.sum(2, keepdim=True) @ y


def padding_cancelled(m: Any, x: Tensor, mask: Tensor) -> Tensor:
    """Pool what is valid, the largest of all scores taken off, also those of padding."""
    y = m.gru(x)[0]
    score = m.score(y)
    weight = (score - score.amax(1, keepdim=True)).exp() * mask.unsqueeze(2)
    return (weight * y).sum(1) / weight.sum(1)


CANCELLED: dict[str, Callable[..., Tensor]] = {
    "batch": shifted_weights,
    "batch, linear": centred,
    "causal": long_convolution,
    "causal, attention": masked_late,
}


def model(compute: Callable[..., Tensor]) -> Model:
    """Make a model that computes so."""
    torch.manual_seed(0)
    gru = nn.GRU(FEATURE, HIDDEN, batch_first=True)
    made = Model(compute, gru=gru, score=nn.Linear(HIDDEN, 1), head=nn.Linear(HIDDEN, HIDDEN))
    made.pole = nn.Parameter(torch.complex(-torch.rand(FEATURE), torch.rand(FEATURE)))
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CANCELLED)
def test_what_cancels_out(name: str, dtype: torch.dtype) -> None:
    """No sample and no step depends on what cancels out, though the last digits do."""
    probe = name.partition(",")[0]
    made = model(CANCELLED[name])
    if dtype is torch.float64:
        made.double()
        made.pole.data = made.pole.data.to(torch.complex128)

    report = rnnkit.verify(made, X.to(dtype), causal=probe == "causal")

    assert {probe, "alone"} <= {*report.checked}


@pytest.mark.parametrize("name", CANCELLED)
def test_what_does_not(name: str) -> None:
    """A leak that is as small as rounding is one, beside what cancels out."""
    probe = name.partition(",")[0]

    def leaking(m: Any, x: Tensor) -> Tensor:
        y = CANCELLED[name](m, x)
        return y + 1e-6 * (y.sum(0) if probe == "batch" else y[:, -1:])

    report = rnnkit.verify(model(leaking), X, causal=probe == "causal", raises=False)

    assert [error.probe for error in report.findings] == [probe]


@pytest.mark.parametrize("name", CANCELLED)
def test_map_of_what_cancels_out(name: str) -> None:
    """A map shows neither what cancels out, nor the gradient of that; a small leak it shows."""
    dim = 0 if name.startswith("batch") else 1

    def leaking(m: Any, x: Tensor) -> Tensor:
        y = CANCELLED[name](m, x)
        return y + 1e-6 * y.sum(dim, keepdim=True)

    found = rnnkit.dependency_map(model(CANCELLED[name]), X, dim=dim)
    leak = rnnkit.dependency_map(model(leaking), X, dim=dim)

    own = ["each depends on its own input alone", "each depends on its own and earlier inputs"]
    assert found.finding == own[dim]
    assert leak.finding == "each depends on all inputs"


def forgotten(m: Any, x: Tensor) -> Tensor:
    """Pool the steps so far in the first half, and hand out the steps of the second as they are."""
    y, half = m.gru(x)[0], x.shape[1] // 2
    score = m.score(y)
    weight = (score - score.amax(1, keepdim=True)).exp()
    pooled = (weight * y).cumsum(1) / weight.cumsum(1)
    return torch.cat([pooled[:, :half], y[:, half:]], 1)


def test_map_of_what_is_forgotten() -> None:
    """What sinks into rounding is a dependency where something else cancels out, too."""
    made = model(forgotten)
    with torch.no_grad():
        made.gru.weight_hh_l0.mul_(0.1)
        made.gru.bias_hh_l0[HIDDEN : 2 * HIDDEN].sub_(3)

    found = rnnkit.dependency_map(made, numbers(2, 4 * SEQ, FEATURE), dim=1)

    assert found.finding == "each depends on its own and earlier inputs"


def test_padding_that_cancels_out() -> None:
    """Padding that is taken off and divided by is not read."""
    lengths = torch.tensor([SEQ, *range(2, BATCH + 1)])
    mask = torch.arange(SEQ, device="cpu") < lengths.unsqueeze(1)

    report = rnnkit.verify(model(padding_cancelled), X, mask, lengths=lengths)

    assert {"alone", "padding"} <= {*report.checked}


@pytest.mark.parametrize("name", ["batch", "causal, attention"])
def test_what_insists_is_judged_as_it_is(name: str) -> None:
    """A leak is found in a model that does not run in float64, too; a map shows what it sees."""
    dim = 0 if name == "batch" else 1

    def insisting(m: Any, x: Tensor) -> Tensor:
        assert x.dtype is torch.float32
        return CANCELLED[name](m, x)

    def leaking(m: Any, x: Tensor) -> Tensor:
        y = insisting(m, x)
        return y + 1e-2 * y.sum(0)

    with pytest.raises(rnnkit.LeakError, match="depends on input of sample"):
        rnnkit.verify(model(leaking), X)
    found = rnnkit.dependency_map(model(insisting), X, dim=dim).matrix
    own = torch.ones_like(found).tril() if dim else torch.eye(len(found), dtype=torch.bool)
    assert bool(found[own].all())


def test_what_is_too_large_is_mapped_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model that is too large for a copy in float64 a map shows what gradients show."""
    monkeypatch.setattr(widened, "WEIGHTS", 0)

    def faint(m: Any, x: Tensor) -> Tensor:
        y = m.gru(x)[0]
        return y + 1e-30 * y[:, -1:]

    found = rnnkit.dependency_map(model(faint), X, dim=1)

    assert found.finding == "each depends on all inputs"
