"""One call of ``unroll``, or of a cell of a ``Recurrent``: checked, laid out, run, given back."""

from typing import Any

import torch
from torch import Tensor

from rnnkit._base.class_facts import overrides_initial_state
from rnnkit._base.state import (
    State,
    filled,
    has_missing_part,
    map_state,
    state_of,
    tensors_of,
    zeros,
)
from rnnkit._checks.call_spec import SEQUENCE, is_autocast
from rnnkit._checks.diagnosis import diagnose_initial_state, diagnose_unrolled
from rnnkit._checks.guards import MISFIT, fitting_unrolled
from rnnkit._checks.objects import UnrollCall
from rnnkit._kernels.cudnn import lay_in_one_block
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.stack import Stack, States
from rnnkit._modules.cell_base import AnyCell, Cell, direction_of, is_plain
from rnnkit._modules.common import initial_state
from rnnkit._modules.dynamo import outside_of_graphs
from rnnkit._modules.layer_run import run_stack
from rnnkit._modules.loop import run_loop
from rnnkit._modules.sequence import (
    Boundaries,
    PreprojectedCell,
    UnrollArgs,
    checked_boundaries,
    with_batch,
    without_batch,
)
from rnnkit._modules.tracing import has_kernel, uses_custom_op


@outside_of_graphs(
    "rnnkit.unroll(..., block=) compiles its own graphs, which no full graph can have inside:"
    " leave out block= or fullgraph=True"
)
def run_outside(call: UnrollCall) -> tuple[Tensor, Any]:
    """Run a call in blocks, outside of any graph that a compiler makes of its caller."""
    return run(call)


def run(call: UnrollCall) -> tuple[Tensor, Any]:
    """Run a cell over a sequence, in five stages; return the output and the state.

    ``call`` is the arguments of ``unroll`` as they came. It is checked, laid out as ``(seq, batch,
    feature)``, completed by the state that it starts from, run, and the results are laid out as the
    input was. The quick check, a guard, returns MISFIT for what is wrong; ``diagnose_unrolled``
    then raises. ``is_known``: a cell of rnnkit's that nobody changed, for which a kernel may run.
    """
    cell, input, hx, *_ = call
    batch_first = call.batch_first
    # One of ours that nobody changed: its equations are known.
    is_known = is_plain(cell)
    weight = cell.weight_ih if is_known else None
    if fitting_unrolled(cell, input, hx, weight, batch_first=batch_first) is MISFIT:
        diagnose_unrolled(call, weight)
    lengths = reset = None
    if call.lengths is not None or call.reset is not None:
        spec = call.spec(is_known=is_known)
        lengths, reset, _ = checked_boundaries(spec, input, call.lengths, call.reset)

    is_unbatched = input.dim() == SEQUENCE
    if is_unbatched:
        input = input.unsqueeze(1)
    elif batch_first:
        input = input.transpose(0, 1)
    has_own_start = call.initial is not None or (is_known and overrides_initial_state(cell))
    first, initial = _start(call, input, lengths, weight, has_own_start=has_own_start)

    args = UnrollArgs(
        input,
        first,
        lengths,
        reset,
        initial,
        call.reverse,
        call.return_states,
        call.block,
    )
    if is_known:
        output, end = _run_known(cell, args, fused=call.fused, has_own_start=has_own_start)
    else:
        output, end = run_loop(cell, args)

    if is_unbatched:
        return output.squeeze(1), without_batch(end, 1 if call.return_states else 0)
    return output.transpose(0, 1) if batch_first else output, end


