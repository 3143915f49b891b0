"""With another default device, as ``torch.set_default_device`` sets it, everything stays where it is."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given

import rnnkit
from tests.kernels.paths import KINDS, PATHS, RESET_PATHS, case_of, on
from tests.strategies import CELLS, LAYERS, Case, assert_same, cases, tensors_of
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
    "Recurrent": lambda layer: rnnkit.Recurrent(layer.cells(), reverse_cells=layer.cells())(
        X, lengths=LENGTHS
    ),
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


@pytest.mark.covering(3)
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("what", "path"),
    [("lengths", path) for path in PATHS] + [("reset", path) for path in RESET_PATHS],
)
def test_on_every_path(what: str, path: str, kind: str, *, bidirectional: bool, grad: bool) -> None:
    """So do lengths and resets on every path, with their gradients."""
    case = case_of(kind, bidirectional=bidirectional, num_layers=2)
    module, (x, hx) = case.module(rnnkit), (case.input(), case.state())
    options = {"lengths": [4, 0, 7, 1, 6]} | ({"reset": RESET} if what == "reset" else {})

    def use() -> Any:
        output, state = module(x, hx, **options)
        total = sum(one.square().sum() for one in tensors_of((output, state)))
        return (
            output,
            state,
            *(torch.autograd.grad(total, [x, *module.parameters()]) if grad else ()),
        )

    with on(path), torch.set_grad_enabled(grad):
        expected = use()
        with elsewhere:
            assert_same(expected, use())


@pytest.mark.parametrize("name", CELLS)
def test_states_without_numbers(name: str) -> None:
    """States on the meta device are picked and started again by lists and by masks, too."""
    hx = rnnkit.states.to(state(name), "meta")
    marked = [True, False, True, False, False]

    for picked in (
        rnnkit.states.select(hx, [4, 0]),
        rnnkit.states.select(hx, torch.tensor([4, 0])),
        rnnkit.states.select(hx, torch.tensor(marked)),
    ):
        assert {tuple(one.shape) for one in tensors_of(picked)} == {(2, HIDDEN)}
    for again in (marked, torch.tensor(marked), [1, 0, 0, 1, 0]):
        reset = rnnkit.states.reset(hx, again)
        assert {tuple(one.shape) for one in tensors_of(reset)} == {(BATCH, HIDDEN)}
    with pytest.raises(rnnkit.ArgumentError, match="has 5 samples"):
        rnnkit.states.select(hx, [5])
