"""What a call does only where a compiler, an exporter or a transform traces it.

The questions come first: whether torch's own layer is recorded, whether a kernel runs or a loop
over steps, and whether that loop is torch's scan, whose step is traced once for all.
"""

from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import RNNBase
from torch.utils import _pytree as pytree

from rnnkit._base.state import LSTMState, State
from rnnkit._base.torch_tools import (
    hard_codes_steps,
    is_batched,
    is_dynamic_size,
    is_exporting,
    is_in_transform,
    is_jit_traced,
    is_meta_or_fake,
    is_transformed,
    lacks_kernel,
    uses_custom_op,
)
from rnnkit._checks.call_spec import SEQUENCE
from rnnkit._kernels.stack import Direction, Stack
from rnnkit._modules.masks import state_after, where_state, without_padding
from rnnkit._modules.preprojected import PreprojectedCell
from rnnkit._modules.sequence import Boundaries, CellFunction, StepInputs, UnrollArgs


def records_torchs_layer(layer: RNNBase, input: Tensor) -> bool:
    """Return whether a compiler records torch's own layer, as it is, of a call without lengths."""
    has_batch_axis = input.dim() != SEQUENCE
    seq_axis = 1 if layer.batch_first and has_batch_axis else 0
    steps = input.shape[seq_axis]
    return not uses_custom_op(steps) and not hard_codes_steps(steps)


def needs_steps(stack: Stack, input: Tensor, boundaries: Boundaries) -> bool:
    """Return whether nothing but a loop over steps works for whoever traces."""
    lengths, reset, _ = boundaries
    if is_compiling():
        if hard_codes_steps(input.shape[0]):
            return True
    elif is_batched(input) or (lengths is not None and is_batched(lengths.given)):
        return True  # torch's kernels have no rule for the examples of a vmap
    # Boundaries are found by the values of a mask, and a relu may not run over padding.
    needs_values = reset is not None or (
        stack.recurrence.name == "RNN_RELU" and lengths is not None
    )
    if not needs_values:
        return False
    return is_transformed() or is_jit_traced() or (reset is not None and is_meta_or_fake(reset))


def has_kernel(direction: Direction, input: Tensor) -> bool:
    """Return whether a kernel can run a direction here, now; else the loop can."""
    if direction.recurrence.kernel is None:
        return False
    if direction.by_operator:
        # The operator itself does without a kernel that this CPU lacks. An exported program is a
        # loop or a scan, which nobody needs rnnkit to load.
        return not is_exporting()
    if is_transformed():
        return False
    return not lacks_kernel(direction.recurrence.name, int(direction.is_projected), input)


def takes_scan(cell: CellFunction, args: UnrollArgs, steps: StepInputs) -> bool:
    """Return whether torch's scan replaces the loop, since the number of steps is open."""
    if not is_compiling() or not is_dynamic_size(steps.input.shape[0]):
        return False
    if is_exporting():  # it has no other way
        return True
    if not isinstance(cell, PreprojectedCell):  # a user's cell may do what scan forbids
        return False
    # Up to torch 2.13 inductor reuses the memory of what scan's backward pass still reads, and
    # returns wrong gradients without a word. The loop, traced for each number of steps, is right.
    return not _wants_gradient(cell, args)


def _wants_gradient(cell: PreprojectedCell, args: UnrollArgs) -> bool:
    """Return whether anybody may differentiate what the steps of rnnkit's own cell compute."""
    if is_in_transform():
        return True
    if not torch.is_grad_enabled():
        return False
    read = pytree.tree_leaves((args.input, args.hx, args.initial, cell.weights))
    return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in read)


# complexipy: ignore - the step that is traced stands inside, since it reads what is around it
def run_scan(cell: CellFunction, args: UnrollArgs, steps: StepInputs) -> tuple[Tensor, Any]:
    """Do what the loop over steps does, by torch's scan: one step is traced for all."""
    # Imported here, since it is not a public module of torch, and few programs come here.
    from torch._higher_order_ops.scan import scan  # noqa: PLC0415

    input, hx, valid, reset = steps
    leaves, spec = pytree.tree_flatten(_as_returned(cell, hx, input.dtype))

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


def _as_returned(cell: CellFunction, hx: Any, dtype: torch.dtype) -> Any:
    """Return a first state as the steps return theirs, which scan demands."""
    if not isinstance(cell, PreprojectedCell):
        return hx
    if isinstance(hx, tuple):
        return LSTMState(*hx)
    is_lowered = cell.recurrence.name.startswith("RNN")  # by autocast
    return hx.to(dtype) if is_lowered else hx


def _requiring_gradients(
    first: list[Tensor], cell: CellFunction, input: Tensor, initial: State | None
) -> list[Tensor]:
    """Return a first state of the same values that requires a gradient if a step's result does."""
    # An exported program may be trained. If its first state requires no gradient, scan of a torch
    # below 2.13 loses those of all steps but the last.
    weights: list[Tensor] = []
    if isinstance(cell, PreprojectedCell):
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
