"""Tensors that are not dense or hold no numbers: torch's class has them, or our own words."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

import rnnkit
from tests.strategies import CLASSES, LAYERS
from tests.torch.interop import BATCH, Given, attempt, check_uses, given

# A mode imports a compiler, so none is made before a test asks.
fake_mode = functools.cache(torch._subclasses.FakeTensorMode)
#: What is not dense, or holds no numbers.
ODD = {
    "sparse": Tensor.to_sparse,
    "mkldnn": Tensor.to_mkldnn,
    "masked": lambda tensor: torch.masked.masked_tensor(tensor, tensor > -9),
    "fake": lambda tensor: fake_mode().from_tensor(tensor),
}
LENGTHS = [6, 5, 3, 2, 1]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*(MaskedTensor|quantize|data type is deprecated)"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors"),
]


def calls_of(g: Given, kind: Callable[[Tensor], Tensor]) -> list[tuple[Any, Any]]:
    """Return calls with such a tensor in one place."""
    hx = pytree.tree_map(kind, g.hx)
    calls = [(kind(g.x), None), (kind(g.x), g.hx), (g.x, hx)]
    if g.name in LAYERS:
        calls += [(g.packed._replace(data=kind(g.packed.data)), None), (g.packed, hx)]
    return calls


@pytest.mark.parametrize("kind", ODD)
def test_what_is_not_dense_is_torchs(kind):
    """Torch's class has it, and returns or raises what it does; it has no option, so none is lost."""

    def use(g):
        results = [attempt(g.module, *each) for each in calls_of(g, ODD[kind])]
        # An error is of torch's own class, and not one of ours that is derived from it.
        named = pytree.tree_map_only(type, str, results)
        return pytree.tree_map_only(Tensor, Tensor.to_dense, named)

    check_uses(use)
    for name in LAYERS:
        g = given(name, 1)
        for options in ({"lengths": LENGTHS}, {"reset": torch.ones(6, BATCH)}):
            for x, hx in calls_of(g, ODD[kind])[:3]:
                with pytest.raises((TypeError, RuntimeError, AssertionError)):
                    g.module(x, hx, **options)


def test_a_sparse_first_state():
    """What a subclass begins from is dense."""
    g = given("RNN", 1)
    starts = g.twin(g.own(initial_state=lambda *_: torch.rand_like(g.hx).to_sparse()))
    with pytest.raises(rnnkit.ArgumentError, match="dense"):
        starts(g.x)


@pytest.mark.parametrize("layout", [torch.jagged, torch.strided], ids=str)
def test_nested_tensors(layout):
    """A nested state is refused by each class, and nested input by unroll.

    What other calls are told of nested input stands in the table of calls.
    """
    for name in CLASSES:
        g = given(name, 1)
        hx = pytree.tree_map(lambda t: torch.nested.nested_tensor(list(t), layout=layout), g.hx)
        with pytest.raises(
            rnnkit.ArgumentError, match="hx must be a dense tensor, got a nested one"
        ):
            g.module(g.x, hx)

    nested = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(4, 3)])
    with pytest.raises(rnnkit.ArgumentError, match="to_padded_tensor"):
        rnnkit.unroll(rnnkit.GRUCell(3, 4), nested)
