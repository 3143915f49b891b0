"""Subclasses and patches of users: what they change is what runs, and their names are their own."""

from typing import Any, Generic

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import rnnkit
from rnnkit._base.class_facts import ClassFacts
from rnnkit._kernels.recurrences import Recurrence
from rnnkit._modules.cell_base import Cell
from tests.kernels.paths import Wrapped, by_loop
from tests.strategies import CLASSES, assert_same

X = torch.linspace(-1, 1, 42).view(7, 2, 3)

both = pytest.mark.parametrize("namespace", [nn, rnnkit.nn], ids=lambda module: module.__name__)


@both
def test_cell_that_reads_more_than_it_is_given(namespace):
    """The width of the weights is no width of the input where forward is the user's."""

    class Attends(namespace.GRUCell):  # type: ignore[misc, name-defined]
        def __init__(self):
            super().__init__(5, 4)
            self.context = nn.Linear(4, 2)

        def forward(self, input, hx):
            return super().forward(torch.cat([input, self.context(hx)], -1), hx)

        def initial_state(self, batch_size):
            return torch.zeros(batch_size or 1, 4)

    cell = Attends()
    hx = torch.ones(2, 4)

    assert_same(by_loop(cell, X, hx), rnnkit.unroll(cell, X, hx))


def mgu_step(given, hidden, h):
    """Return the next state of a minimal gated unit: f = sigmoid, n = tanh, h' = h + f (n - h)."""
    given_f, given_n = given.chunk(2, -1)
    hidden_f, hidden_n = hidden.chunk(2, -1)
    f = torch.sigmoid(given_f + hidden_f)
    return torch.lerp(h, torch.tanh(given_n + f * hidden_n), f)


class MGUCell(Cell):
    """A kind of cell that torch does not have: a record of its equations."""

    __rnnkit__ = ClassFacts(nn.RNNCellBase, Recurrence("MGU", gates=2, step=mgu_step))


def test_a_new_kind_of_cell_is_one_record():
    """Its equations are its step; a sequence, lengths, resets and gradients are a loop's."""
    cell = MGUCell(3, 4)
    h = torch.randn(2, 4)
    given = X[0] @ cell.weight_ih.T + cell.bias_ih
    hidden = h @ cell.weight_hh.T + cell.bias_hh

    assert_close(cell(X[0], h), mgu_step(given, hidden, h))
    assert_close(cell(X[0, 0], h[0]), cell(X[0], h)[0])
    assert cell.state_dict().keys() == rnnkit.GRUCell(3, 4).state_dict().keys()
    for options in ({}, {"lengths": [7, 3]}, {"reset": torch.ones(7, 2), "reverse": True}):
        ours = rnnkit.unroll(cell, X, h, **options)
        loop = rnnkit.unroll(Wrapped(cell), X, h, **options)

        assert_close(ours, loop)
        slopes = [torch.autograd.grad(output.sum(), cell.weight_hh) for output, _ in (ours, loop)]
        assert_close(*slopes)
    assert_close(rnnkit.Recurrent(cell)(X)[0], rnnkit.unroll(cell, X)[0])
    with pytest.raises(rnnkit.ShapeError, match="MGUCell"):
        cell(torch.ones(2, 5))


def test_forward_set_on_the_instance():
    """A forward that a tool puts on a cell is what unroll runs."""
    cell = rnnkit.GRUCell(3, 4)
    original = cell.forward
    cell.forward = lambda input, hx=None: original(input, hx) * 0.5

    assert_same(by_loop(cell, X, None), rnnkit.unroll(cell, X))


@both
@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_names_of_a_subclass_are_its_own(namespace, kind):
    """A subclass may call submodules and numbers what torch's classes let it call them."""
    for attribute in ("kernel", "mode", "weights", "proj_size"):

        class Own(getattr(namespace, kind)):  # type: ignore[misc]
            def forward(self, input, hx=None, name=attribute):
                state = super().forward(input, hx)
                return getattr(self, name)(state if isinstance(state, Tensor) else state[0])

        cell = Own(3, 4)
        setattr(cell, attribute, nn.Linear(4, 6))
        assert cell(X[0]).shape == (2, 6)

    numbered = type("Numbered", (getattr(namespace, kind),), {"proj_size": 2})(3, 4)
    state = numbered(X[0], numbered(X[0]))
    assert (state if isinstance(state, Tensor) else state[0]).shape == (2, 4)


class Mixin(nn.Module):
    """What a tool puts before every class, with a look-up of its own, as Pyro does."""

    def __getattr__(self, name):
        """Look up as torch does."""
        return super().__getattr__(name)


def mirrored(kind: type[nn.Module], made: dict[type, Any] | None = None):
    """A subclass of a class and of the mirrored bases, as Pyro's ``PyroModule[kind]``."""
    made = {nn.Module: Mixin} if made is None else made
    if kind not in made:
        bases = [mirrored(base, made) for base in kind.__bases__ if issubclass(base, nn.Module)]
        made[kind] = type(f"Mirrored{kind.__name__}", (kind, *bases), {})
    return made[kind]


def of_the_bases(kind: type[nn.Module]):
    """A class that has the bases of another one and nothing else."""
    return type(kind.__name__, kind.__bases__, {})


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("make", [mirrored, of_the_bases])
def test_mirrored_bases(kind, make):
    """A tool's class of our bases computes what torch's class does, and checks its calls."""
    theirs = getattr(nn, kind)(3, 4)
    ours = make(getattr(rnnkit, kind))(3, 4)
    ours.load_state_dict(theirs.state_dict())
    x = X[0] if kind.endswith("Cell") else X

    assert_same(theirs(x), ours(x))
    with pytest.raises(rnnkit.RnnkitError):
        ours(x[..., :2])


def test_base_by_itself():
    """Each base of our classes can be derived from, as each base of torch's can."""
    for kind in (*CLASSES, "ProjectedLSTMCell", "Recurrent"):
        for base in getattr(rnnkit, kind).__mro__[1:]:
            if base not in (object, Generic):
                type("M", (base,), {})


@both
def test_base_without_forward(namespace):
    """Torch's base of layers computes nothing, and says so: nor does ours."""
    abstract = type("M", namespace.GRU.__bases__[:1], {})

    with pytest.raises(NotImplementedError, match="missing the required"):
        abstract("GRU", 3, 4)(X)
