"""One step of any cell, with lengths and resets; of a user's cell, what it returned is checked."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.utils import _pytree as pytree

from rnnkit._base.callers import end_at_refusal
from rnnkit._base.errors import RnnkitError
from rnnkit._base.state import State
from rnnkit._base.torch_tools import is_jit_traced
from rnnkit._checks.cell_errors import (
    refuse_result,
    refuse_samples,
    refuse_shapes,
    refuse_signature,
    refuse_written,
)
from rnnkit._checks.objects import (
    beside,
    is_by_samples,
    is_result,
    tensor_without_samples,
    tensors_in,
    versions,
)
from rnnkit._modules.sequence import CellFunction, StepInputs, UnrollArgs, state_after, where_state


def run_step(
    cell: CellFunction,
    args: UnrollArgs,
    x_t: Tensor,
    hx: State | None,
    valid_t: Tensor | None,
    reset_t: Tensor | None,
    step: int,
    *,
    is_first: bool = False,
) -> tuple[State, State]:
    """Run one step with lengths and resets, as in the loop that the docstring of ``unroll`` shows.

    Returns the state that the cell returned, whose h is the output, and the one to go on with: a
    sample without this step keeps the state of its last.
    """
    if reset_t is not None:
        hx = by_samples(where_state, cell, reset_t, (args.initial, hx), step)
    if args.is_known or is_compiling():
        new = cell(x_t, hx)
    else:
        new = _checked_step(cell, x_t, hx, step)
        if is_first:
            check_first(cell, new, hx, len(x_t), step, has_lengths=valid_t is not None)
    if valid_t is None or hx is None:
        return new, new
    return new, by_samples(state_after, cell, valid_t, (new, hx), step)


def by_samples(
    choose: Callable[..., State],
    cell: CellFunction,
    mask: Tensor,
    states: tuple[State | None, State | None],
    step: int,
) -> State:
    """Choose between two states by a mask; refuse a user's cell if their shapes do not go."""
    try:
        return choose(mask, *states)
    except RuntimeError as error:
        if not isinstance(error, RnnkitError):
            new, old = states
            refuse_shapes(cell, [(step, *pair) for pair in beside(old, new)], error)
        raise


def _checked_step(cell: CellFunction, x_t: Tensor, hx: State | None, step: int) -> State:
    """Run one step of a user's cell, and check what it does."""
    before = versions(hx)  # how often each tensor was written
    try:
        new = cell(x_t, hx)
    except Exception as error:
        refuse_signature(cell, error)
        if isinstance(error, RnnkitError):
            end_at_refusal(error)  # the traceback
        # The cell's own exception goes on: its caller, or torch's checkpointing, waits for it.
        error.add_note(f"at step {step}, in {type(cell).__name__}")
        if hx is None:
            error.add_note("it has no initial_state(batch_size), and no hx was given")
        raise
    if versions(hx) != before:
        refuse_written(cell, hx, new, step)
    if not is_result(new, new if hx is None else hx):
        refuse_result(cell, new, hx, step)
    return new


def check_first(
    cell: CellFunction, new: State, hx: State | None, batch: int, step: int, *, has_lengths: bool
) -> None:
    """Check that the first step of a user's cell has returned the samples that it was given."""
    if is_jit_traced():
        return
    wrong = tensor_without_samples(hx, new, batch, has_lengths=has_lengths)
    if wrong is not None:
        refuse_samples(cell, wrong, batch, step)


def check_block(
    cell: CellFunction, new: State, hx: State, before: list[int], step: int, block: StepInputs
) -> None:
    """Check what a block of steps, the first at ``step``, has made of a state, or done to it.

    ``before`` is how often each tensor of the state was written.
    """
    if versions(hx) != before:
        refuse_written(cell, hx, new, step)
    if not is_result(new, hx):
        refuse_result(cell, new, hx, step)
    batch = block.input.shape[1]
    check_first(cell, new, hx, batch, step, has_lengths=block.valid is not None)


def counted(hx: State | None) -> Any:
    """Copy a state so that torch counts writes into it, which inference mode does not."""
    with torch.inference_mode(mode=False), torch.no_grad():
        return pytree.tree_map_only(Tensor, Tensor.clone, hx)


def check_begin(
    cell: CellFunction, states: tuple[State | None, State | None], input: Tensor, *, reverse: bool
) -> None:
    """Check that lengths and resets find the samples of a user's first states."""
    if is_compiling() or is_jit_traced():
        return
    steps, batch = input.shape[:2]
    first = steps - 1 if reverse else 0
    for state in states:
        for tensor in tensors_in(state):
            if not is_by_samples(tensor, batch):
                refuse_samples(cell, tensor, batch, first, "begins from")


def stacked(cell: CellFunction, tensors: list[Any] | tuple[Any, ...], order: range) -> Tensor:
    """Stack the tensors of all steps, and refuse a cell that makes them of several shapes."""
    try:
        return torch.stack(tensors)
    except RuntimeError as error:
        refuse_shapes(cell, [(step, tensors[order[0]], tensors[step]) for step in order], error)
        raise
