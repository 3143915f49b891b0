"""Inputs that are taken apart to be changed, and put back together for each call of the model."""

import dataclasses
import operator
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.inputs.reading import Call
from rnnkit._diagnostics.run.outputs import Given, is_one_leaf


def with_fields(given: Given, call: Call | None) -> tuple[Given, Call | None]:
    """Return inputs with a dictionary for each dataclass, and a ``call`` that puts those back.

    ``call(model, *inputs)`` is the user's way to call the model, or None. So each field of a
    dataclass is an input of its own, as the values of a dictionary are. A list with a sequence of
    each sample becomes a dictionary as well, of a padded batch and its lengths.
    """
    if not any(map(_has_fields, pytree.tree_leaves(given, is_leaf=_is_kept))):
        return given, call

    def with_whole_values(model: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the model with the values that were given in place of their dictionaries."""
        whole = pytree.tree_map(_put_back, given, Given(args, kwargs), is_leaf=_is_kept)
        returned = (call or operator.call)(model, *whole.args, **whole.kwargs)
        return pytree.tree_map(_padded, returned, is_leaf=_are_sequences)

    return pytree.tree_map(_fields_of, given, is_leaf=_is_kept), with_whole_values


def _has_fields(value: Any) -> bool:
    """Return whether a value is taken apart: a dataclass, or a list with a sequence of each."""
    return _is_dataclass(value) or _is_ragged(value)


def _is_dataclass(value: Any) -> bool:
    """Return whether a value is an instance of a dataclass."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _are_sequences(value: Any) -> bool:
    """Return whether a value is a list of tensors that may differ in axis 0 only."""
    if not isinstance(value, list):
        return False
    if not all(isinstance(row, Tensor) and row.dim() for row in value):
        return False
    return len({(row.shape[1:], row.dtype) for row in value}) == 1


def _is_ragged(value: Any) -> bool:
    """Return whether a value is a list with a sequence of each sample, not all of one length.

    Two may be a source and a target, tensors of one shape steps, and tokens with two axes a batch.
    """
    if not _are_sequences(value) or len(value) < 3 or len({*map(len, value)}) == 1:
        return False
    first: Tensor = value[0]
    return first.dim() == 1 or (first.dim() == 2 and first.is_floating_point())


def _is_kept(value: Any) -> bool:
    """Return whether a value stays whole: one that is taken apart, or a leaf of the inputs."""
    return _has_fields(value) or is_one_leaf(value)


def _fields_of(value: Any) -> Any:
    """Return the fields of a value that is taken apart by name, and anything else as it is."""
    if _is_dataclass(value):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value) if one.init}
    if _is_ragged(value):
        lengths = torch.tensor([len(row) for row in value], device="cpu")
        return {"padded": _padded(value), "lengths": lengths}
    return value


def _put_back(whole: Any, fields: Any) -> Any:
    """Return what ``whole`` was, with the values of ``fields``.

    If ``whole`` was not taken apart, return ``fields``.
    """
    if _is_dataclass(whole):
        return dataclasses.replace(whole, **fields)
    if _is_ragged(whole):
        rows = zip(fields["padded"], fields["lengths"].tolist(), strict=True)
        return [row[:length] for row, length in rows]
    return fields


def _padded(value: Any) -> Any:
    """Return a list with a sequence of each sample as one tensor, and anything else as it is."""
    return pad_sequence(value, batch_first=True) if _are_sequences(value) else value
