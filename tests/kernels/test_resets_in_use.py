"""``reset`` in layers, ``unroll`` and Recurrent: one law for all, from whichever state a sample begins."""

from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

import rnnkit
from tests.covering import covers
from tests.kernels.paths import BATCH, LENGTHS, RESET_PATHS, SEQ, close, made, mask, on
from tests.strategies import LAYERS, assert_same, tensors_of


@covers(1, path=[*RESET_PATHS, "loop"], name=LAYERS)
def test_what_a_caller_writes_into(name, path):
    """An activation may work in place on the output, and the mask may be used again."""
    _, layer, x = made(name)
    (cell,) = layer.cells()
    reset = mask()

    def gradient(*, write):
        with on(path):
            output, _ = rnnkit.unroll(cell, x, reset=reset, fused=path != "loop")
        output = output.relu_() if write else output.relu()
        if write:
            reset.zero_()
        return torch.autograd.grad(output.pow(2).sum(), x)[0]

    assert_same(gradient(write=False), gradient(write=True))


class Nameless(nn.Module):
    """A user's cell without a first state."""

    def forward(self, input, hx):
        """Add a step."""
        return hx / 2 + input


class Beginning(rnnkit.Recurrent[Any]):
    """Cells whose layer knows where they begin."""

    def initial_state(self, batch_size):
        """Begin all alike."""
        one = torch.full((3,) if batch_size is None else (batch_size, 3), 0.5)
        return one, (one + 1, one + 2), one


@pytest.mark.unhooked("the annotation wants a first state of each cell")
@covers(3, path=RESET_PATHS, batched=[True, False], given=["none", "all", "parts", "half"])
def test_a_first_state_of_a_recurrents_own(path, given, *, batched):
    """A sample starts again from what the layer begins from, not its cells; so does what is None."""
    layer = Beginning([rnnkit.GRUCell(3, 3), rnnkit.LSTMCell(3, 3), Nameless()])
    x = torch.randn(SEQ, BATCH, 3)
    reset = torch.zeros(x.shape[:2], dtype=torch.bool)
    reset[4] = True
    if not batched:
        x, reset = x[:, 0], reset[:, 0]
    whole = layer.initial_state(BATCH if batched else None)
    one, (h, _), other = whole
    forms = {
        "none": None,
        "all": whole,
        "parts": (one, None, other),
        "half": (one, (h, None), other),
    }
    hx = forms[given]

    with on(path):
        output, state = layer(x, hx, reset=reset)
        first, _ = layer(x[:4])
        last, end = layer(x[4:])

    close([output], [torch.cat([first, last])], 1e-6)
    close(state, end, 1e-6)
    if batched:
        expected = layer(x, whole, lengths=LENGTHS)
        assert_same(expected, layer(x, hx, lengths=LENGTHS))


def nothing(_):
    """Give no lengths."""


META = partial(torch.device, "meta")
#: Where tensors have no numbers, and what makes the lengths that are given there.
PLACES = [*product([META, FakeTensorMode], [nothing, list]), (FakeTensorMode, torch.tensor)]


@covers(3, place=PLACES, cut=[False, True], name=LAYERS)
def test_without_numbers(name, place, cut):
    """Where no tensor has numbers sizes come out, of a layer and of its cells."""
    where, make = place
    with where():
        flags = torch.ones(SEQ, BATCH) if cut else None
        options = {"lengths": make(LENGTHS), "reset": flags}
        layer = getattr(rnnkit, name)(3, 4)
        (cell,) = layer.cells()
        h = torch.ones(BATCH, 4)
        x = torch.ones(SEQ, BATCH, 3)
        output, state = layer(x, **options)
        same, end = rnnkit.unroll(cell, x, (h, None) if name == "LSTM" else h, **options)

    assert output.shape == same.shape == (SEQ, BATCH, 4)
    assert {tensor.shape for tensor in tensors_of(state)} == {(1, BATCH, 4)}
    assert {tensor.shape for tensor in tensors_of(end)} == {(BATCH, 4)}
