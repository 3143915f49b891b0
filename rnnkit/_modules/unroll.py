"""``unroll``: any cell, run over a sequence.

rnnkit's own cells run over a sequence by torch's fused kernels.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor

from rnnkit._base.class_facts import mode_of, overrides_initial_state, proj_size_of
from rnnkit._base.state import (
    filled,
    has_missing_part,
    map_state,
    state_of,
    tensors_of,
    with_batch,
)
from rnnkit._base.torch_tools import (
    is_exporting,
    is_jit_traced,
    is_one_graph,
    is_transformed,
    lacks_kernel,
    lacks_numbers,
)
from rnnkit._checks.call_spec import spec_of_unrolled
from rnnkit._checks.cell_guards import MISFIT
from rnnkit._checks.diagnosis import diagnose_initial_state, diagnose_unrolled
from rnnkit._checks.guards import fitting_unrolled
from rnnkit._checks.lengths import check_lengths, check_reset
from rnnkit._checks.objects import refuse_stateless
from rnnkit._kernels import paths
from rnnkit._kernels.compiled.resets import run_reset_operators, takes_reset_operator
from rnnkit._kernels.padded import flipped, run_padded, take
from rnnkit._kernels.stack import Direction, Run, Stack, States
from rnnkit._modules.cell_base import Cell, sequence_weights, weights_of
from rnnkit._modules.loop import is_plain, run_loop
from rnnkit._modules.scan import UnrollArgs
from rnnkit.typing import LengthsLike, ResetLike

StateT_co = TypeVar("StateT_co", covariant=True)
GivenT_contra = TypeVar("GivenT_contra", contravariant=True)


@runtime_checkable  # jaxtyping's hook asks isinstance of every annotation
class Steps(Protocol[StateT_co, GivenT_contra]):
    """A cell as ``rnnkit.typing.Cell`` describes it, with what it takes as its state."""

    # Any, as torch types the call of a module that has only ``forward``.
    def __call__(self, input: Any, hx: GivenT_contra) -> Any: ...

    def initial_state(self, batch_size: int) -> StateT_co: ...


def unroll(
    cell: Steps[StateT_co, GivenT_contra],
    input: Tensor,
    hx: GivenT_contra | None = None,
    *,
    batch_first: bool = False,
    lengths: LengthsLike | None = None,
    reverse: bool = False,
    reset: ResetLike | None = None,
    return_states: bool = False,
    fused: bool = True,
) -> tuple[Tensor, StateT_co]:
    """Run a cell over a sequence.

    ::

        for x_t in input:
            hx = cell(x_t, hx)
            output.append(hx, or hx[0] of a tuple)

    For rnnkit's own cells torch's fused kernel runs, at the cost of the layer, unless
    ``return_states`` asks for what the kernel does not return. Compilers, ``torch.func`` and
    cells with hooks get the loop.

    Args:
        cell: an rnnkit cell, or any module as :class:`rnnkit.typing.Cell` describes it.
        input: ``(seq, batch, feature)``, with ``batch_first`` ``(batch, seq, feature)``, or
            ``(seq, feature)`` for one sequence without batch.
        hx: the cell's state before the first step; None for its ``initial_state``.
        batch_first: whether input, output and ``reset`` have the batch on axis 0.
        lengths: ``(batch,)``, the valid steps of each sample, 0 to seq. The output is zero beyond
            them; the state is the one after each sample's own last step.
        reverse: whether to run from the last valid step to the first; the output stays in the
            input's order.
        reset: ``(seq, batch)``, booleans or 0 and 1, true where a sample is reset to
            ``initial_state`` before that step: the sequence is cut between two steps, in whichever
            direction it runs.
        return_states: whether to return the state after every step, each tensor with a seq axis
            in front, instead of the last one.
        fused: whether torch's fused kernel may run. False keeps to the loop, whose gradients can
            be differentiated again.

    Returns:
        The output, in the input's layout, and the last state (or all).

    Raises:
        RnnkitError: the matching subclass, if input, state, lengths or mask are not as above.
        CellError: if the cell returns no state, or has no initial state. Its own exceptions
            are not changed, but get a note that names the step.

    >>> cell = rnnkit.GRUCell(3, 4)
    >>> output, state = rnnkit.unroll(cell, torch.ones(7, 2, 3), lengths=[7, 5])
    >>> output.shape, state.shape
    (torch.Size([7, 2, 4]), torch.Size([2, 4]))
    """
    return run(
        cell, input, hx, "unroll",
        batch_first=batch_first, lengths=lengths, reverse=reverse, reset=reset,
        return_states=return_states, fused=fused,
    )  # fmt: skip


unroll.__module__ = "rnnkit"


def run(
    cell: Any,
    input: Any,
    hx: Any,
    caller: str,
    *,
    batch_first: bool,
    lengths: Any,
    reverse: bool,
    reset: Any = None,
    initial: Any = None,
    return_states: bool = False,
    fused: bool = True,
    state: str = "hx",
) -> tuple[Tensor, Any]:
    """Do what :func:`unroll` does, for a caller that may know a different ``initial`` state."""
    plain, given = is_plain(cell), hx
    weight = weights_of(cell)[0] if plain else None
    hx = fitting_unrolled(cell, input, given, weight, batch_first=batch_first)
    if hx is MISFIT:
        diagnose_unrolled(cell, input, given, weight, caller, batch_first=batch_first, state=state)
        # torch's class takes each step as it is.
        hx, plain, weight = given, False, None
    spec = spec_of_unrolled(cell, input, caller, known=plain, batch_first=batch_first, state=state)
    counts = None if lengths is None else check_lengths(spec, lengths, input)
    if counts is not None and counts.is_full():
        counts = None
    mask = None if reset is None else check_reset(spec, reset, input)
    if spec.batch is None:
        output, end = run(
            cell, input.unsqueeze(1), with_batch(given, 0), caller,
            batch_first=False, lengths=None, reverse=reverse,
            reset=None if mask is None else mask.unsqueeze(1),
            initial=with_batch(initial, 0),
            return_states=return_states, fused=fused,
        )  # fmt: skip
        return output.squeeze(1), map_state(lambda t: t.squeeze(1 if return_states else 0), end)
    if batch_first:
        input = input.transpose(0, 1)
    args = UnrollArgs(input, hx, counts, mask, None, reverse, return_states, plain)
    if initial is None and not hasattr(cell, "initial_state"):
        output, end = _run_stateless(cell, args)
    else:
        overrides = plain and (initial is not None or overrides_initial_state(cell))
        missing = _asks_initial(cell, given, args, overrides=overrides)
        if missing or mask is not None:
            initial = initial_state(cell, spec.batch) if initial is None else initial
            if overrides:
                given_initial = initial
                initial = fitting_unrolled(cell, input, initial, weight, batch_first=False)
                if initial is MISFIT:
                    diagnose_initial_state(spec, given_initial, input)
            args = args._replace(hx=filled(given, initial) if missing else hx, initial=initial)
        kernel = _kernel_for(cell, args) if fused and plain and not return_states else None
        if kernel is None:
            output, end = run_loop(cell, args)
        else:
            output, end = _run_kernel(cell, kernel, args, overrides=overrides)
    return output.transpose(0, 1) if batch_first else output, end


def _kernel_for(cell: Any, args: UnrollArgs) -> Callable[..., Run] | None:
    """Return what runs a cell by torch's kernels; None where only a loop may."""
    input, reset = args.input, args.reset
    # An exported program is a loop or a scan, which nobody needs rnnkit to load.
    if reset is None and is_one_graph(input.shape[0]) and not is_exporting():
        return run_padded
    if reset is not None and takes_reset_operator(input):
        return run_reset_operators
    traced = is_transformed() or (reset is not None and (is_jit_traced() or lacks_numbers(reset)))
    if traced or lacks_kernel(mode_of(cell), proj_size_of(cell), input):
        return None
    return paths.run


