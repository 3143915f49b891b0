"""Any cell over a sequence, step by step in a loop."""

from collections.abc import Iterable  # noqa: TC003 - the import hook reads it
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.modules import module as nn_module
from torch.utils import _pytree as pytree

from rnnkit._base.class_facts import mode_of, proj_size_of
from rnnkit._base.state import map_state, state_of, tensors_of
from rnnkit._checks.cell_errors import refuse_of_layer, refuse_written
from rnnkit._checks.cell_guards import is_of_layer, is_result, versions
from rnnkit._checks.objects import refuse_outputs, refuse_result, refuse_sizes
from rnnkit._kernels.formulas import ByParts
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.stack import Direction, Run, Stack, States
from rnnkit._modules.cell_base import WEIGHTS, Cell, kernel_of, sequence_weights
from rnnkit._modules.cells import ProjectedLSTMCell
from rnnkit._modules.scan import UnrollArgs, needs_scan, run_scan, where_state, without_padding


def run_loop(cell: Any, args: UnrollArgs) -> tuple[Tensor, Any]:
    """Run a cell step by step; return the output, and the last state or all."""
    input, hx, lengths, return_states = args.input, args.hx, args.lengths, args.return_states
    if lengths is None or hx is None or (empty := lengths.empty()) is None:
        return _run_steps(cell, args)
    steps = input.shape[0]
    if not lengths.longest:
        first = hx if isinstance(hx, Tensor) else hx[0]
        states = map_state(lambda tensor: tensor.expand(steps, *tensor.shape), hx)
        return first.new_zeros(steps, *first.shape), states if return_states else hx
    # A sample without a step goes along as a copy of the longest one: its own state may be NaN.
    longest = _longest(lengths)
    copied = map_state(lambda tensor: tensor.detach().index_select(0, longest), hx)
    output, state = _run_steps(cell, args._replace(hx=where_state(empty, copied, hx)))
    some = ~empty.expand(steps, -1) if return_states else ~empty
    return output, where_state(some, state, hx)


def _longest(lengths: Lengths) -> Tensor:
    """Return the longest sample, ``(1,)``; of no samples ``(0,)``, where ``argmax`` would fail."""
    return lengths.each.argsort(descending=True)[:1]


def _fill_padding(input: Tensor, lengths: Lengths, valid: Tensor) -> Tensor:
    """Fill padding with the sample's last valid step, or with the longest sample's first.

    A cell may be undefined at zeros, and a NaN that is masked still has a NaN for its gradient.
    """
    each = lengths.each
    sample = torch.arange(input.shape[1], device=input.device)
    sample = torch.where(each == 0, _longest(lengths), sample)
    filler = input.detach()[(each - 1).clamp(min=0), sample]
    if lengths.values is None:  # a graph runs even where no sample has a step
        filler = filler.masked_fill((each == 0).all(), 0)
    return torch.where(valid.unsqueeze(-1), input, filler)


def _run_steps(  # noqa: C901 - the loop that the docstring of unroll shows
    cell: Any, args: UnrollArgs
) -> tuple[Tensor, Any]:
    input, hx, lengths, reset, initial, reverse, return_states, plain = args
    steps = input.shape[0]  # len() would fix the number for a compiler
    valid = None if lengths is None else lengths.valid(steps)
    if lengths is not None and valid is not None:
        input = _fill_padding(input, lengths, valid)
    if reset is not None:
        reset = _before_each(reset.to(input.device), valid, reverse=reverse)
    run: Any = cell
    if plain:
        bias, proj = bool(cell.bias), bool(proj_size_of(cell))
        run = ByParts(mode_of(cell), sequence_weights(cell), bias=bias, proj=proj)
    by_parts = isinstance(run, ByParts)
    if by_parts:
        input = run.project(input)
    if is_compiling() and needs_scan(steps, plain=by_parts):
        return run_scan(run, args, input, valid, reset)
    if not by_parts and not is_compiling() and torch.is_inference_mode_enabled():
        hx = _counted(hx)
    # One backward step for all; an index would fill a tensor of all steps at each of them.
    inputs = input.unbind(0)
    outputs: list[Any] = [None] * steps
    states: list[Any] = [None] * steps
    order: Iterable[int] = reversed(range(steps)) if reverse else range(steps)
    for t in order:
        if reset is not None:
            hx = _where(cell, reset[t], initial, hx, t, is_reset=True)
        new = _step(run, inputs[t], hx, t)
        if valid is not None and hx is not None:
            hx = _where(cell, valid[t], new, hx, t, is_reset=False)
        else:
            hx = new
        outputs[t] = new if isinstance(new, Tensor) else new[0]
        states[t] = hx
    output = without_padding(_stacked(cell, outputs), valid)
    if return_states:
        return output, map_state(lambda *tensors: torch.stack(tensors), *states)
    return output, hx


