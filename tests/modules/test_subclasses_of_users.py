"""Subclasses and patches of users: what they change is what runs, and their names are their own."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, Generic

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

import rnnkit
from tests.kernels.paths import Counts, by_loop
from tests.strategies import CLASSES, assert_same

X = torch.linspace(-1, 1, 42).view(7, 2, 3)

both = pytest.mark.parametrize("namespace", [nn, rnnkit.nn], ids=lambda module: module.__name__)


@both
def test_cell_that_reads_more_than_it_is_given(namespace: ModuleType):
    """The width of the weights is no width of the input where forward is the user's."""

    class Attends(namespace.GRUCell):  # type: ignore[misc, name-defined]
        def __init__(self):
            super().__init__(5, 4)
            self.context = nn.Linear(4, 2)

        def forward(self, input: Tensor, hx: Tensor) -> Any:
            return super().forward(torch.cat([input, self.context(hx)], -1), hx)

        def initial_state(self, batch_size: int | None) -> Tensor:
            return torch.zeros(batch_size or 1, 4)

    cell = Attends()
    hx = torch.ones(2, 4)

    assert_same(by_loop(cell, X, hx), rnnkit.unroll(cell, X, hx))


def test_batch_first_layer_with_a_first_state_of_its_own():
    """It is asked for a state of as many samples as the input has, on whichever axis they are."""

    class Begins(rnnkit.GRU):
        def initial_state(self, batch_size: int | None) -> Tensor:
            return torch.ones(1, batch_size or 1, 4)

    layer = Begins(3, 4, batch_first=True)
    input = torch.ones(2, 5, 3)

    assert_same(layer(input, torch.ones(1, 2, 4)), layer(input))


def test_cell_with_another_state():
    """A state that a user's cell returned is what it takes again."""
    cell = Counts(3, 4)

    head, state = rnnkit.unroll(cell, X[:3])
    tail, end = rnnkit.unroll(cell, X[3:], state)

    assert_same(by_loop(cell, X, cell.initial_state(2)), (torch.cat([head, tail]), end))


class OfTheBase(rnnkit.GRUCell.__mro__[1]):  # type: ignore[misc]
    """A cell derived from the base of ours, which runs torch's step of an RNN."""

    def __init__(self):
        """Make the weights of one gate, as torch's own base does."""
        nn.RNNCellBase.__init__(self, 3, 4, bias=True, num_chunks=1)
        self.nonlinearity = "relu"


def test_cell_of_the_base_of_ours():
    """What is derived from the base of our cells runs step by step, as it does in a loop."""
    cell = OfTheBase()

    result = rnnkit.unroll(cell, X)

    assert_same(by_loop(cell, X, None), result)
    assert_same(result, rnnkit.Recurrent(cell)(X, lengths=[7, 7]))


def test_forward_set_on_the_instance():
    """A forward that a tool puts on a cell is what unroll runs."""
    cell = rnnkit.GRUCell(3, 4)
    original = cell.forward
    cell.forward = lambda input, hx=None: original(input, hx) * 0.5

    assert_same(by_loop(cell, X, None), rnnkit.unroll(cell, X))


def test_global_hooks_are_called_at_each_step():
    """A hook on all modules sees each step of a cell, as it does in a loop."""
    seen = []
    cell = rnnkit.GRUCell(3, 4)
    handle = register_module_forward_hook(lambda module, *_: seen.append(module))
    try:
        rnnkit.unroll(cell, X)
    finally:
        handle.remove()

    assert seen == [cell] * 7


@both
@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_names_of_a_subclass_are_its_own(namespace: ModuleType, kind: str):
    """A subclass may call submodules and numbers what torch's classes let it call them."""
    for attribute in ("kernel", "mode", "weights", "proj_size"):

        class Own(getattr(namespace, kind)):  # type: ignore[misc]
            def forward(self, input: Tensor, hx: Any = None, name: str = attribute) -> Any:
                state = super().forward(input, hx)
                return getattr(self, name)(state if isinstance(state, Tensor) else state[0])

        cell = Own(3, 4)
        setattr(cell, attribute, nn.Linear(4, 6))
        assert cell(X[0]).shape == (2, 6)

    numbered = type("Numbered", (getattr(namespace, kind),), {"proj_size": 2})(3, 4)
    state = numbered(X[0], numbered(X[0]))
    assert (state if isinstance(state, Tensor) else state[0]).shape == (2, 4)


@pytest.mark.parametrize("fused", [True, False])
def test_activation_checkpoint(fused: bool):
    """Checkpointing, which stops the second run by an exception, has the gradients of the first."""
    cell = rnnkit.GRUCell(3, 4)
    x, again = (X.clone().requires_grad_() for _ in range(2))

    def run(given: Tensor) -> Tensor:
        return rnnkit.unroll(cell, given, fused=fused)[0]

    run(x).square().sum().backward()
    kept = torch.utils.checkpoint.checkpoint(run, again, use_reentrant=False)
    kept.square().sum().backward()

    assert_same(x.grad, again.grad)


class Mixin(nn.Module):
    """What a tool puts before every class, with a look-up of its own, as Pyro does."""

    def __getattr__(self, name: str) -> Any:
        """Look up as torch does."""
        return super().__getattr__(name)


def mirrored(kind: type[nn.Module], made: dict[type, Any] | None = None) -> Any:
    """A subclass of a class and of the mirrored bases, as Pyro's ``PyroModule[kind]``."""
    made = {nn.Module: Mixin} if made is None else made
    if kind not in made:
        bases = [mirrored(base, made) for base in kind.__bases__ if issubclass(base, nn.Module)]
        made[kind] = type(f"Mirrored{kind.__name__}", (kind, *bases), {})
    return made[kind]


def of_the_bases(kind: type[nn.Module]) -> Any:
    """A class that has the bases of another one and nothing else."""
    return type(kind.__name__, kind.__bases__, {})


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("make", [mirrored, of_the_bases])
def test_mirrored_bases(kind: str, make: Callable[[type[nn.Module]], Any]):
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
def test_base_without_forward(namespace: ModuleType):
    """Torch's base of layers computes nothing, and says so: nor does ours."""
    abstract = type("M", namespace.GRU.__bases__[:1], {})

    with pytest.raises(NotImplementedError, match="missing the required"):
        abstract("GRU", 3, 4)(X)
