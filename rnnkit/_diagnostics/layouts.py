"""Inputs whose steps are on different axes: laid out alike, and back again where the model runs."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import refusal
from rnnkit._diagnostics.axes import check_dims
from rnnkit._diagnostics.isolation import Call, Given

#: Which two axes change places, by the position or the keyword of an input.
Swaps = Mapping[int | str, tuple[int, int]]


def read_seq_dim(seq_dim: Any, given: Given) -> tuple[int | None, Swaps]:
    """Return the seq axis of the first input that has one told, and how others differ from it."""
    if not isinstance(seq_dim, Mapping):
        check_dims(seq_dim=seq_dim)
        return seq_dim, {}
    names = [*range(len(given.args)), *given.kwargs]
    if not seq_dim or not set(seq_dim) <= set(names):
        message = f"seq_dim takes inputs from {names}, got {list(seq_dim)}"
        refusal(ArgumentError, "seq_dim", message, code="verify-axis")
    for axis in seq_dim.values():
        check_dims("seq_dim", seq_dim=axis)
    first, *_ = (seq_dim[name] for name in names if name in seq_dim)
    return first, {name: (first, axis) for name, axis in seq_dim.items() if axis != first}


def swapped(given: Given, swaps: Swaps) -> Given:
    """Return inputs with two axes of some of them exchanged; a second time brings them back."""

    def swap(name: int | str, value: Any) -> Any:
        if name not in swaps:
            return value
        axes = swaps[name]

        def exchange(tensor: Tensor) -> Tensor:
            fits = all(-tensor.dim() <= axis < tensor.dim() for axis in axes)
            return tensor.transpose(*axes).contiguous() if fits else tensor

        return pytree.tree_map_only(Tensor, exchange, value)

    args = tuple(swap(place, value) for place, value in enumerate(given.args))
    return Given(args, {name: swap(name, value) for name, value in given.kwargs.items()})


def swapping(call: Call | None, swaps: Swaps) -> Callable[..., Any]:
    """Return what calls a model with the inputs as the caller gave them."""

    def run(model: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        back = swapped(Given(args, kwargs), swaps)
        return (call or (lambda model, *a, **k: model(*a, **k)))(model, *back.args, **back.kwargs)

    return run
