"""What is wrong with a cell that a user wrote, once one of its steps has run."""

import inspect
from collections.abc import Iterable
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, CellError
from rnnkit._base.message import refuse
from rnnkit._checks.causes.structure import outlined
from rnnkit._checks.objects import CELL, CELL_TO_TYPE, beside, is_with_output


def _refuse_cell(cell: Any, came: str, why: str = "", **options: Any) -> NoReturn:
    """Refuse a cell for what ``came`` of it at a step, or what it is; ``why`` is the headline.

    The options are those of ``refuse``: what to type, the code of the message, the step.
    """
    refuse(CellError, "cell", f"the cell ({type(cell).__name__}) {came}", why, **options)


def refuse_stateless(cell: Any) -> NoReturn:
    """Raise a CellError: a cell has no ``initial_state``, which a call without ``hx`` needs.

    A call with ``reset`` needs it as well.
    """
    fix = "make the cell a torch.nn.Module with forward(input, hx) and initial_state(batch_size)"
    if isinstance(cell, torch.nn.RNNCellBase):
        fix = f"use rnnkit.{type(cell).__name__}, which has one"
    came = "has no initial_state(batch_size), which a call without hx, or with reset, needs"
    _refuse_cell(cell, came, fix=fix, code="cell-initial-state")


def refuse_signature(cell: Any, error: Exception) -> None:
    """Refuse a module that cannot be called with a step and a state; return if it can.

    ``error`` is what the call raised: only a TypeError may be about its arguments.
    """
    if not isinstance(cell, torch.nn.Module) or not isinstance(error, TypeError):
        return
    try:
        inspect.signature(cell.forward).bind(None, None)
    except TypeError:
        refuse(
            ArgumentError,
            "cell",
            f"{type(cell).__name__} cannot be called with a step and a state",
            CELL,
            evidence=str(error),
            fix=CELL_TO_TYPE,
            code="unroll-cell",
            source=error,
        )


def refuse_result(cell: Any, new: Any, hx: Any, step: int) -> NoReturn:
    """Refuse ``new``, which a cell returned at a step for the state ``hx``, and which is none."""
    fix = "return the next state, with the structure of hx; its first tensor is the output"
    if is_with_output(new, hx):
        fix = "return only the state, not (output, state): its first tensor is the output"
    came = f"returned at step {step} {outlined(new)}, but hx is {outlined(hx)}"
    _refuse_cell(cell, came, fix=fix, code="cell-result", step=step)


def refuse_samples(
    cell: Any, tensor: Tensor, batch: Any, step: int, verb: str = "returned"
) -> NoReturn:
    """Refuse a cell for a tensor of a state, or an output, whose axis 0 is not the samples.

    ``batch`` is how many there are; the ``verb`` says whether the cell returned the tensor or took
    it.
    """
    _refuse_cell(
        cell,
        f"{verb} a tensor of shape {tuple(tensor.shape)} at step {step}, "
        f"but the batch has {batch} samples",
        "a cell's state has the batch on axis 0; only a layer's state has it on axis 1",
        fix="return a state with one row per sample, also from initial_state, if the cell has one",
        code="cell-batch",
        step=step,
    )


def refuse_shapes(cell: Any, pairs: Iterable[tuple[int, Tensor, Tensor]], error: Exception) -> None:
    """Refuse tensors of two shapes that torch could not join: each is a step, before and now.

    It returns if all are of one shape: then the error is about something else.
    """
    for step, before, now in pairs:
        if now.shape != before.shape:
            _refuse_cell(
                cell,
                f"returned a tensor of shape {tuple(now.shape)} at step {step}, "
                f"but its shape was {tuple(before.shape)} before",
                "the output must have the same shape at each step; "
                "with lengths, reset or return_states, also the whole state",
                fix="return each tensor of the state in the shape that it has in hx",
                code="cell-shape",
                step=step,
                source=error,
            )


def refuse_written(cell: Any, hx: Any, new: Any, step: int) -> None:
    """Refuse a cell that writes its state ``hx`` in place; return if it may have written beside it.

    ``new`` is the state that it returned: two places of one buffer may be meant.
    """
    for old, now in beside(hx, new):
        # Two places of one buffer, whose parts torch counts as one.
        if old._base is not None and old._base is now._base and old.data_ptr() != now.data_ptr():  # noqa: SLF001
            return
    _refuse_cell(
        cell,
        f"changes its state in place at step {step}",
        "this would also change an earlier output, or the state that the caller passed",
        fix="make new tensors, such as hx + y for hx.add_(y), or hx.clone() at first",
        code="cell-writes-state",
        step=step,
    )
