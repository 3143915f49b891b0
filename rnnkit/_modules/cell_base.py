"""What RNNCell, LSTMCell and GRUCell share: the checked call, and their initial state.

What a call does that does not fit its guard, and how an overridden initial state is asked for, is
here, too, for cells and layers.
"""

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.modules import module as nn_module

from rnnkit._base.class_facts import (
    DEFAULT_INITIAL_STATES,
    ClassFacts,
    note_subclass,
    overrides_initial_state,
    proj_size_of,
    signature_of,
)
from rnnkit._base.message import warn
from rnnkit._base.state import LSTMState, filled, has_missing_part, map_state, zeros
from rnnkit._base.torch_tools import is_fx_call, is_jit_traced, leaf_node, torch_twin
from rnnkit._checks.arguments import MISSING, check_batch_size
from rnnkit._checks.call_spec import batch_of
from rnnkit._checks.cell_guards import MISFIT
from rnnkit._checks.diagnosis import diagnose
from rnnkit._checks.guards import fitting_cell
from rnnkit._checks.scope import CELL_AXES, check_axes, check_scope
from rnnkit._checks.surplus import check_surplus

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
        torch.nn.RNNCellBase, ("hx",), "", is_user_subclass=True
    )
    axes: dict[str, str] | None = None

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
        facts = self.__rnnkit__
        # A tracer records torch's own forward, which reads the weights itself.
        traced = (is_compiling() or is_jit_traced()) and not facts.is_projected
        weights: Any = None if traced else weights_of(self)
        weight = self._parameters.get("weight_ih") if weights is None else weights[0]
        state = fitting_cell(self, input, hx, weight)
        if state is not MISFIT and needs_initial_state(self, hx):
            hx = with_initial_state(self, input, hx)
            state = fitting_cell(self, input, hx, weight)
        if state is MISFIT:
            return delegated_cell(self, input, hx, weight)
        if self.axes is not None and input.dim() > 1:
            check_scope(self, self.axes, {"batch": input.size(0)})
        kernel = None if weights is None else kernel_of(self)
        if kernel is None:
            result = facts.torch_class.forward(self, input, state)
        else:
            # What torch's forward comes to once the checks are made. A loop over steps is paid by
            # the microsecond, and nn.Module seeks each weight in three places.
            batched = input.dim() > 1
            if not batched:
                input, state = input.unsqueeze(0), map_state(_with_batch, state)
            if state is None:
                state = zeros(self, input, input.size(0))
            result = kernel(input, state, *weights)
            if not batched:
                result = map_state(_without_batch, result)
        return result if len(facts.state_names) == 1 else LSTMState(*result)

    def extra_repr(self) -> str:
        """Return the constructor's arguments as torch prints them, then ours."""
        text = torch.nn.RNNCellBase.extra_repr(self)
        return text if self.axes is None else f"{text}, axes={self.axes}"

    if TYPE_CHECKING:

        def __call__(self, input: Tensor, hx: GivenT | None = None) -> StateT: ...

    def initial_state(self, batch_size: int | None) -> StateT:
        """Return zeros as this cell's state, on the device and in the dtype of its weights.

        A subclass may return another one, as a state that is learned: a call without a state asks
        for it.

        Args:
            batch_size: number of samples; None for the state of an unbatched call.

        Returns:
            A tensor ``(batch, hidden)``, of an LSTMCell a pair of such.

        Raises:
            ArgumentError: if ``batch_size`` is not a non-negative integer.

        >>> rnnkit.GRUCell(3, 4).initial_state(5).shape
        torch.Size([5, 4])
        """
        check_batch_size(type(self).__name__, batch_size)
        front = () if batch_size is None else (batch_size,)
        state: StateT = zeros(self, self.weight_hh, *front)
        return map_state(Tensor.clone, state)

    def __prepare_scriptable__(self) -> torch.nn.Module:
        """Hand TorchScript a module of torch's class with the same parameters.

        It warns of an overridden ``initial_state``, which TorchScript does not ask for.
        """
        warn_of_scripting(self)
        return torch_twin(self, self.__rnnkit__.torch_class)


DEFAULT_INITIAL_STATES.append(Cell.initial_state)
# Type checkers ask for the argument; Python would name a class that nobody can import.
Cell.initial_state.__defaults__ = (MISSING,)
Cell.forward.__signature__ = signature_of(Cell.forward)  # type: ignore[attr-defined]


def set_cell_options(cell: Cell[Any, Any], axes: Any) -> None:
    """Keep the options that torch's class does not have."""
    if axes is not None:
        cell.axes = check_axes(type(cell).__name__, axes, CELL_AXES)


def needs_initial_state(module: Any, hx: Any) -> bool:
    """Return whether a call must ask a module that overrides ``initial_state`` for a state.

    Zeros, which the call makes as torch does, are not asked for.
    """
    return overrides_initial_state(module) and has_missing_part(hx)


