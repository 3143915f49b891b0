"""``unroll``: any cell, run over a sequence.

rnnkit's own cells over a sequence by torch's fused kernels.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor

from rnnkit._base.class_facts import has_own_start, mode_of, proj_size_of
from rnnkit._base.state import LSTMState, has_gap, map_state, with_batch
from rnnkit._base.torch_tools import (
    is_exporting,
    is_jit_traced,
    is_one_graph,
    is_transformed,
    lacks_kernel,
    lacks_numbers,
)
from rnnkit._checks.calls import check_unrolled
from rnnkit._checks.lengths import check_lengths
from rnnkit._checks.masks import check_reset
from rnnkit._checks.objects import check_cell_object, refuse_stateless
from rnnkit._checks.odd_tensors import goes_to_torch
from rnnkit._checks.state_guards import first_state
from rnnkit._kernels import paths
from rnnkit._kernels.compiled.resets import run_reset_operators, takes_reset_operator
from rnnkit._kernels.padded import flipped, run_padded, take
from rnnkit._kernels.stack import Direction, Run, Stack
from rnnkit._modules.cell_base import Cell, sequence_weights, weights_of
from rnnkit._modules.loop import is_plain, run_loop
from rnnkit._modules.scan import Course
from rnnkit.typing import LengthsLike, ResetLike

StateT_co = TypeVar("StateT_co", covariant=True)
GivenT_contra = TypeVar("GivenT_contra", contravariant=True)


@runtime_checkable  # jaxtyping's hook asks isinstance of every annotation
class _Steps(Protocol[StateT_co, GivenT_contra]):
    """A cell as ``rnnkit.typing.Cell`` describes it, with what it takes as its state."""

    def __call__(self, input: Any, hx: GivenT_contra) -> StateT_co: ...

    def initial_state(self, batch_size: int) -> StateT_co: ...


def unroll(
    cell: _Steps[StateT_co, GivenT_contra],
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

    rnnkit's own cells run torch's fused kernel, at the cost of the layer, unless
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
        reset: ``(seq, batch)``, booleans or 0 and 1, true where a sample starts again from
            ``initial_state`` before that step: the sequence is cut between two steps, in whichever
            direction it is run.
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
    first: Any = None,
    return_states: bool = False,
    fused: bool = True,
    state: str = "hx",
) -> tuple[Tensor, Any]:
    """Do what :func:`unroll` does, for a caller that may know the cell's ``first`` state better."""
    plain, given = is_plain(cell) and not goes_to_torch(cell, input, hx), hx
    if not plain:
        check_cell_object(cell, input)
    weight = weights_of(cell)[0] if plain else None
    spec, hx = check_unrolled(cell, input, hx, caller, weight, batch_first=batch_first, state=state)
    counts = None if lengths is None else check_lengths(spec, lengths, input)
    if counts is not None and counts.is_full():
        counts = None
    mask = None if reset is None else check_reset(spec, reset, input)
    if spec.batch is None:
        output, state = run(
            cell, input.unsqueeze(1), with_batch(given, 0), caller,
            batch_first=False, lengths=None, reverse=reverse,
            reset=None if mask is None else mask.unsqueeze(1),
            first=with_batch(first, 0),
            return_states=return_states, fused=fused,
        )  # fmt: skip
        batch_axis = 1 if return_states else 0
        return output.squeeze(1), map_state(lambda tensor: tensor.squeeze(batch_axis), state)
    if batch_first:
        input = input.transpose(0, 1)
    stateless = first is None and not hasattr(cell, "initial_state")
    if stateless and mask is not None:
        refuse_stateless(cell, again=True)
    if stateless and hx is None:
        if counts is not None and counts.empty() is not None:
            refuse_stateless(cell)
        course = Course(input, None, counts, None, None, reverse, return_states)
        output, state = _run_stateless(cell, course)
    else:
        own = plain and (first is not None or has_own_start(cell))
        missing = _asks_first(cell, given, own=own, whole=counts is None and mask is None)
        if missing or mask is not None:
            first = initial_state(cell, spec.batch) if first is None else first
            first = first_state(spec, first, input) if own else first
        hx = _completed(given, first) if missing else hx
        course = Course(input, hx, counts, mask, first, reverse, return_states)
        kernel = _kernel_for(cell, course) if fused and plain and not return_states else None
        if kernel is None:
            output, state = run_loop(cell, course)
        else:
            output, state = _run_kernel(cell, kernel, course, own=own)
    return output.transpose(0, 1) if batch_first else output, state


