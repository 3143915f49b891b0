"""The loop over steps by torch's scan, for compilers and exporters: one step is traced for all."""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._base.state import LSTMState
from rnnkit._base.torch_tools import is_exporting, is_in_transform
from rnnkit._modules.by_parts import ByParts
from rnnkit._modules.masks import state_after, where_state, without_padding
from rnnkit._modules.sequence import UnrollArgs


def may_scan(cell: Any, args: UnrollArgs) -> bool:
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


# complexipy: ignore - the step that is traced stands inside, since it reads what is around it
def run_scan(
    cell: Any, args: UnrollArgs, input: Tensor, valid: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, Any]:
    """Do what the loop over steps does, by torch's scan: one step is traced for all."""
    # Imported here, since it is not a public module of torch, and few programs come here.
    from torch._higher_order_ops.scan import scan  # noqa: PLC0415

    leaves, spec = pytree.tree_flatten(_as_returned(cell, args.hx, input.dtype))

    def step(carry: list[Tensor], now: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        x_t, *masks = now
        old = pytree.tree_unflatten(carry, spec)
        if reset is not None:
            starts_again = masks[-1]
            old = where_state(starts_again, args.initial, old)
        new = cell(x_t, old)
        output = new if isinstance(new, Tensor) else new[0]
        if valid is not None:
            is_valid = masks[0]
            new = state_after(is_valid, new, old)
        end = pytree.tree_leaves(new)
        results = [output, *end] if args.return_states else [output]
        # scan refuses results that share their memory.
        return [t.clone() for t in end], [t.clone() for t in results]

    # Nor does it take arguments that do.
    over = [tensor.clone() for tensor in (input, valid, reset) if tensor is not None]
    first = [tensor.clone() for tensor in leaves]
    if is_exporting():
        first = _requiring_gradients(first, cell, input, args.initial)
    ends, (output, *states) = scan(step, first, over, dim=0, reverse=args.reverse)
    if not args.return_states:
        states = ends
    return without_padding(output, valid), pytree.tree_unflatten(states, spec)


def _as_returned(cell: Any, hx: Any, dtype: torch.dtype) -> Any:
    """Return a first state as the steps return theirs, which scan demands."""
    if not isinstance(cell, ByParts):
        return hx
    if isinstance(hx, tuple):
        return LSTMState(*hx)
    is_lowered = cell.recurrence.name.startswith("RNN")  # by autocast
    return hx.to(dtype) if is_lowered else hx


def _requiring_gradients(
    first: list[Tensor], cell: Any, input: Tensor, initial: Any
) -> list[Tensor]:
    """Return a first state of the same values that requires a gradient if a step's result does."""
    # An exported program may be trained. If its first state requires no gradient, scan of a torch
    # below 2.13 loses those of all steps but the last.
    weights: list[Tensor] = []
    if isinstance(cell, ByParts):
        weights = [*cell.weights]
    elif isinstance(cell, torch.nn.Module):
        weights = [*cell.parameters()]
    read = [input[0], *pytree.tree_leaves(initial), *weights]
    floats = [leaf for leaf in read if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    # Any number that depends on all that a step reads; it is never taken, and gets zeros back.
    number = sum((tensor.sum() for tensor in floats), start=torch.zeros((), device=input.device))
    never = torch.zeros((), dtype=torch.bool, device=input.device)
    return [
        torch.where(never, number.to(tensor), tensor) if tensor.is_floating_point() else tensor
        for tensor in first
    ]
