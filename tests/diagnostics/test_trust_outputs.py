"""Outputs of every kind are judged, or what is not judged is said."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, Normal

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
    text,
    tokens,
)
from tests.diagnostics.small import gru

X = numbers(BATCH, SEQ, FEATURE)


@dataclass
class Parts:
    """Two outputs."""

    scores: Any
    tags: Any


OUTPUTS: dict[str, Callable[[Tensor], Any]] = {
    "steps first": lambda y: y.transpose(0, 1),
    "classes before steps": lambda y: y.transpose(1, 2),
    "no features": lambda y: y.sum(2),
    "a list of steps": lambda y: list(y.unbind(1)),
    "a tuple of steps": lambda y: y.unbind(1),
    "one step less": lambda y: y[:, :-1],
    "numbers of Python beside": lambda y: (y, y.argmax(2).tolist(), len(y)),
    "lists of unequal lengths beside": lambda y: (y, [[0] * (k + 1) for k in range(len(y))]),
    "numbers of Python before": lambda y: ([0.5] * len(y), y),
    "an array": lambda y: (y.numpy(), np.array(["a"])),
    "numbers that are mostly zero beside": lambda y: (y, y.relu().to_sparse()),
    "numbers of eight bits beside": lambda y: (
        y,
        torch.quantize_per_tensor(y.detach(), 0.01, 0, torch.qint8),
    ),
    "a distribution": lambda y: Categorical(logits=y),
    "a distribution of distributions": lambda y: Independent(Normal(y, y.exp()), 1),
    "a dataclass": lambda y: Parts(y, y.argmax(2).tolist()),
    "a generator beside": lambda y: (y, (k for k in range(3))),
    "nothing beside": lambda y: {"scores": y, "loss": None, "size": []},
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_of_every_kind(name: str) -> None:
    """An output of any kind is judged, causality too, and a mistake is found in it."""

    def compute(m: Any, x: Tensor) -> Any:
        return OUTPUTS[name](m.gru(x)[0])

    told = {} if name != "numbers of Python before" else {"skip": ["causal"]}
    right = rnnkit.verify(Model(compute, gru=gru()), X, causal=True, **told)
    assert {"batch", "alone", "memory", *(() if told else ("causal",))} <= {*right.checked}
    with pytest.raises(rnnkit.LeakError, match="depends on input of s"):
        rnnkit.verify(
            Model(compute, gru=gru(bidirectional=True)), X, causal=True
        ) if not told else (rnnkit.verify(Model(compute, gru=gru(batch_first=False)), X))


def test_output_that_is_meant() -> None:
    """Of several outputs, the message says which one."""

    def compute(m: Any, x: Tensor) -> Any:
        y = m.gru(x)[0]
        return {"scores": y, "mixed": y - y.mean(0)}

    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(Model(compute, gru=gru()), X)

    assert text(error.value) == snapshot("""\
output['mixed'] of sample 1 depends on input of sample 0
  first      after gru, in what the model does with tensors itself
  by         sub
  at         test_trust_outputs.py:...
  fix        let no view, norm, softmax or mean cross the axis of the samples
  intended?  rnnkit.verify(..., skip=['batch'])
  more       python -m rnnkit explain batch\
""")


def test_rows_that_are_features() -> None:
    """An output that has as many rows as there are steps, which are the features, is found."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.gru(m.embed(x.argmax(1)))[0]

    x = nn.functional.one_hot(tokens(BATCH, SEQ) % SEQ, SEQ).float()
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(Model(compute, gru=gru(), embed=nn.Embedding(SEQ, FEATURE)), x, causal=True)

    assert str(error.value) == snapshot("""\
axis 1 of the output follows axis 2 of the input, and none follows its steps, on axis 1
  fix        bidirectional=False; pad a convolution on the left, mask attention
  intended?  rnnkit.verify(..., skip=['causal'])
  more       python -m rnnkit explain causal\
""")


def test_rows_that_stay_features() -> None:
    """Where steps are the last axis, or features stay where they were, rows are no mistake."""

    def frames(m: Any, wave: Tensor) -> Any:
        return m.gru(m.conv(wave).mT)[0]

    strided = nn.Conv1d(1, FEATURE, 3, stride=3)
    wave = numbers(BATCH, 1, 3 * FEATURE)
    by_variable = Model(lambda m, x: m.head(x.mT).mT, head=nn.Linear(SEQ, 3), gru=gru())
    reports = [
        rnnkit.verify(Model(frames, gru=gru(), conv=strided), wave, seq_dim=2, causal=True),
        rnnkit.verify(by_variable, numbers(BATCH, SEQ, SEQ), causal=True),
    ]

    for report in reports:
        assert "causal was not judged: no output has the steps" in str(report)


