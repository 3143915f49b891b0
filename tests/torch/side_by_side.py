"""A module of torch and one of ours, with the same weights, for tests that compare the two."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import rnnkit

LAYERS = ("RNN", "LSTM", "GRU")
CELLS = ("RNNCell", "LSTMCell", "GRUCell")
#: No two axes are of one size, so that no two can be taken for each other.
BATCH, SEQ, INPUT, HIDDEN = 2, 5, 3, 7

six = pytest.mark.parametrize("name", LAYERS + CELLS)
layers = pytest.mark.parametrize("name", LAYERS)
cells = pytest.mark.parametrize("name", CELLS)


def pair(
    name: str, model: Callable[..., nn.Module] | None = None, *args: object, **options: object
) -> tuple[nn.Module, nn.Module]:
    """Torch's module and ours, or a model around each, with the same weights."""
    cores = (getattr(module, name)(INPUT, HIDDEN, **options) for module in (nn, rnnkit))
    theirs, ours = (core if model is None else model(core, *args) for core in cores)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def sample(name: str, seq: int = SEQ, batch: int = BATCH) -> Tensor:
    """An input of a layer (seq, batch, feature) or of a cell (batch, feature)."""
    return torch.randn((batch, INPUT) if name in CELLS else (seq, batch, INPUT))


def carried(
    name: str, batch: int = BATCH, kind: Callable[[tuple[Tensor, Tensor]], Any] = tuple
) -> Any:
    """A state for one layer or one cell; an LSTM's pair is made by `kind`."""
    size = (batch, HIDDEN) if name in CELLS else (1, batch, HIDDEN)
    return kind((torch.randn(size), torch.randn(size))) if "LSTM" in name else torch.randn(size)


def assert_same(expected: object, actual: object) -> None:
    """Two results hold the same tensors in the same order: value, dtype and device."""
    torch.testing.assert_close(
        pytree.tree_leaves(actual), pytree.tree_leaves(expected), rtol=0, atol=0
    )


def assert_close(expected: object, actual: object) -> None:
    """A compiled or exported program may run other kernels: two results differ in their last bits."""
    torch.testing.assert_close(pytree.tree_leaves(actual), pytree.tree_leaves(expected))
