"""What RNNCell, LSTMCell and GRUCell share: the checked call, and their first state."""

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor
from torch.compiler import is_compiling

from rnnkit._base.state import LSTMState
from rnnkit._base.torch_tools import is_fx_call, leaf_node, torch_twin
from rnnkit._checks.arguments import check_batch_size
from rnnkit._checks.calls import check_cell
from rnnkit._checks.scope import CELL_AXES, check_axes, check_scope

#: What a module carries, and what it takes as such.
StateT = TypeVar("StateT")
GivenT = TypeVar("GivenT")

#: torch's names of a cell's weights, in the order of its kernels' arguments; a set, for ``>=``.
WEIGHTS = dict.fromkeys(("weight_ih", "weight_hh", "bias_ih", "bias_hh")).keys()


class Cell(torch.nn.RNNCellBase, Generic[StateT, GivenT]):
    """What the three cells share: the checked call, and their first state."""

    #: The tensors of the state, in torch's order.
    STATE_NAMES: ClassVar[tuple[str, ...]]
    # Underscored, since users' subclasses have attributes of their own.
    #: torch's function for one step, on a batch, with a state.
    _kernel: Any
    #: torch's name of the recurrence, which its kernels over a sequence go by.
    _mode: str
    #: Width of h where it is projected; 0: as wide as the cell.
    _proj_size: int = 0
    axes: dict[str, str] | None = None
    #: torch's class, bound at import: somebody may put ours in its place in ``torch.nn``.
    TORCH_CLASS: ClassVar[Any]

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run one step; arguments and results are told where the class is."""
        if is_fx_call(input, hx):
            return leaf_node(self, input, hx)
        hx = check_cell(self, input, hx)
        if self.axes is not None and input.dim() > 1:
            check_scope(self, self.axes, {"batch": input.size(0)}, "input")
        weights = self._parameters
        one = len(self.STATE_NAMES) == 1
        if is_compiling() or input.dim() == 1 or not weights.keys() >= WEIGHTS:
            state = self.TORCH_CLASS.forward(self, input, hx)
        else:
            # What torch's forward comes to once the checks are ours: a loop over steps is paid by
            # the microsecond, and nn.Module seeks each weight in three places.
            if hx is None:
                zeros = torch.zeros(
                    input.size(0), self.hidden_size, dtype=input.dtype, device=input.device
                )
                hx = zeros if one else (zeros, zeros)
            state = self._kernel(input, hx, *map(weights.get, WEIGHTS))
        return state if one else LSTMState(*state)

    def _set_options(self, axes: Any) -> None:
        if axes is not None:
            self.axes = check_axes(type(self).__name__, axes, CELL_AXES)

    def extra_repr(self) -> str:
        """Return the constructor's arguments as torch prints them, then ours."""
        text = torch.nn.RNNCellBase.extra_repr(self)
        return text if self.axes is None else f"{text}, axes={self.axes}"

    if TYPE_CHECKING:

        def __call__(self, input: Tensor, hx: GivenT | None = None) -> StateT: ...

    def initial_state(self, batch_size: int | None) -> StateT:
        """Return zeros as this cell's state, on the device and in the dtype of its weights.

        Args:
            batch_size: number of samples; None for the state of an unbatched call.

        Returns:
            A tensor ``(batch, hidden)``, of an LSTMCell a pair of such.

        Raises:
            ArgumentError: if ``batch_size`` is no count.

        >>> rnnkit.GRUCell(3, 4).initial_state(5).shape
        torch.Size([5, 4])
        """
        check_batch_size(type(self).__name__, batch_size)
        front = () if batch_size is None else (batch_size,)
        hidden = self.weight_hh.new_zeros(*front, self.hidden_size)
        state: Any = hidden
        if len(self.STATE_NAMES) > 1:
            h = hidden.new_zeros(*front, self._proj_size or self.hidden_size)
            state = LSTMState(h, hidden)
        return state  # type: ignore[no-any-return]

    def _weights(self) -> list[Tensor]:
        """Return the weights in the order of torch's kernels over a sequence."""
        names = WEIGHTS if self.bias else ("weight_ih", "weight_hh")
        held: Any = self._parameters
        # A weight that is computed, or given by layer.cells(), is no parameter of this module.
        return [held[name] if name in held else getattr(self, name) for name in names]

    def __prepare_scriptable__(self) -> torch.nn.Module:
        """Hand TorchScript a module of torch's class with the same parameters."""
        return torch_twin(self, self.TORCH_CLASS)
