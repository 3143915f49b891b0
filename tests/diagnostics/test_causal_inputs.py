"""Which further inputs *causal* looks at: those that the steps follow, not what is read as a whole."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers
from tests.diagnostics.small import gru, said

X, TIMES = numbers(BATCH, SEQ, FEATURE), numbers(BATCH, SEQ).abs().cumsum(1)


def irregular(ahead: int) -> Model:
    """Make a model that lets its state decay until the time of a step, or of one so far ahead."""

    def compute(m: Any, x: Tensor, times: Tensor) -> Tensor:
        h, outputs = x.new_zeros(len(x), HIDDEN), []
        for t in range(x.shape[1]):
            until = times[:, min(t + ahead, times.shape[1] - 1)] - times[:, max(t - 1, 0)]
            h = m.cell(x[:, t], h * torch.exp(-until).unsqueeze(1))
            outputs.append(m.head(h))
        return torch.stack(outputs, 1)

    return Model(compute, cell=nn.GRUCell(FEATURE, HIDDEN), head=nn.Linear(HIDDEN, 2))


@pytest.mark.parametrize("ahead", [1, 3])
def test_time_of_a_later_step(ahead: int) -> None:
    """An input of as many steps is judged, though a loop takes it longer than the other, too."""
    assert said(irregular(ahead), X, TIMES, causal=True).startswith("output of step ")


def acting(m: Any, x: Tensor, actions: Tensor, *, wraps: bool) -> Tensor:
    """Take the action of the step before; before the first step, none, or by mistake the last."""
    h, outputs = x.new_zeros(len(x), HIDDEN), []
    for t in range(x.shape[1]):
        action = actions[:, t - 1] if t or wraps else torch.zeros_like(actions[:, 0])
        h = m.cell(x[:, t] + action, h)
        outputs.append(m.head(h))
    return torch.stack(outputs, 1)


def test_action_of_the_last_step() -> None:
    """An index of -1 takes the last step to the first: the steps between are read in their order."""
    actions = numbers(BATCH, SEQ, FEATURE)

    def model(wraps: bool) -> Model:
        compute = lambda m, x, actions: acting(m, x, actions, wraps=wraps)  # noqa: E731
        return Model(compute, cell=nn.GRUCell(FEATURE, HIDDEN), head=nn.Linear(HIDDEN, 2))

    assert said(model(True), X, actions, causal=True).startswith("output of step 0 depends on")
    assert "causal" in rnnkit.verify(model(False), X, actions, causal=True).checked


def test_text_of_a_later_time() -> None:
    """The message says through which input it is."""
    assert said(irregular(3), X, TIMES, causal=True) == snapshot("""\
output of step 1 depends on input of step 3 or later
  first      not found: cell is called in a loop over the steps
  through    input 1; if it may be read whole, fix it in a wrapper and give the others
  fix        bidirectional=False; pad a convolution on the left, mask attention
  intended?  rnnkit.verify(..., skip=['causal'])
  more       python -m rnnkit explain causal\
""")


def translated(m: Any, source: Tensor, target: Tensor) -> Tensor:
    """Start from all of the source."""
    return m.decoder(target, m.encoder(source)[1])[0]


def from_the_first_step(m: Any, source: Tensor, target: Tensor) -> Tensor:
    """Leave the first output zero, as for the token that begins a sentence."""
    y = translated(m, source, target[:, :-1])
    return torch.cat([torch.zeros_like(y[:, :1]), y], 1)


def weighed(m: Any, source: Tensor, target: Tensor) -> Tensor:
    """Attend to the source."""
    y = m.decoder(target)[0]
    memory = m.encoder(source)[0]
    return (y @ memory.transpose(1, 2)).softmax(2) @ memory + y


WHOLE: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "first state": translated,
    "first output": from_the_first_step,
    "attention": weighed,
    "mean": lambda m, source, target: m.decoder(target)[0] + m.encoder(source)[0].mean(1, True),
}


@pytest.mark.parametrize("name", WHOLE)
def test_source_that_is_read_as_a_whole(name: str) -> None:
    """A source that is as long as the target by chance may be read to its end."""
    compute = WHOLE[name]
    model = Model(lambda m, y, x: compute(m, x, y), encoder=gru(), decoder=gru())

    assert "causal" in rnnkit.verify(model, X, numbers(BATCH, SEQ, FEATURE), causal=True).checked


def test_time_of_the_step() -> None:
    """What is read at its own step is accused of nothing."""
    assert "causal" in rnnkit.verify(irregular(0), X, TIMES, causal=True).checked


def test_times_that_belong_to_the_input() -> None:
    """A model that takes other times with another input only is judged without them."""

    def compute(m: Any, x: Tensor, times: Tensor) -> Tensor:
        if torch.equal(x, X) and not torch.equal(times, TIMES):
            raise RuntimeError
        return m.inner(x, times)

    report = rnnkit.verify(Model(compute, inner=irregular(0)), X, TIMES, causal=True)

    assert "causal" in report.checked


def test_mask_beside_the_times() -> None:
    """A mask that a loop takes uncut, too, has no steps that the output could follow."""
    inner = irregular(0)

    def compute(m: Any, x: Tensor, times: Tensor, valid: Tensor) -> Tensor:
        return m.inner(x, times) * valid[:, : x.shape[1], None]

    valid = torch.ones(BATCH, SEQ, dtype=torch.bool)
    report = rnnkit.verify(Model(compute, inner=inner), X, TIMES, valid, causal=True)

    assert "causal" in report.checked


def test_times_that_are_all_alike() -> None:
    """An input that has no other values to try is left out."""
    alike = torch.ones(BATCH, SEQ)

    assert "causal" in rnnkit.verify(irregular(0), X, alike, causal=True).checked
