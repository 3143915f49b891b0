"""Packed input whose fields contradict each other, which torch reads as they are."""

from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.errors import ArgumentError, LengthsError
from rnnkit._base.message import raise_for, refusal
from rnnkit._base.torch_tools import is_fake, values_are_abstract
from rnnkit._checks.arrays import outlined_array
from rnnkit._checks.call_spec import described, spec_of_layer
from rnnkit._checks.causes.inputs import diagnose_packed
from rnnkit._checks.odd_tensors import is_odd
from rnnkit._checks.packed_fields import INDICES, is_inverse


def check_packed(layer: Any, input: PackedSequence, *, given: bool) -> None:
    """Check that the fields of packed input fit each other.

    These are their dtypes and sizes, and the values that are on the CPU: no device is waited for.
    ``sorted_indices`` bring a state that is ``given`` into the data's order.
    """
    data, sizes, order, back = input
    if not isinstance(data, Tensor):
        _refuse_kind(layer, "data", "a Tensor", data)
    if not _is_index(sizes, (torch.int64,)):
        _refuse_kind(layer, "batch_sizes", "a Tensor (steps,) of int64", sizes)
    if sizes.device.type != "cpu":
        _refuse_kind(layer, "batch_sizes", "on the CPU", sizes.device)
    for name, index in (("sorted_indices", order), ("unsorted_indices", back)):
        if index is not None and not _is_index(index, INDICES):
            _refuse_kind(layer, name, "a Tensor (batch,) of int64", index)
        if index is not None and index.device != data.device:
            _refuse_kind(layer, name, f"on {data.device}, as the data are", index.device)
    if values_are_abstract() or is_fake(sizes):
        return
    counts = sizes.tolist()
    if not counts or counts[-1] < 1 or sorted(counts, reverse=True) != counts:
        _refuse(layer, "batch_sizes fall from the number of sequences, and are 1 or more")
    if data.dim() and sum(counts) > data.shape[0]:
        raise_for(diagnose_packed(spec_of_layer(layer, input), input))
    if data.dim() and sum(counts) < data.shape[0]:
        _refuse(layer, f"batch_sizes count {sum(counts)} steps, the data have {data.shape[0]}")
    if order is None and (back is None or not given):
        # Without a state torch reorders only the last one, with any places that there are.
        places = [] if back is None or not back.is_cpu or is_fake(back) else back.tolist()
        if not all(0 <= place < counts[0] for place in places):
            _refuse(layer, f"unsorted_indices are positions among the {counts[0]} sequences")
        return
    if order is None or back is None:
        _refuse(layer, "sorted_indices and unsorted_indices come together")
    for name, index in (("sorted_indices", order), ("unsorted_indices", back)):
        if len(index) != counts[0]:
            _refuse(layer, f"{name} have {len(index)} positions for {counts[0]} sequences")
    if not order.is_cpu or is_fake(order) or is_fake(back):
        return
    if not is_inverse(order.tolist(), back.tolist(), counts[0]):
        _refuse(layer, "unsorted_indices undo sorted_indices, each position once")


def _is_index(index: Any, dtypes: tuple[torch.dtype, ...]) -> bool:
    return (
        isinstance(index, Tensor)
        and not is_odd(index)
        and index.dim() == 1
        and index.dtype in dtypes
    )


def _refuse_kind(layer: Any, field: str, wants: str, got: object) -> NoReturn:
    fix = "torch.nn.utils.rnn.pack_padded_sequence makes packed input, with all its fields"
    sentence = f"{field} of packed input must be {wants}, got {outlined_array(got)}"
    row = ("fix", fix)
    refusal(ArgumentError, "input", sentence, described(layer), row, code="packed-fields")


def _refuse(layer: Any, rule: str) -> NoReturn:
    sentence = f"the fields of packed input contradict each other: {rule}"
    fix = "input._replace(data=...) keeps the others; pack_padded_sequence makes them all"
    row = ("fix", fix)
    refusal(LengthsError, "input", sentence, described(layer), row, code="packed-fields")
