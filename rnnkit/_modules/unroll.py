"""``unroll``: any cell, run over a sequence.

rnnkit's own cells run over a sequence by torch's fused kernels.
"""

from typing import Any, Protocol, TypedDict, Unpack, overload, runtime_checkable

import torch
from torch import Tensor

from rnnkit._base.state import LSTMState
from rnnkit._base.torch_tools import is_exporting
from rnnkit._checks.arguments import known_options
from rnnkit._checks.constructors import check_count
from rnnkit._checks.objects import UnrollCall
from rnnkit._modules.cell_base import GivenT
from rnnkit._modules.cells import Pair
from rnnkit._modules.unroll_run import run, run_outside
from rnnkit.typing import LengthsLike, ResetLike, StateT_co


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

    With rnnkit's own cells, torch's fused kernel replaces this loop and is as fast as a layer. The
    loop itself runs with ``return_states``, for cells with hooks, under ``torch.func`` and in
    exported programs.

    Args:
        cell: an rnnkit cell, or any module with the methods of :class:`rnnkit.typing.Cell`.
        input: ``(seq, batch, feature)``, or ``(batch, seq, feature)`` with ``batch_first``; or
            ``(seq, feature)`` for one sequence without a batch axis.
        hx: the cell's state before the first step. None means what the cell's ``initial_state``
            returns.
        batch_first: True if input and output are ``(batch, seq, feature)``.
        lengths: integers ``(batch,)`` from 0 to seq: the number of valid steps of each sample in a
            padded batch. The output is zero on the padding. The returned state is the one after
            each sample's last valid step or, with ``reverse``, after its first step.
        reverse: True runs from the last valid step to the first. The output keeps the input's order
            of steps.
        reset: booleans or 0 and 1, ``(seq, batch)``, or ``(batch, seq)`` with ``batch_first``. It
            is true at each step where a sample restarts from ``initial_state``. A flag at step t
            separates step t from step t - 1, also with ``reverse``.
        return_states: True returns the states after all steps instead of the last state. Each
            tensor then has seq as its first axis.
        fused: False runs the loop for rnnkit's cells also. Its gradients can be differentiated
            again (double backward).
        block: for your own cells: the number of steps, such as 10, that torch compiles as one
            graph. It reuses this graph for sequences of any length, where compiling the whole loop
            needs a new graph for each length. The first call compiles for about a minute.

            Steps that do not fill a block run uncompiled. Gradients cannot be differentiated again.
            A caller under ``torch.compile`` has a graph break here. ``block`` has no effect for
            rnnkit's cells, with ``reverse`` or ``return_states``, and in an exported program.

    Returns:
        The output ``(seq, batch, hidden)``, in the input's layout, and the state after the last
        step.

    Raises:
        ShapeError: if the axes or sizes of the input, ``hx``, ``lengths`` or ``reset`` are wrong;
            it may be the subclass LayoutError, LengthsError or StateError.
        DtypeError, DeviceError: if, for a cell of rnnkit's, a dtype or a device differs from that
            of the weights. Your own cells check this themselves.
        ArgumentError: if ``cell`` is not a cell, or an option has the wrong type or value.
        CellError: if the cell has no ``initial_state`` and needs one; if it returns no state, a
            state of another batch size, or a state whose shape changes; or if it changes a state in
            place. An exception that the cell raises itself is passed through, with a note that
            names the step.

    >>> cell = rnnkit.GRUCell(3, 4)
    >>> output, state = rnnkit.unroll(cell, torch.ones(7, 2, 3), lengths=[7, 5])
    >>> output.shape, state.shape
    (torch.Size([7, 2, 4]), torch.Size([2, 4]))
    """
    call = UnrollCall(
        cell,
        input,
        hx,
        "unroll",
        batch_first=batch_first,
        lengths=lengths,
        reset=reset,
        reverse=reverse,
        return_states=return_states,
        fused=fused,
        block=block,
    )
    if block is not None:
        fix = "block=10, to compile ten steps as one graph, or leave block out"
        check_count("unroll: block", block, code="unroll-block", least=1, fix=fix)
        if not is_exporting():  # a program is one graph
            return run_outside(call)
    return run(call)


unroll.__module__ = "rnnkit"
