"""``unroll``: any cell, run over a sequence."""

from collections.abc import Iterable  # noqa: TC003 - the import hook reads it
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._checks import check_unrolled
from rnnkit._errors import CellError
from rnnkit._formulas import ByParts
from rnnkit._fused import is_plain, run_fused
from rnnkit._lengths import Lengths, check_lengths
from rnnkit._masks import as_mask
from rnnkit._message import brief
from rnnkit._scan import choose, needs_scan, run_scan
from rnnkit._state import map_state
from rnnkit._tracing import is_transformed
from rnnkit.typing import Cell


def unroll(
    cell: Cell,
    input: Tensor,
    hx: Any = None,
    *,
    batch_first: bool = False,
    lengths: Any = None,
    reverse: bool = False,
    reset: Any = None,
    return_states: bool = False,
    fused: bool = True,
) -> tuple[Tensor, Any]:
    """Run a cell over a sequence.

    ::

        for x_t in input:
            hx = cell(x_t, hx)
            output.append(hx, or hx[0] of a tuple)

    rnnkit's own cells run torch's fused kernel, at the price of the layer, unless
    ``return_states`` asks for what the kernel does not give. A compiler's trace, ``torch.func``
    and cells with hooks get the loop.

    Args:
        cell: an rnnkit cell, or any module as :class:`rnnkit.typing.Cell` describes it.
        input: ``(seq, batch, feature)``, with ``batch_first`` ``(batch, seq, feature)``, or
            ``(seq, feature)`` for one sequence without batch.
        hx: the state before the first step, as the cell takes it; None for the cell's
            ``initial_state``.
        batch_first: whether input, output and ``reset`` have the batch on axis 0.
        lengths: ``(batch,)``, the valid steps of each sample, 0 to seq. The output is zero beyond
            them, the state the one after each sample's own last step.
        reverse: whether to run from the last valid step to the first; the output stays in the
            input's order.
        reset: ``(seq, batch)``, booleans or 0 and 1, true where a sample starts anew from
            ``initial_state`` before that step.
        return_states: whether to return the state after every step, each tensor with a seq axis
            in front, instead of the last one.
        fused: whether torch's fused kernel may run. False keeps to the loop, whose gradients can
            be differentiated again.

    Returns:
        The output, in the input's layout, and the last state (or all).

    Raises:
        RnnkitError: the child that fits, if input, state, lengths or mask are not as above.
        CellError: if the cell returns no state, or has none to begin with. Its own exceptions
            go on as they are, with a note that names the step.

    >>> cell = rnnkit.GRUCell(3, 4)
    >>> output, state = rnnkit.unroll(cell, torch.ones(7, 2, 3), lengths=[7, 5])
    >>> output.shape, state.shape
    (torch.Size([7, 2, 4]), torch.Size([2, 4]))
    """
    return run(
        cell, input, hx, "unroll",
        batch_first=batch_first, lengths=lengths, reverse=reverse, reset=reset,
        return_states=return_states, fused=fused,
    )  # fmt: skip


unroll.__module__ = "rnnkit"


def run(
    cell: Any,
    input: Any,
    hx: Any,
    caller: str,
    *,
    batch_first: bool,
    lengths: Any,
    reverse: bool,
    reset: Any = None,
    return_states: bool = False,
    fused: bool = True,
) -> tuple[Tensor, Any]:
    """Do what :func:`unroll` does, under the name of its caller.

    Raises:
        RnnkitError: the child that fits.
    """
    plain = is_plain(cell)
    reading, hx = check_unrolled(cell, input, hx, caller, known=plain, batch_first=batch_first)
    counts = None if lengths is None else check_lengths(reading, lengths, input)
    if counts is not None and counts.is_full:
        counts = None
    if reading.batch is None:
        output, state = run(
            cell, input.unsqueeze(1), None if hx is None else map_state(_add_batch, hx), caller,
            batch_first=False, lengths=None, reverse=reverse,
            reset=None if reset is None else torch.as_tensor(reset).unsqueeze(1),
            return_states=return_states, fused=fused,
        )  # fmt: skip
        batch_axis = 1 if return_states else 0
        return output.squeeze(1), map_state(lambda tensor: tensor.squeeze(batch_axis), state)
    if batch_first:
        input = input.transpose(0, 1)
    mask = None
    if reset is not None:
        shape = (reading.batch, input.shape[0]) if batch_first else (input.shape[0], reading.batch)
        mask = as_mask(reset, shape, input.device, "reset")
        mask = mask.transpose(0, 1) if batch_first else mask
    initial = initial_state(cell, reading.batch) if hx is None or mask is not None else None
    start = initial if hx is None else hx
    if fused and not return_states and plain and not is_transformed():
        output, state = run_fused(cell, input, start, counts, mask, initial, reverse=reverse)
    else:
        output, state = _loop(
            cell, input, start, counts, mask, initial,
            reverse=reverse, return_states=return_states,
        )  # fmt: skip
    return output.transpose(0, 1) if batch_first else output, state


