"""Whether an input has values that can be changed, each at its place."""

from collections.abc import Sequence
from typing import Any, NoReturn, TypeGuard

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal


def is_dense(leaf: Any) -> TypeGuard[Tensor]:
    """Return whether a leaf is a tensor that has a place in memory for each value."""
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


def _refuse(got: str, fix: str) -> NoReturn:
    message = f"inputs must be dense tensors with values, got {got}"
    refusal(ArgumentError, "inputs", message, "", ("fix", fix), code="verify-inputs")