def _kernel_for(cell: Any, course: Course) -> Callable[..., Run] | None:
    """Return what runs a cell by torch's kernels; None where only a loop may."""
    input, reset = course.input, course.reset
    # An exported program is a loop or a scan, which asks nobody who loads it for rnnkit.
    if reset is None and is_one_graph(input.shape[0]) and not is_exporting():
        return run_padded
    if reset is not None and takes_reset_operator(input):
        return run_reset_operators
    watched = is_transformed() or (reset is not None and (is_jit_traced() or lacks_numbers(reset)))
    if watched or lacks_kernel(mode_of(cell), proj_size_of(cell), input):
        return None
    return paths.run


def _run_kernel(
    cell: Any, kernel: Callable[..., Run], course: Course, *, own: bool
) -> tuple[Tensor, Any]:
    """Run a cell as a layer of one, forward or backward; ``own``: it may start from no zeros."""
    input, hx, lengths, reset, initial, reverse, _ = course
    restart = _as_layer(initial) if reset is not None and own else None
    stack = _stack_of(cell, reverse=reverse)
    args = (stack, input, _as_layer(hx), lengths)
    output, ends = kernel(*args) if reset is None else kernel(*args, reset, restart)
    tensors = [tensor.squeeze(0) for tensor in ends]
    return output, tensors[0] if len(tensors) == 1 else LSTMState(*tensors)


def _stack_of(cell: Any, *, reverse: bool) -> Stack:
    weights = sequence_weights(cell)
    return Stack([[Direction(mode_of(cell), weights, bool(cell.bias), cell.training, reverse)]])


def _as_layer(state: Any) -> tuple[Tensor, ...]:
    tensors = (state,) if isinstance(state, Tensor) else state
    # In one piece, which cuDNN asks for.
    return tuple(tensor.unsqueeze(0).contiguous() for tensor in tensors)


def _asks_first(cell: Any, hx: Any, *, own: bool, whole: bool) -> bool:
    """Say whether a state, or a part of it, is the first one, for which the cell is asked.

    Zeros, where no first state is the caller's ``own``, are in a plain cell's pair already. Another
    cell of ours completes its pair itself, which is too late where lengths or resets read it.
    """
    if hx is None or own:
        return has_gap(hx)
    return not whole and isinstance(cell, Cell) and has_gap(hx)


def _completed(hx: Any, first: Any) -> Any:
    """Put the first state in place of what is missing of a state."""
    if hx is None:
        return first
    return tuple(one if part is None else part for part, one in zip(hx, first, strict=True))


def initial_state(cell: Any, batch: Any) -> Any:
    """Ask a cell for its first state, of an int, of None, or of the tensor that a tracer has."""
    if not hasattr(cell, "initial_state"):
        refuse_stateless(cell)
    return cell.initial_state(batch)


def _run_stateless(cell: Any, course: Course) -> tuple[Tensor, Any]:
    """Run a cell that makes its first state itself, from None, at each sample's first step."""
    lengths, return_states = course.lengths, course.return_states
    if lengths is None or not course.reverse:
        return run_loop(cell, course)
    # Flipped within its length, each sample begins at step 0, where there is no state for any.
    flip = flipped(lengths, course.input.shape[0])
    forward = Course(take(course.input, flip), None, lengths, return_states=return_states)
    output, state = run_loop(cell, forward)
    if return_states:
        state = map_state(lambda tensor: take(tensor, flip), state)
    return take(output, flip), state
