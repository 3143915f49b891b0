"""What a call does only where a compiler, an exporter or a transform traces it, or its blocks.

The questions come first: whether torch's own layer is recorded, and whether a kernel runs or a loop
over steps. That loop may be torch's scan, whose step is traced once for all. Blocks come last:
steps of a user's cell that torch compiles, a block once, for any number of steps.
"""

import inspect
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import RNNBase
from torch.utils import _pytree as pytree

from rnnkit._base.state import State, map_state, state_of
from rnnkit._base.torch_tools import (
    is_batched,
    is_compiled_or_transformed,
    is_dynamic_size,
    is_exporting,
    is_in_transform,
    is_jit_traced,
    lacks_kernel,
    lacks_values,
)
from rnnkit._checks.call_spec import sizes_of_sequence
from rnnkit._checks.objects import output_of, versions
from rnnkit._kernels.stack import Direction
from rnnkit._modules.cell_steps import check_first, check_result, run_step, run_step_by_step
from rnnkit._modules.sequence import (
    Boundaries,
    CellFunction,
    PreprojectedCell,
    StepInputs,
    UnrollArgs,
    parameters_of,
    without_padding,
)


def uses_custom_op(steps: Any) -> bool:
    """Return whether a compiler traces, so that rnnkit's operator replaces torch's kernel.

    ``steps`` is the number of steps: an int, or a size that the compiler leaves open.
    The operator has no rules for ``torch.func``. An exported program has it only if the number of
    steps is open, which torch's kernels would fix, since such a program needs rnnkit to load; and
    not for ONNX, which has an LSTM of its own.
    """
    if not is_compiling() or is_in_transform():
        return False
    return not is_exporting() or (is_dynamic_size(steps) and not torch.onnx.is_in_onnx_export())


def hard_codes_steps(steps: Any) -> bool:
    """Return whether an exporter would hard-code an open number of steps of torch's kernels.

    ``steps`` is an int, or a size that the exporter leaves open.
    The newer exporter to ONNX does so before torch 2.15: the program fails at other lengths.
    """
    is_onnx = is_exporting() and torch.onnx.is_in_onnx_export()
    return is_onnx and torch.__version__ < "2.15" and is_dynamic_size(steps)


def records_torchs_layer(layer: RNNBase, input: object) -> bool:
    """Return whether a compiler records torch's own layer as it is, in a call without lengths.

    It does not where rnnkit's operator replaces the kernel, or where an exporter would write down
    the number of steps that the example has. Packed input is never recorded so.
    """
    if not is_compiling() or not isinstance(input, Tensor):
        return False
    steps = sizes_of_sequence(input, batch_first=layer.batch_first)["seq"]
    return not uses_custom_op(steps) and not hard_codes_steps(steps)


def needs_steps(input: Tensor, boundaries: Boundaries) -> bool:
    """Return whether a call must run as a plain loop over steps.

    torch's kernels, or cutting at resets, would fail for the compiler, tracer or transform that
    runs it: for these flags have no values, and an open number of steps would be fixed.
    ``input`` is ``(seq, batch, feature)``; ``boundaries`` is lengths, resets and what a sample is
    reset to, each None if there is none.
    """
    lengths, reset, _ = boundaries
    if is_compiling():
        if hard_codes_steps(input.shape[0]):
            return True
    elif is_batched(input) or (lengths is not None and is_batched(lengths.each)):
        return True  # torch's kernels have no rule for the examples of a vmap
    if reset is None:
        return False
    # Pieces are found by the values of a mask.
    return is_compiled_or_transformed() or is_jit_traced() or lacks_values(reset)


def has_kernel(direction: Direction, input: Tensor) -> bool:
    """Return whether a kernel, torch's or rnnkit's operator, can run a layer's direction here.

    If not, a loop over steps can: for an exporter, a transform such as ``torch.func``, and where
    autocast asks for a kernel that this CPU lacks.
    """
    if direction.recurrence.kernel is None:
        return False
    if direction.by_operator:
        # The operator itself does without a kernel that this CPU lacks. An exported program is a
        # loop or a scan, which nobody needs rnnkit to load.
        return not is_exporting()
    if is_compiled_or_transformed():
        return False
    return not lacks_kernel(direction.recurrence.name, int(direction.is_projected), input)


