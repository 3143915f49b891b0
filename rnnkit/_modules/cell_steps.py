"""The steps of any cell, with lengths and resets; of a user's cell, what it returned is checked."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.utils import _pytree as pytree

from rnnkit._base.errors import RnnkitError
from rnnkit._base.state import State, map_state
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
    output_of,
    tensor_without_samples,
    tensors_in,
    versions,
)
from rnnkit._modules.sequence import (
    CellFunction,
    PreprojectedCell,
    StepInputs,
    UnrollArgs,
    state_after,
    where_state,
    without_padding,
)


def run_step(
    cell: CellFunction,
    args: UnrollArgs,
    inputs: StepInputs,
    hx: State | None,
    step: int,
    *,
    is_first: bool = False,
) -> tuple[State, State]:
    """Run one step of a cell with lengths and resets.

    ``inputs`` is ``(batch, feature)`` and masks ``(batch,)`` of samples that have this step, and of
    those that start again from ``args.initial`` before it; None if there are no lengths or resets.
    ``hx`` is the state before the step, None if the cell makes it, and ``step`` the step's number,
    for errors. Returns the state that the cell returned, whose h is the output, and the one to go
    on with: a sample without this step keeps the state of its last. What a user's cell returns is
    checked, at the first step (``is_first``) also its samples.
    """
    x_t, valid_t, reset_t = inputs
    if reset_t is not None:
        hx = by_samples(where_state, cell, reset_t, (args.initial, hx), step)
    if isinstance(cell, PreprojectedCell) or is_compiling():
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
    check_result(cell, new, hx, before, step)
    return new


def check_result(
    cell: CellFunction, new: Any, hx: State | None, before: list[int], step: int
) -> None:
    """Raise unless a user's cell left the state ``hx`` as it was, and returned one of its kind.

    ``new`` is what it returned; ``before`` is how often each tensor of ``hx`` had been written, as
    torch counts it. Where the cell made its first state, ``hx`` is None.
    """
    if versions(hx) != before:
        refuse_written(cell, hx, new, step)
    if not is_result(new, new if hx is None else hx):
        refuse_result(cell, new, hx, step)


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


def counted(hx: State | None) -> Any:
    """Copy a state so that torch counts writes into it, which inference mode does not."""
    with torch.inference_mode(mode=False), torch.no_grad():
        return pytree.tree_map_only(Tensor, Tensor.clone, hx)


def check_begin(cell: CellFunction, args: UnrollArgs) -> None:
    """Check that the states from which a user's cell begins have a row for each sample.

    Lengths and resets choose between such rows; all samples may also share one.
    """
    if is_compiling() or is_jit_traced():
        return
    steps, batch = args.input.shape[:2]
    first = steps - 1 if args.reverse else 0
    for tensor in tensors_in((args.hx, args.initial)):
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


def run_step_by_step(
    cell: CellFunction, args: UnrollArgs, steps: StepInputs, hx: State | None
) -> tuple[Tensor, Any]:
    """Run step after step; return the outputs ``(seq, batch, hidden)``, and the last state.

    ``steps`` is the input and masks ``(seq, batch)`` of valid steps and of resets, or None; ``hx``
    is the state before the first step. With ``args.return_states`` the state is that after every
    step, stacked. The output is a cell's state, or the h of a tuple, and zero on padding.
    """
    inputs = steps.parts(Tensor.unbind)
    outputs: list[Any] = [None] * len(inputs)
    states: list[Any] = [None] * len(inputs)
    order = range(len(inputs))
    if args.reverse:
        order = order[::-1]
    for t in order:
        new, hx = run_step(cell, args, inputs[t], hx, t, is_first=t == order[0])
        outputs[t] = output_of(new)
        states[t] = hx
    output = without_padding(stacked(cell, outputs, order), steps.valid)
    if args.return_states:
        return output, map_state(lambda *tensors: stacked(cell, tensors, order), *states)
    return output, hx
