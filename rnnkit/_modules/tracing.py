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

from rnnkit._base.state import LSTMState
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
from rnnkit._modules.cell_steps import run_step
from rnnkit._modules.sequence import (
    Boundaries,
    CellFunction,
    StepInputs,
    UnrollArgs,
    parameters_of,
    without_padding,
)


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
    if not args.is_known:  # a user's cell may do what scan forbids
        return False
    # Up to torch 2.13 inductor reuses the memory of what scan's backward pass still reads, and
    # returns wrong gradients without a word. The loop, traced for each number of steps, is right.
    return not _wants_gradient(cell, args)


def _wants_gradient(cell: CellFunction, args: UnrollArgs) -> bool:
    """Return whether anybody may differentiate what the steps of rnnkit's own cell compute."""
    if is_in_transform():
        return True
    if not torch.is_grad_enabled():
        return False
    read = pytree.tree_leaves((args.input, args.hx, args.initial, parameters_of(cell)))
    return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in read)


def run_scan(cell: CellFunction, args: UnrollArgs, steps: StepInputs) -> tuple[Tensor, Any]:
    """Do what the loop over steps does, by torch's scan: one step is traced for all."""
    # Imported here, since it is not a public module of torch, and few programs come here.
    from torch._higher_order_ops.scan import scan  # noqa: PLC0415

    input, hx, valid, reset = steps
    if args.is_known:
        hx = _as_returned(cell, hx, input.dtype)
    leaves, spec = pytree.tree_flatten(hx)

    def step(carry: list[Tensor], now: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        x_t, *masks = now
        valid_t = None if valid is None else masks[0]
        reset_t = None if reset is None else masks[-1]
        old = pytree.tree_unflatten(carry, spec)
        new, kept = run_step(cell, args, x_t, old, valid_t, reset_t, 0)
        output = new if isinstance(new, Tensor) else new[0]
        end = pytree.tree_leaves(kept)
        results = [output, *end] if args.return_states else [output]
        # scan refuses results that share their memory.
        return [t.clone() for t in end], [t.clone() for t in results]

    # Nor does it take arguments that do.
    over = [tensor.clone() for tensor in (input, valid, reset) if tensor is not None]
    first = [tensor.clone() for tensor in leaves]
    if is_exporting():
        read = [input[0], *pytree.tree_leaves(args.initial), *parameters_of(cell)]
        first = _requiring_gradients(first, read)
    ends, (output, *states) = scan(step, first, over, dim=0, reverse=args.reverse)
    if not args.return_states:
        states = ends
    return without_padding(output, valid), pytree.tree_unflatten(states, spec)


def _as_returned(cell: Any, hx: Any, dtype: torch.dtype) -> Any:
    """Return the first state of rnnkit's own cell as its steps return theirs: scan demands it."""
    if isinstance(hx, tuple):
        return LSTMState(*hx)
    is_lowered = cell.recurrence.name.startswith("RNN")  # by autocast
    return hx.to(dtype) if is_lowered else hx


def _requiring_gradients(first: list[Tensor], read: list[Tensor]) -> list[Tensor]:
    """Return a first state of the same values that requires a gradient if a step's result does.

    ``read`` is what a step reads beside the state.
    """
    # An exported program may be trained. If its first state requires no gradient, scan of a torch
    # below 2.13 loses those of all steps but the last.
    floats = [tensor for tensor in read if tensor.is_floating_point()]
    # Any number that depends on all that a step reads; it is never taken, and gets zeros back.
    number = sum((tensor.sum() for tensor in floats), start=first[0].new_zeros(()))
    never = number.new_zeros((), dtype=torch.bool)
    return [
        torch.where(never, number.to(tensor), tensor) if tensor.is_floating_point() else tensor
        for tensor in first
    ]
