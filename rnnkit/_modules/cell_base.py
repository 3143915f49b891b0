"""What RNNCell, LSTMCell and GRUCell share: the checked call, and their initial state."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.modules import module as nn_module

from rnnkit._base.class_facts import ClassFacts, finish
from rnnkit._base.state import LSTMState, State, StateT, zeros
from rnnkit._base.torch_tools import leaf_node
from rnnkit._checks.arguments import check_surplus
from rnnkit._checks.constructors import Device, checked_arguments
from rnnkit._checks.diagnosis import ModuleCall
from rnnkit._checks.guards import MISFIT, fitting_cell
from rnnkit._checks.scope import CELL_AXES, Axes, check_scope
from rnnkit._kernels.recurrences import recurrence_of
from rnnkit._kernels.stack import Direction
from rnnkit._modules.common import (
    Checked,
    needs_initial_state,
    own_initial_state,
    set_options,
    state_for_torch,
    zero_state,
)
from rnnkit._modules.sequence import PreprojectedCell, with_batch, without_batch

#: What a module takes as its state, beside the StateT that it returns.
GivenT = TypeVar("GivenT")

#: torch's names of a cell's weights, in the order of its kernels' arguments.
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Cell(Checked, torch.nn.RNNCellBase, Generic[StateT, GivenT]):
    """What the three cells share: the checked call, and their first state."""

    #: This base computes nothing by itself, as torch's does not.
    __rnnkit__: ClassFacts = ClassFacts(torch.nn.RNNCellBase, is_user_subclass=True)

    @checked_arguments
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        axes: Axes | None = None,
    ) -> None:
        """Make a cell, with torch's arguments and ``axes``.

        A call takes ``input`` ``(batch, input_size)`` and ``hx`` ``(batch, hidden_size)``, which is
        a pair of such tensors for an LSTMCell, and returns the state after the step. Use
        rnnkit.unroll for ``lengths`` and ``reset``. ``bias=False`` leaves out the biases. ``axes``,
        which torch does not have, has the name of the batch axis in the caller's jaxtyping scope.
        The docstring of the class describes each argument and each error.
        """
        init: Any = super().__init__  # that of torch's class beside
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        facts = self.__rnnkit__
        if facts.torch_class is torch.nn.RNNCellBase and facts.recurrence is not None:
            options["num_chunks"] = facts.recurrence.gates  # torch has no cell of this kind
        init(input_size, hidden_size, bias, **options)
        set_options(self, CELL_AXES, axes)

    @overload
    def forward(self, input: Tensor, hx: None = None) -> StateT: ...
    @overload
    def forward(self, input: Tensor, hx: GivenT | None) -> StateT: ...
    # Any: a caller may give anything, and the guard says what is right.
    def forward(
        self, input: Any = None, hx: Any = None, *surplus: object, **unknown: object
    ) -> Any:
        """Run one step; the docstring of the class describes arguments and results."""
        if surplus or unknown:
            check_surplus(self, surplus, unknown)
        step, weights = _step_of(self)
        weight = weights[0] if weights else self._parameters.get("weight_ih")
        # The guard, a quick check: it returns the state as the step takes it, or MISFIT, and then
        # _run_odd_call raises what is wrong, or finds who can run it.
        state = fitting_cell(self, input, hx, weight)
        if type(hx) is not Tensor and state is not MISFIT and needs_initial_state(self, hx):
            state, _ = own_initial_state(fitting_cell, self, input, hx, weight)
        if state is MISFIT:
            return _run_odd_call(ModuleCall(self, input, hx, weight))
        if self.axes is not None and input.dim() > 1:
            check_scope(self, self.axes, {"batch": input.size(0)})
        if step is None:
            return _run_by_torch(self, input, state)
        if state is None:
            state = zeros(self, input, *input.shape[:-1])
        if input.dim() > 1:
            result: Any = step(input, state, *weights)
        else:
            result = without_batch(step(input.unsqueeze(0), with_batch(state, 0), *weights), 0)
        # torch's kernel returns a bare pair. A step is paid by the microsecond, and a call of a
        # class costs more than its tuple.
        return tuple.__new__(LSTMState, result) if type(result) is tuple else result

    if TYPE_CHECKING:  # torch's own is Any

        def __call__(self, input: Tensor, hx: GivenT | None = None) -> StateT: ...

    def initial_state(self, batch_size: int | None) -> StateT:
        """Return zeros as this cell's state, on the device and in the dtype of its weights.

        The state is a tensor ``(batch, hidden)``, or the pair ``(h, c)`` for an LSTMCell. With
        ``batch_size`` None, it has no batch axis. Override this method to start from another state,
        such as a learned one: a call without ``hx`` starts from what it returns.

        Raises:
            ArgumentError: if ``batch_size`` is neither None nor an integer of at least 0.

        >>> rnnkit.GRUCell(3, 4).initial_state(5).shape
        torch.Size([5, 4])
        """
        return zero_state(self, self.weight_hh, batch_size)  # type: ignore[no-any-return]


finish(Cell)

#: A cell of ours, whatever its state is.
AnyCell: TypeAlias = Cell[Any, Any]
#: In the order of ``WEIGHTS``; a missing bias is None. Not spelled, as the parts of a ``State``.
Weights: TypeAlias = tuple[Any, ...]


def _run_odd_call(call: ModuleCall) -> Any:
    """Run a call that the quick check, the guard, does not take, or raise what is wrong with it.

    ``call`` is the cell, its input and state as they came, and its first weight. ``torch.fx``
    records the call as one node; else torch's class runs it, if nothing is found wrong.
    """
    cell, input, hx, _ = call
    node = leaf_node(cell, input, hx)
    if node is not None:
        return node
    return _run_by_torch(cell, input, state_for_torch(call))


def _run_by_torch(cell: AnyCell, input: Tensor, hx: State | None) -> Any:
    """Run a step by torch's own forward, which makes zeros for None, and a batch axis."""
    state = cell.__rnnkit__.torch_class.forward(cell, input, hx)
    return state if isinstance(state, Tensor) else LSTMState(*state)


