"""The probe *coverage*: which steps reach an output, and of which that is known."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics import small
from tests.diagnostics.models_of_users import (
    BATCH,
    FEATURE,
    HIDDEN,
    SEQ,
    Model,
    mask,
    numbers,
    padded,
    tokens,
)
from tests.diagnostics.small import gru

X = numbers(BATCH, SEQ, FEATURE)
QUIET = ["repeatable", "batch", "alone", "memory"]
said = functools.partial(small.said, skip=QUIET)


def late(m: Any, x: Tensor) -> Tensor:
    """Begin with the second step."""
    h = x.new_zeros(len(x), HIDDEN)
    y = x.new_zeros(*x.shape[:2], HIDDEN)
    for t in range(1, x.shape[1]):
        h = m.cell(x[:, t], h)
        y[:, t] = h
    return y


def test_step_that_is_never_read() -> None:
    """A step that no output hangs on is found, of numbers and of tokens."""
    assert said(Model(late, cell=nn.GRUCell(FEATURE, HIDDEN))) == snapshot("""\
step 0 reaches no output of the model, and later steps do
  evidence   a NaN there reaches no output
  fix        read each step: look at slices, masks and views on its way
  intended?  rnnkit.verify(..., skip=['coverage'])
  more       python -m rnnkit explain coverage\
""")
    words = nn.Embedding(11, FEATURE)
    model = Model(lambda m, x: late(m, m.words(x)), cell=nn.GRUCell(FEATURE, HIDDEN), words=words)
    assert "step 0 reaches no output" in said(model, tokens(BATCH, SEQ))


READING: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "fifty steps": (lambda m, x: m.gru(x)[1][0], (numbers(BATCH, 50, FEATURE),), {}),
    "a forecast of the last": (lambda m, x: m.gru(x[:, :-1])[1][0], (X,), {}),
    "padded": (
        lambda m, x, n: (m.gru(x)[0] * mask(n, x.shape[1]).unsqueeze(2)).sum(1),
        padded(),
        {"lengths": padded()[1]},
    ),
    "padded in front": (
        lambda m, x: m.gru(x.flip(1))[1][0],
        (padded()[0].flip(1),),
        {"lengths": padded()[1], "pad": "pre", "skip": ["alone"]},
    ),
    "a code for each step": (
        lambda m, x: (
            m.codes[(m.gru(x)[0] @ m.codes.weight.t()).argmax(2)]
            if isinstance(m.codes, Tensor)
            else m.codes((m.gru(x)[0] @ m.codes.weight.t()).argmax(2))
        ),
        (X,),
        {"skip": ["memory", "gradient"]},
    ),
    "embedded by another way": (
        lambda m, x: m.gru(nn.functional.one_hot(x, 11).float() @ m.codes.weight[:, :FEATURE][:11])[
            0
        ],
        (tokens(BATCH, SEQ),),
        {},
    ),
    "a loss": (lambda m, x: m.gru(x)[0].mean(), (X,), {}),
    "two steps": (lambda m, x: m.gru(x)[0], (X[:, :2],), {}),
}


@pytest.mark.parametrize("name", READING)
def test_steps_that_are_read(name: str) -> None:
    """What is read by any way is not accused: forgotten below the last bit, or only compared."""
    compute, inputs, options = READING[name]
    model = Model(compute, gru=gru(), codes=nn.Embedding(12, HIDDEN))
    checks = {check.probe: check for check in rnnkit.verify(model, *inputs, **options).checks}

    assert checks["coverage"].outcome == (
        "skipped" if name in ("two steps", "a loss") else "passed"
    )


def coverage(model: nn.Module, *inputs: Any) -> rnnkit.Check:
    """Return how the probe went."""
    checks = rnnkit.verify(model, *inputs).checks
    return next(check for check in checks if check.probe == "coverage")


def test_steps_that_are_counted() -> None:
    """No step is said to reach an output that does not, or of which that is not known."""
    tail = Model(lambda m, x: m.gru(x[:, :5])[1][0], gru=gru())
    assert coverage(tail, X).detail == snapshot(
        "5 of 7 steps reach an output; not 5, which may be left out"
    )
    by_hand = Model(
        lambda m, x: m.gru(nn.functional.one_hot(x, 11).float() @ m.codes.weight)[0],
        gru=gru(),
        codes=nn.Embedding(11, FEATURE),
    )
    read = coverage(by_hand, tokens(BATCH, SEQ))
    assert read.detail == snapshot("6 of 7 steps, each reaches an output")
    refusing = Model(lambda m, x: m.gru(x.clamp(x.min(), x.max()) + hold(x))[0], gru=gru())
    assert coverage(refusing, X).detail == "6 of 7 steps, each reaches an output"


def hold(x: Tensor) -> float:
    """Refuse all numbers but those of the test."""
    if not torch.isin(x, X).all():
        message = "unknown numbers"
        raise ValueError(message)
    return 0.0


def sides(m: Any, x: Tensor, at: int) -> Tensor:
    """Read the words before one, and those after it."""
    words = m.words(x)
    return torch.cat([m.gru(words[:, :at])[1][0], m.back(words[:, at + 1 :].flip(1))[1][0]], 1)


def around(m: Any, x: Tensor, at: int) -> Tensor:
    """Average all words but one."""
    words = m.words(x)
    return m.head(torch.cat([words[:, :at], words[:, at + 1 :]], 1).mean(1))


@pytest.mark.parametrize("compute", [around, sides])
@pytest.mark.parametrize("steps", [5, 8, 9])
def test_word_in_the_middle(compute: Any, steps: int) -> None:
    """A word that is told from those on both sides need not be read; another one must be."""
    for at, outcome in ((steps // 2, "passed"), (steps // 2 + 1, "failed")):
        parts = (
            {"gru": gru(), "back": gru()} if compute is sides else {"head": nn.Linear(FEATURE, 11)}
        )
        model = Model(compute, words=nn.Embedding(11, FEATURE), **parts)
        report = rnnkit.verify(model, tokens(BATCH, steps), at, raises=False)

        assert {check.probe: check.outcome for check in report.checks}["coverage"] == outcome


def test_lengths_of_another_input() -> None:
    """Samples that are read up to the lengths of another input are found, whatever is refused."""
    told, used = torch.tensor([7, 3, 5, 2]), torch.tensor([4, 5, 2, 3])

    def compute(m: Any, x: Tensor, n: Tensor, k: Tensor) -> Tensor:  # noqa: ARG001
        assert not x.isnan().any()
        packed = nn.utils.rnn.pack_padded_sequence(x, k, batch_first=True, enforce_sorted=False)
        return m.gru(packed)[1][-1]

    options: dict[str, Any] = {"lengths": told, "skip": ["alone", "padding"], "raises": False}
    report = rnnkit.verify(Model(compute, gru=gru()), X, told, used, **options)

    assert [found.probe for found in report.findings] == ["coverage"]
