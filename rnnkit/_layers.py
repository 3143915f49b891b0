"""RNN, LSTM and GRU: torch's layers, their calls checked.

The three differ by data, in ``Layer``'s class variables, and by their constructors.
"""

from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, overload

import torch
from torch import Tensor
from torch.fx import Proxy
from torch.nn.utils.rnn import PackedSequence  # noqa: TC002 - the import hook reads it

from rnnkit._arguments import Device, checked
from rnnkit._checks import check_layer
from rnnkit._errors import RnnkitError
from rnnkit._interop import leaf_node, torch_twin
from rnnkit.states import LSTMState, layers_first


class Layer(torch.nn.RNNBase):
    """What the three layers share: the checked call, and their first state."""

    #: The tensors of the state, in torch's order.
    STATE_NAMES: ClassVar[tuple[str, ...]]
    #: torch's class, bound at import: somebody may put ours in its place in ``torch.nn``.
    TORCH_CLASS: ClassVar[Any]

    # On the class, so that a module with the default holds nothing that torch's does not hold.
    state_batch_first: bool = False

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run over a sequence; arguments and results are told where the class is."""
        if isinstance(input, Proxy):
            return leaf_node(self, input, hx)
        output, state = self.TORCH_CLASS.forward(self, input, check_layer(self, input, hx))
        if len(self.STATE_NAMES) > 1:
            state = LSTMState(*state)
        if self.state_batch_first:
            state = layers_first(state)
        return output, state

    def check_forward_args(self, input: Any, hidden: Any, batch_sizes: Any) -> None:
        """Do nothing: ``forward`` has checked the same things, and more of them."""

    def _update_flat_weights(self) -> None:
        # torch seeks each weight twice in three places, a tenth of a small call; most of the time
        # the parameters themselves say that nothing has changed.
        parameters = self._parameters
        for weight, name in zip(self._flat_weight_refs, self._flat_weights_names, strict=True):
            if weight is None or weight() is not parameters.get(name, self):
                super()._update_flat_weights()
                return

    def initial_state(self, batch_size: int | None) -> Any:
        """Return zeros as this layer's state, on the device and in the dtype of its weights.

        Args:
            batch_size: number of samples; None for the state of an unbatched call.
        """
        rows = self.num_layers * (2 if self.bidirectional else 1)
        front = (rows,) if batch_size is None else (rows, batch_size)
        if self.state_batch_first:
            front = front[::-1]
        weight: Any = self._flat_weights[0]
        hidden = weight.new_zeros(*front, self.hidden_size)
        if len(self.STATE_NAMES) == 1:
            return hidden
        visible = weight.new_zeros(*front, self.proj_size or self.hidden_size)
        return LSTMState(visible, hidden)

    def extra_repr(self) -> str:
        """Return the constructor's arguments as torch prints them, then ours."""
        return super().extra_repr() + (", state_batch_first=True" if self.state_batch_first else "")

    def __prepare_scriptable__(self) -> torch.nn.Module:
        """Hand TorchScript a module of torch's class with the same parameters.

        Raises:
            RnnkitError: with ``state_batch_first``, which torch's class does not know.
        """
        if type(self).forward is not Layer.forward:
            return self
        if self.state_batch_first:
            message = (
                f"{type(self).__name__}(..., state_batch_first=True) has no TorchScript form\n"
                f"  fix       state_batch_first=False, and state.transpose(0, 1) in the caller"
            )
            raise RnnkitError(message, "state_batch_first")
        return torch_twin(self, self.TORCH_CLASS)


class RNN(Layer, torch.nn.RNN):
    """A multi-layer Elman RNN: torch's, with every call checked.

    ::

        h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)

    ``rnn(input, hx=None)`` returns ``(output, state)``. ``input`` is ``(seq, batch,
    input_size)``, with ``batch_first`` ``(batch, seq, input_size)``; ``(seq, input_size)`` for
    one sequence without batch; or a PackedSequence. ``output`` is alike, ``directions *
    hidden_size`` wide. ``hx`` and ``state`` are ``(layers * directions, batch, hidden_size)``,
    layer by layer, the forward direction first, without the batch axis for unbatched input; no
    ``hx`` means zeros.

    Args:
        input_size: features of a step of the input.
        hidden_size: features of the hidden state.
        num_layers: how many RNNs are stacked.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias: whether to add ``b_ih`` and ``b_hh``.
        batch_first: whether input and output have the batch on axis 0. The state does not.
        dropout: probability of dropping a feature between two layers, in training.
        bidirectional: whether to run over the steps from both ends.
        device: where the weights lie.
        dtype: the weights' dtype.
        state_batch_first: whether states are ``(batch, layers * directions, hidden_size)``.

    Raises:
        ArgumentError: if an argument is of another type or out of range.
        RnnkitError: when called, the child that fits, if input or state are not as above.

    >>> out, h_n = rnnkit.RNN(3, 4, batch_first=True)(torch.ones(2, 5, 3))
    >>> out.shape, h_n.shape
    (torch.Size([2, 5, 4]), torch.Size([1, 2, 4]))
    """

    STATE_NAMES: ClassVar[tuple[str, ...]] = ("hx",)
    TORCH_CLASS: ClassVar[Any] = torch.nn.RNN

    @checked
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        state_batch_first: bool = False,
    ) -> None:
        """Make the weights, drawn as torch draws them."""
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            nonlinearity=nonlinearity,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
        )
        if state_batch_first:
            self.state_batch_first = True

    if TYPE_CHECKING:

        @overload
        def __call__(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]: ...
        @overload
        def __call__(
            self, input: PackedSequence, hx: Tensor | None = None
        ) -> tuple[PackedSequence, Tensor]: ...
        def __call__(self, input: Any, hx: Any = None) -> Any: ...
        def initial_state(self, batch_size: int | None) -> Tensor: ...