def _run_kernel(
    cell: Any, kernel: Callable[..., Run], args: UnrollArgs, *, overrides: bool
) -> tuple[Tensor, Any]:
    """Run a cell as a layer of one, forward or backward; what ``overrides`` zeros is given."""
    stack, reset = _stack_of(cell, reverse=args.reverse), args.reset
    called = (stack, args.input, _as_layer(args.hx), args.lengths)
    if reset is None:
        output, ends = kernel(*called)
    else:
        output, ends = kernel(*called, reset, _as_layer(args.initial) if overrides else None)
    return output, state_of([tensor.squeeze(0) for tensor in ends])


def _stack_of(cell: Any, *, reverse: bool) -> Stack:
    weights = sequence_weights(cell)
    return Stack([[Direction(mode_of(cell), weights, bool(cell.bias), cell.training, reverse)]])


def _as_layer(state: Any) -> States:
    # In one piece, which cuDNN asks for.
    return tuple(tensor.unsqueeze(0).contiguous() for tensor in tensors_of(state))


def _asks_initial(cell: Any, hx: Any, args: UnrollArgs, *, overrides: bool) -> bool:
    """Return whether a cell is asked for its initial state, because a part of the state is missing.

    A plain cell's pair has its zeros already. A different cell of ours completes its pair itself,
    which is too late where lengths or resets read it.
    """
    if hx is None or overrides:
        return has_missing_part(hx)
    cuts = args.lengths is not None or args.reset is not None
    return cuts and isinstance(cell, Cell) and has_missing_part(hx)


def initial_state(cell: Any, batch: Any) -> Any:
    """Ask a cell for its initial state, for an int, None, or the tensor that a tracer has."""
    if not hasattr(cell, "initial_state"):
        refuse_stateless(cell)
    return cell.initial_state(batch)


def _run_stateless(cell: Any, args: UnrollArgs) -> tuple[Tensor, Any]:
    """Run a cell that makes its initial state itself, from None, at each sample's first step."""
    lengths = args.lengths
    if args.reset is not None:
        refuse_stateless(cell, again=True)
    if args.hx is None and lengths is not None and lengths.empty() is not None:
        refuse_stateless(cell)
    if args.hx is not None or lengths is None or not args.reverse:
        return run_loop(cell, args)
    # Flipped within its length, each sample begins at step 0, where there is no state for any.
    flip = flipped(lengths, args.input.shape[0])
    output, state = run_loop(cell, args._replace(input=take(args.input, flip), reverse=False))
    if args.return_states:
        state = map_state(lambda tensor: take(tensor, flip), state)
    return take(output, flip), state
