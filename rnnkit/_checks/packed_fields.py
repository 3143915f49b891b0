"""The guard of packed input: whether its fields agree, which torch reads as they are."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.torch_tools import is_fake, values_are_abstract

#: What torch's index_select takes.
INDICES = (torch.int64, torch.int32)


def fitting_fields(input: PackedSequence, *, given: bool) -> int:
    """Return how many sequences are packed if the fields agree, -1 if values may not be read, or 0.

    Dtypes and sizes are compared, the values of ``batch_sizes``, which are on the CPU, and the
    values of the indices where these are on the CPU, too, so that no device is waited for. A state
    that is ``given`` is brought into the data's order by ``sorted_indices``.
    """
    data, sizes, order, back = input
    if not (
        isinstance(data, Tensor)
        and isinstance(sizes, Tensor)
        and sizes.dtype is torch.int64
        and sizes.layout is torch.strided
        and sizes.is_cpu
        and sizes.dim() == 1
        and sizes.is_contiguous()  # torch takes memory in strides for a row
        and _is_index(order, data)
        and _is_index(back, data)
    ):
        return 0
    if values_are_abstract() or is_fake(sizes):
        return -1
    counts = sizes.tolist()
    if not counts or counts[-1] < 1 or sorted(counts, reverse=True) != counts:
        return 0
    if data.dim() and sum(counts) != data.shape[0]:
        return 0
    batch: int = counts[0]
    if order is None and (back is None or not given):
        # Without a state torch brings only the last one back, with any places that there are.
        if back is None or not back.is_cpu or is_fake(back):
            return batch
        return batch if all(0 <= place < batch for place in back.tolist()) else 0
    if order is None or back is None or len(order) != batch or len(back) != batch:
        return 0
    if not order.is_cpu or is_fake(order) or is_fake(back):
        return batch
    return batch if is_inverse(order.tolist(), back.tolist(), batch) else 0


def _is_index(index: Any, data: Tensor) -> bool:
    return index is None or (
        isinstance(index, Tensor)
        and index.dtype in INDICES
        and index.layout is torch.strided
        and not index.is_nested
        and index.dim() == 1
        and index.device == data.device
    )


def is_inverse(places: Any, inverse: Any, batch: int) -> bool:
    """Return whether these are an order of a batch, and the one that undoes it."""
    if len(places) != batch or len(inverse) != batch:
        return False
    ends = list(range(batch))
    return sorted(places) == ends and [inverse[place] for place in places] == ends