def run_scan(
    cell: CellFunction, args: UnrollArgs, steps: StepInputs, hx: State | None
) -> tuple[Tensor, Any]:
    """Run a cell over ``(seq, batch, feature)`` by torch's scan: one step is traced for all.

    ``args`` is how ``unroll`` was called; ``steps`` is the input and masks ``(seq, batch)`` of
    valid steps and of resets, or None; ``hx`` is the state before the first step. Returns the
    output, zero on padding, and the last state or, with ``args.return_states``, that after every
    step.
    """
    # Imported here, since it is not a public module of torch, and few programs come here.
    from torch._higher_order_ops.scan import scan  # noqa: PLC0415

    leaves, spec = pytree.tree_flatten(hx)

    def step(carry: list[Tensor], now: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Run one step: ``now`` is its input and masks, ``carry`` the tensors of the state."""
        old = pytree.tree_unflatten(carry, spec)
        new, kept = run_step(cell, args, StepInputs(**now), old, 0)
        output = output_of(new)
        end = pytree.tree_leaves(kept)
        results = [output, *end] if args.return_states else [output]
        # scan refuses results that share their memory.
        return [t.clone() for t in end], [t.clone() for t in results]

    # Nor does it take arguments that do, or a None.
    given = {name: tensor.clone() for name, tensor in steps._asdict().items() if tensor is not None}
    read = [steps.input[0], *pytree.tree_leaves(args.initial), *parameters_of(cell)]
    first = _requiring_gradients([tensor.clone() for tensor in leaves], read)
    ends, (output, *states) = scan(step, first, given, dim=0, reverse=args.reverse)
    if not args.return_states:
        states = ends
    end = pytree.tree_unflatten(states, spec)
    if isinstance(cell, PreprojectedCell):
        end = state_of(states)
    return without_padding(output, steps.valid), end


def _requiring_gradients(first: list[Tensor], read: list[Any]) -> list[Tensor]:
    """Return a first state of the same values that requires a gradient if a step's result does.

    ``first`` is the tensors of the state before the first step, and ``read`` what a step reads
    besides; a None, such as a missing bias, has no gradient.
    """
    # An exported program may be trained. If its first state requires no gradient, scan of a torch
    # below 2.13 loses those of all steps but the last.
    floats = [one for one in read if isinstance(one, Tensor) and one.is_floating_point()]
    # Any number that depends on all that a step reads; it is never taken, and gets zeros back.
    number = sum((tensor.sum() for tensor in floats), start=first[0].new_zeros(()))
    never = number.new_zeros((), dtype=torch.bool)
    return [
        torch.where(never, number.to(tensor), tensor) if tensor.is_floating_point() else tensor
        for tensor in first
    ]


#: The compiled ``run_step_by_step`` of each cell, kept since its first call takes long. A cell that
#: is copied or saved knows nothing of it.
COMPILED: weakref.WeakKeyDictionary[Any, Callable[..., Any]] = weakref.WeakKeyDictionary()
#: Each cell has its own few graphs, where torch can count them so; else all share a limit of eight.
APART = "isolate_recompiles" in inspect.signature(torch.compile).parameters


def takes_blocks(cell: CellFunction, args: UnrollArgs) -> bool:
    """Return whether steps are run in blocks of ``args.block``, each compiled as a whole.

    They are if that was asked for, of a user's cell, run forward, for its last state only, and if
    nothing compiles or transforms the call.
    """
    if args.block is None or isinstance(cell, PreprojectedCell):
        return False
    return not args.reverse and not args.return_states and not is_compiled_or_transformed()


def run_blocks(
    cell: CellFunction, args: UnrollArgs, steps: StepInputs, hx: Any
) -> tuple[Tensor, Any]:
    """Run a user's cell over a sequence in blocks of ``args.block`` steps, compiled together.

    ``run_step_by_step``, compiled for one block, serves any number of them. The steps that fill no
    block come first, and run as they are. ``steps`` is the input ``(seq, batch, feature)`` and
    masks ``(seq, batch)`` of valid steps and of resets, or None; ``hx`` is the state before the
    first step. Returns the output and the last state.
    """
    size: Any = args.block
    count = steps.input.shape[0]
    first = count % size
    if first == 0 and hx is None:  # the cell makes its state at the first step
        first = size
    sizes = [first] + [size] * ((count - first) // size)
    begin, *blocks = steps.parts(lambda tensor: torch.split(tensor, sizes))
    # Not the lengths: a graph would hold for these alone.
    args = UnrollArgs(steps.input, None, initial=args.initial)

    outputs = []
    if first:
        output, hx = run_step_by_step(cell, args, begin, hx)
        outputs.append(output)
    if cell not in COMPILED:
        options: Any = {"isolate_recompiles": True} if APART else {}
        COMPILED[cell] = torch.compile(run_step_by_step, **options)
    for number, block in enumerate(blocks):
        start = _alike(cell, block.input, hx)
        before = versions(start)
        output, hx = COMPILED[cell](cell, args, block, start)
        step = first + number * size
        check_result(cell, hx, start, before, step)
        batch = block.input.shape[1]
        check_first(cell, hx, start, batch, step, has_lengths=block.valid is not None)
        outputs.append(output)
    return torch.cat(outputs), hx


def _alike(cell: CellFunction, input: Tensor, hx: Any) -> Any:
    """Return the state before a block as later blocks are given theirs: one that has a gradient.

    ``hx`` is the state, and ``input`` what the block reads, ``(steps, batch, feature)``. The zeros
    of the first block have no gradient, and a compiler would make one more graph for them. Where
    nothing has one, the state stays as it is.
    """
    reads = (input, *parameters_of(cell))
    if not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in reads):
        return hx

    def with_gradient(tensor: Tensor) -> Tensor:
        if tensor.requires_grad or not tensor.is_floating_point():
            return tensor
        return tensor.detach().requires_grad_()

    return map_state(with_gradient, hx)
