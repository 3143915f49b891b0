"""With another default device, as ``torch.set_default_device`` sets it, everything stays where it is."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given

import rnnkit
from tests.strategies import CELLS, LAYERS, Case, assert_same, cases
from tests.torch.strangers import BATCH, HIDDEN, INPUT, PACKED, X, state

elsewhere = torch.device("meta")


@given(cases())
def test_same_numbers(case: Case) -> None:
    """A call gives the same numbers, with a state and without."""
    module = case.module(rnnkit)
    x, hx = case.input(), case.state()
    expected = []
    for given_state in ((), (hx,)):
        torch.manual_seed(0)
        expected.append(module(x, *given_state))

    for given_state, result in zip(((), (hx,)), expected, strict=True):
        torch.manual_seed(0)
        with elsewhere:
            assert_same(result, module(x, *given_state))


LENGTHS = [7, 2, 0, 1, 4]
RESET = (torch.arange(35).view(7, 5) % 4 == 1).tolist()

USES: dict[str, Callable[[Any], Any]] = {
    "lengths": lambda layer: layer(X, lengths=LENGTHS),
    "a part": lambda layer: layer(X, (None, None) if "LSTM" in type(layer).__name__ else None),
    "packed": lambda layer: layer(PACKED),
    "step": lambda layer: layer.step(X[0]),
    "first state": lambda layer: (layer.initial_state(BATCH),),
    "Recurrent": lambda layer: rnnkit.Recurrent(layer.cells(), layer.cells())(X, lengths=LENGTHS),
}
CELL_USES: dict[str, Callable[[Any], Any]] = {
    "unroll": lambda cell: rnnkit.unroll(cell, X),
    "lengths": lambda cell: rnnkit.unroll(cell, X, lengths=LENGTHS, reverse=True),
    "loop": lambda cell: rnnkit.unroll(cell, X, lengths=LENGTHS, fused=False),
    "reset": lambda cell: rnnkit.unroll(cell, X, reset=RESET),
    "reset of one": lambda cell: rnnkit.unroll(cell, X[:, 0], reset=[row[0] for row in RESET]),
    "first state": lambda cell: (cell.initial_state(BATCH),),
}


@pytest.mark.parametrize(
    ("name", "use"),
    [(n, u) for n in LAYERS for u in USES] + [(n, u) for n in CELLS for u in CELL_USES],
)
def test_what_is_ours(name: str, use: str) -> None:
    """Lists of lengths and flags, first states, steps and loops too."""
    module = getattr(rnnkit, name)(INPUT, HIDDEN)
    run = (USES if name in LAYERS else CELL_USES)[use]
    expected = run(module)

    with elsewhere:
        assert_same(expected, run(module))


@pytest.mark.parametrize("name", CELLS)
def test_states(name: str) -> None:
    """So do the functions on states."""
    hx = state(name)

    def use() -> list[Any]:
        return [
            rnnkit.states.select(hx, [1, 0, 0]),
            rnnkit.states.reset(hx, [1, 0, 1, 0, 0]),
            rnnkit.states.repeat(hx, 2),
        ]

    expected = use()
    with elsewhere:
        for one, other in zip(expected, use(), strict=True):
            assert_same(one, other)
