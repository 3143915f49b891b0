"""Loops over cells and layers, written by hand: backwards, over samples, or of mixed states."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers
from tests.diagnostics.small import gru, said

X = numbers(BATCH, SEQ, FEATURE)


def backwards(m: Any, x: Tensor) -> Tensor:
    """Run from the last step to the first, and return the outputs in their order."""
    state, outputs = x.new_zeros(len(x), HIDDEN), []
    for t in reversed(range(x.shape[1])):
        state = m.cell(x[:, t], state)
        outputs.insert(0, state)
    return torch.stack(outputs, 1)


@pytest.mark.parametrize(
    "model",
    [
        Model(backwards, cell=nn.GRUCell(FEATURE, HIDDEN)),
        Model(lambda m, x: m.gru(x.flip(1))[0].flip(1), gru=gru()),
    ],
)
@pytest.mark.parametrize("options", [{}, {"lengths": [7, 7, 5, 3]}])
def test_memory_of_what_runs_backwards(model: nn.Module, options: dict[str, Any]) -> None:
    """What runs backwards remembers later steps."""
    report = rnnkit.verify(model, X, skip=["alone"], **options)

    assert "the first output depends on later steps: the model runs backwards" in str(report)


def test_backwards_without_memory() -> None:
    """A loop backwards that loses its state remembers nothing."""

    def forgets(m: Any, x: Tensor) -> Tensor:
        return torch.stack([m.cell(x[:, t]) for t in reversed(range(SEQ))][::-1], 1)

    assert "nothing is remembered" in said(Model(forgets, cell=nn.GRUCell(FEATURE, HIDDEN)))


def peeks(m: Any, x: Tensor) -> Tensor:
    """Give each step the mean over all of them."""
    state, outputs, mean = None, [], x.mean(1)
    for x_t in x.unbind(1):
        state = m.cell(x_t + mean, state)
        outputs.append(state)
    return torch.stack(outputs, 1)


def along_samples(m: Any, x: Tensor) -> Tensor:
    """Loop over the batch."""
    state, outputs = None, []
    for row in x:
        state = m.cell(row, state)
        outputs.append(state)
    return torch.stack(outputs)


def test_place_in_a_loop() -> None:
    """Calls in a loop over steps have no step: their features are not taken for steps."""
    for hidden in (HIDDEN, SEQ, BATCH):
        message = said(Model(peeks, cell=nn.GRUCell(FEATURE, hidden)), causal=True)
        assert "first      not found: cell is called in a loop over the steps\n" in message
        message = said(Model(along_samples, cell=nn.GRUCell(FEATURE, hidden)))
        assert "first      cell is called in a loop over the samples\n  cause " in message


def test_origin_is_the_near_one() -> None:
    """A state that was computed from h is not one that was computed from c."""
    cell = nn.LSTMCell(FEATURE, HIDDEN)

    def scaled(x: Tensor) -> Any:
        h, c = cell(x[:, 0])
        return cell(x[:, 1], (h * 2, c * 3))

    assert (
        rnnkit.trace(scaled, X).rows[1].state
        == "computed from h of row 0, computed from c of row 0"
    )


def test_origins_of_mixed_states() -> None:
    """A state that was mixed with the one before came from the last call."""
    cell = nn.GRUCell(FEATURE, HIDDEN)

    def mixing(x: Tensor) -> Tensor:
        state = torch.zeros(len(x), HIDDEN)
        for x_t in x.unbind(1):
            state = cell(x_t, state) * 0.9 + state * 0.1
        return state

    found = rnnkit.trace(mixing, X)

    assert [row.state for row in found.rows[1:]] == [
        f"computed from h of row {number}" for number in range(SEQ - 1)
    ]
    assert found.marked == []


# Of what embeds, nothing but a longer one tells that they are no steps.
@pytest.mark.parametrize(
    ("lengths", "embeds"), [((1, 1, 1, 1), False), ((3, 1, 1, 1), False), ((3, 1, 1, 1), True)]
)
def test_samples_one_by_one(lengths: tuple[int, ...], embeds: bool) -> None:
    """Samples of one step are no steps of a loop."""
    model = Model(
        lambda m, x: [m.gru(m.inner(row[:n]))[0] for row, n in zip(x, lengths, strict=True)],
        gru=gru(),
        inner=nn.Linear(FEATURE, FEATURE) if embeds else nn.Identity(),
    )

    assert rnnkit.trace(model, X).marked == []


def test_two_loops_in_turns() -> None:
    """Two loops over one cell may begin with one state: both advance."""
    cell = nn.GRUCell(FEATURE, HIDDEN)

    def turns(x: Tensor) -> Tensor:
        there = back = x.new_zeros(len(x), HIDDEN)
        for t in range(SEQ):
            there, back = cell(x[:, t], there), cell(x[:, SEQ - 1 - t], back)
        return there + back

    assert rnnkit.trace(turns, X).marked == []


def test_steps_of_one_sample_one_by_one() -> None:
    """Steps of one sample, each from zeros, are marked."""
    layer = gru()

    def steps(x: Tensor) -> list[Tensor]:
        return [layer(x[:, t : t + 1])[0] for t in range(SEQ)]

    assert len(rnnkit.trace(steps, X[:1]).marked) == SEQ - 1
