"""Any cell over a sequence, step by step: by a loop or, if the number of steps is open, a scan."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.utils import _pytree as pytree

from rnnkit._base.errors import RnnkitError
from rnnkit._base.state import LSTMState, map_state, state_of, tensors_of
from rnnkit._base.torch_tools import (
    is_dynamic_size,
    is_exporting,
    is_in_transform,
    is_jit_traced,
)
from rnnkit._checks.objects import (
    has_batch,
    is_of_layer,
    is_result,
    loses_batch,
    output_of,
    versions,
)
from rnnkit._checks.steps import (
    explain_failure,
    refuse_lost_batch,
    refuse_of_layer,
    refuse_outputs,
    refuse_padded,
    refuse_result,
    refuse_shape,
    refuse_written,
)
from rnnkit._kernels.formulas import ByParts
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.stack import Direction, Run, Stack, States


class UnrollArgs(NamedTuple):
    """What a cell is run over, ``(seq, batch, feature)``, and how, as ``unroll`` describes it.

    ``hx`` is None if the cell makes it; ``reset`` ``(seq, batch)`` returns to ``initial``.
    """

    input: Tensor
    hx: Any
    lengths: Lengths | None = None
    reset: Tensor | None = None
    initial: Any = None
    reverse: bool = False
    return_states: bool = False


def run_loop(cell: Any, args: UnrollArgs) -> tuple[Tensor, Any]:
    """Run a cell step by step; return the output, and the last state or all."""
    input, hx, lengths = args[:3]
    if lengths is None or hx is None or (empty := lengths.empty()) is None:
        return _run_steps(cell, args)
    steps = input.shape[0]
    if not lengths.longest:
        first, hx = tensors_of(hx)[0], map_state(Tensor.clone, hx)  # h and c may be one tensor
        states = map_state(lambda tensor: tensor.expand(steps, *tensor.shape), hx)
        return first.new_zeros(steps, *first.shape), states if args.return_states else hx
    # A sample without a step goes along as a copy of the longest one: its own state may be NaN.
    longest = _longest(lengths)
    copied = map_state(lambda tensor: tensor.detach().index_select(0, longest), hx)
    first = where_state(empty, copied, hx)
    output, state = _run_steps(cell, UnrollArgs(input, first, *args[2:]))  # 2.8 traces no _replace
    some = ~empty.expand(steps, -1) if args.return_states else ~empty
    last = 0 if args.reverse else steps - 1
    return output, _by_samples(_after, cell, (some, state, hx), last)


def _run_steps(cell: Any, args: UnrollArgs) -> tuple[Tensor, Any]:
    """Run the loop that the docstring of ``unroll`` shows, with lengths and resets."""
    input, hx, lengths, reset, initial, reverse, return_states = args
    steps = input.shape[0]  # len() would fix the number for a compiler
    valid = None if lengths is None else lengths.valid(steps)
    if lengths is not None and valid is not None:
        input = _fill_padding(input, lengths, valid)
    if reset is not None:
        reset = _before_each(reset.to(input.device), valid, reverse=reverse)
    by_parts = isinstance(cell, ByParts)
    if by_parts:
        input = cell.project(input)
    if is_compiling() and is_dynamic_size(steps) and _may_scan(cell, args):
        return _run_scan(cell, args, input, valid, reset)
    if not by_parts and not is_compiling() and torch.is_inference_mode_enabled():
        hx = _counted(hx)
    # One backward step for all; an index would fill a tensor of all steps at each of them.
    inputs = input.unbind(0)
    steps = len(inputs)
    outputs: list[Any] = [None] * steps
    states: list[Any] = [None] * steps
    order = range(steps)[::-1] if reverse else range(steps)
    for t in order:
        if reset is not None:
            hx = _by_samples(where_state, cell, (reset[t], initial, hx), t)
        new = _step(cell, inputs[t], hx, t)
        if t == order[0]:
            _check_first(cell, new, hx, input.shape[1], t, has_lengths=valid is not None)
        hx = _carried(cell, valid, new, hx, t)
        outputs[t] = new if isinstance(new, Tensor) else new[0]
        states[t] = hx
    output = _without_padding(_stacked(cell, outputs, order), valid)
    if return_states:
        return output, map_state(lambda *tensors: _stacked(cell, tensors, order), *states)
    return output, hx


def _may_scan(cell: Any, args: UnrollArgs) -> bool:
    """Return whether torch's scan may replace a loop whose number of steps is open."""
    if is_exporting():  # it has no other way
        return True
    if not isinstance(cell, ByParts):  # a user's cell may do what scan forbids
        return False
    # Up to torch 2.13 inductor reuses the memory of what scan's backward pass still reads, and
    # returns wrong gradients without a word. The loop, traced for each number of steps, is right.
    return not _wants_gradient(cell, args)


def _wants_gradient(cell: ByParts, args: UnrollArgs) -> bool:
    """Return whether anybody may differentiate what the steps of rnnkit's own cell compute."""
    if is_in_transform():
        return True
    if not torch.is_grad_enabled():
        return False
    read = pytree.tree_leaves((args.input, args.hx, args.initial, cell.weights))
    return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in read)


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


