"""``torch.jit.trace`` traces models that hold our modules as it does with torch's."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import rnnkit
from tests.kernels.paths import case_of, close, kinds
from tests.torch.script_models import LENGTHS, OneTensor, Packs, Parent, TwoTensors
from tests.torch.side_by_side import assert_same, carried, layers, pair, sample, six

# torch.jit announces in many places that it is deprecated.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.torch.jit")]


def traced(model: nn.Module, args: tuple[object, ...]) -> tuple[Callable[..., Any], set[str]]:
    """A traced model, and the kinds of the warnings that came with it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trace = torch.jit.trace(model, args)
    return trace, {f"{each.category.__name__}: {str(each.message)[:50]}" for each in caught}


@six
@pytest.mark.parametrize("with_state", [False, True])
def test_traced(name: str, with_state: bool) -> None:
    """A traced model takes other batches and weights; it warns of nothing that torch's does not."""
    torch.manual_seed(0)
    model = Parent if not with_state else TwoTensors if "LSTM" in name else OneTensor
    theirs, ours = pair(name, model)
    args = (sample(name), carried(name)) if with_state else (sample(name),)

    (their_trace, their_warnings), (our_trace, our_warnings) = (
        traced(model, args) for model in (theirs, ours)
    )

    assert our_warnings <= their_warnings
    other = pytree.tree_map(lambda tensor: torch.cat([tensor, 2 * tensor], dim=-2), args)
    for model in (theirs, ours):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.5)
    for call in (args, other):
        expected = theirs(*call)
        assert_same(expected, their_trace(*call))
        assert_same(expected, our_trace(*call))


@layers
@pytest.mark.parametrize("with_state", [False, True])
def test_traced_with_batch_first_states(name: str, with_state: bool) -> None:
    """A traced layer takes its states with the batch on axis 0 as the layer does."""
    torch.manual_seed(0)
    layer = getattr(rnnkit, name)(3, 4, num_layers=2, state_batch_first=True)
    args = (torch.randn(7, 5, 3),)
    if with_state:
        args += (pytree.tree_map(torch.randn_like, layer.initial_state(5)),)

    trace, _ = traced(layer, args)

    assert_same(layer(*args), trace(*args))


@layers
def test_traced_with_packing(name: str) -> None:
    """A model that packs inside can be traced where torch's can."""
    torch.manual_seed(0)
    theirs, ours = pair(name, Packs)
    args = (sample(name), torch.tensor(LENGTHS))

    (_, their_warnings), (trace, our_warnings) = (traced(model, args) for model in (theirs, ours))

    assert our_warnings <= their_warnings
    assert_same(theirs(*args), trace(*args))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("example", [[3, 5, 1], [6, 6, 6]])
@kinds
def test_traced_with_lengths(kind: str, example: list[int]) -> None:
    """What the example's lengths were is no part of a trace: longer ones are run to their ends."""
    layer = case_of(kind, torch.float32, bidirectional=True).module(rnnkit)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor, lengths: Tensor) -> Any:
            return self.layer(x, lengths=lengths)[0]

    model, x = Model(), torch.randn(6, 3, 6)
    trace = torch.jit.trace(model, (x, torch.tensor(example)))

    for lengths in ([6, 4, 2], [6, 6, 6], [0, 1, 3]):
        close(trace(x, torch.tensor(lengths)), model(x, torch.tensor(lengths)), tolerance=1e-5)