def test_as_many_features_as_steps() -> None:
    """Where no axis of the output follows the features either, causality was not judged."""

    def compute(m: Any, x: Tensor) -> Tensor:
        hidden: Tensor = m.gru(x.sum(2, keepdim=True).expand(-1, -1, FEATURE))[1][-1]
        return hidden

    report = rnnkit.verify(Model(compute, gru=gru()), numbers(BATCH, SEQ, SEQ), causal=True)

    assert "causal was not judged: no output has the steps" in str(report)


def test_causal_that_was_not_judged() -> None:
    """What was asked for and could not be judged stands in the head line, and fails a test."""
    model = Model(lambda m, x: m.gru(x)[1][0], gru=gru())
    report = rnnkit.verify(model, X, causal=True)
    assert str(report).partition(" (")[0] == snapshot(
        "rnnkit.verify: no leak found, but causal was not judged: no output has the steps of the input; give out_seq_dim"
    )
    with pytest.raises(AssertionError, match="causal was not judged"):
        rnnkit.testing.assert_no_leak(model, X, causal=True)
    rnnkit.testing.assert_no_leak(model, X)

    def refusing(m: Any, x: Tensor, n: Tensor) -> Tensor:
        assert len(x) == BATCH
        return m.gru(x)[0] * mask(n).unsqueeze(2)

    report = rnnkit.verify(Model(refusing, gru=gru()), *padded(), lengths=LENGTHS)
    assert str(report).partition(" (")[0] == snapshot(
        "rnnkit.verify: no leak found, but alone was not judged: the model does not run on one sample: AssertionError: assert 1 == 4"
    )


def test_no_short_sample_was_compared() -> None:
    """Nothing is said of a sample alone, if none that is shorter could be compared."""

    def compute(m: Any, x: Tensor, n: Tensor) -> Tensor:
        y = m.gru(x)[0] * mask(n, x.shape[1]).unsqueeze(2)
        return y if x.shape[1] == SEQ else y[:, :-1].sum(2)

    report = rnnkit.verify(Model(compute, gru=gru()), *padded(), lengths=LENGTHS)

    assert reason(report, "alone") == snapshot(
        "the output has other steps than the input: which are valid is not known"
    )


@pytest.mark.parametrize("inverse", [False, True])
def test_sorted_output(inverse: bool) -> None:
    """Outputs in another order, returned with that order, are judged in the first one."""

    def compute(m: Any, x: Tensor, n: Tensor) -> Any:
        order = n.argsort(descending=True)
        y = m.gru(x[order])[0] * mask(n[order], x.shape[1]).unsqueeze(2)
        return y, order.argsort() if inverse else order

    x, n = padded()
    report = rnnkit.verify(Model(compute, gru=gru()), x, n, lengths=n)

    assert {"batch", "alone"} <= {*report.checked}


LISTS: dict[str, Callable[[Tensor, list[int]], Any]] = {
    "of their lengths": lambda y, counts: [one[:n] for one, n in zip(y, counts, strict=True)],
    "in a dictionary": lambda y, counts: {"all": [y[k, :n] for k, n in enumerate(counts)]},
    "of single steps": lambda y, _: [one[: len(one) // (k + 1)] for k, one in enumerate(y)],
}


@pytest.mark.parametrize("lengths", [(7, 2, 5, 3), (7, 7)])
@pytest.mark.parametrize("name", LISTS)
def test_an_output_for_each_sample(name: str, lengths: tuple[int, ...]) -> None:
    """Tensors of which each is a sample, and has steps, are no batch that became steps."""
    counts = torch.tensor(lengths)

    def compute(m: Any, x: Tensor, n: Tensor) -> Any:
        return LISTS[name](m.gru(x)[0], n.tolist())

    report = rnnkit.verify(Model(compute, gru=gru()), X[: len(counts)], counts, lengths=counts)

    assert not report.judged
    assert reason(report, "batch") == snapshot(
        "the outputs are more or fewer with the samples: none has all"
    )