def _add_batch(tensor: Tensor) -> Tensor:
    return tensor.unsqueeze(0)


def initial_state(cell: Any, batch: int) -> Any:
    """Ask a cell for its first state.

    Raises:
        CellError: if it has none to give.
    """
    if not hasattr(cell, "initial_state"):
        name = type(cell).__name__
        fix = f"rnnkit.{name}" if name in ("RNNCell", "LSTMCell", "GRUCell") else "hx=..."
        message = (
            f"{name} has no initial_state(batch_size), and no hx was given\n"
            f"  fix       {fix}, or a method initial_state(self, batch_size)"
        )
        raise CellError(message)
    return cell.initial_state(batch)


def _loop(
    cell: Any,
    input: Tensor,
    hx: Any,
    lengths: Lengths | None,
    reset: Tensor | None,
    initial: Any,
    *,
    reverse: bool,
    return_states: bool,
) -> tuple[Tensor, Any]:
    steps = input.shape[0]  # len() would fix the number for a compiler
    valid = None if lengths is None else lengths.valid(steps)
    if valid is not None:
        # What lies on padding may be NaN, and a masked NaN still has a NaN for its gradient.
        input = input.masked_fill(~valid.unsqueeze(-1), 0)
    if reset is not None and valid is not None:
        reset = reset & valid
    run: Any = cell
    if is_plain(cell):
        run = ByParts(cell)
        input = run.project(input)
    if is_compiling() and needs_scan(steps, plain=is_plain(cell)):
        return run_scan(
            run, input, hx, valid, reset, initial, reverse=reverse, return_states=return_states
        )
    # One backward step for all; an index would fill a tensor of all steps at each of them.
    inputs = input.unbind(0)
    outputs: list[Any] = [None] * steps
    states: list[Any] = [None] * steps
    order: Iterable[int] = reversed(range(steps)) if reverse else range(steps)
    for step in order:
        if reset is not None:
            hx = choose(reset[step], initial, hx)
        new = _step(run, inputs[step], hx, step)
        hx = new if valid is None else choose(valid[step], new, hx)
        outputs[step] = new if isinstance(new, Tensor) else new[0]
        states[step] = hx
    output = torch.stack(outputs)
    if valid is not None:
        output = output.masked_fill(~valid.view(*valid.shape, *[1] * (output.dim() - 2)), 0)
    if return_states:
        return output, map_state(lambda *tensors: torch.stack(tensors), *states)
    return output, hx


def _step(cell: Any, x_t: Tensor, hx: Any, step: int) -> Any:
    if is_compiling():
        return cell(x_t, hx)
    try:
        new = cell(x_t, hx)
    except Exception as error:
        # The cell's own exception goes on: its caller, or torch's checkpointing, waits for it.
        error.add_note(f"at step {step}, in {type(cell).__name__}")
        raise
    if isinstance(new, Tensor) != isinstance(hx, Tensor) or not isinstance(new, Tensor | tuple):
        _refuse_result(cell, new, hx, step)
    return new


def _refuse_result(cell: Any, new: Any, hx: Any, step: int) -> NoReturn:
    message = (
        f"{type(cell).__name__} took {brief(hx)} as state at step {step}, returned {brief(new)}\n"
        f"  fix       return the next state, of the same kind as hx; its first tensor is the output"
    )
    raise CellError(message, step=step)
