"""How a model is called, and what becomes of what is found."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, SEQ, Model, numbers, text
from tests.diagnostics.small import gru

X = numbers(BATCH, SEQ, FEATURE)


class Keyword(nn.Module):
    """A model that takes its input by keyword."""

    def __init__(self, **options: Any) -> None:
        """Make the layer."""
        super().__init__()
        self.gru = gru(**options)

    def forward(self, *, x: Tensor, scale: float = 1.0) -> Tensor:
        """Run."""
        y: Tensor = self.gru(x)[0]
        return scale * y

    def encode(self, x: Tensor) -> Tensor:
        """Return the last state."""
        h: Tensor = self.gru(x)[1][0]
        return h


def test_keywords() -> None:
    """What a model takes by keyword is changed as what it takes by position."""
    report = rnnkit.verify(Keyword(), kwargs={"x": X, "scale": 2.0}, causal=True)
    assert {"batch", "alone", "causal", "memory"} <= {*report.checked}
    with pytest.raises(rnnkit.LeakError, match="batch_first=True"):
        rnnkit.verify(Keyword(batch_first=False), kwargs={"x": X})


def test_call() -> None:
    """A model may be called in another way than by its forward."""
    report = rnnkit.verify(Keyword(), X, call=lambda model, x: model.encode(x))
    assert {"batch", "alone", "memory"} <= {*report.checked}
    with pytest.raises(rnnkit.LeakError, match="depends on input of sample"):
        rnnkit.verify(Keyword(), X, call=lambda model, x: model(x=x.transpose(0, 1)))


def several(m: Any, x: Tensor) -> Tensor:
    """Make two mistakes."""
    first, state = m.one(x)
    return m.two(x + x.mean(0), state)[0][:, -1:] + first


def test_all_that_is_found() -> None:
    """What is found stands in the report, if it is not raised; a message lists the others."""
    model = Model(several, one=gru(bidirectional=False), two=gru(bidirectional=False))
    report = rnnkit.verify(model, X, causal=True, raises=False)
    assert [error.probe for error in report.findings] == ["batch", "causal"]
    assert "batch" not in report.checked
    head, *lines = str(report).splitlines()
    assert head.partition(" (")[0] == snapshot("rnnkit.verify: 2 findings")
    assert [line for line in lines if "!!" in line] == snapshot(
        [
            "  !!  batch       output of sample 1 depends on input of sample 0",
            "  !!  causal      output of step 0 depends on input of step 3 or later",
        ]
    )
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model, X, causal=True)

    assert text(error.value) == snapshot("""\
output of sample 1 depends on input of sample 0
  first      two (GRU), input of call 0
  cause      between the output of one and the input of two
  by         add
  at         test_verify_calls.py:...
  intended?  rnnkit.verify(..., skip=['batch'])
  also       causal: output of step 0 depends on input of step 3 or later
  more       batch, in the docs under "Errors"\
""")


def test_padding_is_told_once() -> None:
    """Padding that a sample alone has shown is not told again."""

    def compute(m: Any, x: Tensor, n: Tensor) -> Tensor:  # noqa: ARG001
        y: Tensor = m.gru(x)[0].mean(1)
        return y

    n = torch.tensor([3, 7, 5, 2])
    report = rnnkit.verify(Model(compute, gru=gru()), X, n, lengths=n, raises=False)

    assert [error.probe for error in report.findings] == ["alone"]


def test_refused_ask() -> None:
    """A probe that there is none of is refused."""
    with pytest.raises(rnnkit.ArgumentError) as error:
        rnnkit.verify(gru(), X, ask=["everything"])

    assert error.value.argument == "ask"