def _start(
    call: UnrollCall,
    input: Tensor,
    lengths: Lengths | None,
    weight: Tensor | None,
    *,
    has_own_start: bool,
) -> tuple[State | None, State | None]:
    """Return the state before the first step, None if the cell makes it, and that after a reset.

    ``call`` has the arguments as they came, and ``input`` is laid out as ``(seq, batch, feature)``.
    The cell's ``initial_state`` is what a missing state, or a part of it, is taken from.
    ``has_own_start``: an overridden ``initial_state`` of a Recurrent, or of a cell of rnnkit's,
    makes it, and it is checked here; a user's own cell is checked when it runs. Else that of a cell
    of rnnkit's that nobody changed, the only one with a ``weight``, is zeros.
    """
    hx = call.hx
    initial = call.initial
    if call.input.dim() == SEQUENCE:
        hx = with_batch(hx, 0)
        initial = with_batch(initial, 0)
    needs_initial = _needs_initial(call, lengths)
    if not needs_initial and call.reset is None:
        return hx, initial
    cell = call.cell
    if weight is not None and not has_own_start:
        initial = zeros(cell, weight, input.shape[1])
    elif initial is None:
        initial = initial_state(cell, input.shape[1])
    if has_own_start:
        checked: Any = fitting_unrolled(cell, input, initial, weight, batch_first=False)
        if checked is MISFIT:
            laid_out = call._replace(input=input, batch_first=False)
            diagnose_initial_state(laid_out.spec(is_known=weight is not None), initial, input)
        initial = checked
    return filled(hx, initial) if needs_initial else hx, initial


def _needs_initial(call: UnrollCall, lengths: Lengths | None) -> bool:
    """Return whether a call needs the initial state, for a state or a part that was not given.

    That is None or, of a cell of rnnkit's, a pair with a None. A cell without ``initial_state``
    makes its first state itself, in its first step, and needs none, unless ``lengths`` leave a
    sample without that step.
    """
    cell = call.cell
    # A cell of ours completes its pair itself, which is too late where lengths read it.
    is_missing = has_missing_part(call.hx) if isinstance(cell, Cell) else call.hx is None
    if not is_missing or call.initial is not None or hasattr(cell, "initial_state"):
        return is_missing
    # It makes its state itself, at the first step that runs: of each sample, or it is refused.
    return lengths is not None and (call.reverse or lengths.empty() is not None)


def _run_known(
    cell: AnyCell, args: UnrollArgs, *, fused: bool, has_own_start: bool
) -> tuple[Tensor, Any]:
    """Run a cell that does what rnnkit's do: as a layer by a fused kernel, or in a loop.

    ``args`` is the checked call, laid out as ``(seq, batch, feature)``. The loop runs if ``fused``
    is False, if all states are asked for, and where no kernel can run. ``has_own_start``: a reset
    goes to the state of a user's ``initial_state``, and not to zeros. Returns output and state.
    """
    by_operator = uses_custom_op(args.input.shape[0])
    direction = direction_of(cell, reverse=args.reverse, by_operator=by_operator)
    if not fused or args.return_states or not has_kernel(direction, args.input):
        return run_loop(PreprojectedCell(direction), _lowered_as_by_cudnn(args))
    if args.input.is_cuda:
        lay_in_one_block(direction.weights, direction.recurrence)
    initial = as_layer(args.initial) if has_own_start and args.reset is not None else None
    boundaries = Boundaries(args.lengths, args.reset, initial)
    output, ends = run_stack(Stack([[direction]]), args.input, as_layer(args.hx), boundaries)
    return output, state_of([tensor.squeeze(0) for tensor in ends])


def as_layer(state: State | None) -> States:
    """Return a cell's state as that of a layer, ``(1, batch, hidden)``, contiguous for cuDNN."""
    return tuple(tensor.unsqueeze(0).contiguous() for tensor in tensors_of(state))


def _lowered_as_by_cudnn(args: UnrollArgs) -> UnrollArgs:
    """Return the arguments of a loop with states in the dtype in which cuDNN returns them."""
    if not args.input.is_cuda or not is_autocast(args.input):
        return args
    dtype = torch.get_autocast_dtype("cuda")

    def lowered(tensor: Tensor) -> Tensor:
        return tensor if tensor.dtype is torch.float64 else tensor.to(dtype)

    return args._replace(hx=map_state(lowered, args.hx), initial=map_state(lowered, args.initial))
