"""What strangers' use found, A 1 and 2: no memory is corrupted, and no check of a user's is left out."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import rnnkit
from tests.strategies import assert_same
from tests.torch.strangers import HIDDEN, INPUT, PACKED, X, layers, state, twins


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
@pytest.mark.parametrize("where", ["class", "mixin", "instance"])
def test_a1_overridden_checks_run(name: str, method: str, where: str) -> None:
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


class Counts(Tensor):
    """Numbers of samples of a class of a user's."""


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
        (sorted_alone._replace(batch_sizes=sorted_alone.batch_sizes.as_subclass(Counts)), None),
    ):
        assert_same(theirs(packed, hx), ours(packed, hx))
