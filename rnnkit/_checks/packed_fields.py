"""Packed input: whether its fields agree, which torch reads as they are."""

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.errors import LengthsError
from rnnkit._base.message import refusal
from rnnkit._base.torch_tools import is_fake, values_are_abstract
from rnnkit._checks.arrays import outlined_array
from rnnkit._checks.call_spec import described


def fitting_fields(input: PackedSequence, *, given: bool) -> int | str:
    """Return how many sequences are packed, -1 if values may not be read, or the broken rule.

    Dtypes and sizes are compared, the values of ``batch_sizes``, which are on the CPU, and the
    values of the indices where these are on the CPU, too, so that no device is waited for. A state
    that is ``given`` is brought into the data's order by ``sorted_indices``.
    """
    data, sizes, order, back = input
    if not isinstance(data, Tensor):
        return "data must be a Tensor"
    if not (
        isinstance(sizes, Tensor)
        and sizes.dtype is torch.int64
        and sizes.layout is torch.strided
        and sizes.is_cpu
        and sizes.dim() == 1
    ):
        return "batch_sizes must be a Tensor (steps,) of int64, on the CPU"
    if not (_is_index(order, data) and _is_index(back, data)):
        return "the indices must be Tensors (batch,) of int64, on the device of the data"
    if values_are_abstract() or is_fake(sizes):
        return -1
    counts = sizes.tolist()
    if not counts or counts[-1] < 1 or sorted(counts, reverse=True) != counts:
        return "batch_sizes must fall from the number of sequences, and be 1 or more"
    if data.dim() and sum(counts) != data.shape[0]:
        return f"batch_sizes count {sum(counts)} steps, the data have {data.shape[0]}"
    batch: int = counts[0]
    if order is None and (back is None or not given):
        # Without a state torch brings only the last one back, with any places that there are.
        if back is None or not back.is_cpu or is_fake(back):
            return batch
        fits = all(0 <= place < batch for place in back.tolist())
        return batch if fits else f"unsorted_indices must be positions among the {batch} sequences"
    if order is None or back is None:
        return "sorted_indices and unsorted_indices must come together"
    if len(order) != batch or len(back) != batch:
        return f"both indices must have one position for each of the {batch} sequences"
    if not order.is_cpu or is_fake(order) or is_fake(back):
        return batch
    places, inverse, ends = order.tolist(), back.tolist(), list(range(batch))
    if sorted(places) == ends and [inverse[place] for place in places] == ends:
        return batch
    return "unsorted_indices must undo sorted_indices, each position once"


def _is_index(index: Any, data: Tensor) -> bool:
    return index is None or (
        isinstance(index, Tensor)
        and index.dtype in (torch.int64, torch.int32)  # which index_select takes
        and index.layout is torch.strided
        and not index.is_nested
        and index.dim() == 1
        and index.device == data.device
    )


def refuse_fields(layer: Any, input: PackedSequence, rule: str) -> NoReturn:
    """Refuse packed input whose fields break a rule: often, lengths beyond the padded steps."""
    names = ("data", "batch_sizes", "sorted_indices", "unsorted_indices")
    parts = [f"{name} {outlined_array(value)}" for name, value in zip(names, input, strict=True)]
    came = ", ".join(parts)
    fix = "input._replace(data=...) keeps the others; pack_padded_sequence makes them all"
    code, rows = "packed-fields", [("got", came), ("fix", fix)]
    sentence, headline = f"the fields of packed input do not fit: {rule}", described(layer)
    if rule.startswith("batch_sizes count") and input.batch_sizes.sum() > len(input.data):
        counts, steps = input.batch_sizes.tolist(), len(input.data)
        last = next(k for k in range(len(counts)) if sum(counts[: k + 1]) > steps)
        start = f"start ({sum(counts[:last])}) + length ({counts[last]})"
        sentence = f"{start} exceeds dimension size ({steps})."
        headline += ": a length was larger than the number of steps that were packed"
        fix = "check how the lengths were counted; to cut them: lengths.clamp(max=steps)"
        code, rows = "lengths-packed-range", [("evidence", rule), ("fix", fix)]
    refusal(LengthsError, "input", sentence, headline, *rows, code=code)
