"""Whether an input has values that can be changed, each at its place."""

from collections.abc import Sequence
from typing import Any, NoReturn, TypeGuard

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refuse


def is_dense(leaf: Any) -> TypeGuard[Tensor]:
    """Return whether a value is a dense tensor: with a place in memory for each number."""
    return isinstance(leaf, Tensor) and leaf.layout is torch.strided


def check_values(leaves: Sequence[Any]) -> None:
    """Refuse inputs if one of them has no values at all."""
    for leaf in leaves:
        if isinstance(leaf, Tensor) and leaf.is_meta:
            fix = "pass a batch of real data, as a DataLoader yields it"
            _refuse(f"{brief(leaf)} on the meta device, which stores none", fix)


def first_with_axis(every: Sequence[Any], dim: int, places: Sequence[int]) -> int:
    """Return the index of the first leaf at some places that has the axis ``dim`` and is dense.

    A leaf is one tensor of the inputs, and ``every`` holds them all. Refuse them if there is none:
    its samples, or steps, could not be changed. Empty tensors do not count, such as the categories
    in a data set that has none.
    """
    leaves = [every[k] for k in places]
    if any(isinstance(x, PackedSequence) or getattr(x, "is_nested", False) for x in leaves):
        message = "a packed input has no batch axis to change: pass the padded batch and lengths"
        refuse(ArgumentError, "inputs", message, code="verify-packed")
    for k, x in zip(places, leaves, strict=True):
        if isinstance(x, Tensor) and x.numel() and -x.dim() <= dim < x.dim():
            if not is_dense(x):
                why = "only other inputs may be sparse, such as an adjacency matrix"
                _refuse(f"{brief(x)} in layout {x.layout}", f"x.to_dense(), since {why}")
            return k
    if not any(isinstance(leaf, Tensor) for leaf in leaves):
        _refuse_no_tensors(leaves)
    message = f"no input has an axis {dim} with numbers, got {', '.join(map(brief, leaves))}"
    return refuse(ArgumentError, "inputs", message, code="verify-axis")


def _refuse_no_tensors(leaves: Sequence[Any]) -> NoReturn:
    """Refuse inputs without any tensor; say how arrays, or an object around tensors, are given.

    ``leaves`` are the values of the inputs in one list.
    """
    got = ", ".join(map(brief, leaves)) or "nothing"
    others = [leaf for leaf in leaves if hasattr(leaf, "__dict__")]
    fix = "pass a batch of tensors, (batch, seq, ...)"
    if any(hasattr(leaf, "__array_interface__") for leaf in leaves):
        fix = "x = torch.as_tensor(x)"
    elif others:
        name = type(others[0]).__name__
        fix = f"call=lambda model, x: model({name}(x)), and its tensors for the inputs"
    message = f"inputs must be tensors, got {got}"
    refuse(ArgumentError, "inputs", message, "", ("fix", fix), code="verify-inputs")


def _refuse(got: str, fix: str) -> NoReturn:
    """Refuse inputs that are not dense tensors with values, and say what came instead."""
    message = f"inputs must be dense tensors with values, got {got}"
    refuse(ArgumentError, "inputs", message, "", ("fix", fix), code="verify-inputs")
