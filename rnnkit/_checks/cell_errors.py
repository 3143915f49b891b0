"""What is wrong with a cell that a user wrote, once one of its steps has run or failed."""

import inspect
from collections.abc import Iterable
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import ArgumentError, CellError, RnnkitError, StateError
from rnnkit._base.message import BRIEF_LENGTH, bounded, brief, refusal
from rnnkit._base.state import has_missing_part
from rnnkit._checks.call_spec import message_rows
from rnnkit._checks.objects import (
    CELL,
    CELL_TO_TYPE,
    beside,
    has_batch,
    is_of_layer,
    is_with_output,
    tensors_in,
)

#: What a cell raises that reads None, or a tuple that is too short, for a tensor.
OF_NONE = (TypeError, AttributeError, ValueError, IndexError)


def _refuse_cell(cell: Any, came: str, why: str = "", **options: Any) -> NoReturn:
    """Refuse a cell for what it is, or for what came of it at a step."""
    refusal(CellError, "cell", f"{type(cell).__name__} {came}", why, **options)


def _refuse_samples(
    cell: Any, came: str, tensor: Tensor, batch: Any, step: int, *, why: str, fix: str
) -> NoReturn:
    """Refuse a cell for a tensor whose axis 0 is not the samples."""
    came = f"{came} of {tuple(tensor.shape)} at step {step}, for {batch} samples"
    _refuse_cell(cell, came, why, fix=fix, code="cell-batch", step=step)


def refuse_stateless(cell: Any, *, again: bool = False) -> NoReturn:
    """Refuse a cell without an initial state, where none was given or, ``again``, at a reset."""
    if not _takes_a_step(cell):
        _refuse_call(cell)
    why = "from which a sample starts again" if again else "and no hx was given"
    fix = "a method initial_state(self, batch_size), or hx=..."
    if again:
        fix = "a method initial_state(self, batch_size)"
    if isinstance(cell, torch.nn.RNNCellBase):
        fix = f"rnnkit.{type(cell).__name__}, which has one"
    came = f"has no initial_state(batch_size), {why}"
    _refuse_cell(cell, came, fix=fix, code="cell-initial-state")


def explain_failure(cell: Any, hx: Any, error: Exception) -> None:
    """Refuse what cannot be called as a cell, or with None; return if the cell's error says all."""
    if isinstance(error, RnnkitError):
        return
    if isinstance(error, TypeError | NotImplementedError) and not _takes_a_step(cell):
        _refuse_call(cell, error)
    if isinstance(error, OF_NONE) and _lacks_tensor(hx, error):
        fix = "a tensor instead of None"
        if hasattr(cell, "initial_state"):
            fix = "hx=None, for the cell's initial_state"
        lacks = "has None" if tensors_in(hx) else "has no tensor"
        refusal(
            StateError, "hx",
            f"hx {lacks}, and {_name(cell)} does not take it",
            "a cell of your own gets its state as it is given, and no zeros for None",
            ("evidence", f"{type(error).__name__}: {_first_line(error)}"),
            fix=fix, code="state-none", source=error,
        )  # fmt: skip


def _refuse_call(cell: Any, error: Exception | None = None) -> NoReturn:
    """Refuse what cannot be called with a step and a state, as the error says, if there is one."""
    rows = message_rows("" if error is None else _first_line(error), [CELL_TO_TYPE])
    sentence = f"{_name(cell)} cannot be called with a step and a state"
    refusal(ArgumentError, "cell", sentence, CELL, *rows, code="unroll-cell", source=error)


def _name(cell: Any) -> str:
    """Return the name of a function, or of an object's class."""
    return bounded(getattr(cell, "__name__", type(cell).__name__), BRIEF_LENGTH)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _takes_a_step(cell: Any) -> bool:
    """Return whether a cell can be called with a step and a state, as far as one can see."""
    call: Any = cell.forward if isinstance(cell, torch.nn.Module) else cell
    if getattr(call, "__func__", None) is torch.nn.Module.forward:  # it is not written yet
        return False
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):  # a function of C has none
        return True
    try:
        signature.bind(None, None)
    except TypeError:
        return False
    return True


def _lacks_tensor(hx: Any, error: Exception) -> bool:
    """Return whether an error may come of a tuple of states that has None, or nothing at all."""
    if not isinstance(hx, tuple | list):
        return False
    return not tensors_in(hx) or (has_missing_part(hx) and "NoneType" in str(error))


def refuse_result(cell: Any, new: Any, hx: Any, step: int) -> NoReturn:
    """Refuse what a cell returned instead of a state."""
    fix = "return the next state, of the same kind as hx; its first tensor is the output"
    if is_with_output(new, hx):
        fix = "return state, instead of return output, state: its first tensor is the output"
    came = f"took {brief(hx)} as state at step {step}, returned {brief(new)}"
    _refuse_cell(cell, came, fix=fix, code="cell-result", step=step)


