"""What RNNCell, LSTMCell and GRUCell share: the checked call, and their initial state."""

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import functional
from torch.nn.modules import module as nn_module

from rnnkit._base.class_facts import ClassFacts, note_subclass
from rnnkit._base.state import LSTMState, map_state, zeros
from rnnkit._base.torch_tools import is_fx_call, leaf_node
from rnnkit._checks.arguments import check_batch_size, check_surplus
from rnnkit._checks.constructors import Device, checked_arguments
from rnnkit._checks.diagnosis import ModuleCall
from rnnkit._checks.guards import MISFIT, fitting_cell
from rnnkit._checks.scope import CELL_AXES, Axes, check_scope
from rnnkit._kernels.recurrences import Recurrence, recurrence_of
from rnnkit._modules import calls
from rnnkit._modules.sequence import with_batch, without_batch

#: What a module carries, and what it takes as such.
StateT = TypeVar("StateT")
GivenT = TypeVar("GivenT")

#: torch's names of a cell's weights, in the order of its kernels' arguments.
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Cell(torch.nn.RNNCellBase, Generic[StateT, GivenT]):
    """What the three cells share: the checked call, and their first state."""

    #: All that is ours and not public: every other name is a user's subclass's own.
    #: This base computes nothing by itself, as torch's does not.
    __rnnkit__: ClassVar[ClassFacts] = ClassFacts(
        torch.nn.RNNCellBase, ("hx",), is_user_subclass=True
    )
    axes: dict[str, str] | None = None

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
        init: Any = super().__init__  # that of torch's class beside
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        facts = self.__rnnkit__
        if facts.torch_class is torch.nn.RNNCellBase and facts.recurrence is not None:
            options["num_chunks"] = facts.recurrence.gates  # torch has no cell of this kind
        init(input_size, hidden_size, bias, **options)
        calls.set_options(self, CELL_AXES, axes)

    def __init_subclass__(cls, **options: Any) -> None:
        """Note what a subclass overrides."""
        super().__init_subclass__(**options)
        note_subclass(cls)

    @overload
    def forward(self, input: Tensor, hx: None = None) -> StateT: ...
    @overload
    def forward(self, input: Tensor, hx: GivenT | None) -> StateT: ...
    def forward(self, input: Any = None, hx: Any = None, *surplus: Any, **unknown: Any) -> Any:
        """Run one step; the class describes arguments and results."""
        if surplus or unknown:
            check_surplus(self, surplus, unknown)
        compiling = is_compiling()
        # A compiler records torch's own forward, which reads the weights itself.
        by_torch = compiling and _has_torchs_forward(self)
        weights = None if by_torch else weights_of(self, compiling=compiling)
        weight = self._parameters.get("weight_ih") if weights is None else weights[0]
        state = fitting_cell(self, input, hx, weight)
        if type(hx) is not Tensor and state is not MISFIT and calls.needs_initial_state(self, hx):
            hx = calls.with_initial_state(self, input, hx)
            state = fitting_cell(self, input, hx, weight)
        if state is MISFIT:
            if is_fx_call(input, hx):
                return leaf_node(self, input, hx)
            return calls.delegated(ModuleCall(self, input, hx, weight))
        if self.axes is not None and input.dim() > 1:
            check_scope(self, self.axes, {"batch": input.size(0)})
        return _next_state(self, input, state, weights, compiling)

    def extra_repr(self) -> str:
        """Return the constructor's arguments as torch prints them, then ours."""
        text = torch.nn.RNNCellBase.extra_repr(self)
        return text if self.axes is None else f"{text}, axes={self.axes}"

    if TYPE_CHECKING:

        def __call__(self, input: Tensor, hx: GivenT | None = None) -> StateT: ...

    def initial_state(self, batch_size: int | None) -> StateT:
        """Return zeros as this cell's state, on the device and in the dtype of its weights.

        It is a tensor ``(batch, hidden)``, an LSTMCell's a pair of such; without the batch axis if
        ``batch_size`` is None. A subclass may override it, for a state that is learned: a call
        without a state asks for it.

        Raises:
            ArgumentError: if ``batch_size`` is not a non-negative integer.

        >>> rnnkit.GRUCell(3, 4).initial_state(5).shape
        torch.Size([5, 4])
        """
        check_batch_size(type(self).__name__, batch_size)
        front = () if batch_size is None else (batch_size,)
        return map_state(lambda t: t.clone(), zeros(self, self.weight_hh, *front))  # type: ignore[no-any-return]

    def __prepare_scriptable__(self) -> torch.nn.Module:
        """Hand TorchScript a module of torch's class, and warn of what it does not ask for."""
        return calls.scripted(self)


calls.finish(Cell)


