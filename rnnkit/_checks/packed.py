"""Packed input whose fields contradict each other, which torch reads as they are."""

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.errors import ArgumentError, LengthsError
from rnnkit._base.message import Row, brief, raise_for, refusal
from rnnkit._base.torch_tools import hides_values, is_fake
from rnnkit._checks.call_spec import described, spec_of_layer
from rnnkit._checks.causes.inputs import diagnose_packed
from rnnkit._checks.odd_tensors import is_odd
from rnnkit._checks.packed_fields import INDICES, is_inverse


def check_packed(layer: Any, input: PackedSequence, *, given: bool) -> None:
    """Hold the fields of packed input to each other.

    Their dtypes and sizes and the values of ``batch_sizes``, which are on the CPU; values of the
    indices only where they are on the CPU too, so that no device is waited for. A state that is
    ``given`` is brought into the data's order by ``sorted_indices``.
    """
    _check_kinds(layer, input)
    data, sizes, order, back = input
    if hides_values() or is_fake(sizes):
        return
    counts = sizes.tolist()
    if not counts or counts[-1] < 1 or sorted(counts, reverse=True) != counts:
        _refuse(layer, "batch_sizes fall from the number of sequences, and are 1 or more")
    if data.dim() and sum(counts) > data.shape[0]:
        raise_for(diagnose_packed(spec_of_layer(layer, input), input))
    if data.dim() and sum(counts) < data.shape[0]:
        sums = f"batch_sizes add up to {sum(counts)} steps, the data have {data.shape[0]}"
        _refuse(layer, "batch_sizes count the steps of the data", ("evidence", sums))
    if order is not None or (back is not None and given):
        _check_order(layer, order, back, counts[0])
    elif back is not None and back.is_cpu and not is_fake(back):
        # Without a state torch brings the last one back alone, with any places that there are.
        places = back.tolist()
        if not all(0 <= place < counts[0] for place in places):
            rule = f"unsorted_indices are positions among the {counts[0]} sequences"
            _refuse(layer, rule, ("evidence", f"they reach from {min(places)} to {max(places)}"))


def _check_kinds(layer: Any, input: PackedSequence) -> None:
    data, sizes, order, back = input
    if not isinstance(data, Tensor):
        _refuse_kind(layer, "data", "a Tensor", data)
    if (
        not isinstance(sizes, Tensor)
        or sizes.dim() != 1
        or sizes.dtype is not torch.int64
        or is_odd(sizes)
    ):
        _refuse_kind(layer, "batch_sizes", "a Tensor (steps,) of int64", sizes)
    if sizes.device.type != "cpu":
        _refuse_kind(layer, "batch_sizes", "on the CPU", sizes.device)
    for name, index in (("sorted_indices", order), ("unsorted_indices", back)):
        if index is None:
            continue
        if (
            not isinstance(index, Tensor)
            or index.dim() != 1
            or index.dtype not in INDICES
            or is_odd(index)
        ):
            _refuse_kind(layer, name, "a Tensor (batch,) of int64", index)
        if index.device != data.device:
            _refuse_kind(layer, name, f"on {data.device}, as the data are", index.device)


def _check_order(layer: Any, order: Tensor | None, back: Tensor | None, batch: int) -> None:
    if order is None or back is None:
        _refuse(layer, "sorted_indices and unsorted_indices come together")
    for name, index in (("sorted_indices", order), ("unsorted_indices", back)):
        if len(index) != batch:
            sizes = f"there are {len(index)} of them, and {batch} sequences"
            _refuse(layer, f"{name} have one position for each sequence", ("evidence", sizes))
    if order.device.type != "cpu" or is_fake(order) or is_fake(back):
        return
    if not is_inverse(order.tolist(), back.tolist(), batch):
        _refuse(layer, "unsorted_indices undo sorted_indices, each position once")


def _refuse_kind(layer: Any, field: str, wants: str, got: object) -> NoReturn:
    came = brief(got)
    if isinstance(got, Tensor) and not is_odd(got):
        came = f"{got.dtype} {tuple(got.shape)}"
    refusal(
        ArgumentError,
        "input",
        f"{field} of packed input must be {wants}, got {came}",
        described(layer),
        ("fix", "torch.nn.utils.rnn.pack_padded_sequence makes packed input, with all its fields"),
        code="packed-fields",
    )


def _refuse(layer: Any, rule: str, *rows: Row) -> NoReturn:
    refusal(
        LengthsError,
        "input",
        f"the fields of packed input contradict each other: {rule}",
        described(layer),
        *rows,
        ("fix", "input._replace(data=...) keeps the others; pack_padded_sequence makes them all"),
        code="packed-fields",
    )
