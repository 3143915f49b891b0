"""Float64 is the judge: what rounds in half precision hides no leak, and is none."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import settings
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from rnnkit._diagnostics import widened
from tests.diagnostics.models_of_users import FEATURE, HIDDEN, Model, mask, padded, reason

X, LENGTHS = padded()
LIBRARIES = [torch.nn, rnnkit.nn]

#: How a model computes in half precision, by name.
Ways = dict[str, Callable[[Model, Any, Tensor, Tensor], Tensor]]


def pooled(m: Any, x: Tensor, n: Tensor, *, is_right: bool) -> Tensor:
    """Take the mean over the steps, without the padding or with a little of it."""
    y = m.head(m.gru(x)[0])
    valid = mask(n, x.shape[1]).unsqueeze(2).to(y.dtype)
    mean = (y * valid).sum(1) / n.unsqueeze(1)
    return mean if is_right else mean + y.mean(1) / 10


def under_autocast(m: Any, x: Tensor, n: Tensor) -> Tensor:
    """Pool in mixed precision."""
    with torch.autocast("cpu", torch.bfloat16):
        return pooled(m, x, n, is_right=m.is_right)


def inside(m: Any, x: Tensor, n: Tensor) -> Tensor:
    """Pool in half precision, and return float32."""
    return pooled(m.to(dtype=torch.bfloat16), x.bfloat16(), n, is_right=m.is_right).float()


def by_name(m: Any, x: Tensor, n: Tensor) -> Tensor:
    """Turn the numbers by a dtype that is given by keyword."""
    y = pooled(m.bfloat16(), x.to(dtype=torch.bfloat16), n, is_right=m.is_right)
    return y + torch.zeros(y.shape, dtype=torch.bfloat16, device="cpu")


WAYS: Ways = {"autocast": under_autocast, "inside": inside, "by keyword": by_name}


def model(way: str, library: ModuleType, *, is_right: bool, seed: int = 0) -> Model:
    """Make a model whose padding moves the mean by less than half precision may."""
    torch.manual_seed(seed)
    gru = library.GRU(FEATURE, HIDDEN, batch_first=True)
    made = Model(WAYS[way], gru=gru, head=nn.Linear(HIDDEN, 5))
    made.is_right = is_right
    return made


@pytest.mark.parametrize("library", LIBRARIES, ids=["torch", "rnnkit"])
@pytest.mark.parametrize("way", WAYS)
def test_pooled_padding(way: str, library: ModuleType) -> None:
    """Padding that is pooled is found at each seed, and a right model is not accused."""
    for seed in range(settings().max_examples // 15):
        options: dict[str, Any] = {"lengths": LENGTHS, "skip": ["padding"]}
        right = model(way, library, is_right=True, seed=seed)
        assert "alone" in rnnkit.verify(right, X, LENGTHS, **options).checked

        wrong = model(way, library, is_right=False, seed=seed)
        with pytest.raises(rnnkit.LeakError, match="alone, cut to its"):
            rnnkit.verify(wrong, X, LENGTHS, **options)


def insisting(m: Any, x: Tensor, n: Tensor) -> Tensor:
    """Take nothing but half precision."""
    given = x
    if given.dtype != torch.bfloat16:
        message = "half precision alone"
        raise TypeError(message)
    return pooled(m, given, n, is_right=False)


@pytest.mark.parametrize("why", ["it insists", "it is large", "it gives other shapes"])
def test_what_runs_in_nothing_wider(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model in half precision that does not run in float64 is not judged: never a blind ok."""

    def by_precision(m: Any, x: Tensor, n: Tensor) -> Tensor:
        y = under_autocast(m, x, n)
        return y if x.dtype is torch.bfloat16 else y[:, :3]

    computes = {"it insists": insisting, "it gives other shapes": by_precision}
    if why == "it is large":
        monkeypatch.setattr(widened, "WEIGHTS", 10)
    made = model("autocast", torch.nn, is_right=False).bfloat16()
    made.compute = computes.get(why, under_autocast)
    report = rnnkit.verify(made, X.bfloat16(), LENGTHS, lengths=LENGTHS, skip=["padding"])

    assert reason(report, "alone") == snapshot(
        "bfloat16 rounds too much, and the model runs in nothing wider"
    )


def test_single_precision_is_judged_as_it_is() -> None:
    """A model that insists on float32 is judged in that, and the report says so."""

    def insisting(m: Any, x: Tensor, n: Tensor) -> Tensor:
        assert x.dtype is torch.float32
        return pooled(m, x, n, is_right=m.is_right)

    for is_right in (True, False):
        made = model("autocast", torch.nn, is_right=is_right)
        made.compute = insisting
        report = rnnkit.verify(made, X, LENGTHS, lengths=LENGTHS, raises=False)
        assert report.found("alone") is not is_right
        assert report.notes == snapshot(["judged in float32: the model does not run in float64"])
