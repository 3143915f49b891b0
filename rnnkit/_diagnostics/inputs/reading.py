"""The inputs of a model, read as a batch: what a caller and sizes say of their axes."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch.utils import _pytree as pytree

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import bounded, brief, refuse
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.by_input import (
    axis_of,
    batch_axis_of,
    by_input,
    check_values,
    first_with_axis,
    seq_axis_of,
)
from rnnkit._diagnostics.inputs.lengths import counts_of, is_content
from rnnkit._diagnostics.run.outputs import Given, is_one_leaf

#: Calls a model with what is given.
Caller = Callable[..., Any]


def bound_to(model: Any, call: Caller | None, given: Given) -> inspect.BoundArguments:
    """Return inputs by the names of the arguments that take them; nothing if these are unknown.

    They are the arguments of ``call``, the user's way to call the model, or else of its forward.
    """
    try:
        found = inspect.signature(call or model.forward)
        first = 1 if call else 0  # a call takes the model before its inputs
        own = [*found.parameters.values()][first:]
        return found.replace(parameters=own).bind(*given.args, **given.kwargs)
    except (TypeError, ValueError):
        return inspect.Signature().bind()


def batch_of(
    inputs: Given,
    batch_dim: int,
    seq_dim: Any = None,
    lengths: Any = None,
    pad: str = "post",
    caller: str = "verify",
) -> Batch:
    """Find the batch axis of each leaf of the inputs, and the sequence, whose steps are judged.

    A leaf is a tensor, or another value. The sequence is the first leaf with a seq axis or lengths
    that the caller names; else the first with data and steps (as many as the longest of lengths for
    all, if given). ``seq_dim`` and ``lengths`` are for all inputs, or dictionaries by position or
    keyword; ``pad`` is "post" if padding is after a sample, and else "pre". ``caller`` is the
    public function that was called.
    """
    leaves, spec = pytree.tree_flatten(inputs, is_leaf=is_one_leaf)
    check_values(leaves, caller)
    batch_dim = axis_of(batch_dim)
    first = first_with_axis(leaves, batch_dim, range(len(leaves)))
    data = leaves[first]
    batch_dim %= data.dim()
    size = data.shape[batch_dim]
    axes = [batch_axis_of(leaf, batch_dim, size) for leaf in leaves]
    seq_dims = {k: seq_axis_of(leaf, batch_dim, data) for k, leaf in enumerate(leaves)}
    named: list[int] = []  # leaves whose seq axis the caller names
    for name, given in by_input("seq_dim", seq_dim, inputs).items():
        places = places_of(spec, name)
        axis = axis_of(given)
        index = first_with_axis(leaves, axis, places)
        dim: int = axis % leaves[index].dim()
        if dim == batch_dim and first in places:
            message = f"seq_dim and batch_dim are both axis {dim} of the input"
            refuse(ArgumentError, "seq_dim", message, code="verify-axis")
        seq_dims |= dict.fromkeys(places, dim)
        if name is not None:
            named.append(index)
    batch = Batch(
        leaves,
        spec,
        first,
        axes,
        seq_dims,
        size,
        caller_indices=[*range(size)],
        whole_size=size,
        content=[k for k, leaf in enumerate(leaves) if is_content(leaf, seq_dims[k])],
        sequence=first,
        pads_after=pad == "post",
    )
    told = by_input("lengths", lengths, inputs)
    longest = max(counts_of(told.get(None)), default=0)
    usual = [k for k in batch.content if axes[k] == batch_dim and batch.length(k)]
    fitting = [k for k in usual if batch.length(k) == longest]
    batch = batch.with_steps_of([*named, *fitting, *usual, first][0])
    counts = dict(_read_lengths(batch, name, given) for name, given in told.items())
    # Lengths count for more.
    return replace(batch, lengths=counts).with_steps_of(next(iter(counts), batch.sequence))


def places_of(spec: Any, name: int | str | None) -> list[int]:
    """Return the indices of the leaves of an input, by position or keyword; of all for None.

    ``spec`` is the structure of all inputs.
    """
    numbers: Any = pytree.tree_unflatten(range(spec.num_leaves), spec)
    if name is not None:
        numbers = numbers.args[name] if isinstance(name, int) else numbers.kwargs[name]
    return pytree.tree_leaves(numbers)


def _read_lengths(batch: Batch, name: int | str | None, given: Any) -> tuple[int, list[int]]:
    """Check the lengths ``given`` of an input, of the sequence if ``name`` is None.

    Return the index of the leaf that they are of, and the valid steps of each sample.
    """
    places = [batch.sequence] if name is None else places_of(batch.spec, name)
    index = next(filter(batch.length, places), batch.sequence)
    counts = counts_of(given)
    steps = batch.length(index)
    is_one_each = len(counts) == batch.size
    if not is_one_each or not 0 < min(counts) <= max(counts) <= steps:
        values = counts if is_one_each else given
        got = bounded(str(values), 40) if isinstance(values, list) else brief(values)
        text = f"lengths must be {batch.size} integers, each from 1 to {steps} steps, got {got}"
        fix = "pass the number of valid steps of each sample, such as lengths=mask.sum(1)"
        refuse(ArgumentError, "lengths", text, fix=fix, code="verify-lengths")
    return index, counts
