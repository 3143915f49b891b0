"""With another default device, as ``torch.set_default_device`` sets it, everything stays where it is."""

from typing import Any

import pytest
import torch

import rnnkit
from tests.covering import covers
from tests.kernels.paths import KINDS, PATHS, RESET_PATHS, case_of, mask, on
from tests.strategies import CLASSES, LAYERS, assert_same, tensors_of
from tests.torch.interop import BATCH, HIDDEN, Given, cells, given

LENGTHS = [6, 2, 0, 1, 4]
RESET = (torch.arange(30).view(6, 5) % 4 == 1).tolist()


def results(g: Given) -> list[Any]:
    """Return what comes of lists of lengths and flags, first states, steps, loops, states."""
    module = g.module
    x = g.x
    if g.name in LAYERS:
        recurrent = rnnkit.Recurrent(module.cells(), reverse_cells=module.cells())
        return [
            module(x),
            module(x, lengths=LENGTHS),
            module(x, (None, None) if g.name == "LSTM" else None),
            module(g.packed),
            module.step(x[0]),
            module.initial_state(BATCH),
            recurrent(x, lengths=LENGTHS),
        ]
    sequence = torch.stack([x] * 6)
    return [
        rnnkit.unroll(module, sequence),
        rnnkit.unroll(module, sequence, lengths=LENGTHS, reverse=True),
        rnnkit.unroll(module, sequence, reset=RESET),
        rnnkit.unroll(module, sequence, lengths=LENGTHS, fused=False),
        rnnkit.unroll(module, sequence[:, 0], reset=[row[0] for row in RESET]),
        module.initial_state(BATCH),
        rnnkit.states.repeat(g.hx, 2),
    ]


def test_what_is_ours():
    """Calls, lists of lengths and flags, first states, steps, loops, and the functions on states."""
    for name in CLASSES:
        g = given(name, 1)
        expected = results(g)
        with torch.device("meta"):
            assert_same(expected, results(g))


@covers(2, kind=KINDS, path=[*PATHS, *RESET_PATHS], resets=[False, True], grad=[True, False])
def test_on_every_path(kind, path, *, resets, grad):
    """So do lengths and resets on every path, with their gradients."""
    case = case_of(kind, bidirectional=True, num_layers=2)
    module = case.module(rnnkit)
    x = case.input()
    hx = case.state()
    options = {"lengths": [4, 0, 7, 1, 6]} | ({"reset": mask()} if resets else {})

    def use() -> list[torch.Tensor]:
        results = tensors_of(module(x, hx, **options))
        total = sum(one.square().sum() for one in results)
        leaves = [x, *module.parameters()]
        return results + ([*torch.autograd.grad(total, leaves)] if grad else [])

    with on(path), torch.set_grad_enabled(grad):
        expected = use()
        with torch.device("meta"):
            assert_same(expected, use())


@cells
def test_states_without_numbers(name):
    """States on the meta device are picked and started again by lists and by masks, too."""
    hx = rnnkit.states.to(given(name, 1).hx, "meta")
    marked = [True, False, True, False, False]

    for index in ([4, 0], torch.tensor([4, 0]), torch.tensor(marked)):
        picked = rnnkit.states.select(hx, index)
        assert {tuple(one.shape) for one in tensors_of(picked)} == {(2, HIDDEN)}
    for again in (marked, torch.tensor(marked), [1, 0, 0, 1, 0]):
        reset = rnnkit.states.reset(hx, again)
        assert {tuple(one.shape) for one in tensors_of(reset)} == {(BATCH, HIDDEN)}
    with pytest.raises(rnnkit.ArgumentError, match="has 5 samples"):
        rnnkit.states.select(hx, [5])