class LSTM(Layer, torch.nn.LSTM):
    """A multi-layer LSTM: torch's, with every call checked.

    ::

        i, f, g, o = split(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)
        c_t = sigmoid(f) * c_(t-1) + sigmoid(i) * tanh(g)
        h_t = sigmoid(o) * tanh(c_t)

    ``lstm(input, hx=None)`` returns ``(output, LSTMState(h, c))``. ``input`` and ``output`` are
    as in :class:`RNN`, the output ``directions * (proj_size or hidden_size)`` wide. ``hx`` is
    the pair ``(h, c)``; ``h`` is ``(layers * directions, batch, proj_size or hidden_size)``,
    ``c`` is ``(layers * directions, batch, hidden_size)``, both without the batch axis for
    unbatched input; None for one of them, or for both, means zeros.

    Args:
        input_size: features of a step of the input.
        hidden_size: features of the cell state.
        num_layers: how many LSTMs are stacked.
        bias: whether to add ``b_ih`` and ``b_hh``.
        batch_first: whether input and output have the batch on axis 0. The state does not.
        dropout: probability of dropping a feature between two layers, in training.
        bidirectional: whether to run over the steps from both ends.
        proj_size: if not 0, ``h`` is projected to this width.
        device: where the weights lie.
        dtype: the weights' dtype.
        state_batch_first: whether states are ``(batch, layers * directions, hidden_size)``.

    Raises:
        ArgumentError: if an argument is of another type or out of range.
        RnnkitError: when called, the child that fits, if input or state are not as above.

    >>> out, (h_n, c_n) = rnnkit.LSTM(50, 100, num_layers=2)(torch.ones(10, 3, 50))
    >>> out.shape, h_n.shape
    (torch.Size([10, 3, 100]), torch.Size([2, 3, 100]))
    """

    STATE_NAMES: ClassVar[tuple[str, ...]] = ("h", "c")
    TORCH_CLASS: ClassVar[Any] = torch.nn.LSTM

    @checked
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        state_batch_first: bool = False,
    ) -> None:
        """Make the weights, drawn as torch draws them."""
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
            device=device,
            dtype=dtype,
        )
        if state_batch_first:
            self.state_batch_first = True

    if TYPE_CHECKING:
        _Pair: TypeAlias = tuple[Tensor | None, Tensor | None] | list[Tensor] | None

        @overload
        def __call__(self, input: Tensor, hx: _Pair = None) -> tuple[Tensor, LSTMState]: ...
        @overload
        def __call__(
            self, input: PackedSequence, hx: _Pair = None
        ) -> tuple[PackedSequence, LSTMState]: ...
        def __call__(self, input: Any, hx: Any = None) -> Any: ...
        def initial_state(self, batch_size: int | None) -> LSTMState: ...


class GRU(Layer, torch.nn.GRU):
    """A multi-layer GRU: torch's, with every call checked.

    ::

        r = sigmoid(W_ir x_t + b_ir + W_hr h_(t-1) + b_hr)
        z = sigmoid(W_iz x_t + b_iz + W_hz h_(t-1) + b_hz)
        n = tanh(W_in x_t + b_in + r * (W_hn h_(t-1) + b_hn))
        h_t = (1 - z) * n + z * h_(t-1)

    ``gru(input, hx=None)`` returns ``(output, state)``; shapes and arguments are those of
    :class:`RNN`, but for ``nonlinearity``.

    Raises:
        ArgumentError: if an argument is of another type or out of range.
        RnnkitError: when called, the child that fits, if input or state are of another shape.

    >>> out, h_n = rnnkit.GRU(10, 20)(torch.ones(3, 32, 10))
    >>> out.shape, h_n.shape
    (torch.Size([3, 32, 20]), torch.Size([1, 32, 20]))
    """

    STATE_NAMES: ClassVar[tuple[str, ...]] = ("hx",)
    TORCH_CLASS: ClassVar[Any] = torch.nn.GRU

    @checked
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        state_batch_first: bool = False,
    ) -> None:
        """Make the weights, drawn as torch draws them."""
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
        )
        if state_batch_first:
            self.state_batch_first = True

    if TYPE_CHECKING:

        @overload
        def __call__(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]: ...
        @overload
        def __call__(
            self, input: PackedSequence, hx: Tensor | None = None
        ) -> tuple[PackedSequence, Tensor]: ...
        def __call__(self, input: Any, hx: Any = None) -> Any: ...
        def initial_state(self, batch_size: int | None) -> Tensor: ...


for _layer in (RNN, LSTM, GRU):
    _layer.__module__ = "rnnkit"
