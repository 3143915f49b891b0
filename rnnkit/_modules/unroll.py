"""``unroll``: any cell, run over a sequence.

rnnkit's own cells run over a sequence by torch's fused kernels.
"""

from typing import Any, Protocol, TypeVar, overload, runtime_checkable

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.state import LSTMState
from rnnkit._base.torch_tools import is_exporting
from rnnkit._checks.arguments import check_block_size, known_options
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
    The first call compiles, which takes about a minute; the steps that fill no block run as they
    are. Such gradients cannot be differentiated again. It stays out of a graph around it.
    With ``reverse`` or ``return_states``, in an exported program and for rnnkit's own cells it
    changes nothing.

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
    return run_outside(call) if is_compiling() else run(call)


unroll.__module__ = "rnnkit"
