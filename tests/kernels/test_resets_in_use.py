"""``reset`` in layers, ``unroll`` and Recurrent: one law for all, from whichever state a sample begins."""

from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

import rnnkit
from tests.covering import covers
from tests.kernels import paths
from tests.strategies import LAYERS, assert_same, tensors_of


@covers(1, path=[*paths.RESET_PATHS, "loop"], name=LAYERS)
def test_what_a_caller_writes_into(name, path):
    """An activation may work in place on the output, and the mask may be used again."""
    _, layer, x = paths.made(name)
    (cell,) = layer.cells()
    reset = paths.mask()

    def gradient(*, write: bool) -> Tensor:
        with paths.on(path):
            output, _ = rnnkit.unroll(cell, x, reset=reset, fused=path != "loop")
        output = output.relu_() if write else output.relu()
        if write:
            reset.zero_()
        return torch.autograd.grad(output.pow(2).sum(), x)[0]

    assert_same(gradient(write=False), gradient(write=True))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_a_first_state_of_the_cells_own(reverse, given):
    """A sample starts again from the cell's first state, which gets its gradient."""
    cell = paths.Begins(6, 3).double()
    reset = paths.mask()
    x = torch.randn(paths.SEQ, paths.BATCH, 6).double()
    hx = torch.randn(paths.BATCH, 3).double()
    at_first_step = reset & (torch.arange(paths.SEQ) == 0).unsqueeze(1)
    for cuts in (reset, at_first_step):
        results = []
        for path in ("rows", "packed", "steps", "loop"):
            options = {"reset": cuts, "reverse": reverse, "fused": path != "loop"}
            with paths.on(path):
                output, state = rnnkit.unroll(cell, x, hx if given else None, **options)
            total = output.pow(2).sum() + state.pow(3).sum() + 0 * cell.begin.sum()
            results.append([output, state, torch.autograd.grad(total, cell.begin)[0]])

        for result in results[:-1]:
            paths.close(result, results[-1])


class LearnedLayer(rnnkit.LSTM):
    """A layer whose first state is not zeros."""

    def initial_state(self, batch_size: int | None) -> Any:
        """Begin all samples alike."""
        zeros = super().initial_state(batch_size)
        return rnnkit.LSTMState(zeros.h + 0.5, zeros.c - 0.25)


@pytest.mark.parametrize("state_batch_first", [False, True])
@pytest.mark.parametrize("batched", [False, True])
def test_a_first_state_of_the_layers_own(*, state_batch_first, batched):
    """A sample starts again from what the layer itself begins from, in both directions."""
    layer = LearnedLayer(
        6, 3, bidirectional=True, dtype=torch.float64, state_batch_first=state_batch_first
    )
    x = torch.randn(paths.SEQ, paths.BATCH, 6, dtype=torch.float64)
    reset = torch.zeros(paths.SEQ, paths.BATCH, dtype=torch.bool)
    reset[0, 0] = reset[4] = True
    if not batched:
        x, reset = x[:, 0], reset[:, 0]

    output, state = layer(x, reset=reset)

    (first, before) = layer(x[:4])
    (last, after) = layer(x[4:])
    paths.close(output, torch.cat([first, last]))
    # Forward the last piece ends it, backward the first one.
    rows = 1 if batched and state_batch_first else 0
    for end, *parts in zip(tensors_of(state), tensors_of(after), tensors_of(before), strict=True):
        wanted = [part.select(rows, place) for place, part in enumerate(parts)]
        paths.close([end.select(rows, place) for place in (0, 1)], wanted)


class Nameless(nn.Module):
    """A user's cell without a first state."""

    def forward(self, input: Tensor, hx: Tensor) -> Tensor:
        """Add a step."""
        return hx / 2 + input


class Beginning(rnnkit.Recurrent[Any]):
    """Cells whose layer knows where they begin."""

    def initial_state(self, batch_size: int | None) -> Any:
        """Begin all alike."""
        one = torch.full((3,) if batch_size is None else (batch_size, 3), 0.5)
        return one, (one + 1, one + 2), one


@pytest.mark.unhooked("the annotation wants a first state of each cell")
@covers(3, path=paths.RESET_PATHS, batched=[True, False], given=["none", "all", "parts", "half"])
def test_a_first_state_of_a_recurrents_own(path, given, *, batched):
    """A sample starts again from what the layer begins from, not its cells; so does what is None."""
    layer = Beginning([rnnkit.GRUCell(3, 3), rnnkit.LSTMCell(3, 3), Nameless()])
    x = torch.randn(paths.SEQ, paths.BATCH, 3)
    reset = torch.zeros(x.shape[:2], dtype=torch.bool)
    reset[4] = True
    if not batched:
        x, reset = x[:, 0], reset[:, 0]
    whole = layer.initial_state(paths.BATCH if batched else None)
    one, (h, _), other = whole
    forms = {
        "none": None,
        "all": whole,
        "parts": (one, None, other),
        "half": (one, (h, None), other),
    }
    hx = forms[given]

    with paths.on(path):
        output, state = layer(x, hx, reset=reset)
        first, _ = layer(x[:4])
        last, end = layer(x[4:])

    paths.close([output], [torch.cat([first, last])], 1e-6)
    paths.close(state, end, 1e-6)
    if batched:
        expected = layer(x, whole, lengths=paths.LENGTHS)
        assert_same(expected, layer(x, hx, lengths=paths.LENGTHS))


def nothing(_: Any):
    """Give no lengths."""


META = partial(torch.device, "meta")
#: Where tensors have no numbers, and what makes the lengths that are given there.
PLACES = [*product([META, FakeTensorMode], [nothing, list]), (FakeTensorMode, torch.tensor)]


@covers(3, place=PLACES, cut=[False, True], name=LAYERS)
def test_without_numbers(name, place, cut):
    """Where no tensor has numbers sizes come out, of a layer and of its cells."""
    where, make = place
    with where():
        mask = torch.ones(paths.SEQ, paths.BATCH)
        options = {"lengths": make(paths.LENGTHS), "reset": mask if cut else None}
        layer = getattr(rnnkit, name)(3, 4)
        (cell,) = layer.cells()
        h = torch.ones(paths.BATCH, 4)
        x = torch.ones(paths.SEQ, paths.BATCH, 3)
        output, state = layer(x, **options)
        same, end = rnnkit.unroll(cell, x, (h, None) if name == "LSTM" else h, **options)

    assert output.shape == same.shape == (paths.SEQ, paths.BATCH, 4)
    assert {tensor.shape for tensor in tensors_of(state)} == {(1, paths.BATCH, 4)}
    assert {tensor.shape for tensor in tensors_of(end)} == {(paths.BATCH, 4)}
