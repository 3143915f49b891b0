"""Whether an input has values that can be changed, each at its place."""

from collections.abc import Sequence
from typing import Any, NoReturn, TypeGuard

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal


def is_dense(leaf: Any) -> TypeGuard[Tensor]:
    """Return whether a value is a dense tensor: with a place in memory for each number."""
    return isinstance(leaf, Tensor) and leaf.layout is torch.strided


def check_values(leaves: Sequence[Any]) -> None:
    """Refuse inputs if one of them has no values at all."""
    for leaf in leaves:
        if isinstance(leaf, Tensor) and leaf.is_meta:
            fix = "a batch of real data, as a DataLoader yields it"
            _refuse(f"{brief(leaf)} on the meta device, which has no values", fix)


def check_dense(leaf: Tensor) -> None:
    """Refuse an input whose samples are to be changed if it is not dense."""
    if not is_dense(leaf):
        fix = "x.to_dense(); another input may be sparse, such as an adjacency matrix"
        _refuse(f"{brief(leaf)} in layout {leaf.layout}", fix)


def refuse_no_tensors(leaves: Sequence[Any]) -> NoReturn:
    """Refuse inputs without any tensor; say how arrays, or an object around tensors, are given."""
    got = ", ".join(map(brief, leaves)) or "nothing"
    others = [leaf for leaf in leaves if hasattr(leaf, "__dict__")]
    fix = "a batch of tensors, (batch, seq, ...)"
    if any(hasattr(leaf, "__array_interface__") for leaf in leaves):
        fix = "x = torch.as_tensor(x)"
    elif others:
        name = type(others[0]).__name__
        fix = f"call=lambda model, x: model({name}(x)), and its tensors for the inputs"
    message = f"inputs must be tensors, got {got}"
    refusal(ArgumentError, "inputs", message, "", ("fix", fix), code="verify-inputs")


def _refuse(got: str, fix: str) -> NoReturn:
    message = f"inputs must be dense tensors with values, got {got}"
    refusal(ArgumentError, "inputs", message, "", ("fix", fix), code="verify-inputs")
