"""What the table of torch's tools is made of: a module of torch and one of ours, and how they compare."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils import _pytree as pytree

import rnnkit
from tests.strategies import CELLS, CLASSES, LAYERS, assert_same

#: No two axes are of one size.
SEQ = 6
BATCH = 5
INPUT = 3
HIDDEN = 7
six = pytest.mark.parametrize("name", CLASSES)
layers = pytest.mark.parametrize("name", LAYERS)
cells = pytest.mark.parametrize("name", CELLS)
#: Bound before any use puts ours in the place of torch's.
SPACES = [{name: getattr(space, name) for name in CLASSES} for space in (nn, rnnkit)]


class Given(NamedTuple):
    """What a use is given: a class, a module of it, and a call."""

    name: str
    kind: Any
    module: Any
    x: Tensor
    hx: Any

    @property
    def weights(self) -> tuple[str, str]:
        """The names of the parameters that multiply the input and the state."""
        end = "" if self.name in CELLS else "_l0"
        return f"weight_ih{end}", f"weight_hh{end}"

    @property
    def packed(self) -> PackedSequence:
        """The sequences in no order of length."""
        return pack_padded_sequence(self.x, [3, 6, 2, 1, 5], enforce_sorted=False)

    def call(self, module=None) -> list[Any]:
        """Call a module, with a state and without."""
        module = module or self.module
        return [module(self.x, self.hx), module(self.x)]

    def own(self, **body):
        """Make a subclass of a user's."""
        return type("Own", (self.kind,), body)

    def twin(self, kind, *args, **options):
        """Make a module of a subclass, from the same seed."""
        torch.manual_seed(0)
        return kind(*(args or (INPUT, HIDDEN)), **options)

    def slopes(self) -> list[Any]:
        """Return the gradients of a loss that weighs each output and parameter differently."""
        self.module.zero_grad()
        total(self.module(self.x, self.hx)).backward()
        return [parameter.grad for parameter in self.module.parameters()]


def sample(name: str, seq: int = SEQ, batch: int = BATCH) -> Tensor:
    """Return an input of a layer (seq, batch, feature) or of a cell (batch, feature)."""
    return torch.randn((batch, INPUT) if name in CELLS else (seq, batch, INPUT))


def carried(name: str, batch: int = BATCH):
    """Return a state of one layer or one cell."""
    size = (batch, HIDDEN) if name in CELLS else (1, batch, HIDDEN)
    return (torch.randn(size), torch.randn(size)) if "LSTM" in name else torch.randn(size)


def given(name: str, space: int) -> Given:
    """Return torch's module (0) or ours (1), with the same weights, and the same call."""
    torch.manual_seed(0)
    kind = SPACES[space][name]
    return Given(name, kind, kind(INPUT, HIDDEN), sample(name), carried(name))


def pair(name: str, model=None, *args, **options) -> tuple[Any, Any]:
    """Return torch's module and ours, or a model around each, with the same weights."""
    cores = (kinds[name](INPUT, HIDDEN, **options) for kinds in SPACES)
    theirs, ours = (core if model is None else model(core, *args) for core in cores)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def total(result) -> Tensor:
    """One number from all tensors of a result, each with another weight."""
    leaves = [leaf for leaf in pytree.tree_leaves(result) if leaf.is_floating_point()]
    return torch.stack([n * leaf.float().square().sum() for n, leaf in enumerate(leaves, 1)]).sum()


def cast(value, dtype: torch.dtype):
    """Return the same in another dtype."""
    return pytree.tree_map(lambda tensor: tensor.to(dtype), value)


def attempt(call, *args):
    """Return what a call returns, or which error it raises."""
    try:
        return call(*args)
    except Exception as error:  # noqa: BLE001 - torch raises AssertionErrors too
        return type(error)


def same(theirs, ours):
    """Check that two results are the same to the bit; an error of ours may be caught as torch's."""
    expected = pytree.tree_leaves(theirs)
    found = pytree.tree_leaves(ours)
    assert len(expected) == len(found)
    for one, other in zip(expected, found, strict=True):
        if isinstance(one, Tensor):
            assert_same(one, other)
        elif isinstance(one, type):
            assert issubclass(other, one)
        else:
            assert one == other


Use = Callable[[Given], Any]


def check_uses(use: Use, names=CLASSES):
    """Check that a use of ours comes to what the same use of torch's module comes to."""
    for name in names:
        try:
            same(*(use(given(name, space)) for space in (0, 1)))
        except Exception as error:
            error.add_note(f"of {name}")
            raise


def table(names: dict[str, Any], *more: Use):
    """Parametrize a test by the uses in a file, which are its functions of what is given.

    The test calls one of them to compare ours with torch's.
    """
    wanted = {"g": Given}
    uses = [one for one in names.values() if getattr(one, "__annotations__", None) == wanted]
    checks = [pytest.param(partial(check_uses, use), id=use.__name__) for use in [*uses, *more]]
    return pytest.mark.parametrize("check", checks)
