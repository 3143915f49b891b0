"""What is told of inputs: by a caller, an axis or a value for each; by sizes, the batch axis."""

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal
from rnnkit._diagnostics.inputs.lengths import counts_of
from rnnkit._diagnostics.run.outputs import Given, shape_of


def by_input(argument: str, passed: Any, given: Given) -> dict[int | str | None, Any]:
    """Return what was passed to an argument for each input, by position or keyword.

    A value that is no dictionary is for all inputs: its key is None. ``argument`` is the name of
    the argument, for a message; ``given`` are the inputs.
    """
    if not isinstance(passed, Mapping):
        return {} if passed is None or passed is False else {None: passed}
    names = [*range(len(given.args)), *given.kwargs]
    if not passed or not set(passed) <= set(names):
        message = f"{argument} takes inputs from {names}, got {', '.join(map(brief, passed))}"
        refusal(ArgumentError, argument, message, code="verify-argument")
    return {name: passed[name] for name in names if name in passed}


def axis_of(given: Any) -> int:
    """Return an axis as an int; refuse anything that is not an integer."""
    try:
        return operator.index(given)
    except TypeError:
        message = f"an axis is an int, got {brief(given)}"
        return refusal(ArgumentError, "inputs", message, code="verify-argument")


def batch_axis_of(leaf: Any, batch_dim: int, size: int) -> int | None:
    """Return the batch axis of a leaf: the usual one, or the only other axis of the batch's size.

    None if there is no such axis, or if no sample can be picked, as of a sparse tensor. A list has
    its samples on axis 0.
    """
    if not isinstance(leaf, Tensor):
        return 0 if len(counts_of(leaf)) == size else None
    if leaf.layout not in (torch.strided, torch.sparse_coo):
        return None  # no sample of it can be picked
    fitting = [k for k, n in enumerate(shape_of(leaf) or ()) if n == size]
    if batch_dim in fitting:
        return batch_dim
    return fitting[0] if len(fitting) == 1 else None
