"""``unroll``: any cell, run over a sequence.

rnnkit's own cells run over a sequence by torch's fused kernels.
"""

from typing import Any, NamedTuple, Protocol, TypeVar, overload, runtime_checkable

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.class_facts import overrides_initial_state
from rnnkit._base.dynamo import outside_of_graphs
from rnnkit._base.state import (
    LSTMState,
    State,
    filled,
    has_missing_part,
    state_of,
    tensors_of,
    zeros,
)
from rnnkit._base.torch_tools import is_exporting, uses_custom_op
from rnnkit._checks.arguments import check_block_size, known_options
from rnnkit._checks.call_spec import SEQUENCE, CallSpec, spec_of
from rnnkit._checks.diagnosis import diagnose_initial_state, diagnose_unrolled
from rnnkit._checks.guards import MISFIT, fitting_unrolled
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.recurrences import recurrence_of
from rnnkit._kernels.stack import Direction, Stack, States
from rnnkit._modules.cell_base import AnyCell, Cell, GivenT, is_plain, sequence_weights
from rnnkit._modules.cells import Pair
from rnnkit._modules.initial_states import initial_state
from rnnkit._modules.layer_run import run_stack
from rnnkit._modules.loop import run_loop
from rnnkit._modules.preprojected import PreprojectedCell
from rnnkit._modules.sequence import (
    Boundaries,
    UnrollArgs,
    checked_boundaries,
    with_batch,
    without_batch,
)
from rnnkit._modules.tracing import has_kernel
from rnnkit.typing import LengthsLike, ResetLike

StateT_co = TypeVar("StateT_co", covariant=True)


@runtime_checkable  # jaxtyping's hook asks isinstance of every annotation
class Steps(Protocol[StateT_co, GivenT]):
    """A cell as ``rnnkit.typing.Cell`` describes it, with what it takes as its state.

    It takes what it returns: a layer, which returns a pair of output and state, is none.
    """

    def __call__(self, input: Any, hx: GivenT) -> GivenT: ...

    def initial_state(self, batch_size: int, /) -> StateT_co: ...


@overload
def unroll(
    cell: Steps[LSTMState, Pair],
    input: Tensor,
    hx: Pair | None = None,
    *,
    batch_first: bool = False,
    lengths: LengthsLike | None = None,
    reverse: bool = False,
    reset: ResetLike | None = None,
    return_states: bool = False,
    fused: bool = True,
    block: int | None = None,
) -> tuple[Tensor, LSTMState]: ...
@overload
def unroll(
    cell: Steps[StateT_co, GivenT],
    input: Tensor,
    hx: GivenT | None = None,
    *,
    batch_first: bool = False,
    lengths: LengthsLike | None = None,
    reverse: bool = False,
    reset: ResetLike | None = None,
    return_states: bool = False,
    fused: bool = True,
    block: int | None = None,
) -> tuple[Tensor, StateT_co]: ...
@overload
def unroll(
    cell: torch.nn.RNNCell | torch.nn.GRUCell,
    input: Tensor,
    hx: Tensor | None = None,
    *,
    batch_first: bool = False,
    lengths: LengthsLike | None = None,
    reverse: bool = False,
    reset: ResetLike | None = None,
    return_states: bool = False,
    fused: bool = True,
    block: int | None = None,
) -> tuple[Tensor, Tensor]: ...
@overload
def unroll(
    cell: torch.nn.LSTMCell,
    input: Tensor,
    hx: tuple[Tensor, Tensor] | None = None,
    *,
    batch_first: bool = False,
    lengths: LengthsLike | None = None,
    reverse: bool = False,
    reset: ResetLike | None = None,
    return_states: bool = False,
    fused: bool = True,
    block: int | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]: ...
