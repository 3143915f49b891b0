"""Inputs that are taken apart to be changed, and put back together for each call of the model."""

import dataclasses
import operator
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.inputs.reading import Caller
from rnnkit._diagnostics.run.outputs import Given, is_one_leaf


def with_fields(given: Given, call: Caller | None) -> tuple[Given, Caller | None]:
    """Return inputs with a dictionary for each dataclass, and a ``call`` that puts those back.

    ``call(model, *inputs)`` is the user's way to call the model, or None. So each field of a
    dataclass is an input of its own, as the values of a dictionary are.
    """
    if not any(map(_is_dataclass, pytree.tree_leaves(given, is_leaf=_is_kept))):
        return given, call

    def with_dataclasses(model: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the model with dataclasses in place of the dictionaries of their fields."""
        whole = pytree.tree_map(_put_back, given, Given(args, kwargs), is_leaf=_is_kept)
        return (call or operator.call)(model, *whole.args, **whole.kwargs)

    return pytree.tree_map(_fields_of, given, is_leaf=_is_kept), with_dataclasses


def _is_dataclass(value: Any) -> bool:
    """Return whether a value is an instance of a dataclass."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _is_kept(value: Any) -> bool:
    """Return whether a value stays whole: a dataclass, or what is one leaf of the inputs."""
    return _is_dataclass(value) or is_one_leaf(value)


def _fields_of(value: Any) -> Any:
    """Return the fields of a dataclass by name, and anything else as it is."""
    if not _is_dataclass(value):
        return value
    return {one.name: getattr(value, one.name) for one in dataclasses.fields(value) if one.init}


def _put_back(whole: Any, fields: Any) -> Any:
    """Return the dataclass ``whole`` with the values of ``fields``.

    If ``whole`` is no dataclass, return ``fields``.
    """
    return dataclasses.replace(whole, **fields) if _is_dataclass(whole) else fields


def with_padded(given: Given, call: Caller | None) -> tuple[Given, Caller | None]:
    """Return inputs with a padded batch for a list with a sequence of each sample.

    The first input has to be such a list; others with as many sequences are padded as well. Beside
    it stand its lengths, by which the returned ``call`` cuts the sequences again. What a model
    returns as such a list is padded as well.
    """
    first = [*given.args, *given.kwargs.values()][:1]
    if not any(map(_is_ragged, first)):
        return given, call
    samples = len(first[0])

    def is_list(value: Any) -> bool:
        """Return whether a value has a sequence of each sample."""
        return _is_ragged(value) and len(value) == samples

    def is_kept(value: Any) -> bool:
        """Return whether a value stays whole: such a list, or what is one leaf of the inputs."""
        return is_list(value) or is_one_leaf(value)

    def padded(value: Any) -> Any:
        """Return a list as a padded batch and its lengths, and anything else as it is."""
        if not is_list(value):
            return value
        lengths = torch.tensor([len(row) for row in value], device="cpu")
        return {"padded": _in_one([*value]), "lengths": lengths}

    def cut(whole: Any, fields: Any) -> Any:
        """Return the sequences of a padded batch, if ``whole`` was a list with them."""
        if not is_list(whole):
            return fields
        rows = zip(fields["padded"], fields["lengths"].tolist(), strict=True)
        return type(whole)(row[:length] for row, length in rows)

    def with_lists(model: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the model with lists of sequences in place of padded batches."""
        whole = pytree.tree_map(cut, given, Given(args, kwargs), is_leaf=is_kept)
        returned = (call or operator.call)(model, *whole.args, **whole.kwargs)
        return pytree.tree_map(_in_one, returned, is_leaf=_are_sequences)

    return pytree.tree_map(padded, given, is_leaf=is_kept), with_lists


def _are_sequences(value: Any) -> bool:
    """Return whether a value is a list of tensors that may differ in axis 0 only."""
    if not isinstance(value, list):
        return False
    if not all(isinstance(row, Tensor) and row.dim() for row in value):
        return False
    return len({(row.shape[1:], row.dtype) for row in value}) == 1


def _is_ragged(value: Any) -> bool:
    """Return whether a list, or tuple, has a sequence of each sample, not all of one length.

    Two may be a source and a target, tensors of one shape steps, and tokens with two axes a batch.
    """
    if type(value) is tuple:
        value = [*value]
    if not _are_sequences(value) or len(value) < 3 or len({*map(len, value)}) == 1:
        return False
    first: Tensor = value[0]
    return first.dim() == 1 or (first.dim() == 2 and first.is_floating_point())


def _in_one(value: Any) -> Any:
    """Return a list with a sequence of each sample as one tensor, and anything else as it is."""
    return pad_sequence(value, batch_first=True) if _are_sequences(value) else value