def refuse_of_layer(cell: Any, new: Any, batch: Any, step: int) -> NoReturn:
    """Refuse a cell whose state is a layer's: its output would have one axis too many."""
    output = tensors_in(new)[0]
    shape = tuple(output.shape[1:])
    _refuse_samples(
        cell,
        "returned an output",
        output,
        batch,
        step,
        why="a layer's state has the batch on axis 1",
        fix=f"return, and let initial_state return, a state with the batch on axis 0: {shape}",
    )


def refuse_lost_batch(cell: Any, hx: Any, new: Any, batch: Any, step: int) -> None:
    """Refuse a state that lost the batch of the one before; return if that had no such axis."""
    for place, (old, now) in enumerate(beside(hx, new)):
        if not has_batch(old, batch) or has_batch(now, batch):
            continue
        if _is_batch(cell, hx, old, 0, batch):
            _refuse_samples(
                cell,
                "returned a state" if place else "returned an output",
                now,
                batch,
                step,
                why=f"axis 0 of the state is the batch: the step was given {tuple(old.shape)}",
                fix="return a state with a row for each sample, in their order",
            )


def refuse_begin(cell: Any, state: Any, tensor: Tensor, batch: Any, step: int) -> None:
    """Refuse a first state whose samples no mask finds; return if all samples share the tensor."""
    if is_of_layer(tensor, batch) and not _is_batch(cell, state, tensor, 1, batch):
        return
    _refuse_samples(
        cell,
        "begins from a state",
        tensor,
        batch,
        step,
        why="lengths and reset are of samples, and those are on axis 0 of a state",
        fix="let initial_state return a state with the batch on axis 0",
    )


def _is_batch(cell: Any, state: Any, tensor: Tensor, axis: int, batch: Any) -> bool:
    """Return whether an axis of a tensor of a state is the batch, and not as large by chance."""
    if not hasattr(cell, "initial_state"):
        return True
    try:
        with torch.random.fork_rng(devices=[]):
            more = cell.initial_state(batch + 1)
    except Exception:  # noqa: BLE001 - whatever a user's method does with a batch of another size
        return True
    places = [other for one, other in beside(state, more) if one is tensor]
    return not places or tuple(places[0].shape)[axis : axis + 1] == (batch + 1,)


def refuse_padded(cell: Any, output: Tensor, batch: Any, step: int) -> NoReturn:
    """Refuse an output that lengths cannot cut by samples, since it has no row for each."""
    _refuse_samples(
        cell,
        "returned an output",
        output,
        batch,
        step,
        why="lengths end each sample at a step of its own, so the output needs a row for each",
        fix="return a state with the batch on axis 0",
    )


def refuse_outputs(
    cell: Any, tensors: tuple[Tensor, ...] | list[Tensor], order: Iterable[int], error: Exception
) -> None:
    """Refuse outputs or states of several shapes, which are stacked; return if they are of one."""
    first, *others = order
    shape = tuple(tensors[first].shape)
    for step in others:
        now = tuple(tensors[step].shape)
        if now != shape:
            _refuse_cell(
                cell,
                f"returned a shape of {now} at step {step}, {shape} before",
                "the outputs of all steps are one tensor, and so are states that are all returned",
                fix=f"return a tensor of shape {shape} at each step",
                code="cell-shape",
                step=step,
                source=error,
            )


def refuse_shape(cell: Any, states: tuple[Any, Any], step: int, error: Exception) -> None:
    """Refuse states between which no mask can choose; return if their shapes are the same."""
    new, old = states
    for before, now in beside(old, new):
        if before.shape != now.shape:
            shape = tuple(before.shape)
            _refuse_cell(
                cell,
                f"has states of shapes {tuple(now.shape)} and {shape} at step {step}",
                "with lengths or reset some samples change their state and others keep it",
                fix=f"return, and let initial_state return, states of one shape: {shape}",
                code="cell-shape",
                step=step,
                source=error,
            )


def refuse_written(cell: Any, hx: Any, new: Any, step: int) -> None:
    """Refuse a cell that writes its state in place; return if it may have written beside it."""
    for old, now in zip(tensors_in(hx), tensors_in(new), strict=False):
        # Two places of one buffer, whose parts torch counts as one.
        if old._base is not None and old._base is now._base and old.data_ptr() != now.data_ptr():  # noqa: SLF001
            return
    cloned = "hx.clone()" if isinstance(hx, Tensor) else "tuple(part.clone() for part in hx)"
    _refuse_cell(
        cell,
        f"writes into its state at step {step}",
        "the same tensor is an earlier output, or the caller's own: that changes with it",
        fix=f"hx = {cloned}, at the start of the step; or hx + x instead of hx.add_(x)",
        code="cell-writes-state",
        step=step,
    )
