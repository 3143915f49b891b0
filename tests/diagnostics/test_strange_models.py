"""Right models whose outputs are strange: none is accused."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers
from tests.diagnostics.small import gru

X = numbers(BATCH, SEQ, FEATURE)
N = torch.arange(BATCH) % SEQ + 1


def mean_of_samples(m: Any, x: Tensor) -> Any:
    """Return an output for each sample, of a size of its own."""
    y = m.gru(x)[0].mean(2)
    return {f"{k}": part[: 1 + k] for k, part in enumerate(y)}


def pooled_of_several(m: Any, x: Tensor, n: Tensor) -> Any:
    """Return a mean over the steps, if there is more than one sample."""
    y = m.gru(x)[0] * (torch.arange(x.shape[1]) < n.unsqueeze(1)).unsqueeze(2)
    return y, y.sum(1) / n.unsqueeze(1) if len(x) > 1 else None


STRANGE: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "an output for each sample": (mean_of_samples, (X,), {}),
    "one axis": (lambda m, x: m.words(x), (torch.arange(BATCH),), {}),
    "no output": (lambda m, x: (), (X,), {"streaming": True}),  # noqa: ARG005
    "an output of several samples alone": (pooled_of_several, (X, N), {"lengths": N}),
    "nothing": (lambda m, x: None, (X,), {"causal": True}),  # noqa: ARG005
    "static numbers beside": (
        lambda m, x, one, more: m.gru(x)[1][0] + one + more.sum(1, keepdim=True),
        (X, numbers(BATCH, 1), numbers(BATCH, 5)),
        {"causal": True},
    ),
    "complex numbers beside": (
        lambda m, x, z: m.gru(x)[1][0] + z.abs(),
        (X, torch.randn(BATCH, HIDDEN, dtype=torch.complex64)),
        {},
    ),
    "one token everywhere": (
        lambda m, x, y: m.gru(m.words(x)[..., :FEATURE] + y)[0],
        (torch.zeros(BATCH, SEQ, dtype=torch.long), X),
        {"causal": "strict"},
    ),
    "a cell that reads itself": (
        lambda m, x: m.cell((h := m.cell(m.gru(x)[1][0], m.gru(x)[1][0])), h),
        (X,),
        {},
    ),
    "more outputs for no number": (
        lambda m, x: (m.gru(x)[0],) * (1 + bool(x.isnan().any())),
        (X,),
        {},
    ),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_models(name: str) -> None:
    """None of these is accused of anything."""
    compute, inputs, options = STRANGE[name]
    parts = {
        "gru": gru(),
        "words": nn.Embedding(11, HIDDEN),
        "cell": nn.GRUCell(HIDDEN, HIDDEN),
    }
    assert rnnkit.verify(
        Model(compute, **parts), *inputs, **options, skip=["use"] * ("cell" not in name)
    ).passes
