"""What a model returns, as leaves that can be compared."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.utils import _pytree as pytree

Leaves = list[Any]


def leaves(tree: Any) -> Leaves:
    """Return the leaves of a model's output.

    What is packed or nested is one, padded; a complex tensor is one of pairs; of a mapping or a
    dataclass that torch does not take apart, those of its values.
    """
    found = pytree.tree_leaves(tree, is_leaf=lambda node: isinstance(node, PackedSequence))
    return [part for leaf in found for part in _parts(leaf)]


def _parts(leaf: Any) -> Leaves:
    if isinstance(leaf, PackedSequence):
        return [pad_packed_sequence(leaf)[0]]
    if isinstance(leaf, Tensor):
        plain = leaf.to_padded_tensor(0.0) if leaf.is_nested else leaf
        return [torch.view_as_real(plain) if plain.is_complex() else plain]
    if isinstance(leaf, Mapping):
        return leaves(list(leaf.values()))
    if is_dataclass(leaf) and not isinstance(leaf, type):
        return leaves([getattr(leaf, field.name) for field in fields(leaf)])
    return [leaf]


def same(one: Tensor, other: Tensor) -> bool:
    """Compare bit for bit, a NaN being equal to a NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    # The slow way round only where something differs, or may be a NaN.
    return torch.equal(one, other) or bool(
        torch.isclose(one, other, rtol=0, atol=0, equal_nan=True).all()
    )
