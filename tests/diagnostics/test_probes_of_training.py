"""What reaches the weights in training, and what a target that is not shifted reaches."""

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
    numbers,
    reason,
)
from tests.diagnostics.small import gru

X = numbers(BATCH, SEQ, FEATURE)
QUIET = ["repeatable", "batch", "alone", "memory"]
said = functools.partial(small.said, skip=QUIET)


def test_no_gradient() -> None:
    """A layer whose output is cut off from the graph learns nothing, which is said."""
    parts = {"one": gru(), "two": gru(), "head": nn.Linear(HIDDEN, 2)}
    model = Model(lambda m, x: m.head(m.one(x)[0].detach() + m.two(x)[0]), **parts)
    assert said(model) == snapshot("""\
no gradient reaches one (GRU) from any output
  means      what it returns is unused, or cut off: detach, .data, argmax, .item()
  fix        no detach(), .data, argmax or no_grad() between this module and the loss
  intended?  rnnkit.verify(..., skip=['gradient'])
  more       python -m rnnkit explain gradient\
""")

    def quiet(m: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = m.one(x)[0]
        return m.head(y + m.two(x)[0])

    report = rnnkit.verify(Model(quiet, **parts), X)
    assert "gradient" in report.checked
    assert report.notes == snapshot(["one runs without gradients, though its weights want some"])
    parts["one"].requires_grad_(requires_grad=False)
    assert rnnkit.verify(model, X).notes == []


def test_steps_for_channels_in_half_precision() -> None:
    """A batch norm that takes steps for channels is found behind a cast of its input, too."""
    model = Model(
        lambda m, x: m.gru(m.norm(x.bfloat16()))[0].float(),
        norm=nn.BatchNorm1d(SEQ).bfloat16(),
        gru=gru().bfloat16(),
    )

    assert "takes axis 1 of its input for channels" in small.said(model)


def test_layer_that_never_runs() -> None:
    """A layer that never runs, and one under two names, are notes: both may be right."""
    one, idle = nn.GRU(3, 6, batch_first=True), nn.LSTM(3, 6)
    model = Model(lambda m, x: m.a(x)[0] + m.b(x)[0], a=one, b=one, idle=idle)

    report = rnnkit.verify(model, numbers(BATCH, SEQ, FEATURE))

    assert report.notes == snapshot(
        [
            "idle (LSTM) was neither called nor got a gradient",
            "a and b are one module, with one set of weights",
        ]
    )


@pytest.mark.parametrize("every", [1, 2, SEQ])
def test_state_that_is_detached(every: int) -> None:
    """A state that is detached at each step is a note: that may be meant. Windows are none."""

    def compute(m: Any, x: Tensor) -> Tensor:
        h, outputs = x.new_zeros(len(x), HIDDEN), []
        for t, y in enumerate(x.unbind(1)):
            h = m.cell(y, h if t % every else h.detach())
            outputs.append(h)
        return torch.stack(outputs, 1)

    report = rnnkit.verify(Model(compute, cell=nn.GRUCell(FEATURE, HIDDEN)), X)

    text = "the state of cell is detached at each step: no gradient goes through"
    assert report.notes == [text] * (every == 1)


def test_cells_that_run_without_a_call_are_not_idle() -> None:
    """A cell that ``unroll`` runs by its weights is not said to be idle."""
    model = Model(
        lambda m, x: rnnkit.unroll(m.cell, x, batch_first=True)[0], cell=rnnkit.GRUCell(FEATURE, 6)
    )

    report = rnnkit.verify(model, numbers(BATCH, SEQ, FEATURE))

    assert report.notes == []


def test_layer_that_is_not_registered() -> None:
    """A layer that runs and is in a list is none of the model's, which is said."""
    model = Model(lambda m, x: m.head(m.layers[0](x)[0]), head=nn.Linear(HIDDEN, 2))
    model.layers = [gru()]
    assert said(model) == snapshot("""\
a GRU that runs is not registered in the model: no optimizer gets its weights
  fix        torch.nn.ModuleList([...]), or ModuleDict({...})
  intended?  rnnkit.verify(..., skip=['gradient'])
  more       python -m rnnkit explain gradient\
""")
    model.layers[0].requires_grad_(requires_grad=False)
    assert reason(rnnkit.verify(model, X), "gradient") == snapshot(
        "no output of the model, or no weight, has a gradient"
    )

    def quiet(m: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = m.layers[0](x)[0]
        return m.head(y + m.own(x)[0])

    other = Model(quiet, head=model.head, own=gru())
    other.layers = [gru()]
    assert rnnkit.verify(other, X).notes == snapshot(
        ["a GRU runs without gradients, though its weights want some"]
    )


def broken(m: Any, x: Tensor) -> Tensor:
    """Refuse to train."""
    assert not m.training, "not in training"
    y: Tensor = m.gru(x)[0]
    return y


UNTRAINED: dict[str, Callable[..., Any]] = {
    "refuses": broken,
    "no layer": lambda m, x: x * 2,  # noqa: ARG005
    "integers": lambda m, x: m.gru(x)[0].argmax(2),
}


@pytest.mark.parametrize("name", UNTRAINED)
def test_training_that_tells_nothing(name: str) -> None:
    """Where no gradient can be looked at, that is said, and nothing else."""
    parts = {} if name == "no layer" else {"gru": gru()}
    report = rnnkit.verify(Model(UNTRAINED[name], **parts), X)

    assert (
        reason(report, "gradient")
        == {
            "refuses": snapshot(
                "the model does not train on this batch: AssertionError: not in training"
            ),
            "no layer": snapshot("no module with a state ran"),
            "integers": snapshot("no output of the model, or no weight, has a gradient"),
        }[name]
    )


@pytest.mark.unhooked("the annotation refuses a word that is none")
@pytest.mark.parametrize("strict", [True, "strict"])
def test_target_that_is_not_shifted(strict: Any) -> None:
    """With ``causal="strict"``, a step may not read its own target either."""

    def compute(m: Any, x: Tensor) -> Tensor:
        given = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1) if m.right else x
        y: Tensor = m.gru(given)[0]
        return y

    model = Model(compute, gru=gru())
    model.right = True
    assert "causal" in rnnkit.verify(model, X, causal=strict).checked
    model.right = False
    if strict is True:
        assert "causal" in rnnkit.verify(model, X, causal=strict).checked
    else:
        assert said(model, causal=strict) == snapshot("""\
output of step 3 depends on step 3 of the first input
  fix        shift the input: step t reads target t - 1
  intended?  rnnkit.verify(..., skip=['causal'])
  more       python -m rnnkit explain causal\
""")
    with pytest.raises(rnnkit.ArgumentError, match="causal is True, False or 'strict'"):
        rnnkit.verify(model, X, causal="loose")  # type: ignore[arg-type]


def both_ways(m: Any, x: Tensor) -> Tensor:
    """Run forwards and backwards."""
    back = m.two(x.flip(1))[0]
    return torch.cat([m.one(x)[0], back.flip(1) if m.right else back], 2)


def stacked(m: Any, x: Tensor) -> Tensor:
    """Run a cell over the outputs of another."""
    states, outputs = [x.new_zeros(len(x), HIDDEN) for _ in range(2)], []
    for y in x.unbind(1):
        for k, cell in enumerate((m.one, m.two)):
            j = k if m.right else 0
            states[j] = y = cell(y, states[j])  # noqa: PLW2901
        outputs.append(y)
    return torch.stack(outputs, 1)


def normed(m: Any, x: Tensor) -> Tensor:
    """Normalise what a layer gives."""
    y = m.one(x)[0]
    y = m.norm(y.transpose(1, 2)).transpose(1, 2) if m.right else m.norm(y)
    return y[:, -1]


def normed_first(m: Any, x: Tensor) -> Tensor:
    """Normalise the input."""
    y = m.norm(x.transpose(1, 2)).transpose(1, 2) if m.right else m.norm(x)
    return m.one(y)[0][:, -1]


def upper(m: Any, x: Tensor) -> Tensor:
    """Classify by the state of the last layer."""
    h: Tensor = m.one(x)[1]
    return h[-1 if m.right else 0]


SQUARE = numbers(BATCH, 6, 6)
PATTERNS: dict[str, tuple[Callable[..., Any], dict[str, Callable[[], nn.Module]], Tensor]] = {
    "not flipped back": (both_ways, {"one": gru, "two": gru}, X),
    "one state for two cells": (
        stacked,
        {"one": lambda: nn.GRUCell(HIDDEN, HIDDEN), "two": lambda: nn.GRUCell(HIDDEN, HIDDEN)},
        numbers(BATCH, SEQ, HIDDEN),
    ),
    "steps for channels": (
        normed,
        {"one": lambda: gru(6), "norm": lambda: nn.BatchNorm1d(6)},
        SQUARE,
    ),
    "steps of the input for channels": (
        normed_first,
        {"one": lambda: gru(6), "norm": lambda: nn.BatchNorm1d(6)},
        SQUARE,
    ),
    "state of the first layer": (upper, {"one": lambda: gru(num_layers=2)}, X),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns(name: str) -> None:
    """Each of these mistakes is found, and its right twin is not accused."""
    compute, parts, x = PATTERNS[name]
    model = Model(compute, **{key: make() for key, make in parts.items()})
    model.right = True
    assert "use" in [check.probe for check in rnnkit.verify(model, x).checks]
    model.right = False
    lines = said(model, x, skip=[*QUIET, "gradient"])

    assert (
        lines
        == {
            "not flipped back": snapshot("""\
output of step 0 depends on the first and the last step only
  cause      outputs of a layer that ran backwards were not flipped back
  fix        output.flip(seq_dim), before the two are joined
  intended?  rnnkit.verify(..., skip=['use'])
  more       python -m rnnkit explain use\
"""),
            "one state for two cells": snapshot("""\
two takes the output of one as its input, and as its state, too
  fix        a state for each cell: h[0], h[1]
  intended?  rnnkit.verify(..., skip=['use'])
  more       python -m rnnkit explain use\
"""),
            "steps for channels": snapshot("""\
norm (BatchNorm1d) takes axis 1 of its input for channels, which is seq
  fix        x.transpose(1, 2) before, and after
  intended?  rnnkit.verify(..., skip=['use'])
  more       python -m rnnkit explain use\
"""),
            "steps of the input for channels": snapshot("""\
norm (BatchNorm1d) takes axis 1 of its input for channels, which is seq
  fix        x.transpose(1, 2) before, and after
  intended?  rnnkit.verify(..., skip=['use'])
  more       python -m rnnkit explain use\
"""),
            "state of the first layer": snapshot("""\
of what one returns, only h_n[0] of 2 is used, not the last layer
  first      one (GRU)
  fix        h_n[-1], the last layer's state; or the output
  intended?  rnnkit.verify(..., skip=['use'])
  more       python -m rnnkit explain use\
"""),
        }[name]
    )
