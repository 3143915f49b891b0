"""Any cell over a sequence, step by step: by a loop or, if the number of steps is open, a scan."""

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.state import State, map_state, state_of, tensors_of
from rnnkit._base.torch_tools import is_dynamic_size, is_exporting, moved
from rnnkit._kernels.stack import Direction, Run, Stack, States
from rnnkit._modules.cell_steps import by_samples, check_begin, counted, run_step_by_step
from rnnkit._modules.sequence import (
    Boundaries,
    CellFunction,
    PreprojectedCell,
    StepInputs,
    UnrollArgs,
    before_each,
    fill_padding,
    longest_sample,
    row_of,
    state_after,
    where_state,
)
from rnnkit._modules.tracing import run_blocks, run_scan, takes_blocks


def run_loop(cell: CellFunction, args: UnrollArgs) -> tuple[Tensor, Any]:
    """Run a cell step by step; return the output, and the last state, or all if asked.

    ``args`` is the input ``(seq, batch, feature)`` and how ``unroll`` was called. Without a state,
    the cell's first step makes one for each sample.
    """
    lengths = args.lengths
    has_pieces = lengths is not None or args.reset is not None
    if has_pieces and not isinstance(cell, PreprojectedCell):
        check_begin(cell, args)
    if lengths is not None and args.hx is not None:
        empty = lengths.empty()
        if empty is not None:
            return _run_beside_empty(cell, args, longest_sample(lengths), empty)
    return _run_steps(cell, args, args.hx)


def _run_beside_empty(
    cell: CellFunction, args: UnrollArgs, longest: Tensor, empty: Tensor
) -> tuple[Tensor, Any]:
    """Run a batch in which samples without a valid step keep the state that was given.

    ``empty`` is their mask, ``(batch,)``, and ``longest`` the number of the longest sample,
    ``(1,)``. They go along as copies of that one, since all run at once: their own state may be
    NaN, which would reach the gradients of the others.
    """
    copied = map_state(lambda tensor: row_of(tensor.detach(), longest), args.hx)
    first = where_state(empty, copied, args.hx)
    output, state = _run_steps(cell, args, first)
    steps = args.input.shape[0]
    has_steps = ~empty.expand(steps, -1) if args.return_states else ~empty
    last = 0 if args.reverse else steps - 1
    return output, by_samples(state_after, cell, has_steps, (state, args.hx), last)


def _run_steps(cell: CellFunction, args: UnrollArgs, hx: State | None) -> tuple[Tensor, Any]:
    """Lay out what each step reads, and run all; return the output and the last state, or all.

    ``hx`` is the state before the first step, None if the cell makes it. They run in torch's scan
    where an exporter leaves their number open, in compiled blocks if asked, and else in a loop.
    """
    input = args.input
    lengths = args.lengths
    reset = args.reset
    valid = None
    if lengths is not None:
        valid = lengths.valid(input.shape[0])  # len() would fix the number for a compiler
        input = fill_padding(input, lengths, valid)
    if reset is not None:
        reset = before_each(moved(reset, input.device), valid, reverse=args.reverse)
    if isinstance(cell, PreprojectedCell):
        input = cell.project(input)
    elif not is_compiling() and torch.is_inference_mode_enabled():
        hx = counted(hx)  # so that writes into it are seen
    steps = StepInputs(input, valid, reset)
    if takes_blocks(cell, args):
        return run_blocks(cell, args, steps, hx)
    # Not in a graph that may be trained: up to torch 2.13 inductor reuses the memory of what scan's
    # backward pass still reads, and returns wrong gradients without a word.
    if is_exporting() and is_dynamic_size(input.shape[0]):
        return run_scan(cell, args, steps, hx)
    return run_step_by_step(cell, args, steps, hx)


def loop_stack(stack: Stack, input: Tensor, state: States, boundaries: Boundaries) -> Run:
    """Run a stack step by step by its equations, for what torch's kernels have no rules for.

    A stack is a layer's directions, layer by layer; ``boundaries`` is lengths, resets and what a
    sample is reset to, each None if there is none. ``input`` is ``(seq, batch, feature)``, and
    ``state`` h and an LSTM's c, ``(layers * directions, batch, hidden)``. Returns the output, zero
    on padding, and the last states.
    """
    lengths, reset, initial = boundaries

    # Any, since a compiler cannot trace how a union of an annotation is made.
    def run(direction: Direction, input: Tensor, start: States, restart: Any) -> Run:
        """Run a direction from states ``(batch, hidden)``; ``restart``: its part of ``initial``."""
        hx = state_of(start)
        fresh = map_state(torch.zeros_like, hx) if restart is None else state_of(restart)
        args = UnrollArgs(input, hx, lengths, reset, fresh, direction.reverse)
        output, end = run_loop(PreprojectedCell(direction), args)
        return output, tensors_of(end)

    return stack.run_each(input, run, state, initial)
