"""Any cell over a sequence, step by step: by a loop or, if the number of steps is open, a scan."""

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.state import State, map_state, state_of, tensors_of
from rnnkit._base.torch_tools import is_dynamic_size, is_exporting, moved
from rnnkit._kernels.stack import Direction, Run, Stack, States
from rnnkit._modules.cell_steps import by_samples, check_begin, counted, run_step, stacked
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
    without_padding,
)
from rnnkit._modules.tracing import run_blocks, run_scan, takes_blocks


def _loop(cell: CellFunction, args: UnrollArgs, steps: StepInputs) -> tuple[Tensor, Any]:
    """Run step after step; return the outputs ``(seq, batch, hidden)``, and the last state.

    ``steps`` is what the steps read: input, first state, and masks ``(seq, batch)`` of valid steps
    and of resets, or None. With ``args.return_states`` the state is that after every step,
    stacked. The output is a cell's state, or the h of a tuple, and zero on padding.
    """
    input, hx, valid, reset = steps
    # One backward step for all; an index would fill a tensor of all steps at each of them.
    inputs = input.unbind(0)
    nothing = [None] * len(inputs)
    valid_at = nothing if valid is None else valid.unbind(0)
    reset_at = nothing if reset is None else reset.unbind(0)
    outputs: list[Any] = [None] * len(inputs)
    states: list[Any] = [None] * len(inputs)
    order = range(len(inputs))
    if args.reverse:
        order = order[::-1]
    for t in order:
        is_first = t == order[0]
        new, hx = run_step(
            cell, args, inputs[t], hx, valid_at[t], reset_at[t], t, is_first=is_first
        )
        outputs[t] = new if isinstance(new, Tensor) else new[0]
        states[t] = hx
    output = without_padding(stacked(cell, outputs, order), valid)
    if args.return_states:
        return output, map_state(lambda *tensors: stacked(cell, tensors, order), *states)
    return output, hx


def run_loop(cell: CellFunction, args: UnrollArgs) -> tuple[Tensor, Any]:
    """Run a cell step by step; return the output, and the last state, or all if asked.

    ``args`` is the input ``(seq, batch, feature)`` and how ``unroll`` was called. Without a state,
    the cell's first step makes one for each sample. A sample without a valid step (``empty`` is
    their mask, ``(batch,)``) keeps the state that was given. It goes along as a copy of the longest
    one, since all run at once, and its own state may be NaN, which would reach the gradients of the
    others.
    """
    lengths = args.lengths
    has_pieces = lengths is not None or args.reset is not None
    if has_pieces and not args.is_known:
        check_begin(cell, (args.hx, args.initial), args.input, reverse=args.reverse)
    empty = None if lengths is None or args.hx is None else lengths.empty()
    if lengths is None or empty is None:
        return _run_steps(cell, args, args.hx)
    longest = longest_sample(lengths)
    copied = map_state(lambda tensor: row_of(tensor.detach(), longest), args.hx)
    first = where_state(empty, copied, args.hx)
    output, state = _run_steps(cell, args, first)
    steps = args.input.shape[0]
    some = ~empty.expand(steps, -1) if args.return_states else ~empty
    last = 0 if args.reverse else steps - 1
    return output, by_samples(state_after, cell, some, (state, args.hx), last)


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
    if args.is_known:
        known: Any = cell
        input = known.project(input)
    elif not is_compiling() and torch.is_inference_mode_enabled():
        hx = counted(hx)  # so that writes into it are seen
    steps = StepInputs(input, hx, valid, reset)
    if takes_blocks(args):
        return run_blocks(_loop, cell, args, steps)
    # Not in a graph that may be trained: up to torch 2.13 inductor reuses the memory of what scan's
    # backward pass still reads, and returns wrong gradients without a word.
    if is_exporting() and is_dynamic_size(input.shape[0]):
        return run_scan(cell, args, steps)
    return _loop(cell, args, steps)


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
        args = UnrollArgs(input, hx, lengths, reset, fresh, direction.reverse, is_known=True)
        output, end = run_loop(PreprojectedCell(direction), args)
        return output, tensors_of(end)

    return stack.run_each(input, run, state, initial)