@known_options
def unroll(
    cell: Any,
    input: Tensor,
    hx: Any = None,
    *,
    batch_first: bool = False,
    lengths: LengthsLike | None = None,
    reverse: bool = False,
    reset: ResetLike | None = None,
    return_states: bool = False,
    fused: bool = True,
    block: int | None = None,
) -> tuple[Tensor, Any]:
    """Run a cell over a sequence.

    ::

        for x_t in input:
            hx = cell(x_t, hx)
            output.append(hx, or hx[0] of a tuple)

    For rnnkit's own cells torch's fused kernel runs, at the cost of the layer, unless
    ``return_states`` asks for what the kernel does not return. Compilers, ``torch.func`` and
    cells with hooks get the loop.

    ``cell`` is an rnnkit cell, or any module as :class:`rnnkit.typing.Cell` describes it. ``input``
    is ``(seq, batch, feature)``, with ``batch_first`` ``(batch, seq, feature)``, or
    ``(seq, feature)`` for one sequence without batch; ``hx`` is the cell's state before the first
    step, None for its ``initial_state``. Returns the output, in the input's layout, and the last
    state.

    ``lengths`` ``(batch,)`` are the valid steps of each sample, 0 to seq: the output is zero beyond
    them, and the state is the one after each sample's own last step. ``reset`` ``(seq, batch)``,
    booleans or 0 and 1 in the input's layout, is true where a sample is reset to ``initial_state``
    before that step: the sequence is cut between two steps, in whichever direction it runs.

    ``reverse`` runs from the last valid step to the first, with the output in the input's order.
    ``return_states`` returns the state after every step, each tensor with a seq axis in front.
    ``fused=False`` keeps to the loop, whose gradients can be differentiated again.

    ``block=10`` lets torch compile ten steps of a user's cell at once, and runs them again and
    again: a few graphs serve any number of steps, where a compiled loop makes one for each number.
    The first call compiles, which takes a minute or so; the steps that fill no block run as they
    are. Such gradients cannot be differentiated again. It stays out of a graph around it.
    ``reverse`` and ``return_states``, an exporter and rnnkit's own cells keep their ways.

    Raises:
        RnnkitError: the matching subclass, if input, state, lengths or mask are not as above.
        ArgumentError: if ``block`` is not an int from 1.
        CellError: if the cell has no initial state, or if it returns no state, one of other
            samples or one whose shape changes. Its own exceptions are not changed, but get a note
            that names the step.

    >>> cell = rnnkit.GRUCell(3, 4)
    >>> output, state = rnnkit.unroll(cell, torch.ones(7, 2, 3), lengths=[7, 5])
    >>> output.shape, state.shape
    (torch.Size([7, 2, 4]), torch.Size([2, 4]))
    """
    call = UnrollCall(
        cell=cell,
        input=input,
        hx=hx,
        caller="unroll",
        batch_first=batch_first,
        lengths=lengths,
        reset=reset,
        reverse=reverse,
        return_states=return_states,
        fused=fused,
        block=block,
    )
    if block is None:
        return run(call)
    check_block_size(block)
    if is_exporting():  # a program is one graph
        return run(call._replace(block=None))
    return _run_outside(call) if is_compiling() else run(call)


unroll.__module__ = "rnnkit"


class UnrollCall(NamedTuple):
    """A call of ``unroll``, or of one cell of a ``Recurrent``, with the arguments as they came."""

    cell: Any
    input: Any
    hx: Any
    caller: str
    batch_first: bool
    lengths: object = None
    reset: object = None
    reverse: bool = False
    return_states: bool = False
    fused: bool = True
    block: int | None = None
    #: The cell's part of what the ``initial_state`` of a subclass of ``Recurrent`` returned.
    initial: State | None = None
    #: How the caller writes the state.
    state: str = "hx"


@outside_of_graphs(
    "rnnkit.unroll(..., block=) compiles its own graphs, which no full graph can have inside:"
    " leave out block= or fullgraph=True"
)
def _run_outside(call: UnrollCall) -> tuple[Tensor, Any]:
    """Run a call in blocks where a compiler traces its caller."""
    return run(call)


def run(call: UnrollCall) -> tuple[Tensor, Any]:
    """Run a cell over a sequence, in five stages.

    The call is checked, laid out as ``(seq, batch, feature)``, completed by the state that it
    starts from, run, and the results are laid out as the input was.
    """
    cell, input, hx, *_ = call
    batch_first = call.batch_first
    has_pieces = call.lengths is not None or call.reset is not None
    # One of ours that nobody changed: its equations are known.
    is_known = is_plain(cell)
    weight = cell.weight_ih if is_known else None
    state = fitting_unrolled(cell, input, hx, weight, batch_first=batch_first)
    if state is MISFIT:
        diagnose_unrolled(
            cell,
            input,
            hx,
            weight,
            call.caller,
            batch_first=batch_first,
            state=call.state,
            has_pieces=has_pieces,
        )
        # torch's class takes each step as it is.
        state = hx
        is_known = False
    lengths = reset = None
    if has_pieces:
        spec = _spec_of(call, input, known=is_known, batch_first=batch_first)
        lengths, reset, _ = checked_boundaries(spec, input, call.lengths, call.reset)

    batch_axis = 0 if batch_first else 1
    is_unbatched = input.dim() == SEQUENCE
    if is_unbatched:
        input = input.unsqueeze(batch_axis)
    if batch_first:
        input = input.transpose(0, 1)
    is_own = is_known and (call.initial is not None or overrides_initial_state(cell))
    first, restart = _start(call, input, state, lengths, is_known=is_known, is_own=is_own)

    args = UnrollArgs(
        input=input,
        hx=first,
        lengths=lengths,
        reset=reset,
        initial=restart,
        reverse=call.reverse,
        return_states=call.return_states,
        block=call.block,
    )
    if is_known:
        output, end = _run_known(cell, args, fused=call.fused, has_own_start=is_own)
    else:
        output, end = run_loop(cell, args)

    if batch_first:
        output = output.transpose(0, 1)
    if is_unbatched:
        return output.squeeze(batch_axis), without_batch(end, 1 if call.return_states else 0)
    return output, end


