"""An LSTM that takes (c, h) of another call in place of (h, c), or the pair of another, or half of it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, Model, numbers


def encoded(m: Any, x: Tensor) -> Tensor:
    """Give the encoder's state to the decoder."""
    _, (h, c) = m.one(x)
    output, _ = m.two(x.flip(1), (h, c) if m.right else (c, h))
    return torch.cat([output[:, -1], h[-1]], 1)


def looped(m: Any, x: Tensor) -> Tensor:
    """Give the state of each step to the next one."""
    h, c = x.new_zeros(2, len(x), HIDDEN)
    steps = []
    for step in x.unbind(1):
        one, other = m.one(step, (h, c))
        h, c = (one, other) if m.right else (other, one)
        steps.append(h)
    return torch.stack(steps, 1)


def made(compute: Callable[..., Tensor], *, right: bool) -> nn.Module:
    """A model of one of them."""
    kind: Any = nn.LSTMCell if compute is looped else nn.LSTM
    options = {} if compute is looped else {"batch_first": True}
    model = Model(
        compute, one=kind(FEATURE, HIDDEN, **options), two=kind(FEATURE, HIDDEN, **options)
    )
    model.right = right
    return model


@pytest.mark.parametrize("compute", [encoded, looped])
def test_a_swapped_pair_is_found(compute: Callable[..., Tensor]) -> None:
    """The twin with (h, c) is not accused."""
    x = numbers(BATCH, SEQ, FEATURE)
    skip = ["gradient"]

    assert "use" in rnnkit.verify(made(compute, right=True), x, skip=skip).checked
    with pytest.raises(rnnkit.LeakError, match="as its h, and the h as its c") as caught:
        rnnkit.verify(made(compute, right=False), x, skip=skip)
    assert caught.value.probe == "use"


def test_what_is_said() -> None:
    """The message names both modules."""
    with pytest.raises(rnnkit.LeakError) as caught:
        rnnkit.verify(made(encoded, right=False), numbers(BATCH, SEQ, FEATURE))
    assert str(caught.value) == snapshot("""\
two takes the c of one as its h, and the h as its c
  fix        output, (h, c) = layer(input): h comes first, as in hx=(h, c)
  intended?  rnnkit.verify(..., skip=['use'])
  more       python -m rnnkit explain use\
""")


def stacked(m: Any, x: Tensor) -> Tensor:
    """Run a cell over the outputs of another."""
    below = above = (x.new_zeros(len(x), HIDDEN),) * 2
    outputs = []
    for y in x.unbind(1):
        below = m.one(y, below)
        above = m.two(below[0], above if m.right else below)
        outputs.append(above[0])
    return torch.stack(outputs, 1)


def through_both(m: Any, x: Tensor) -> Tensor:
    """Let one state go through two cells at each step, the second one reading the input, too."""
    state = (x.new_zeros(len(x), HIDDEN),) * 2
    outputs = []
    for y in x.unbind(1):
        state = m.two(y, m.one(y, state))
        outputs.append(state[0])
    return torch.stack(outputs, 1)


def test_a_pair_for_two_cells() -> None:
    """A cell that starts from the pair whose h it reads is found; a state through two cells is not."""
    x = numbers(BATCH, SEQ, HIDDEN)

    def model(compute: Callable[..., Tensor], *, right: bool) -> nn.Module:
        made = Model(compute, one=nn.LSTMCell(HIDDEN, HIDDEN), two=nn.LSTMCell(HIDDEN, HIDDEN))
        made.right = right
        return made

    for compute in (stacked, through_both):
        assert "use" in rnnkit.verify(model(compute, right=True), x).checked
    with pytest.raises(rnnkit.LeakError, match="two takes the output of one as its input, and as"):
        rnnkit.verify(model(stacked, right=False), x)


def in_chunks(m: Any, x: Tensor) -> Tensor:
    """Run over chunks, and give each the state of the one before."""
    state, outputs = None, []
    for chunk in x.split(2, 1):
        output, (h, c) = m.one(chunk, state)
        state = h, c if m.right else torch.zeros_like(c)
        outputs.append(output)
    return torch.cat(outputs, 1)


def from_the_last_alone(m: Any, x: Tensor) -> Tensor:
    """Start a decoder from h of an encoder, as many do."""
    h = m.one(x)[1][0]
    output: Tensor = m.two(x, (h, torch.zeros_like(h)))[0]
    return output


def test_a_cell_state_that_is_lost() -> None:
    """An LSTM that goes on from h and from zeros is found; one that starts from another's h is not."""
    x = numbers(BATCH, SEQ, FEATURE)

    assert "use" in rnnkit.verify(made(in_chunks, right=True), x).checked
    assert "use" in rnnkit.verify(made(from_the_last_alone, right=True), x).checked
    with pytest.raises(rnnkit.LeakError, match=r"one .LSTM. is given the h that it returned, and"):
        rnnkit.verify(made(in_chunks, right=False), x)


class Scaled(nn.GRUCell):
    """A cell of a user's that takes a number beside the state."""

    def forward(self, input: Tensor, hx: Any = None, scale: float = 0.0) -> Tensor:
        """Run a step."""
        assert scale > 0
        return super().forward(input * scale, hx)


def test_cell_that_takes_more_than_a_state() -> None:
    """What a cell takes beside its state stays when it is tried with another one."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return torch.stack([m.cell(x_t, None, 2.0) for x_t in x.unbind(1)], 1)

    with pytest.raises(rnnkit.LeakError, match="starts each of them afresh"):
        rnnkit.verify(
            Model(compute, cell=Scaled(FEATURE, HIDDEN)),
            numbers(BATCH, SEQ, FEATURE),
            skip=["memory"],
        )
