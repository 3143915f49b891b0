"""RNNCell, LSTMCell and GRUCell: torch's cells, their calls checked."""

from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.fx import Proxy

from rnnkit._arguments import Device, checked
from rnnkit._checks import check_cell
from rnnkit._interop import leaf_node, torch_twin
from rnnkit.states import LSTMState

#: torch's names of a cell's weights, in the order of its kernels' arguments.
WEIGHTS = dict.fromkeys(("weight_ih", "weight_hh", "bias_ih", "bias_hh")).keys()


class Cell(torch.nn.RNNCellBase):
    """What the three cells share: the checked call, and their first state."""

    #: The tensors of the state, in torch's order.
    STATE_NAMES: ClassVar[tuple[str, ...]]
    #: torch's function for one step, on a batch, with a state.
    kernel: Any
    #: torch's class, bound at import: somebody may put ours in its place in ``torch.nn``.
    TORCH_CLASS: ClassVar[Any]

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run one step; arguments and results are told where the class is."""
        if isinstance(input, Proxy):
            return leaf_node(self, input, hx)
        hx = check_cell(self, input, hx)
        weights = self._parameters
        one = len(self.STATE_NAMES) == 1
        if input.dim() == 1 or not weights.keys() >= WEIGHTS or is_compiling():
            state = self.TORCH_CLASS.forward(self, input, hx)
        else:
            # What torch's forward comes to once the checks are ours: a loop over steps is paid by
            # the microsecond, and nn.Module seeks each weight in three places.
            if hx is None:
                zeros = torch.zeros(
                    len(input), self.hidden_size, dtype=input.dtype, device=input.device
                )
                hx = zeros if one else (zeros, zeros)
            state = self.kernel(input, hx, *map(weights.get, WEIGHTS))
        return state if one else LSTMState(*state)

    def initial_state(self, batch_size: int | None) -> Any:
        """Return zeros as this cell's state, on the device and in the dtype of its weights.

        Args:
            batch_size: number of samples; None for the state of an unbatched call.
        """
        front = () if batch_size is None else (batch_size,)
        tensors = [self.weight_hh.new_zeros(*front, self.hidden_size) for _ in self.STATE_NAMES]
        return tensors[0] if len(tensors) == 1 else LSTMState(*tensors)

    def __prepare_scriptable__(self) -> torch.nn.Module:
        """Hand TorchScript a module of torch's class with the same parameters."""
        own = type(self).forward is Cell.forward
        return torch_twin(self, self.TORCH_CLASS) if own else self


class RNNCell(Cell, torch.nn.RNNCell):
    """One step of an Elman RNN: torch's cell, with every call checked.

    ::

        h' = tanh(W_ih x + b_ih + W_hh h + b_hh)

    ``cell(input, hx=None)`` returns ``h'``. ``input`` is ``(batch, input_size)`` and ``hx`` and
    ``h'`` are ``(batch, hidden_size)``, or all without the batch axis; no ``hx`` means zeros.

    Args:
        input_size: features of the input.
        hidden_size: features of the hidden state.
        bias: whether to add ``b_ih`` and ``b_hh``.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        device: where the weights lie.
        dtype: the weights' dtype.

    Raises:
        ArgumentError: if an argument is of another type or out of range.
        RnnkitError: when called, the child that fits, if input or state are not as above.

    >>> h = None
    >>> cell = rnnkit.RNNCell(3, 4)
    >>> for x_t in torch.ones(5, 2, 3):
    ...     h = cell(x_t, h)
    >>> h.shape
    torch.Size([2, 4])
    """

    STATE_NAMES: ClassVar[tuple[str, ...]] = ("hx",)
    TORCH_CLASS: ClassVar[Any] = torch.nn.RNNCell

    @property
    def kernel(self) -> Any:
        """Torch's function for one step."""
        return torch.rnn_relu_cell if self.nonlinearity == "relu" else torch.rnn_tanh_cell

    @checked
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Make the weights, drawn as torch draws them."""
        super().__init__(input_size, hidden_size, bias, nonlinearity, device=device, dtype=dtype)

    if TYPE_CHECKING:

        def __call__(self, input: Tensor, hx: Tensor | None = None) -> Tensor: ...
        def initial_state(self, batch_size: int | None) -> Tensor: ...


class LSTMCell(Cell, torch.nn.LSTMCell):
    """One step of an LSTM: torch's cell, with every call checked.

    ::

        i, f, g, o = split(W_ih x + b_ih + W_hh h + b_hh)
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(c')

    ``cell(input, hx=None)`` returns ``LSTMState(h', c')``. ``input`` is ``(batch, input_size)``
    and ``hx`` the pair ``(h, c)``, each ``(batch, hidden_size)``, or all without the batch axis;
    None for one of the pair, or for both, means zeros.

    Args:
        input_size: features of the input.
        hidden_size: features of the hidden and of the cell state.
        bias: whether to add ``b_ih`` and ``b_hh``.
        device: where the weights lie.
        dtype: the weights' dtype.

    Raises:
        ArgumentError: if an argument is of another type or out of range.
        RnnkitError: when called, the child that fits, if input or state are not as above.

    >>> h, c = rnnkit.LSTMCell(3, 4)(torch.ones(2, 3))
    >>> h.shape, c.shape
    (torch.Size([2, 4]), torch.Size([2, 4]))
    """

    STATE_NAMES: ClassVar[tuple[str, ...]] = ("h", "c")
    TORCH_CLASS: ClassVar[Any] = torch.nn.LSTMCell
    kernel: Any = torch.lstm_cell

    @checked
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Make the weights, drawn as torch draws them."""
        super().__init__(input_size, hidden_size, bias, device=device, dtype=dtype)

    if TYPE_CHECKING:
        _Pair: TypeAlias = tuple[Tensor | None, Tensor | None] | list[Tensor] | None

        def __call__(self, input: Tensor, hx: _Pair = None) -> LSTMState: ...
        def initial_state(self, batch_size: int | None) -> LSTMState: ...


class GRUCell(Cell, torch.nn.GRUCell):
    """One step of a GRU: torch's cell, with every call checked.

    ::

        r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
        n = tanh(W_in x + b_in + r * (W_hn h + b_hn))
        h' = (1 - z) * n + z * h

    ``cell(input, hx=None)`` returns ``h'``; shapes and arguments are those of
    :class:`RNNCell`, but for ``nonlinearity``.

    Raises:
        ArgumentError: if an argument is of another type or out of range.
        RnnkitError: when called, the child that fits, if input or state are of another shape.

    >>> rnnkit.GRUCell(3, 4)(torch.ones(2, 3)).shape
    torch.Size([2, 4])
    """

    STATE_NAMES: ClassVar[tuple[str, ...]] = ("hx",)
    TORCH_CLASS: ClassVar[Any] = torch.nn.GRUCell
    kernel: Any = torch.gru_cell

    @checked
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Make the weights, drawn as torch draws them."""
        super().__init__(input_size, hidden_size, bias, device=device, dtype=dtype)

    if TYPE_CHECKING:

        def __call__(self, input: Tensor, hx: Tensor | None = None) -> Tensor: ...
        def initial_state(self, batch_size: int | None) -> Tensor: ...


for _cell in (RNNCell, LSTMCell, GRUCell):
    _cell.__module__ = "rnnkit"
