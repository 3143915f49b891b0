"""Values that steer a computation: other samples then round otherwise, which is no leak."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import settings
from inline_snapshot import snapshot
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, SEQ, Model, numbers, text

#: Twenty; a quarter of them where the slow tests are left out.
SEEDS = range(settings().max_examples // 3)


def padded_tokens(seed: int, batch: int = 8, seq: int = 10) -> Tensor:
    """Return tokens of random lengths that end in zeros."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, seq + 1, (batch,), generator=generator)
    lengths[0] = seq
    tokens = torch.randint(1, 20, (batch, seq), generator=generator)
    return tokens * (torch.arange(seq) < lengths.unsqueeze(1))


def few_kinds(seed: int) -> Tensor:
    """Return tokens of three kinds, beside the zeros that they end in."""
    x = padded_tokens(seed, 6, 4)
    return x.sign() * (x % 3 + 1)


def packed(m: Any, x: Tensor, lengths: Tensor) -> Tensor:
    """Classify by the end states of a layer over packed samples."""
    given = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    h_n = m.layer(given)[1][0]
    return m.head(torch.cat([h_n[0], h_n[1]], 1))


def parts(width: int = 8, hidden: int = 8) -> dict[str, nn.Module]:
    """Make a bidirectional layer and a head."""
    layer = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
    return {"layer": layer, "head": nn.Linear(2 * hidden, 4)}


def from_tokens(_: int) -> nn.Module:
    """Count the lengths in the tokens."""
    embed = nn.Embedding(20, 8, padding_idx=0)
    return Model(lambda m, x: packed(m, m.embed(x), (x != 0).sum(1)), embed=embed, **parts())


def from_numbers(_: int) -> nn.Module:
    """Count the lengths in what is no row of zeros."""
    return Model(lambda m, x: packed(m, x, (x != 0).any(2).sum(1)), **parts(FEATURE))


def from_content(_: int) -> nn.Module:
    """Take as many steps as have a first feature above zero, whichever they are."""
    compute = lambda m, x: packed(m, x, (x[..., 0] > 0).sum(1).clamp(min=1))  # noqa: E731
    return Model(compute, **parts(FEATURE, 33))


def experts(_: int) -> nn.Module:
    """Send each step to one of two experts, by its value."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y = m.gru(x)[0]
        chosen = y[..., 0] > 0
        z = m.one(y)
        z[chosen] = m.other(torch.relu(m.wide(y[chosen])))
        return z

    layer = nn.GRU(FEATURE, 32, batch_first=True)
    wide, other = nn.Linear(32, 64), nn.Linear(64, 8)
    return Model(compute, gru=layer, wide=wide, one=nn.Linear(32, 8), other=other)


def by_score(_: int) -> nn.Module:
    """Sort the samples by a score, and back."""

    def compute(m: Any, x: Tensor) -> Tensor:
        order = x[:, :, 0].sum(1).argsort()
        return m.head(m.gru(x[order])[0])[order.argsort()]

    return Model(compute, gru=nn.GRU(FEATURE, 32, batch_first=True), head=nn.Linear(32, 8))


def encoder(_: int) -> nn.Module:
    """Attend to what is no padding: torch has a fast way, that it does not take under watch."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.head(m.encoder(m.embed(x), src_key_padding_mask=x == 0)[:, 0])

    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    embed = nn.Embedding(20, 8, padding_idx=0)
    encoder = nn.TransformerEncoder(layer, 2)
    return Model(compute, embed=embed, encoder=encoder, head=nn.Linear(8, 4))


def series(seed: int) -> Tensor:
    """Return numbers."""
    return torch.randn(5, SEQ, FEATURE, generator=torch.Generator().manual_seed(seed))


def padded_series(seed: int) -> Tensor:
    """Return numbers that end in zeros."""
    valid = padded_tokens(seed, 5, SEQ) != 0
    return series(seed) * valid.unsqueeze(2)


STEERED: dict[str, tuple[Callable[[int], nn.Module], Callable[[int], Tensor]]] = {
    "lengths counted in tokens": (from_tokens, padded_tokens),
    "lengths counted in tokens of few kinds": (
        from_tokens,
        few_kinds,
    ),
    "lengths counted in numbers": (from_numbers, padded_series),
    "lengths that the content decides": (from_content, series),
    "experts chosen by value": (experts, series),
    "samples sorted by value": (by_score, series),
    "padding that is not attended to": (encoder, padded_tokens),
}