def _next_state(
    cell: Any,
    input: Tensor,
    state: Any,
    weights: Any,
    compiling: bool,
) -> Any:
    """Compute the next state of a checked call; without weights torch's own forward reads them."""
    # A loop over steps is paid by the microsecond: LSTMState's own checks cost half of one.
    kernel = None if weights is None else kernel_of(cell)
    if weights is None or kernel is None:
        result = cell.__rnnkit__.torch_class.forward(cell, input, state)
    elif input.dim() > 1:
        if state is None:
            state = zeros(cell, input, input.size(0))
        result = kernel(input, state, *weights)
    else:
        state = zeros(cell, input, 1) if state is None else with_batch(state, 0)
        result = without_batch(kernel(input.unsqueeze(0), state, *weights), 0)
    if isinstance(result, Tensor):
        return result
    return LSTMState(*result) if compiling else tuple.__new__(LSTMState, result)


def _has_torchs_forward(cell: Any) -> bool:
    """Return whether torch's class computes the same step."""
    facts = cell.__rnnkit__
    if facts.is_projected:
        return False
    return facts.recurrence is None or facts.recurrence.step_kernel is not None


def weights_of(cell: Any, *, compiling: bool) -> tuple[Tensor | None, ...]:
    """Return a cell's weights in the order of torch's kernels for one step, each read once.

    They are the parameters themselves, unless a parametrization, pruning, ``layer.cells()`` or a
    property of a subclass overrides them. A missing bias is None.
    """
    # nn.Module seeks each weight in three places, which takes long in a loop over steps.
    held: Any = cell._parameters  # noqa: SLF001
    if not (
        compiling
        or cell.__rnnkit__.is_user_subclass
        or not cell.__dict__.keys().isdisjoint(WEIGHTS)
    ):
        try:
            return held["weight_ih"], held["weight_hh"], held["bias_ih"], held["bias_hh"]
        except KeyError:
            pass
    return tuple([getattr(cell, name) for name in WEIGHTS])


def sequence_weights(cell: Any) -> list[Tensor]:
    """Return the weights in the order of torch's kernels over a sequence."""
    weights: Any = list(weights_of(cell, compiling=is_compiling()))
    if not cell.bias:
        weights = weights[:2]
    # By the class, whatever proj_size was set to later: torch compares the number of weights with
    # the widths of the state, and without this one would read beyond the others.
    return [*weights, cell.weight_hr] if cell.__rnnkit__.is_projected else weights


def kernel_of(cell: Any) -> Any:
    """Return what runs one step; None of an unknown nonlinearity, which torch's class refuses."""
    facts = cell.__rnnkit__
    if facts.is_projected:
        return partial(_projected_step, cell)
    recurrence = facts.recurrence
    if recurrence is None or recurrence.nonlinearity:
        recurrence = recurrence_of(cell)
    if recurrence is None:
        return None
    return recurrence.step_kernel or partial(_step_by_equations, recurrence)


def _projected_step(cell: Any, input: Tensor, hx: Any, *_weights: Any) -> tuple[Tensor, Tensor]:
    """Run torch's kernel over a sequence of one step: torch has none for a step with projection."""
    options = (bool(cell.bias), 1, 0.0, cell.training, False, False)
    first = [part.unsqueeze(0) for part in hx]
    _, h, c = torch.lstm(input.unsqueeze(0), first, sequence_weights(cell), *options)
    return h.squeeze(0), c.squeeze(0)


def _step_by_equations(
    recurrence: Recurrence,
    input: Tensor,
    hx: Any,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
) -> Any:
    """Run one step of a recurrence for which torch has no kernel."""
    h = hx if isinstance(hx, Tensor) else hx[0]
    given = functional.linear(input, weight_ih, bias_ih)
    return recurrence.step(given, functional.linear(h, weight_hh, bias_hh), hx)


def is_plain(cell: Any) -> bool:
    """Return whether a call of the cell does what rnnkit's cells do, and nothing else.

    A weight that is computed at each step may differ from step to step, as with weight dropout or
    spectral norm in training.
    """
    return (
        isinstance(cell, Cell)
        and type(cell).forward is Cell.forward
        and "forward" not in cell.__dict__
        and not nn_module._has_any_global_hook()  # type: ignore[no-untyped-call]  # noqa: SLF001
        and not (cell._forward_hooks or cell._forward_pre_hooks)  # noqa: SLF001
        and not (cell._backward_hooks or cell._backward_pre_hooks)  # noqa: SLF001
        and not cell.__rnnkit__.overrides_weights
        and not any(hasattr(type(cell), name) for name in WEIGHTS)
        and cell.hidden_size > 0
        and recurrence_of(cell) is not None
    )