def _start(
    call: UnrollCall,
    input: Tensor,
    hx: State | None,
    lengths: Lengths | None,
    *,
    is_known: bool,
    is_own: bool,
) -> tuple[State | None, State | None]:
    """Return the state before the first step of ``(seq, batch, feature)``, and that after a reset.

    ``hx`` is the state that was given, checked. The first is None if the cell makes it at that
    step. Where it ``is_own``, a user's ``initial_state`` says what it is; else it is zeros.
    """
    cell = call.cell
    given = call.hx
    initial = call.initial
    if call.input.dim() == SEQUENCE:
        given = with_batch(given, 0)
        hx = with_batch(hx, 0)
        initial = with_batch(initial, 0)
    # A cell of ours completes its pair itself, which is too late where lengths read it.
    is_missing = has_missing_part(given) if isinstance(cell, Cell) else given is None
    if is_missing and initial is None and not hasattr(cell, "initial_state"):
        # It makes its state itself, at the first step that runs: of each sample, or it is refused.
        is_missing = lengths is not None and (call.reverse or lengths.empty() is not None)
    if not is_missing and call.reset is None:
        return hx, initial
    batch = input.shape[1]
    if is_known and not is_own:
        initial = zeros(cell, cell.weight_ih, batch)
    elif initial is None:
        initial = initial_state(cell, batch, again=call.reset is not None)
    if is_own:
        checked = fitting_unrolled(cell, input, initial, cell.weight_ih, batch_first=False)
        if checked is MISFIT:
            spec = _spec_of(call, input, known=True, batch_first=False)
            diagnose_initial_state(spec, initial, input)
        initial = checked
    return filled(given, initial) if is_missing else hx, initial


def _spec_of(call: UnrollCall, input: Tensor, *, known: bool, batch_first: bool) -> CallSpec:
    options: Any = {"known": known, "batch_first": batch_first, "state": call.state}
    return spec_of(call.cell, input, "unrolled", call.caller, **options)


def _run_known(
    cell: AnyCell, args: UnrollArgs, *, fused: bool, has_own_start: bool
) -> tuple[Tensor, Any]:
    """Run a cell that does what rnnkit's do: as a layer of one by a fused kernel, or in a loop."""
    by_operator = uses_custom_op(args.input.shape[0])
    direction = direction_of(cell, reverse=args.reverse, by_operator=by_operator)
    if not fused or args.return_states or not has_kernel(direction, args.input):
        return run_loop(PreprojectedCell(direction), args)
    initial = as_layer(args.initial) if has_own_start and args.reset is not None else None
    boundaries = Boundaries(args.lengths, args.reset, initial)
    output, ends = run_stack(Stack([[direction]]), args.input, as_layer(args.hx), boundaries)
    return output, state_of([tensor.squeeze(0) for tensor in ends])


def direction_of(cell: AnyCell, *, reverse: bool, by_operator: bool = False) -> Direction:
    """Return a cell as one direction of a layer; ``by_operator``: a compiler traces one call."""
    recurrence: Any = recurrence_of(cell)
    return Direction(
        recurrence=recurrence,
        weights=sequence_weights(cell),
        bias=bool(cell.bias),
        training=cell.training,
        reverse=reverse,
        by_operator=by_operator,
    )


def as_layer(state: State | None) -> States:
    """Return a cell's state as that of one layer, in one piece, as cuDNN needs it."""
    return tuple(tensor.unsqueeze(0).contiguous() for tensor in tensors_of(state))
