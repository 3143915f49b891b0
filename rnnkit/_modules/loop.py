"""Any cell over a sequence, step by step: by a loop or, if the number of steps is open, a scan."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.errors import RnnkitError
from rnnkit._base.state import map_state, state_of, tensors_of
from rnnkit._base.torch_tools import is_dynamic_size
from rnnkit._checks.steps import refuse_shape
from rnnkit._kernels.stack import Direction, Run, Stack, States
from rnnkit._modules.by_parts import ByParts
from rnnkit._modules.cell_steps import check_begin, check_first, counted, run_step, stacked
from rnnkit._modules.masks import (
    before_each,
    fill_padding,
    longest_sample,
    row_of,
    state_after,
    where_state,
    without_padding,
)
from rnnkit._modules.pieces import UnrollArgs
from rnnkit._modules.scan import may_scan, run_scan


def run_loop(cell: Any, args: UnrollArgs) -> tuple[Tensor, Any]:
    """Run a cell step by step; return the output, and the last state or all."""
    input, hx, lengths = args[:3]
    if lengths is not None or args.reset is not None:
        check_begin(cell, (hx, args.initial), input, reverse=args.reverse)
    if lengths is None or hx is None or (empty := lengths.empty()) is None:
        return _run_steps(cell, args)
    steps = input.shape[0]
    if not lengths.longest:
        first, hx = tensors_of(hx)[0], map_state(Tensor.clone, hx)  # h and c may be one tensor
        states = map_state(lambda tensor: tensor.expand(steps, *tensor.shape), hx)
        return first.new_zeros(steps, *first.shape), states if args.return_states else hx
    # A sample without a step goes along as a copy of the longest one: its own state may be NaN.
    longest = longest_sample(lengths)
    copied = map_state(lambda tensor: row_of(tensor.detach(), longest), hx)
    first = where_state(empty, copied, hx)
    output, state = _run_steps(cell, UnrollArgs(input, first, *args[2:]))  # 2.8 traces no _replace
    some = ~empty.expand(steps, -1) if args.return_states else ~empty
    last = 0 if args.reverse else steps - 1
    return output, _by_samples(state_after, cell, (some, state, hx), last)


def _run_steps(cell: Any, args: UnrollArgs) -> tuple[Tensor, Any]:
    """Run the loop that the docstring of ``unroll`` shows, with lengths and resets."""
    input, hx, lengths, reset, initial, reverse, return_states = args
    steps = input.shape[0]  # len() would fix the number for a compiler
    valid = None if lengths is None else lengths.valid(steps)
    if lengths is not None and valid is not None:
        input = fill_padding(input, lengths, valid)
    if reset is not None:
        reset = before_each(reset.to(input.device), valid, reverse=reverse)
    by_parts = isinstance(cell, ByParts)
    if by_parts:
        input = cell.project(input)
    if is_compiling() and is_dynamic_size(steps) and may_scan(cell, args):
        return run_scan(cell, args, input, valid, reset)
    if not by_parts and not is_compiling() and torch.is_inference_mode_enabled():
        hx = counted(hx)
    # One backward step for all; an index would fill a tensor of all steps at each of them.
    inputs = input.unbind(0)
    steps = len(inputs)
    outputs: list[Any] = [None] * steps
    states: list[Any] = [None] * steps
    order = range(steps)[::-1] if reverse else range(steps)
    for t in order:
        if reset is not None:
            hx = _by_samples(where_state, cell, (reset[t], initial, hx), t)
        new = run_step(cell, inputs[t], hx, t)
        if t == order[0]:
            check_first(cell, new, hx, input.shape[1], t, has_lengths=valid is not None)
        hx = _carried(cell, valid, new, hx, t)
        outputs[t] = new if isinstance(new, Tensor) else new[0]
        states[t] = hx
    output = without_padding(stacked(cell, outputs, order), valid)
    if return_states:
        return output, map_state(lambda *tensors: stacked(cell, tensors, order), *states)
    return output, hx


def _carried(cell: Any, valid: Tensor | None, new: Any, old: Any, step: int) -> Any:
    """Return the state that the next step gets: the new one of the samples that had this step."""
    if valid is None or old is None:
        return new
    return _by_samples(state_after, cell, (valid[step], new, old), step)


def _by_samples(
    choose: Callable[..., Any], cell: Any, states: tuple[Tensor, Any, Any], step: int
) -> Any:
    """Choose between two states by a mask; refuse a user's cell if their shapes do not go."""
    if is_compiling() or isinstance(cell, ByParts):
        return choose(*states)
    try:
        return choose(*states)
    except RuntimeError as error:
        if not isinstance(error, RnnkitError):
            refuse_shape(cell, states, step, error)
        raise


def loop_stack(stack: Stack, input: Tensor, state: States, *pieces: Any) -> Run:
    """Do what ``paths.run`` does step by step, for what torch's kernels have no rules for."""
    lengths, reset, initial = pieces

    def run(direction: Direction, input: Tensor, start: States, restart: Any) -> Run:
        hx = state_of(start)
        fresh = map_state(torch.zeros_like, hx) if restart is None else state_of(restart)
        args = UnrollArgs(input, hx, lengths, reset, fresh, direction.reverse)
        output, end = run_loop(ByParts(direction), args)
        return output, tensors_of(end)

    return stack.run_each(input, run, state, initial)
