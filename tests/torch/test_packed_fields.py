"""Packed input whose fields contradict each other is refused: torch reads memory by them."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import rnnkit
from tests.strategies import LAYERS
from tests.torch.interop import check_uses, given, layers

PACKED = given("GRU", 1).packed
STEPS = len(PACKED.data)
LONG = torch.int64
FIELDS = {
    "data": [None, np.ones((STEPS, 3), np.float32), torch.ones(()), torch.ones(STEPS - 1, 3)],
    "batch_sizes": [
        None, [5, 4, 8], torch.ones(STEPS), torch.tensor(STEPS), torch.ones(9, dtype=LONG),
        torch.tensor([1, 2, 14]), torch.tensor([5, 13, -1]), torch.tensor([STEPS, 0]),
        torch.tensor([5, 3, 4, 3, 1, 1]),
        torch.tensor([], dtype=LONG), PACKED.batch_sizes.int(), torch.tensor([9, 8]),
        PACKED.batch_sizes.to("meta"), PACKED.batch_sizes.to_sparse(),
    ],
    "sorted_indices": [
        [1, 4, 0, 2, 3], torch.arange(5.0), torch.arange(4), torch.arange(5) - 1,
        torch.zeros(5, dtype=LONG), torch.arange(5), torch.arange(5) + 99,
        torch.arange(5).view(1, 5), torch.arange(5, device="meta"), torch.ones(5).bool(),
    ],
    "unsorted_indices": [None, torch.arange(4), torch.arange(5) - 5, torch.arange(5)],
}  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
@layers
def test_fields_that_contradict_each_other(name, field):
    """Packed input with a field that does not go with the others is refused, with a state or not."""
    g = given(name, 1)
    for value in FIELDS[field]:
        packed = PACKED._replace(**{field: value})
        for hx in (g.hx, None):
            with pytest.raises(rnnkit.RnnkitError):
                g.module(packed, hx)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_positions_that_there_are_not():
    """Indices without a size, in a sparse order, or to places that there are not, the way back alone."""
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    order = PACKED.sorted_indices
    back = PACKED.unsorted_indices
    sparse = PACKED._replace(sorted_indices=order.to_sparse(), unsorted_indices=back.to_sparse())
    for name in LAYERS:
        layer = given(name, 1).module
        for packed in (PACKED._replace(unsorted_indices=nested), sparse):
            with pytest.raises(rnnkit.RnnkitError) as caught:
                layer(packed)
            assert caught.value.code == "packed-fields"
        for nowhere in ([3, 1, 0, 5, 2], [0, 1, 2, 3, -1]):
            packed = PackedSequence(*PACKED[:2], None, torch.tensor(nowhere))
            with pytest.raises((RuntimeError, IndexError)) as caught:  # torch reads no such place
                layer(packed)
            assert not isinstance(caught.value, rnnkit.RnnkitError)


class Counts(Tensor):
    """Numbers of samples of a class of a user's."""


def test_what_torch_reads_is_taken():
    """Sorted by hand, with the way back alone, with positions and counts of other classes."""

    def use(g):
        by_hand = pack_sequence([g.x[:n, 0] for n in (5, 3, 1)])
        data, sizes, order, back = g.packed
        taken = [
            by_hand,
            by_hand._replace(batch_sizes=by_hand.batch_sizes.as_subclass(Counts)),
            g.packed._replace(sorted_indices=order.int()),
            PackedSequence(data, sizes, None, back),
        ]
        return [g.module(one) for one in taken]

    check_uses(use, LAYERS)
