"""``unroll``: any cell, run over a sequence.

rnnkit's own cells run over a sequence by torch's fused kernels.
"""

from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor

from rnnkit._base.class_facts import mode_of, overrides_initial_state, proj_size_of
from rnnkit._base.state import filled, has_missing_part, map_state, state_of, tensors_of, zeros
from rnnkit._base.torch_tools import is_exporting, is_transformed, lacks_kernel, uses_custom_op
from rnnkit._checks.arguments import known_options
from rnnkit._checks.call_spec import SEQUENCE, spec_of
from rnnkit._checks.diagnosis import diagnose_initial_state, diagnose_unrolled
from rnnkit._checks.guards import MISFIT, fitting_unrolled
from rnnkit._checks.length_checks import check_lengths
from rnnkit._checks.mask_checks import check_reset
from rnnkit._checks.steps import refuse_stateless
from rnnkit._kernels.formulas import ByParts
from rnnkit._kernels.stack import Direction, Stack, States
from rnnkit._modules.cell_base import Cell, is_plain, sequence_weights
from rnnkit._modules.layer_run import run_stack
from rnnkit._modules.loop import run_loop
from rnnkit._modules.unroll_args import UnrollArgs
from rnnkit.typing import LengthsLike, ResetLike

StateT_co = TypeVar("StateT_co", covariant=True)
GivenT_contra = TypeVar("GivenT_contra", contravariant=True)


@runtime_checkable  # jaxtyping's hook asks isinstance of every annotation
class Steps(Protocol[StateT_co, GivenT_contra]):
    """A cell as ``rnnkit.typing.Cell`` describes it, with what it takes as its state."""

    # Any, as torch types the call of a module that has only ``forward``.
    def __call__(self, input: Any, hx: GivenT_contra) -> Any: ...

    def initial_state(self, batch_size: int) -> StateT_co: ...


@known_options
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

    Raises:
        RnnkitError: the matching subclass, if input, state, lengths or mask are not as above.
        CellError: if the cell has no initial state, or if it returns no state, one of other
            samples or one whose shape changes. Its own exceptions are not changed, but get a note
            that names the step.

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


def run(  # noqa: C901, PLR0912 - a flat chain of questions
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
    plain = is_plain(cell)
    given = hx
    weight: Any = cell.weight_ih if plain else None
    hx = fitting_unrolled(cell, input, given, weight, batch_first=batch_first)
    has_pieces = lengths is not None or reset is not None
    if hx is MISFIT:
        diagnose_unrolled(
            cell, input, given, weight, caller,
            batch_first=batch_first, state=state, has_pieces=has_pieces,
        )  # fmt: skip
        # torch's class takes each step as it is.
        hx = given
        plain = False
        weight = None
    counts = mask = None
    options: Any = {"known": plain, "batch_first": batch_first, "state": state}
    if has_pieces:
        spec = spec_of(cell, input, "unrolled", caller, **options)
        counts = None if lengths is None else check_lengths(spec, lengths, input)
        counts = None if counts is None or counts.is_full() else counts
        mask = None if reset is None else check_reset(spec, reset, input)
    unbatched = input.dim() == SEQUENCE
    if unbatched:
        input, states = input.unsqueeze(1), (given, hx, initial)
        given, hx, initial = (map_state(lambda part: part.unsqueeze(0), one) for one in states)
        mask = None if mask is None else mask.unsqueeze(1)
    elif batch_first:
        input = input.transpose(0, 1)
    # A cell of ours completes its pair itself, which is too late where lengths read it.
    missing = given is None or (isinstance(cell, Cell) and has_missing_part(given))
    if initial is None and not hasattr(cell, "initial_state"):
        # It makes its state itself, at the first step that runs: of each sample, or it is refused.
        from_none = counts is None or (not reverse and counts.empty() is None)
        missing = missing and not from_none
    overrides = plain and (initial is not None or overrides_initial_state(cell))
    if missing or mask is not None:
        if plain and not overrides:
            initial = zeros(cell, weight, input.shape[1])
        elif initial is None:
            initial = initial_state(cell, input.shape[1], again=mask is not None)
        if overrides:
            returned = initial
            initial = fitting_unrolled(cell, input, returned, weight, batch_first=False)
            if initial is MISFIT:
                spec = spec_of(
                    cell, input, "unrolled", caller, **(options | {"batch_first": False})
                )
                diagnose_initial_state(spec, returned, input)
        hx = filled(given, initial) if missing else hx
    args = UnrollArgs(input, hx, counts, mask, initial, reverse, return_states)
    if plain:
        output, end = _run_plain(cell, args, fused=fused, overrides=overrides)
    else:
        output, end = run_loop(cell, args)
    if unbatched:
        seq_axes = 1 if return_states else 0
        return output.squeeze(1), map_state(lambda tensor: tensor.squeeze(seq_axes), end)
    return output.transpose(0, 1) if batch_first else output, end


def _run_plain(cell: Any, args: UnrollArgs, *, fused: bool, overrides: bool) -> tuple[Tensor, Any]:
    """Run a cell that does what rnnkit's do: as a layer of one by a fused kernel, or in a loop."""
    input = args.input
    by_operator = uses_custom_op(args.input.shape[0])
    direction = direction_of(cell, reverse=args.reverse, by_operator=by_operator)
    # An exported program is a loop or a scan, which nobody needs rnnkit to load.
    lacks_rules = is_transformed() and (is_exporting() or not by_operator)
    fused = fused and not args.return_states and not lacks_rules
    # The operator itself does without a kernel that this CPU lacks.
    lacks = not by_operator and lacks_kernel(direction.mode, proj_size_of(cell), input)
    if not fused or lacks:
        return run_loop(ByParts(direction), args)
    state = as_layer(args.hx)
    if by_operator and args.lengths is None and args.reset is None:
        output, ends = direction.run(input, state, reverse=args.reverse)
    else:
        initial = as_layer(args.initial) if overrides and args.reset is not None else None
        pieces = (args.lengths, args.reset, initial)
        output, ends = run_stack(Stack([[direction]]), input, state, pieces)
    return output, state_of([tensor.squeeze(0) for tensor in ends])


def direction_of(cell: Any, *, reverse: bool, by_operator: bool = False) -> Direction:
    """Return a cell as one direction of a layer."""
    options = (bool(cell.bias), cell.training, reverse, by_operator)
    return Direction(mode_of(cell), sequence_weights(cell), *options)


def as_layer(state: Any) -> States:
    """Return a cell's state as that of one layer, in one piece, as cuDNN needs it."""
    return tuple(tensor.unsqueeze(0).contiguous() for tensor in tensors_of(state))


def initial_state(cell: Any, batch: Any, *, again: bool = False) -> Any:
    """Ask a cell for its initial state, for an int, None, or the tensor that a tracer has."""
    if not hasattr(cell, "initial_state"):
        refuse_stateless(cell, again=again)
    return cell.initial_state(batch)