@pytest.mark.parametrize("name", STEERED)
def test_rounding_of_another_computation_is_no_leak(name: str) -> None:
    """A right model whose values decide sizes is accused of nothing, whatever the numbers."""
    make, inputs = STEERED[name]
    for seed in SEEDS:
        torch.manual_seed(seed)
        report = rnnkit.verify(make(seed), inputs(seed))

        assert {"batch", "alone"} <= set(report.checked)


@pytest.mark.parametrize("name", STEERED)
def test_map_of_what_rounds_otherwise(name: str) -> None:
    """Along the samples, the map of such a model is a diagonal, too."""
    make, inputs = STEERED[name]
    for seed in SEEDS:
        torch.manual_seed(seed)
        found = rnnkit.dependency_map(make(seed), inputs(seed))

        assert found.finding == "each depends on its own input alone"


@pytest.mark.parametrize("leak", [1e-3, 1.0])
def test_map_of_a_leak_beside_rounding(leak: float) -> None:
    """What is larger than rounding is a dependency, whatever is computed."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y = packed(m, x, (x[..., 0] > 0).sum(1).clamp(min=1))
        return y + leak * y.mean(0)

    found = rnnkit.dependency_map(Model(compute, **parts(FEATURE)), numbers(BATCH, SEQ, FEATURE))

    assert found.finding == "each depends on all inputs"


def test_map_of_samples_with_one_token() -> None:
    """A step that turns to padding would leave a sample empty: other tokens are tried."""
    x = padded_tokens(0)
    x[1:, 1:] = 0
    for seed in SEEDS:
        torch.manual_seed(seed)

        assert rnnkit.dependency_map(from_tokens(seed), x, dim=1, out_dim=0).matrix.any()


@pytest.mark.parametrize("leak", [1e-6, 1e-3, 1.0])
def test_tiny_leak(leak: float) -> None:
    """Where the same operations run, a leak is found however small it is."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y: Tensor = m.gru(x)[0]
        return y + leak * y.sum(0)

    model = Model(compute, gru=nn.GRU(FEATURE, 6, batch_first=True))
    with pytest.raises(rnnkit.LeakError, match="depends on input of sample"):
        rnnkit.verify(model, numbers(BATCH, SEQ, FEATURE))


def test_leak_beside_rounding() -> None:
    """A leak that is larger than rounding is found where other operations run, too."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y = packed(m, x, (x[..., 0] > 0).sum(1).clamp(min=1))
        return y + y.mean(0)

    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(Model(compute, **parts(FEATURE)), numbers(BATCH, SEQ, FEATURE))

    assert error.value.probe == "batch"
    assert text(error.value) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      after head, in what the model does with tensors itself
  by         add
  at         test_verify_steered.py:...
  fix        let no view, norm, softmax or mean cross the axis of the samples
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


def test_leak_of_whole_numbers_beside_rounding() -> None:
    """A count of others is a leak, too, where other operations run."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y = packed(m, x, (x[..., 0] > 0).sum(1).clamp(min=1))
        return (y > 0).long() + (x[..., 0] > 0).sum()

    with pytest.raises(rnnkit.LeakError, match="depends on input of sample"):
        rnnkit.verify(Model(compute, **parts(FEATURE)), numbers(BATCH, SEQ, FEATURE))


def test_model_that_does_not_run_under_watch() -> None:
    """What cannot be watched is compared with a tolerance: no false alarm, and no crash."""

    def compute(m: Any, x: Tensor) -> Tensor:
        if torch._C._len_torch_function_stack():
            message = "not under watch"
            raise RuntimeError(message)
        return packed(m, x, (x[..., 0] > 0).sum(1).clamp(min=1))

    for seed in SEEDS:
        torch.manual_seed(seed)
        report = rnnkit.verify(Model(compute, **parts(FEATURE, 33)), series(seed))

        assert "batch" in report.checked


def trimmed(m: Any, x: Tensor) -> Tensor:
    """Cut to the steps that hold something in any sample, and mix the samples."""
    steps = int((x != 0).any(2).sum(1).max())
    y: Tensor = m.gru(x[:, :steps])[0]
    return y + y.mean(0)


def test_padding_stays_padding() -> None:
    """A model that cuts off what is padding in all samples is judged: padding is not replaced."""
    x = numbers(BATCH, SEQ, FEATURE)
    x[:, 5:] = 0
    with pytest.raises(rnnkit.LeakError, match="depends on input of sample"):
        rnnkit.verify(Model(trimmed, gru=nn.GRU(FEATURE, 6, batch_first=True)), x)
