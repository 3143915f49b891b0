"""A call goes one of two ways: a guard answers it, or the diagnosis refuses it; torch's class is none."""

import itertools
from functools import partial

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from rnnkit._checks.guards import MISFIT
from rnnkit._modules import cell_base, layer_base, unroll_run
from tests.strategies import CLASSES, LAYERS

X = torch.linspace(-1, 1, 105).view(7, 5, 3)
PACKED = pack_padded_sequence(X, [7, 6, 5, 1, 1])
LENGTHS = [7, 0, 5, 1, 4]
RESET = [[False] * 5] * 7
PIECES = [{}, {"lengths": LENGTHS}, {"reset": RESET}]
#: The guards, each where a call asks it.
GUARDS = [
    (layer_base, "fitting_layer"),
    (cell_base, "fitting_cell"),
    (unroll_run, "fitting_unrolled"),
]


@pytest.fixture
def _misfits(monkeypatch):
    """Let every guard refuse, and torch's classes fail."""

    def never(*_, **__):
        pytest.fail("torch's class has run")

    for place, name in GUARDS:
        monkeypatch.setattr(place, name, lambda *_, **__: MISFIT)
    for name in CLASSES:
        monkeypatch.setattr(getattr(torch.nn, name), "forward", never)


def calls():
    """Return right calls of everything that asks a guard, with and without lengths and resets."""
    made = []
    for name, pieces in itertools.product(LAYERS, PIECES):
        layer = getattr(rnnkit, name)(3, 4)
        cell = getattr(rnnkit, f"{name}Cell")(3, 4)
        state = cell.initial_state(5)
        made += [
            partial(layer, X, **pieces),
            partial(rnnkit.unroll, cell, X, **pieces),
            partial(rnnkit.Recurrent(cell), X, **pieces),
            partial(rnnkit.unroll, lambda x, hx, cell=cell: cell(x, hx), X, state, **pieces),
            partial(cell, X[0]),
            partial(layer.step, X[0]),
            partial(layer, PACKED),
        ]
    return made


@pytest.mark.disagrees
@pytest.mark.unhooked("the annotation asks for an initial_state")
@pytest.mark.usefixtures("_misfits")
def test_a_guard_that_is_wrong_is_reported():
    """If a guard refuses a right call, the call is refused, and says how to report that."""
    for call in calls():
        with pytest.raises(rnnkit.RnnkitError, match="found nothing wrong") as caught:
            call()
        assert (caught.value.code, caught.value.argument) == ("no-cause", "input")
        assert "torch.float32 of shape (" in str(caught.value)
        assert "python -m rnnkit prints" in str(caught.value)


@pytest.mark.disagrees
@pytest.mark.usefixtures("_misfits")
def test_a_report_has_all_tensors():
    """Of a pair, both are described."""
    hx = torch.ones(5, 4), torch.ones(5, 4, dtype=torch.float64)
    with pytest.raises(rnnkit.RnnkitError, match="found nothing") as caught:
        rnnkit.LSTMCell(3, 4)(X[0], hx)
    assert "hx        torch.float32 of shape (5, 4), torch.float64 of shape (5, 4)\n" in str(
        caught.value
    )


def begins(kind):
    """Make a module of a class, which has a first state of its own: ones."""

    class Begins(kind):
        def initial_state(self, batch_size):
            return super().initial_state(batch_size) + 1

    return Begins(3, 4)


@pytest.mark.disagrees
@pytest.mark.parametrize(
    ("place", "call"),
    [
        (layer_base, lambda: begins(rnnkit.GRU)(X)),
        (layer_base, lambda: begins(rnnkit.GRU)(X, reset=RESET)),
        (cell_base, lambda: begins(rnnkit.GRUCell)(X[0])),
        (unroll_run, lambda: rnnkit.unroll(begins(rnnkit.GRUCell), X)),
    ],
    ids=["layer", "resets", "cell", "unroll"],
)
def test_a_guard_of_a_first_state_that_is_wrong_is_reported(place, call, monkeypatch):
    """So it is if the guard refuses the state that a module's own initial_state has returned."""
    name = dict(GUARDS)[place]
    original = getattr(place, name)

    def refuses_states(module, input, hx, *weight, **options):
        return MISFIT if hx is not None else original(module, input, hx, *weight, **options)

    monkeypatch.setattr(place, name, refuses_states)
    with pytest.raises(rnnkit.RnnkitError, match="found nothing wrong"):
        call()