def loop_stack(
    stack: Stack,
    input: Tensor,
    state: States,
    lengths: Lengths | None,
    reset: Tensor | None,
    initial: States | None,
) -> tuple[Tensor, States]:
    """Run a stack of layers step by step, for what torch's kernels have no rules for.

    Args:
        stack: the layers.
        input: ``(seq, batch, feature)``.
        state: the tensors of the first state, each ``(layers * directions, batch, hidden)``.
        lengths: the samples' valid steps; None for all.
        reset: ``(seq, batch)``, true where a sample is reset before that step; None: nowhere.
        initial: the state that a reset returns to, as ``state``; None for zeros.
    """

    def run(direction: Direction, input: Tensor, start: States, restart: Any) -> Run:
        weights, projected = direction.weights, direction.is_projected
        cell = ByParts(direction.mode, weights, bias=direction.bias, proj=projected)
        hx = state_of(start)
        fresh = map_state(torch.zeros_like, hx) if restart is None else state_of(restart)
        args = UnrollArgs(input, hx, lengths, reset, fresh, direction.reverse)
        output, end = run_loop(cell, args)
        return output, tensors_of(end)

    return stack.run_each(input, run, state, initial)


def _before_each(reset: Tensor, valid: Tensor | None, *, reverse: bool) -> Tensor:
    """Return before which steps a sample is reset, in the order in which they run.

    A reset at t cuts between t - 1 and t: run backward, that is before step t - 1.
    """
    if valid is not None:
        reset = reset & valid
    if not reverse:
        return reset
    # Not by a slice from step 1, which would forbid an exporter a sequence of two steps.
    steps = reset.shape[0]
    return reset.roll(-1, 0) & (torch.arange(steps, device=reset.device) < steps - 1).unsqueeze(1)


def _where(cell: Any, mask: Tensor, new: Any, old: Any, step: int, *, is_reset: bool) -> Any:
    if is_compiling():
        return where_state(mask, new, old)
    try:
        return where_state(mask, new, old)
    except RuntimeError:
        refuse_sizes(cell, *((new, old) if is_reset else (old, new)), step, again=is_reset)
        raise


def _stacked(cell: Any, outputs: list[Tensor]) -> Tensor:
    if is_compiling():
        return torch.stack(outputs)
    try:
        return torch.stack(outputs)
    except RuntimeError:
        refuse_outputs(cell, outputs)
        raise


def _counted(hx: Any) -> Any:
    """Copy a state so that torch counts what is written into it, as inference mode does not."""
    with torch.inference_mode(mode=False), torch.no_grad():
        return pytree.tree_map_only(Tensor, Tensor.clone, hx)


def _step(cell: Any, x_t: Tensor, hx: Any, step: int) -> Any:
    if is_compiling():
        return cell(x_t, hx)
    before = versions(hx)
    try:
        new = cell(x_t, hx)
    except Exception as error:
        # The cell's own exception goes on: its caller, or torch's checkpointing, waits for it.
        error.add_note(f"at step {step}, in {type(cell).__name__}")
        if hx is None:
            error.add_note("it has no initial_state(batch_size), and no hx was given")
        elif is_of_layer(hx, x_t.shape[0]):
            error.add_note(
                f"a cell's state has the batch of {x_t.shape[0]} on axis 0, hx on axis 1"
            )
        raise
    if versions(hx) != before:
        refuse_written(cell, hx, new, step)
    if not is_result(new, new if hx is None else hx):
        refuse_result(cell, new, hx, step)
    if is_of_layer(new, x_t.shape[0]):
        refuse_of_layer(cell, hx, new, x_t.shape[0], step)
    return new


#: torch's hooks on all modules, those of each kind in a dictionary that stays the same object.
GLOBAL_HOOKS = (
    nn_module._global_forward_hooks,  # noqa: SLF001
    nn_module._global_forward_pre_hooks,  # noqa: SLF001
    nn_module._global_backward_hooks,  # noqa: SLF001
    nn_module._global_backward_pre_hooks,  # noqa: SLF001
)

OWN_FORWARDS = (Cell.forward, ProjectedLSTMCell.forward)


def is_plain(cell: Any) -> bool:
    """Return whether a call of the cell does what rnnkit's cells do, and nothing else.

    A weight that is computed at each step may differ from step to step, as with weight dropout or
    spectral norm in training.
    """
    return (
        isinstance(cell, Cell)
        and type(cell).forward in OWN_FORWARDS
        and "forward" not in cell.__dict__
        and not any(GLOBAL_HOOKS)
        and not (cell._forward_hooks or cell._forward_pre_hooks)  # noqa: SLF001
        and not (cell._backward_hooks or cell._backward_pre_hooks)  # noqa: SLF001
        and not cell.__rnnkit__.overrides_weights
        and not any(hasattr(type(cell), name) for name in WEIGHTS)
        and cell.hidden_size > 0
        and kernel_of(cell) is not None
    )