def where_state(mask: Tensor, new: Any, old: Any) -> Any:
    """Return the new state where a mask ``(batch,)`` or ``(seq, batch)`` is true, else the old."""

    def pick(one: Tensor, other: Tensor) -> Tensor:
        # By an index, without sizes: torch saves no exported program that asks for them here.
        return torch.where(mask[(..., *[None] * (one.dim() - mask.dim()))], one, other)

    return map_state(pick, new, old)


def _after(valid: Tensor, new: Any, old: Any) -> Any:
    """Return the state after valid steps, in the dtype of the new one, which autocast may lower."""
    return map_state(lambda one, both: both.to(one.dtype), new, where_state(valid, new, old))


def _carried(cell: Any, valid: Tensor | None, new: Any, old: Any, step: int) -> Any:
    """Return the state that the next step gets: the new one of the samples that had this step."""
    if valid is None or old is None:
        return new
    return _by_samples(_after, cell, (valid[step], new, old), step)


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


def _stacked(cell: Any, tensors: list[Any] | tuple[Any, ...], order: range) -> Tensor:
    """Stack the tensors of all steps, and refuse a cell that makes them of several shapes."""
    if is_compiling() or isinstance(cell, ByParts):
        return torch.stack(tensors)
    try:
        return torch.stack(tensors)
    except RuntimeError as error:
        refuse_outputs(cell, tensors, order, error)
        raise


def _without_padding(output: Tensor, valid: Tensor | None) -> Tensor:
    """Return an output that is zero on padding."""
    if valid is None:
        return output
    return output.masked_fill(~valid.view(*valid.shape, *[1] * (output.dim() - 2)), 0)


def _counted(hx: Any) -> Any:
    """Copy a state so that torch counts writes into it, which inference mode does not."""
    with torch.inference_mode(mode=False), torch.no_grad():
        return pytree.tree_map_only(Tensor, Tensor.clone, hx)


def _step(cell: Any, x_t: Tensor, hx: Any, step: int) -> Any:
    """Run one step, and check what a user's cell does in it."""
    if is_compiling() or isinstance(cell, ByParts):
        return cell(x_t, hx)
    before = versions(hx)
    try:
        new = cell(x_t, hx)
    except Exception as error:
        explain_failure(cell, hx, error)
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


def _check_first(cell: Any, new: Any, hx: Any, batch: int, step: int, *, has_lengths: bool) -> None:
    """Check that the first step of a user's cell has returned the samples that it was given."""
    if is_compiling() or isinstance(cell, ByParts) or is_jit_traced():
        return
    if is_of_layer(new, batch):
        refuse_of_layer(cell, new, batch, step)
    if loses_batch(hx, new, batch):
        refuse_lost_batch(cell, hx, new, batch, step)
    if has_lengths and not has_batch(output_of(new), batch):
        refuse_padded(cell, output_of(new), batch, step)


def _run_scan(
    cell: Any, args: UnrollArgs, input: Tensor, valid: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Any]:
    """Do what the loop over steps does, by torch's scan: one step is traced for all."""
    # Imported here, since it is not a public module of torch, and few programs come here.
    from torch._higher_order_ops.scan import scan  # noqa: PLC0415

    hx = args.hx
    if isinstance(cell, ByParts):  # scan takes a state as its steps return it
        lowered = cell.mode.startswith("RNN")  # by autocast
        hx = LSTMState(*hx) if isinstance(hx, tuple) else hx.to(input.dtype) if lowered else hx
    leaves, spec = pytree.tree_flatten(hx)

    def step(carry: list[Tensor], now: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        x_t, *masks = now
        old = pytree.tree_unflatten(carry, spec)
        if reset is not None:
            old = where_state(masks[-1], args.initial, old)
        new = cell(x_t, old)
        output = new if isinstance(new, Tensor) else new[0]
        end = pytree.tree_leaves(new if valid is None else _after(masks[0], new, old))
        # scan refuses results that share their memory.
        results = [output, *(end if args.return_states else ())]
        return [t.clone() for t in end], [t.clone() for t in results]

    over = [tensor.clone() for tensor in (input, valid, reset) if tensor is not None]
    first = [tensor.clone() for tensor in leaves]
    if is_exporting():
        first = _requiring_gradients(first, cell, input)
    ends, (output, *states) = scan(step, first, over, dim=0, reverse=args.reverse)
    states = states if args.return_states else ends
    return _without_padding(output, valid), pytree.tree_unflatten(states, spec)


def _requiring_gradients(first: list[Tensor], cell: Any, input: Tensor) -> list[Tensor]:
    """Return a first state of the same values that requires a gradient if a step's result does."""
    # An exported program may be trained. If its first state requires no gradient, scan of a torch
    # below 2.13 loses those of all steps but the last.
    weights: Iterable[Tensor] = ()
    if isinstance(cell, ByParts):
        weights = cell.weights
    elif isinstance(cell, torch.nn.Module):
        weights = cell.parameters()
    read = [tensor for tensor in (input[0], *weights) if tensor.is_floating_point()]
    # Any number that depends on all that a step reads; it is never taken, and gets zeros back.
    number = sum((tensor.sum() for tensor in read), start=torch.zeros((), device=input.device))
    never = torch.zeros((), dtype=torch.bool, device=input.device)
    return [
        torch.where(never, number.to(tensor), tensor) if tensor.is_floating_point() else tensor
        for tensor in first
    ]


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