def with_initial_state(module: Any, input: Any, hx: Any) -> Any:
    """Ask a layer or a cell for its initial state, and put it where the caller gave none."""
    is_layer = issubclass(type(module), torch.nn.RNNBase)
    batch: Any = batch_of(module, input) if is_layer else input.shape[:-1]
    return filled(hx, module.initial_state(batch[0] if batch else None))


def delegated_state(module: Any, input: Any, hx: Any, weight: Tensor | None) -> Any:
    """Raise what is wrong with a call that fits no guard, or return the state for torch's class."""
    diagnose(module, input, hx, weight)
    if not is_fx_call(input, hx) and needs_initial_state(module, hx):
        hx = with_initial_state(module, input, hx)
        diagnose(module, input, hx, weight)
    return hx


def delegated_cell(cell: Any, input: Any, hx: Any, weight: Tensor | None) -> Any:
    """Raise what is wrong with a call, or hand it to ``torch.fx`` or to torch's class as it is."""
    hx = delegated_state(cell, input, hx, weight)
    if is_fx_call(input, hx):
        return leaf_node(cell, input, hx)
    result = cell.__rnnkit__.torch_class.forward(cell, input, hx)
    return result if isinstance(result, Tensor) else LSTMState(*result)


def warn_of_scripting(module: Any) -> None:
    """Warn that TorchScript's module of torch's class does not ask for an initial state.

    It does not refuse: a program that gives each call a state is right there, too.
    """
    if overrides_initial_state(module):
        name = type(module).__name__
        warn(
            "script-initial-state",
            f"TorchScript does not ask {name}.initial_state: without a state it begins from zeros. "
            f"In what you script, give each call of this {name} its state.",
            stacklevel=3,
        )


def weights_of(cell: Any) -> tuple[Tensor | None, ...]:
    """Return a cell's weights in the order of torch's kernels for one step, each read once.

    These are the parameters themselves, unless a parametrization, pruning, ``layer.cells()`` or a
    property of a subclass overrides them. A bias that the cell does not have is None.
    """
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


def sequence_weights(cell: Any) -> list[Tensor]:
    """Return the weights in the order of torch's kernels over a sequence."""
    weights: Any = list(weights_of(cell))[: 4 if cell.bias else 2]
    return [*weights, cell.weight_hr] if proj_size_of(cell) else weights


def kernel_of(cell: Any) -> Any:
    """Return torch's function for one step; None where torch has none, and says so."""
    kernel = cell.__rnnkit__.kernel
    if kernel is not None:
        return kernel
    if cell.__rnnkit__.is_projected:
        return partial(_projected_step, cell)
    nonlinearity = getattr(cell, "nonlinearity", None)
    if nonlinearity == "tanh":
        return torch.rnn_tanh_cell
    return torch.rnn_relu_cell if nonlinearity == "relu" else None


def _projected_step(cell: Any, input: Tensor, hx: Any, *weights: Any) -> tuple[Tensor, Tensor]:
    """Run torch's kernel over a sequence of one step: torch has none for a step with projection."""
    given = [*weights[: 4 if cell.bias else 2], cell.weight_hr]
    options = (bool(cell.bias), 1, 0.0, cell.training, False, False)
    _, h, c = torch.lstm(
        input.unsqueeze(0), [hx[0].unsqueeze(0), hx[1].unsqueeze(0)], given, *options
    )
    return h.squeeze(0), c.squeeze(0)


def _with_batch(tensor: Tensor) -> Tensor:
    return tensor.unsqueeze(0)


def _without_batch(tensor: Tensor) -> Tensor:
    return tensor.squeeze(0)


#: torch's hooks on all modules, those of each kind in a dictionary that stays the same object.
GLOBAL_HOOKS = (
    nn_module._global_forward_hooks,  # noqa: SLF001
    nn_module._global_forward_pre_hooks,  # noqa: SLF001
    nn_module._global_backward_hooks,  # noqa: SLF001
    nn_module._global_backward_pre_hooks,  # noqa: SLF001
)


def is_plain(cell: Any) -> bool:
    """Return whether a call of the cell does what rnnkit's cells do, and nothing else.

    A weight that is computed at each step may differ from step to step, as with weight dropout or
    spectral norm in training.
    """
    return (
        isinstance(cell, Cell)
        and type(cell).forward is Cell.forward
        and "forward" not in cell.__dict__
        and not any(GLOBAL_HOOKS)
        and not (cell._forward_hooks or cell._forward_pre_hooks)  # noqa: SLF001
        and not (cell._backward_hooks or cell._backward_pre_hooks)  # noqa: SLF001
        and not cell.__rnnkit__.overrides_weights
        and not any(hasattr(type(cell), name) for name in WEIGHTS)
        and cell.hidden_size > 0
        and kernel_of(cell) is not None
    )