def _step_of(cell: AnyCell) -> tuple[Callable[..., State] | None, Weights]:
    """Return what runs a step over a batch, and the weights that it takes after input and state.

    It is torch's kernel for a step or, where there is none, the equations. It is None, without
    weights, where torch's own forward runs the step, and reads the weights itself: where a compiler
    records it, and for an unknown nonlinearity, which torch's class refuses.
    """
    recurrence = recurrence_of(cell)
    if recurrence is None or (is_compiling() and recurrence.step_kernel):
        return None, ()
    step = recurrence.step_kernel or partial(_step_by_equations, cell)
    return step, weights_of(cell)


def weights_of(cell: AnyCell) -> Weights:
    """Return a cell's weights in the order of torch's kernels for one step, each read once.

    The order is ``weight_ih``, ``weight_hh``, ``bias_ih``, ``bias_hh``; a missing bias is None.
    They are the parameters themselves, unless a parametrization, pruning, ``layer.cells()`` or a
    property of a subclass overrides them.
    """
    # nn.Module seeks each weight in three places, which takes long in a loop over steps.
    held: Any = cell._parameters  # noqa: SLF001
    if not (
        is_compiling()
        or cell.__rnnkit__.is_user_subclass
        or not cell.__dict__.keys().isdisjoint(WEIGHTS)
    ):
        try:
            return held["weight_ih"], held["weight_hh"], held["bias_ih"], held["bias_hh"]
        except KeyError:
            pass
    return tuple([getattr(cell, name) for name in WEIGHTS])


def direction_of(cell: AnyCell, *, reverse: bool = False, by_operator: bool = False) -> Direction:
    """Return a cell as one direction of a layer, which kernels run: its equations and weights.

    ``reverse``: it runs from the last step to the first. ``by_operator``: a compiler traces the
    call, and rnnkit's operator, one node, replaces torch's kernel.
    """
    weights: Weights = weights_of(cell)
    if not cell.bias:
        weights = weights[:2]
    # By the class, whatever proj_size was set to later: torch compares the number of weights with
    # the widths of the state, and without this one would read beyond the others.
    if cell.__rnnkit__.is_projected:
        weights = (*weights, cell.weight_hr)
    recurrence: Any = recurrence_of(cell)
    return Direction(recurrence, [*weights], bool(cell.bias), cell.training, reverse, by_operator)


def _step_by_equations(cell: AnyCell, input: Tensor, hx: State, *_weights: Tensor | None) -> State:
    """Run one step for which torch has no kernel, such as an LSTM's with a projection.

    It is called as torch's kernels are, with the weights, and reads the cell's itself.
    """
    known = PreprojectedCell(direction_of(cell))
    return known(known.project(input), hx)


def is_plain(cell: object) -> bool:
    """Return whether a call of the cell does what rnnkit's cells do, and nothing else.

    Then a kernel may run in its place. It is a cell of rnnkit's without a forward or hooks of its
    own, whose weights stay the same from step to step, and whose equations are known.
    """
    if not isinstance(cell, Cell) or _has_hooks(cell):
        return False
    if type(cell).forward is not Cell.forward or "forward" in cell.__dict__:
        return False
    # Such weights may differ from step to step, as with spectral norm in training.
    if cell.__rnnkit__.overrides_weights or any(hasattr(type(cell), name) for name in WEIGHTS):
        return False
    return cell.hidden_size > 0 and recurrence_of(cell) is not None


def _has_hooks(cell: AnyCell) -> bool:
    """Return whether a hook of torch's, the cell's own or a global one, runs around a call."""
    return bool(
        nn_module._has_any_global_hook()  # type: ignore[no-untyped-call]  # noqa: SLF001
        or cell._forward_hooks  # noqa: SLF001
        or cell._forward_pre_hooks  # noqa: SLF001
        or cell._backward_hooks  # noqa: SLF001
        or cell._backward_pre_hooks  # noqa: SLF001
    )
