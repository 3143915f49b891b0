"""Tensors that are not dense, or not real: torch's class has them, and no kernel of rnnkit's."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import rnnkit
from tests.strategies import CELLS, LAYERS, assert_same
from tests.torch.strangers import (
    BATCH,
    HIDDEN,
    INPUT,
    PACKED,
    X,
    cells,
    layers,
    state,
    step_by_step,
    twins,
)

FAKE = torch._subclasses.FakeTensorMode()
#: What is not dense, holds no real numbers, or none at all.
ODD: dict[str, Callable[[Tensor], Tensor]] = {
    "sparse": Tensor.to_sparse,
    "mkldnn": Tensor.to_mkldnn,
    "quantized": lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.quint8),
    "complex": lambda tensor: tensor.to(torch.complex64),
    "masked": lambda tensor: torch.masked.masked_tensor(tensor, tensor > -9),
    "fake": FAKE.from_tensor,
}
#: Calls with such a tensor in one place.
CALLS: dict[str, Callable[[Any, str, Any], Any]] = {
    "input": lambda module, name, kind: module(kind(X if name in LAYERS else X[0])),
    "hx": lambda module, name, kind: module(X if name in LAYERS else X[0], state(name, kind=kind)),
    "packed": lambda module, _, kind: module(PACKED._replace(data=kind(PACKED.data))),
    "hx of packed": lambda module, name, kind: module(PACKED, state(name, kind=kind)),
}
odd = pytest.mark.parametrize("kind", ODD)
quietly = pytest.mark.filterwarnings("ignore:.*(MaskedTensor|quantize|data type is deprecated)")


def result_of(call: Callable[[], Any]) -> Any:
    """What a call returns, made dense, or the error that it raises."""
    torch.manual_seed(1)
    try:
        result = call()
    except Exception as error:  # noqa: BLE001 - torch raises AssertionErrors too
        return type(error), str(error)
    return torch.utils._pytree.tree_map_only(Tensor, Tensor.to_dense, result)


@quietly
@odd
@pytest.mark.parametrize(
    ("name", "place"),
    [(name, place) for name in LAYERS for place in CALLS]
    + [(name, place) for name in CELLS for place in ("input", "hx")],
)
def test_what_is_not_dense_is_torchs(name: str, place: str, kind: str) -> None:
    """Torch's class has it, and returns or raises what it does."""
    theirs, ours = (
        result_of(lambda module=module: CALLS[place](module, name, ODD[kind]))
        for module in twins(name)
    )

    if isinstance(theirs[0], type):
        assert ours[0] is theirs[0]
    else:
        assert_same(theirs, ours)


@quietly
@odd
@layers
@pytest.mark.parametrize("place", ["input", "hx"])
@pytest.mark.parametrize(
    "option", [{"lengths": [7, 5, 3, 2, 1]}, {"reset": torch.ones(7, BATCH)}], ids=str
)
def test_what_is_not_dense_loses_no_option(
    name: str, place: str, kind: str, option: dict[str, Any]
) -> None:
    """Torch's class has neither lengths nor resets: an error, and no result without them."""
    layer = getattr(rnnkit, name)(INPUT, HIDDEN)

    with pytest.raises((TypeError, RuntimeError, AssertionError)):
        CALLS[place](lambda *call: layer(*call, **option), name, ODD[kind])


@quietly
@layers
@pytest.mark.parametrize("kind", ["sparse", "complex", "quantized"])
@pytest.mark.parametrize("place", CALLS)
def test_sizes_are_ours_to_check(name: str, kind: str, place: str) -> None:
    """A state of other sizes is refused: torch's class reads beyond it, beside packed input."""
    layer = getattr(rnnkit, name)(INPUT, HIDDEN)
    wrong = torch.ones(2, BATCH, HIDDEN)
    hx = (wrong, ODD[kind](wrong[:1])) if name == "LSTM" else wrong
    of_state = "hx" in place
    x = PACKED if "packed" in place else X
    if not of_state:
        x = ODD[kind](X) if place == "input" else PACKED._replace(data=ODD[kind](PACKED.data))

    with pytest.raises(rnnkit.StateError, match="Expected hidden"):
        layer(x, hx if name == "LSTM" or not of_state else ODD[kind](wrong))


@pytest.mark.parametrize("given", [False, True])
def test_a_sparse_state_that_torch_takes(*, given: bool) -> None:
    """Given, or as what a subclass begins from: torch computes with it as with a dense one."""
    first = torch.rand(1, BATCH, HIDDEN)
    kind: Any = type("Own", (rnnkit.RNN,), {"initial_state": lambda *_: first.to_sparse()})
    layer = kind(INPUT, HIDDEN)

    output, _ = layer(X, first.to_sparse()) if given else layer(X)
    torch.testing.assert_close(output, layer(X, first)[0])


@layers
def test_sparse_input_beside_a_state_in_the_other_layout(name: str) -> None:
    """Torch's class has the state in torch's layout, and the result has it as it was given."""
    layer = getattr(rnnkit, name)(INPUT, HIDDEN, state_batch_first=True)
    hx = layer.initial_state(BATCH)
    (output, *_), end = layer(PACKED._replace(data=PACKED.data.to_sparse()), hx)
    (expected, *_), expected_end = layer(PACKED, hx)

    torch.testing.assert_close((output, end), (expected, expected_end))


@cells
def test_a_sparse_state_of_unroll(name: str) -> None:
    """Each step is torch's, with torch's error."""
    cell = getattr(rnnkit, name)(INPUT, HIDDEN)
    hx = state(name, kind=Tensor.to_sparse)
    theirs = result_of(lambda: step_by_step(cell, X, hx))
    ours = result_of(lambda: rnnkit.unroll(cell, X, hx)[0])

    if isinstance(theirs, Tensor):
        torch.testing.assert_close(theirs, ours)
    else:
        assert theirs[0] is ours[0]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.jagged, torch.strided], ids=str)
@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_nested_states(name: str, layout: torch.layout) -> None:
    """A nested state is refused in our words."""
    _, ours = twins(name)
    hx = state(name, kind=lambda t: torch.nested.nested_tensor(list(t), layout=layout))

    with pytest.raises(rnnkit.ArgumentError, match="hx must be a dense tensor, got a nested one"):
        ours(X if name in LAYERS else X[0], hx)
