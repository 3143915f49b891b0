"""Why the same input gives another output: found by looking, not guessed."""

import random
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, SEQ, Model, numbers, reason

X = numbers(BATCH, SEQ, FEATURE)


def model(compute: Callable[..., Any], **attributes: Any) -> nn.Module:
    """Make a model with attributes."""
    made = Model(compute, gru=nn.GRU(FEATURE, 6, batch_first=True))
    made.inner = nn.Module()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def cause(compute: Callable[..., Any], **attributes: Any) -> str:
    """Verify a model that is not repeatable; return the line that says why."""
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model(compute, **attributes), X)
    assert error.value.probe == "repeatable"
    (line,) = [line for line in str(error.value).splitlines() if line.startswith("  cause")]
    return line.removeprefix("  cause").strip()


def output(m: Any, x: Tensor) -> Tensor:
    """Run the layer."""
    result: Tensor = m.gru(x)[0]
    return result


DRAWS: dict[str, Callable[[], Any]] = {
    "torch": lambda: torch.rand(1),
    "numpy.random": np.random.rand,
    "random": random.random,
}


@pytest.mark.parametrize("source", DRAWS)
def test_random_numbers(source: str) -> None:
    """Random numbers are named by where they come from."""
    assert cause(lambda m, x: output(m, x) + DRAWS[source]()) == (
        f"forward draws random numbers ({source})"
    )


def test_random_numbers_of_two_sources() -> None:
    """Only what matters is named; if two do, both are."""
    both = cause(lambda m, x: output(m, x) + torch.rand(1) + np.random.rand())  # noqa: NPY002
    assert "torch" in both
    assert "numpy.random" in both

    def one(m: Any, x: Tensor) -> Tensor:
        random.random()  # noqa: S311
        return output(m, x) + torch.rand(1)

    assert cause(one) == "forward draws random numbers (torch)"


