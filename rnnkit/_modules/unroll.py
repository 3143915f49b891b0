"""``unroll``: any cell, run over a sequence.

rnnkit's own cells run over a sequence by torch's fused kernels.
"""

from typing import Any, Protocol, TypedDict, TypeVar, Unpack, overload, runtime_checkable

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.state import LSTMState
from rnnkit._base.torch_tools import is_exporting
from rnnkit._checks.arguments import known_options
from rnnkit._checks.constructors import check_count
from rnnkit._modules.cell_base import GivenT
from rnnkit._modules.cells import Pair
from rnnkit._modules.unroll_run import UnrollCall, run, run_outside
from rnnkit.typing import LengthsLike, ResetLike

StateT_co = TypeVar("StateT_co", covariant=True)


@runtime_checkable  # jaxtyping's hook asks isinstance of every annotation
class Steps(Protocol[StateT_co, GivenT]):
    """A cell as ``rnnkit.typing.Cell`` describes it, with what it takes as its state.

    It takes what it returns: a layer, which returns a pair of output and state, is none.
    """

    def __call__(self, input: Any, hx: GivenT) -> GivenT: ...

    def initial_state(self, batch_size: int, /) -> StateT_co: ...


class Options(TypedDict, total=False):
    """The options of ``unroll``, as its docstring describes them."""

    batch_first: bool
    lengths: LengthsLike | None
    reverse: bool
    reset: ResetLike | None
    return_states: bool
    fused: bool
    block: int | None


@overload
def unroll(
    cell: Steps[LSTMState, Pair],
    input: Tensor,
    hx: Pair | None = None,
    **options: Unpack[Options],
) -> tuple[Tensor, LSTMState]: ...
@overload
def unroll(
    cell: Steps[StateT_co, GivenT],
    input: Tensor,
    hx: GivenT | None = None,
    **options: Unpack[Options],
) -> tuple[Tensor, StateT_co]: ...
@overload
def unroll(
    cell: torch.nn.RNNCell | torch.nn.GRUCell,
    input: Tensor,
    hx: Tensor | None = None,
    **options: Unpack[Options],
) -> tuple[Tensor, Tensor]: ...
@overload
def unroll(
    cell: torch.nn.LSTMCell,
    input: Tensor,
    hx: tuple[Tensor, Tensor] | None = None,
    **options: Unpack[Options],
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
            output.append(hx[0] if isinstance(hx, tuple) else hx)

    With rnnkit's own cells, torch's fused kernel runs, and a call takes as long as a layer's call,
    unless ``return_states`` asks for states that the kernel does not return. Compilers,
    ``torch.func`` and cells with hooks run the loop.

    Args:
        cell: an rnnkit cell, or any module that :class:`rnnkit.typing.Cell` describes.
        input: ``(seq, batch, feature)``, or ``(batch, seq, feature)`` with ``batch_first``; or
            ``(seq, feature)`` for one sequence without a batch axis.
        hx: the cell's state before the first step. None means its ``initial_state``.
        batch_first: True if input and output are ``(batch, seq, feature)``.
        lengths: the number of valid steps of each sample, ``(batch,)`` integers from 0 to seq. The
            output is zero after them, and the returned state is the one after each sample's last
            valid step.
        reverse: True runs from the last valid step to the first. The output stays in the input's
            order.
        reset: ``(seq, batch)`` booleans, or 0 and 1, in the input's layout, true at each
            step before which a sample starts again from ``initial_state``. With ``reverse`` too,
            the cut lies between that step and the one before it in time.
        return_states: True returns the state after every step instead of the last one; each
            of its tensors then has a leading seq axis.
        fused: False runs the loop, whose gradients can be differentiated again.
        block: for a cell of your own: torch compiles this many steps, such as 10, as one graph, and
            reuses it for the whole sequence. Any sequence length then needs only a few graphs;
            compiling the whole loop needs a new graph for each length. The first call compiles for
            about a minute. Leftover steps that do not fill a block run uncompiled; gradients cannot
            be differentiated again; an enclosing ``torch.compile`` breaks its graph at this call.
            With ``reverse`` or ``return_states``, in an exported program and for rnnkit's own
            cells, ``block`` changes nothing.

    Returns:
        The output, in the input's layout, and the state.

    Raises:
        RnnkitError: the relevant subclass, if the input, state, lengths or reset does not match
            the description above.
        ArgumentError: if ``block`` is not an integer of at least 1.
        CellError: if the cell has no initial state; or if it does not return a state, returns one
            with the wrong batch size, or returns one whose shape changes between steps. An
            exception raised by the cell is passed through, with a note added that names the step.

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
    fix = "block=10: torch compiles ten steps at once"
    check_count("unroll: block", block, code="unroll-block", least=1, fix=fix)
    if is_exporting():  # a program is one graph
        return run(call._replace(block=None))
    return run_outside(call) if is_compiling() else run(call)


unroll.__module__ = "rnnkit"
