"""What strangers' use found, A 3 and 4: no weight is missed, whoever replaces or computes it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import rnnkit
from tests.strategies import CELLS, LAYERS, assert_same, tensors_of
from tests.torch.strangers import BATCH, HIDDEN, INPUT, X, cells, layers, step_by_step, twins


@cells
@pytest.mark.parametrize("weight", ["weight_ih", "weight_hh", "bias_ih"])
@pytest.mark.parametrize("how", ["dict", "property", "getattr", "parameter"])
def test_a3_weights_that_are_replaced(name: str, weight: str, how: str) -> None:
    """The weights that attribute access finds are the ones that are used, as by torch."""
    other = torch.linspace(-1, 1, getattr(twins(name)[0], weight).numel())

    def get(self: Any, key: str) -> Any:
        value = super(kinds[0] if isinstance(self, nn.Module) else object, self).__getattr__(key)
        return value * 2 if key == weight else value

    results, kinds = [], []
    for space in (nn, rnnkit):
        torch.manual_seed(3)
        base: Any = getattr(space, name)
        shape = getattr(base(INPUT, HIDDEN), weight).shape
        given = other.view(shape)
        kinds[:] = [type("Own", (base,), {})]
        if how == "getattr":
            kinds[0].__getattr__ = get
            kinds[:] = [type("Own", (base,), {"__getattr__": get})]
        torch.manual_seed(3)
        cell = kinds[0](INPUT, HIDDEN)
        if how == "dict":
            cell.__dict__[weight] = given
        elif how == "property":
            setattr(kinds[0], weight, property(lambda _, given=given: given))
        elif how == "parameter":
            setattr(cell, weight, nn.Parameter(given))
        results.append((cell(X[0]), cell(X[0], state_of_ones(name)), cell(X[0, 0])))
        if space is rnnkit:
            torch.testing.assert_close(rnnkit.unroll(cell, X)[0], step_by_step(cell, X))

    for one, other_result in zip(*results, strict=True):
        assert_same(one, other_result)


def state_of_ones(name: str) -> Any:
    """A state whose numbers are the same each time."""
    h = torch.ones(BATCH, HIDDEN)
    return (h, h) if "LSTM" in name else h


@layers
@pytest.mark.parametrize("how", ["dict", "property"])
def test_a3_weights_of_a_layer_that_are_replaced(name: str, how: str) -> None:
    """Of a layer too, with and without lengths."""
    results = []
    for space in (nn, rnnkit):
        torch.manual_seed(3)
        base: Any = getattr(space, name)
        given = torch.linspace(-1, 1, base(INPUT, HIDDEN).weight_hh_l0.numel()).view(-1, HIDDEN)
        kind: Any = type("Own", (base,), {})
        torch.manual_seed(3)
        layer = kind(INPUT, HIDDEN)
        if how == "dict":
            layer.__dict__["weight_hh_l0"] = given
        else:
            kind.weight_hh_l0 = property(lambda _, given=given: given)
        results.append(layer(X))
        if space is rnnkit:
            torch.testing.assert_close(layer(X, lengths=[7, 7, 7, 7, 6])[0][:6], layer(X)[0][:6])

    assert_same(*results)


@pytest.mark.parametrize(
    "run", [lambda c: c(X[0]), lambda c: rnnkit.unroll(c, X)], ids=["call", "unroll"]
)
def test_a3_a_nonlinearity_that_torch_does_not_know(run: Callable[[Any], object]) -> None:
    """A nonlinearity set later is used, or refused as torch refuses it."""
    theirs, ours = twins("RNNCell")
    theirs.nonlinearity = ours.nonlinearity = "relu"
    assert_same(theirs(X[0]), ours(X[0]))
    torch.testing.assert_close(rnnkit.unroll(ours, X)[0], step_by_step(theirs, X))

    ours.nonlinearity = "sigmoid"
    with pytest.raises(RuntimeError, match="Unknown nonlinearity: sigmoid"):
        run(ours)


def test_a3_the_mode_of_a_layer_is_what_counts() -> None:
    """Torch's RNN goes by its mode: so do lengths and the cells."""
    theirs, ours = twins("RNN")
    theirs.mode = ours.mode = "RNN_RELU"

    assert_same(theirs(X), ours(X))
    torch.testing.assert_close(ours(X, lengths=[7, 7, 7, 7, 6])[0][:6], theirs(X)[0][:6])
    torch.testing.assert_close(rnnkit.unroll(ours.cells()[0], X)[0], theirs(X)[0])


COMPUTED: dict[str, Callable[[Any], object]] = {
    "pruned": lambda cell: prune.l1_unstructured(cell, "weight_ih", 0.5),
    "parametrized": lambda cell: parametrizations.weight_norm(cell, "weight_ih"),
}


@cells
@pytest.mark.parametrize("how", COMPUTED)
def test_a4_a_computed_weight_is_checked(name: str, how: str) -> None:
    """A cell whose first weight is computed refuses another dtype and another device."""
    cell = getattr(rnnkit, name)(INPUT, HIDDEN)
    COMPUTED[how](cell)
    cell(X[0])

    with pytest.raises(rnnkit.DtypeError):
        cell(X[0].double())
    with pytest.raises(rnnkit.DeviceError):
        cell(X[0].to("meta"))
    with pytest.raises(rnnkit.DtypeError):
        rnnkit.unroll(cell, X.double())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@cells
@pytest.mark.parametrize("how", COMPUTED)
def test_a4_a_computed_weight_is_compiled(name: str, how: str) -> None:
    """A compiled cell whose first weight is computed gives what it gives eagerly."""
    cell = getattr(rnnkit, name)(INPUT, HIDDEN)
    COMPUTED[how](cell)

    compiled = torch.compile(cell, backend="eager")(X[0])

    torch.testing.assert_close(tensors_of(compiled), tensors_of(cell(X[0])))


@cells
def test_a4_a_computed_weight_is_computed_once(name: str) -> None:
    """A call computes it as often as torch's does: its random numbers are torch's."""

    class Drops(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return nn.functional.dropout(weight, 0.5)

    results = []
    for cell in twins(name):
        nn.utils.parametrize.register_parametrization(cell, "weight_hh", Drops())
        torch.manual_seed(5)
        results.append((cell(X[0], state_of_ones(name)), torch.get_rng_state()))
        if isinstance(cell, rnnkit.RNNCell | rnnkit.LSTMCell | rnnkit.GRUCell):
            torch.manual_seed(5)
            loop = step_by_step(cell, X, state_of_ones(name))
            torch.manual_seed(5)
            assert_same(loop, rnnkit.unroll(cell, X, state_of_ones(name))[0])

    for one, other in zip(*results, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("weight", ["weight_ih", "weight_hh", "bias_ih", "bias_hh"])
@pytest.mark.parametrize("name", LAYERS + CELLS)
def test_a3_a_weight_that_is_deleted(name: str, weight: str) -> None:
    """A call ends as torch's does; what reads a weight by its name says which is missing."""
    modules = twins(name)
    full = weight if name in CELLS else f"{weight}_l0"
    results: list[Any] = []
    for module in modules:
        delattr(module, full)
        try:
            results.append(module(X[0] if name in CELLS else X))
        except AttributeError as error:
            results.append(str(error))

    if isinstance(results[0], str):
        assert results[0] == results[1]
    else:
        assert_same(*results)
    ours = modules[1]
    with pytest.raises(AttributeError, match=full):
        _ = rnnkit.unroll(ours, X) if name in CELLS else ours.cells()
