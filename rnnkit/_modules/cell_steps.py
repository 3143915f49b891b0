"""One step of any cell, with lengths and resets; of a user's cell, what it returned is checked."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.utils import _pytree as pytree

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
    """Run one step of a cell with lengths and resets.

    ``x_t`` is ``(batch, feature)``; ``hx`` is the state before the step, None if the cell makes it.
    ``valid_t`` and ``reset_t``, ``(batch,)``, are true of samples that have this step, and of those
    that start again from ``args.initial`` before it; None if there are no lengths or resets.
    ``step`` is its number, for errors. Returns the state that the cell returned, whose h is the
    output, and the one to go on with: a sample without this step keeps the state of its last. What
    a user's cell returns is checked, at the first step (``is_first``) also its samples.
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
    """Choose between two states by a mask, ``(batch,)`` or ``(seq, batch)``.

    ``states`` are the one where the mask is true, and the other. ``choose`` is what picks from
    them, ``where_state`` or ``state_after``. If their shapes do not fit together, the error says at
    which ``step`` the user's cell changed them.
    """
    try:
        return choose(mask, *states)
    except RuntimeError as error:
        if not isinstance(error, RnnkitError):
            new, old = states
            refuse_shapes(cell, [(step, *pair) for pair in beside(old, new)], error)
        raise


def _checked_step(cell: CellFunction, x_t: Tensor, hx: State | None, step: int) -> State:
    """Run one step of a user's cell, and return its state, or raise what is wrong with it.

    It must not write into the state that it is given, and must return one of the same kind. Its own
    exception goes on, with a note that names the step.
    """
    before = versions(hx)  # how often each tensor was written
    try:
        new = cell(x_t, hx)
    except Exception as error:
        refuse_signature(cell, error)
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
    """Raise unless the first step of a user's cell returned the ``batch`` samples that it got.

    ``new`` is the state that it returned, and ``hx`` the one that it got, None if it made that.
    """
    if is_jit_traced():
        return
    wrong = tensor_without_samples(hx, new, batch, has_lengths=has_lengths)
    if wrong is not None:
        refuse_samples(cell, wrong, batch, step)


def check_block(
    cell: CellFunction, new: State, hx: State, before: list[int], step: int, block: StepInputs
) -> None:
    """Check what a block of steps, compiled together, has made of a state, or done to it.

    ``hx`` is the state before the block and ``new`` the one after; ``before`` is how often each
    tensor of ``hx`` had been written, as torch counts it, before the block ran. ``step`` is the
    number of the block's first step.
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
    """Check that the states from which a user's cell begins have a row for each sample.

    Lengths and resets choose between such rows; all samples may also share one. ``states`` are the
    first one and that after a reset, each None if there is none; ``input`` is ``(seq, batch,
    feature)``.
    """
    if is_compiling() or is_jit_traced():
        return
    steps, batch = input.shape[:2]
    first = steps - 1 if reverse else 0
    for state in states:
        for tensor in tensors_in(state):
            if not is_by_samples(tensor, batch):
                refuse_samples(cell, tensor, batch, first, "begins from")


def stacked(cell: CellFunction, tensors: list[Any] | tuple[Any, ...], order: range) -> Tensor:
    """Stack the tensors of all steps, and refuse a cell that makes them of several shapes.

    ``tensors`` are in the input's order, and ``order`` is the steps' numbers as they were run.
    """
    try:
        return torch.stack(tensors)
    except RuntimeError as error:
        refuse_shapes(cell, [(step, tensors[order[0]], tensors[step]) for step in order], error)
        raise
