"""RNN, LSTM and GRU: torch's layers, their calls checked."""

from typing import ClassVar

import torch
from torch import Tensor

from rnnkit._base.class_facts import ClassFacts
from rnnkit._base.state import LSTMState
from rnnkit._checks.constructors import Device, checked_arguments
from rnnkit._checks.scope import LAYER_AXES, Axes
from rnnkit._modules.cell_base import set_options
from rnnkit._modules.cells import (
    GRU_RECURRENCE,
    TANH_RECURRENCE,
    GRUCell,
    LSTMCell,
    Pair,
    RNNCell,
)
from rnnkit._modules.layer_base import Layer


class RNN(Layer[Tensor, Tensor, RNNCell], torch.nn.RNN):
    """torch's multi-layer Elman RNN, with every call checked.

    ::

        h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)

    ``rnn(input, hx=None)`` returns ``(output, state)``. ``input`` is ``(seq, batch,
    input_size)``, with ``batch_first`` ``(batch, seq, input_size)``; ``(seq, input_size)`` for
    one sequence without batch; or a PackedSequence. ``output`` has the same layout and is
    ``directions * hidden_size`` wide. ``hx``, None for zeros, and ``state`` are ``(layers *
    directions, batch, hidden_size)``, layer by layer, starting with the forward direction; for
    unbatched input without the batch axis.

    ``lengths=``, integers ``(batch,)`` from 0 to seq, are the valid steps of each sample of a
    padded batch. Each sample then gets the results that it gets by itself: its state is the one
    after its own last step, in both directions, and its output is zero beyond.

    ``reset=``, a mask in the layout of the input, ``(seq, batch)``, is true where a sample is reset
    to the initial state before that step, as at the end of an episode. In both directions each
    piece runs by itself: ``hx`` starts the piece that runs first, and the returned state is that of
    the piece that runs last.

    Two arguments of the constructor are not torch's. With ``state_batch_first`` states are
    ``(batch, layers * directions, hidden_size)``. ``axes`` names seq, batch, feature and hidden as
    the caller's jaxtyping scope does, and each call is checked against the sizes bound there.

    Raises:
        ArgumentError: if an argument has the wrong type or is out of range.
        RnnkitError: when called, the matching subclass, if input or state are not as above.

    >>> out, h_n = rnnkit.RNN(3, 4, batch_first=True)(torch.ones(2, 5, 3))
    >>> out.shape, h_n.shape
    (torch.Size([2, 5, 4]), torch.Size([1, 2, 4]))
    """

    __rnnkit__: ClassVar[ClassFacts] = ClassFacts(
        torch.nn.RNN, ("hx",), TANH_RECURRENCE, cell_class=RNNCell
    )

    @checked_arguments
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
        axes: Axes | None = None,
    ) -> None:
        options = (num_layers, nonlinearity, bias, batch_first, dropout, bidirectional)
        super().__init__(input_size, hidden_size, *options, device=device, dtype=dtype)
        set_options(self, LAYER_AXES, axes, state_batch_first=state_batch_first)


class LSTM(Layer[LSTMState, Pair, LSTMCell], torch.nn.LSTM):
    """torch's multi-layer LSTM, with every call checked.

    ::

        i, f, g, o = split(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)
        c_t = sigmoid(f) * c_(t-1) + sigmoid(i) * tanh(g)
        h_t = sigmoid(o) * tanh(c_t)

    ``lstm(input, hx=None)`` returns ``(output, LSTMState(h, c))``; :class:`RNN` describes input,
    output, ``lengths=``, ``reset=`` and the constructor's arguments. ``hx`` is the pair ``(h, c)``,
    each ``(layers * directions, batch, hidden_size)``, without the batch axis for unbatched input;
    None for one of them, or for both, means zeros. With ``proj_size`` h and output are projected to
    that width.

    Raises:
        ArgumentError: if an argument has the wrong type or is out of range.
        RnnkitError: when called, the matching subclass, if input or state are not as above.

    >>> lstm = rnnkit.LSTM(3, 4, bidirectional=True)
    >>> out, (h_n, c_n) = lstm(torch.ones(7, 5, 3), lengths=[7, 2, 5, 1, 4])
    >>> out.shape, h_n.shape
    (torch.Size([7, 5, 8]), torch.Size([2, 5, 4]))
    """

    __rnnkit__: ClassVar[ClassFacts] = ClassFacts(
        torch.nn.LSTM,
        ("h", "c"),
        LSTMCell.__rnnkit__.recurrence,
        cell_class=LSTMCell,
        is_projected=True,
    )

    @checked_arguments
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
        axes: Axes | None = None,
    ) -> None:
        options = (num_layers, bias, batch_first, dropout, bidirectional, proj_size)
        super().__init__(input_size, hidden_size, *options, device=device, dtype=dtype)
        set_options(self, LAYER_AXES, axes, state_batch_first=state_batch_first)


class GRU(Layer[Tensor, Tensor, GRUCell], torch.nn.GRU):
    """torch's multi-layer GRU, with every call checked.

    ::

        r = sigmoid(W_ir x_t + b_ir + W_hr h_(t-1) + b_hr)
        z = sigmoid(W_iz x_t + b_iz + W_hz h_(t-1) + b_hz)
        n = tanh(W_in x_t + b_in + r * (W_hn h_(t-1) + b_hn))
        h_t = (1 - z) * n + z * h_(t-1)

    ``gru(input, hx=None)`` returns ``(output, state)``; shapes and arguments are those of
    :class:`RNN`, except ``nonlinearity``.

    Raises:
        ArgumentError: if an argument has the wrong type or is out of range.
        RnnkitError: when called, the matching subclass, if input or state are not as there.

    >>> out, h_n = rnnkit.GRU(10, 20)(torch.ones(3, 32, 10))
    >>> out.shape, h_n.shape
    (torch.Size([3, 32, 20]), torch.Size([1, 32, 20]))
    """

    __rnnkit__: ClassVar[ClassFacts] = ClassFacts(
        torch.nn.GRU, ("hx",), GRU_RECURRENCE, cell_class=GRUCell
    )

    @checked_arguments
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
        axes: Axes | None = None,
    ) -> None:
        options = (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(input_size, hidden_size, *options, device=device, dtype=dtype)
        set_options(self, LAYER_AXES, axes, state_batch_first=state_batch_first)
