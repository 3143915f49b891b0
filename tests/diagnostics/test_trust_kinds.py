"""Inputs and outputs of every kind are judged, or what is not judged is said."""

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
    HIDDEN,
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
COUNTS = torch.tensor(LENGTHS)


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
    "a distribution": lambda y: Categorical(logits=y),
    "a distribution of distributions": lambda y: Independent(Normal(y, y.exp()), 1),
    "a dataclass": lambda y: Parts(y, y.argmax(2).tolist()),
    "a generator beside": lambda y: (y, (k for k in range(3))),
    "nothing beside": lambda y: {"scores": y, "loss": None, "size": []},
}


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
  at         test_trust_kinds.py:...
  intended?  rnnkit.verify(..., skip=['batch'])
  more       batch, in the docs under "Errors"\
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
  intended?  rnnkit.verify(..., skip=['causal'])
  more       causal, in the docs under "Errors"\
""")


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