def test_generator_of_the_model() -> None:
    """Random numbers of a generator that the model holds are named by it, and told from leaks."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.gru(x, torch.randn(1, len(x), 6, generator=m.inner.own))[0]

    inner = nn.Module()
    inner.own = torch.Generator()
    assert cause(compute, inner=inner) == "forward draws random numbers (model.inner.own)"

    report = rnnkit.verify(model(compute, inner=inner), X, skip=["repeatable"])
    assert "the model draws random numbers" in reason(report, "alone")
    assert "batch" in report.checked


def counted(m: Any, x: Tensor) -> Tensor:
    """Count the calls."""
    m.calls += 1
    return output(m, x) * m.calls


def in_place(m: Any, x: Tensor) -> Tensor:
    """Write into a buffer of a module inside."""
    m.inner.mean += 1
    return output(m, x) + m.inner.mean


def many(m: Any, x: Tensor) -> Tensor:
    """Keep this and that."""
    m.a, m.b, m.c, m.d = (m.a + 1 for _ in range(4))
    return output(m, x) + m.a


def in_a_list(m: Any, x: Tensor) -> Tensor:
    """Keep what was seen."""
    m.seen.append(x)
    return output(m, x) + len(m.seen)


def in_an_array(m: Any, x: Tensor) -> Tensor:
    """Keep a sum of another library."""
    m.total = m.total + 1
    return output(m, x) + float(m.total)


def shown_and_random(m: Any, x: Tensor) -> Tensor:
    """Keep what was seen last, which is of no account, and draw random numbers."""
    m.last = output(m, x) + torch.rand(1)
    return m.last


def random_and_kept(m: Any, x: Tensor) -> Tensor:
    """Draw random numbers, and count."""
    return counted(m, x) + torch.rand(1)


def test_what_is_kept() -> None:
    """What a model keeps is named as its author would write it."""
    inner = nn.Module()
    inner.register_buffer("mean", torch.zeros(6))
    assert cause(counted, calls=0) == snapshot("model.calls is kept from call to call")
    assert cause(in_place, inner=inner) == snapshot("model.inner.mean is kept from call to call")
    assert cause(many, a=0, b=0, c=0, d=0) == snapshot(
        "model.a, model.b, model.c and 1 more are kept from call to call"
    )
    assert cause(in_a_list, seen=[]) == snapshot("model.seen is kept from call to call")
    assert cause(in_an_array, total=np.ones(())) == snapshot(
        "model.total is kept from call to call"
    )
    assert cause(shown_and_random, last=None) == snapshot("forward draws random numbers (torch)")
    assert cause(random_and_kept, calls=0) == snapshot("model.calls is kept from call to call")


def test_what_is_kept_elsewhere() -> None:
    """What a model keeps outside of itself cannot be named."""
    calls: list[int] = []

    def compute(m: Any, x: Tensor) -> Tensor:
        calls.append(1)
        return output(m, x) + len(calls)

    assert cause(compute) == snapshot(
        "likely a state that is kept outside of the model's attributes"
    )


def test_other_outputs_the_second_time() -> None:
    """More outputs the second time, or none, are another output."""

    def more(m: Any, x: Tensor) -> Any:
        m.seen.append(output(m, x))
        return list(m.seen)

    def none(m: Any, x: Tensor) -> Any:
        m.seen.append(x)
        return output(m, x) if len(m.seen) == 1 else None

    assert cause(more, seen=[]) == cause(none, seen=[])


def test_rounding_the_second_time() -> None:
    """Kernels that add in no fixed order give no false alarm: rounding is told from leaks."""
    turn = iter(range(1000))

    def compute(m: Any, x: Tensor) -> Any:
        y = output(m, x)
        return y * (1 + next(turn) % 2 * torch.finfo(y.dtype).eps), len(x), y.argmax(2)

    report = rnnkit.verify(model(compute), X, causal=True)

    assert {"repeatable", "batch", "alone", "causal"} <= set(report.checked)
    assert report.checks[0].detail == snapshot(
        "twice the same input, twice the same up to rounding"
    )

    with pytest.raises(rnnkit.LeakError, match="depends on input of sample"):
        rnnkit.verify(model(lambda m, x: compute(m, x)[0] + x.sum()), X)


def test_random_model_alone() -> None:
    """Of a model that draws for each sample, one sample alone shows nothing, which is said."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return nn.functional.dropout(output(m, x), 0.5, training=True)

    report = rnnkit.verify(model(compute), X, skip=["repeatable"])

    assert reason(report, "alone") == snapshot(
        "the model draws random numbers: for one sample it draws others"
    )
    assert "batch" in report.checked


def test_kept_state_alone() -> None:
    """A model that keeps a state is judged alone from the state that it had."""

    def compute(m: Any, x: Tensor) -> Tensor:
        y = output(m, x) + m.h
        m.h = m.h + 1
        return y

    report = rnnkit.verify(model(compute, h=0.0), X, skip=["repeatable"])

    assert {"batch", "alone"} <= set(report.checked)


@pytest.mark.unhooked("beartype draws random numbers")
def test_shared_by_the_batch() -> None:
    """What a sample has in the batch alone is still a finding where nothing is random."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return output(m, x) * len(x)

    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(model(compute), X, skip=["repeatable"])

    assert str(error.value) == snapshot("""\
sample 3 alone gives another output than in the batch: off by 7.5e-01 of the largest
  first      not looked for: alone, a sample runs through other sizes
  fix        mask or pack the padding; compute nothing from the batch as a whole
  intended?  rnnkit.verify(..., skip=['alone'])
  more       python -m rnnkit explain alone\
""")


def test_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where NumPy is not loaded, random numbers are looked for elsewhere."""
    monkeypatch.setitem(sys.modules, "numpy", None)

    assert cause(lambda m, x: output(m, x) + random.random()) == (  # noqa: S311
        "forward draws random numbers (random)"
    )


def test_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a GPU is in use, its random numbers are one of the sources."""
    state = [torch.zeros(1)]
    # Beside another thread, which an earlier test may have left, verify listens to operations.
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: [state[0].clone()])
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", lambda new: state.__setitem__(0, new[0]))

    def compute(m: Any, x: Tensor) -> Tensor:
        state[0] = state[0] + 1
        return output(m, x) + state[0]

    assert cause(compute) == "forward draws random numbers (torch.cuda)"
