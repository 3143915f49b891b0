"""What strangers' use found, A 1 to 4: nothing corrupts memory, and no weight is missed."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import rnnkit
from rnnkit._base.state import map_state
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


@layers
def test_a1_torchs_body_in_a_subclass(name: str) -> None:
    """A forward that is torch's body is checked by torch's checks, and refuses what they refuse."""
    body = getattr(nn, name).forward
    kind: Any = type("Body", (getattr(rnnkit, name),), {"forward": body})
    layer = kind(INPUT, HIDDEN)

    with pytest.raises(RuntimeError, match="Expected hidden"):
        layer(X, state(name, batch=1))


@layers
@pytest.mark.parametrize("method", ["check_input", "check_hidden_size", "check_forward_args"])
@pytest.mark.parametrize(
    "where", ["class", "mixin", "instance", "class, later", "base, later", "torch, later"]
)
def test_a1_overridden_checks_run(
    name: str, method: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that a user puts in the place of torch's is called as torch calls it."""
    called = []

    def check(*args: object) -> None:
        called.append(len(args))

    def make(base: Any) -> Any:
        mixin = type("Mixin", (), {method: check})
        bases = (mixin, base) if where == "mixin" else (base,)
        kind: Any = type("Own", bases, {method: check} if where == "class" else {})
        layer = kind(INPUT, HIDDEN)
        if where == "instance":
            setattr(layer, method, lambda *args: check(layer, *args))
        patched = {"class, later": kind, "base, later": base, "torch, later": getattr(nn, name)}
        if where in patched:
            monkeypatch.setattr(patched[where], method, check)
        return layer

    calls = []
    for space in (nn, rnnkit):
        called.clear()
        layer = make(getattr(space, name))
        layer(X)
        layer(X, state(name))
        calls.append([*called])

    assert calls[0] == calls[1] != []


class Dropped(nn.Module):
    """A parametrization that draws random numbers."""

    def forward(self, weight: Tensor) -> Tensor:
        """Drop some of the weight."""
        return nn.functional.dropout(weight, 0.5)


@layers
@pytest.mark.parametrize("packed", [False, True])
def test_a1_weights_are_computed_once_beside_an_own_check(name: str, *, packed: bool) -> None:
    """A weight that draws random numbers draws them once in a call, as of torch's class."""
    results = []
    for space in (nn, rnnkit):
        kind: Any = type("Own", (getattr(space, name),), {"check_input": lambda *_: None})
        torch.manual_seed(1)
        layer = kind(INPUT, HIDDEN)
        nn.utils.parametrize.register_parametrization(layer, "weight_hh_l0", Dropped())
        torch.manual_seed(2)
        results.append(layer(PACKED if packed else X))

    assert_same(*results)


LONG = torch.int64
FIELDS: dict[str, list[Any]] = {
    "data": [None, [1.0], np.ones((18, 3), np.float32), torch.ones(()), torch.ones(17, 3)],
    "batch_sizes": [
        *(None, [5, 4, 9], torch.ones(18), torch.tensor(18), torch.tensor([[18]])),
        *(torch.ones(9, dtype=LONG), torch.tensor([1, 2, 15]), torch.tensor([5, 14, -1])),
        *(torch.tensor([18, 0]), torch.tensor([], dtype=LONG), PACKED.batch_sizes.int()),
        *(torch.tensor([4, 4, 4, 4, 2]), PACKED.batch_sizes.to("meta"), torch.tensor([9, 9])),
        PACKED.batch_sizes.to_sparse(),
    ],
    "sorted_indices": [
        *(None, [1, 4, 0, 2, 3], torch.arange(5.0), torch.arange(4), torch.arange(1, 6)),
        *(torch.arange(5) - 1, torch.zeros(5, dtype=LONG), torch.arange(5), torch.arange(5) + 99),
        *(torch.arange(5).view(1, 5), torch.arange(5, device="meta"), torch.ones(5).bool()),
    ],
    "unsorted_indices": [
        *(None, [2, 0, 3, 4, 1], torch.arange(5.0), torch.arange(4), torch.arange(5) - 5),
        *(torch.zeros(5, dtype=LONG), torch.arange(5), torch.arange(6)),
    ],
}


@layers
@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in FIELDS.items() for value in values],
    ids=map(str, itertools.count()),
)
def test_a2_fields_that_contradict_each_other(name: str, field: str, value: Any) -> None:
    """Packed input with a field that does not go with the others is refused, with a state or not."""
    layer = getattr(rnnkit, name)(INPUT, HIDDEN)
    packed = PACKED._replace(**{field: value})

    with pytest.raises(rnnkit.RnnkitError):
        layer(packed, state(name))
    # Without a state, torch reads no sorted_indices.
    if field != "sorted_indices" or value is not None:
        with pytest.raises(rnnkit.RnnkitError):
            layer(packed)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@layers
def test_a2_nested_indices(name: str) -> None:
    """Indices without a size are refused, and their message asks them for none."""
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])

    with pytest.raises(rnnkit.ArgumentError, match="unsorted_indices of packed input must be"):
        getattr(rnnkit, name)(INPUT, HIDDEN)(PACKED._replace(unsorted_indices=nested))


@layers
@pytest.mark.parametrize("back", [[3, 1, 0, 5, 2], [0, 1, 2, 3, -1]])
def test_a2_way_back_alone_to_nowhere(name: str, back: list[int]) -> None:
    """The way back alone, to places that there are not, is refused without a state, too."""
    packed = PackedSequence(*PACKED[:2], None, torch.tensor(back))

    with pytest.raises(rnnkit.LengthsError, match="positions among the 5 sequences"):
        getattr(rnnkit, name)(INPUT, HIDDEN)(packed)


@layers
def test_a7_states_to_split_are_dense(name: str) -> None:
    """A state in oneDNN's layout, which has no views, is refused by what splits a state."""
    layer = getattr(rnnkit, name)(INPUT, HIDDEN, bidirectional=True)
    hx = map_state(Tensor.to_mkldnn, layer.initial_state(5))

    for act in (layer.split_state, layer.last_hidden):
        with pytest.raises(rnnkit.StateError):
            act(hx)


@layers
def test_a2_what_torch_reads_is_taken(name: str) -> None:
    """Sorted by hand, of 32-bit positions, and with the way back alone: taken as torch takes it."""
    theirs, ours = twins(name)
    sorted_alone = pack_sequence([X[:n, 0] for n in (5, 3, 1)])
    narrow = PACKED._replace(sorted_indices=PACKED.sorted_indices.int())
    back_alone = PackedSequence(*PACKED[:2], None, PACKED.unsorted_indices)

    for packed, hx in (
        *((sorted_alone, None), (sorted_alone, state(name, batch=3))),
        *((narrow, None), (narrow, state(name)), (back_alone, None)),
    ):
        assert_same(theirs(packed, hx), ours(packed, hx))


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
