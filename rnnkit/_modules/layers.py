"""RNN, LSTM and GRU: torch's layers, their calls checked."""

import torch
from torch import Tensor

from rnnkit._base.class_facts import ClassFacts
from rnnkit._base.state import LSTMState
from rnnkit._checks.constructors import Device, checked_arguments
from rnnkit._checks.scope import LAYER_AXES, Axes
from rnnkit._modules.cells import GRUCell, LSTMCell, Pair, RNNCell
from rnnkit._modules.common import set_options
from rnnkit._modules.layer_base import Layer


class RNN(Layer[Tensor, Tensor, RNNCell], torch.nn.RNN):
    """A multi-layer Elman RNN: ``torch.nn.RNN`` whose calls are checked for wrong shapes.

    ::

        h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)

    A call is ``output, state = rnn(input, hx=None, *, lengths=None, reset=None)``. Below,
    ``directions`` is 2 if ``bidirectional`` and 1 otherwise.

    - ``input`` is ``(seq, batch, input_size)``, or ``(batch, seq, input_size)`` with
      ``batch_first``. It may also be one sequence, ``(seq, input_size)``, or a PackedSequence.
    - ``output`` is the last layer's h at each step, ``(seq, batch, directions * hidden_size)``, in
      the same layout as the input, and packed if the input is packed. The forward direction's
      features come first, then the backward direction's.
    - ``hx`` is the state before the first step, ``(num_layers * directions, batch, hidden_size)``:
      layer by layer, the forward direction first. For one sequence, it has no batch axis. None
      means zeros, or what ``initial_state`` returns in a subclass that overrides it.
    - ``state`` is the state after the last step that each direction runs, in the shape of ``hx``.
      For the backward direction, this is the first step of the sequence.
    - ``lengths``, integers ``(batch,)`` from 0 to seq, counts the valid steps of each sample in a
      padded batch. Each sample gets the same result as if it were run alone, without its padding,
      in both directions. Its output is zero on the padding.
    - ``reset``, booleans or 0 and 1, is ``(seq, batch)``, or ``(batch, seq)`` with ``batch_first``.
      It is true at each step where a sample restarts, such as the first step of an episode. The
      sequence is cut before this step, and the pieces run independently, in both directions. In
      the forward direction, the piece before the first flag starts from ``hx``; in the backward
      direction, the piece from the last flag on does. Every other piece starts as if ``hx`` were
      None. In each direction, ``state`` comes from the piece that runs last.

    Args:
        input_size: the number of features of the input.
        hidden_size: the number of features of the state.
        num_layers: how many layers are stacked; each reads the output of the layer below it.
        nonlinearity: ``"tanh"`` or ``"relu"``: the activation in the formula above.
        bias: False leaves out the biases, the terms with ``b``.
        batch_first: True if input and output are ``(batch, seq, feature)``. States stay as above.
        dropout: in training, the probability, from 0 to 1, that a feature passed from one layer to
            the next is set to zero.
        bidirectional: True adds a backward direction, from the last step to the first.
        device: the device of the weights.
        dtype: the dtype of the weights.
        state_batch_first: True if states are ``(batch, num_layers * directions, hidden_size)``.
            torch does not have this argument.
        axes: for callers typed with jaxtyping: the names that the caller's annotations have for
            ``"seq"``, ``"batch"``, ``"feature"`` and ``"hidden"``, such as ``{"seq": "time"}``.
            Each call checks that an axis has the size that its name has in the caller. torch does
            not have this argument.

    Raises:
        ArgumentError: if an argument of the constructor, or of a call, is unknown or has the wrong
            type or value.
        ShapeError: if a call's input or ``reset`` has wrong axes or sizes. The next three errors
            are subclasses of it.
        LayoutError: if the axes of a call's input or state are in the wrong order.
        LengthsError: if ``lengths`` is not one integer from 0 to seq for each sample.
        StateError: if ``hx`` has the wrong structure, number of layers, batch size or width.
        DtypeError: if a call's input or state has a different dtype from the weights.
        DeviceError: if a call's input or state is on a different device from the weights.

    torch's page: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html

    >>> out, h_n = rnnkit.RNN(3, 4, batch_first=True)(torch.ones(2, 5, 3))
    >>> out.shape, h_n.shape
    (torch.Size([2, 5, 4]), torch.Size([1, 2, 4]))
    """

    __rnnkit__: ClassFacts = RNNCell.__rnnkit__._replace(
        torch_class=torch.nn.RNN, cell_class=RNNCell
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
        """Make ``num_layers`` RNNs in a stack, each in two directions if ``bidirectional``.

        Input and output are ``(seq, batch, feature)``, or ``(batch, seq, feature)`` with
        ``batch_first``. States are ``(num_layers * directions, batch, hidden_size)``.
        ``nonlinearity`` is tanh or relu. ``bias=False`` leaves out the biases, and ``dropout`` acts
        between layers. torch does not have the last two arguments: ``state_batch_first`` puts the
        batch first in states, and ``axes`` has the names of axes in the caller's jaxtyping scope.

        A call takes ``input``, ``hx``, ``lengths`` and ``reset``, and returns output and state. The
        docstring of the class describes each argument and each error.
        """
        options = (num_layers, nonlinearity, bias, batch_first, dropout, bidirectional)
        super().__init__(input_size, hidden_size, *options, device=device, dtype=dtype)
        set_options(self, LAYER_AXES, axes, state_batch_first=state_batch_first)


class LSTM(Layer[LSTMState, Pair, LSTMCell], torch.nn.LSTM):
    """A multi-layer LSTM: ``torch.nn.LSTM`` whose calls are checked for wrong shapes.

    ::

        i, f, g, o = split(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)
        c_t = sigmoid(f) * c_(t-1) + sigmoid(i) * tanh(g)
        h_t = sigmoid(o) * tanh(c_t)

    A call is ``output, state = lstm(input, hx=None, *, lengths=None, reset=None)``. Below,
    ``directions`` is 2 if ``bidirectional`` and 1 otherwise, and ``hidden`` is ``proj_size`` if
    that is above 0 and ``hidden_size`` otherwise.

    - ``input`` is ``(seq, batch, input_size)``, or ``(batch, seq, input_size)`` with
      ``batch_first``. It may also be one sequence, ``(seq, input_size)``, or a PackedSequence.
    - ``output`` is the last layer's h at each step, ``(seq, batch, directions * hidden)``, in the
      same layout as the input, and packed if the input is packed. The forward direction's features
      come first, then the backward direction's.
    - ``hx`` is the pair ``(h, c)`` before the first step: h is ``(num_layers * directions, batch,
      hidden)`` and c ``(num_layers * directions, batch, hidden_size)``, layer by layer, the forward
      direction first. For one sequence, they have no batch axis. None, for the pair, h or c, means
      zeros, or what ``initial_state`` returns in a subclass that overrides it.
    - ``state`` is the :class:`LSTMState` ``(h, c)`` after the last step that each direction runs,
      in the shapes of ``hx``. For the backward direction, this is the first step of the sequence.
    - ``lengths``, integers ``(batch,)`` from 0 to seq, counts the valid steps of each sample in a
      padded batch. Each sample gets the same result as if it were run alone, without its padding,
      in both directions. Its output is zero on the padding.
    - ``reset``, booleans or 0 and 1, is ``(seq, batch)``, or ``(batch, seq)`` with ``batch_first``.
      It is true at each step where a sample restarts, such as the first step of an episode. The
      sequence is cut before this step, and the pieces run independently, in both directions. In
      the forward direction, the piece before the first flag starts from ``hx``; in the backward
      direction, the piece from the last flag on does. Every other piece starts as if ``hx`` were
      None. In each direction, ``state`` comes from the piece that runs last.

    Args:
        input_size: the number of features of the input.
        hidden_size: the number of features of c, and also of h if ``proj_size`` is 0.
        num_layers: how many layers are stacked; each reads the output of the layer below it.
        bias: False leaves out the biases, the terms with ``b``.
        batch_first: True if input and output are ``(batch, seq, feature)``. States stay as above.
        dropout: in training, the probability, from 0 to 1, that a feature passed from one layer to
            the next is set to zero.
        bidirectional: True adds a backward direction, from the last step to the first.
        proj_size: 0, or the number of features of h, less than ``hidden_size``: h is then
            ``W_hr (sigmoid(o) * tanh(c_t))``.
        device: the device of the weights.
        dtype: the dtype of the weights.
        state_batch_first: True if states are ``(batch, num_layers * directions, hidden)``; for c,
            ``hidden_size`` replaces ``hidden``. torch does not have this argument.
        axes: for callers typed with jaxtyping: the names that the caller's annotations have for
            ``"seq"``, ``"batch"``, ``"feature"`` and ``"hidden"``, such as ``{"seq": "time"}``.
            Each call checks that an axis has the size that its name has in the caller. torch does
            not have this argument.

    Raises:
        ArgumentError: if an argument of the constructor, or of a call, is unknown or has the wrong
            type or value.
        ShapeError: if a call's input or ``reset`` has wrong axes or sizes. The next three errors
            are subclasses of it.
        LayoutError: if the axes of a call's input or state are in the wrong order.
        LengthsError: if ``lengths`` is not one integer from 0 to seq for each sample.
        StateError: if ``hx`` has the wrong structure, number of layers, batch size or width.
        DtypeError: if a call's input or state has a different dtype from the weights.
        DeviceError: if a call's input or state is on a different device from the weights.

    torch's page: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html

    >>> lstm = rnnkit.LSTM(3, 4, bidirectional=True)
    >>> out, (h_n, c_n) = lstm(torch.ones(7, 5, 3), lengths=[7, 2, 5, 1, 4])
    >>> out.shape, h_n.shape
    (torch.Size([7, 5, 8]), torch.Size([2, 5, 4]))
    """

    __rnnkit__: ClassFacts = LSTMCell.__rnnkit__._replace(
        torch_class=torch.nn.LSTM, cell_class=LSTMCell, is_projected=True
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
        """Make ``num_layers`` LSTMs in a stack, each in two directions if ``bidirectional``.

        Input and output are ``(seq, batch, feature)``, or ``(batch, seq, feature)`` with
        ``batch_first``. h and c are ``(num_layers * directions, batch, hidden_size)``; with
        ``proj_size``, h and the output have that width instead. ``bias=False`` leaves out the
        biases, and ``dropout`` acts between layers. torch does not have the last two arguments:
        ``state_batch_first`` puts the batch first in states, and ``axes`` has the names of axes in
        the caller's jaxtyping scope.

        A call takes ``input``, ``hx``, ``lengths`` and ``reset``, and returns output and state. The
        docstring of the class describes each argument and each error.
        """
        options = (num_layers, bias, batch_first, dropout, bidirectional, proj_size)
        super().__init__(input_size, hidden_size, *options, device=device, dtype=dtype)
        set_options(self, LAYER_AXES, axes, state_batch_first=state_batch_first)


class GRU(Layer[Tensor, Tensor, GRUCell], torch.nn.GRU):
    """A multi-layer GRU: ``torch.nn.GRU`` whose calls are checked for wrong shapes.

    ::

        r = sigmoid(W_ir x_t + b_ir + W_hr h_(t-1) + b_hr)
        z = sigmoid(W_iz x_t + b_iz + W_hz h_(t-1) + b_hz)
        n = tanh(W_in x_t + b_in + r * (W_hn h_(t-1) + b_hn))
        h_t = (1 - z) * n + z * h_(t-1)

    A call is ``output, state = gru(input, hx=None, *, lengths=None, reset=None)``. Below,
    ``directions`` is 2 if ``bidirectional`` and 1 otherwise.

    - ``input`` is ``(seq, batch, input_size)``, or ``(batch, seq, input_size)`` with
      ``batch_first``. It may also be one sequence, ``(seq, input_size)``, or a PackedSequence.
    - ``output`` is the last layer's h at each step, ``(seq, batch, directions * hidden_size)``, in
      the same layout as the input, and packed if the input is packed. The forward direction's
      features come first, then the backward direction's.
    - ``hx`` is the state before the first step, ``(num_layers * directions, batch, hidden_size)``:
      layer by layer, the forward direction first. For one sequence, it has no batch axis. None
      means zeros, or what ``initial_state`` returns in a subclass that overrides it.
    - ``state`` is the state after the last step that each direction runs, in the shape of ``hx``.
      For the backward direction, this is the first step of the sequence.
    - ``lengths``, integers ``(batch,)`` from 0 to seq, counts the valid steps of each sample in a
      padded batch. Each sample gets the same result as if it were run alone, without its padding,
      in both directions. Its output is zero on the padding.
    - ``reset``, booleans or 0 and 1, is ``(seq, batch)``, or ``(batch, seq)`` with ``batch_first``.
      It is true at each step where a sample restarts, such as the first step of an episode. The
      sequence is cut before this step, and the pieces run independently, in both directions. In
      the forward direction, the piece before the first flag starts from ``hx``; in the backward
      direction, the piece from the last flag on does. Every other piece starts as if ``hx`` were
      None. In each direction, ``state`` comes from the piece that runs last.

    Args:
        input_size: the number of features of the input.
        hidden_size: the number of features of the state.
        num_layers: how many layers are stacked; each reads the output of the layer below it.
        bias: False leaves out the biases, the terms with ``b``.
        batch_first: True if input and output are ``(batch, seq, feature)``. States stay as above.
        dropout: in training, the probability, from 0 to 1, that a feature passed from one layer to
            the next is set to zero.
        bidirectional: True adds a backward direction, from the last step to the first.
        device: the device of the weights.
        dtype: the dtype of the weights.
        state_batch_first: True if states are ``(batch, num_layers * directions, hidden_size)``.
            torch does not have this argument.
        axes: for callers typed with jaxtyping: the names that the caller's annotations have for
            ``"seq"``, ``"batch"``, ``"feature"`` and ``"hidden"``, such as ``{"seq": "time"}``.
            Each call checks that an axis has the size that its name has in the caller. torch does
            not have this argument.

    Raises:
        ArgumentError: if an argument of the constructor, or of a call, is unknown or has the wrong
            type or value.
        ShapeError: if a call's input or ``reset`` has wrong axes or sizes. The next three errors
            are subclasses of it.
        LayoutError: if the axes of a call's input or state are in the wrong order.
        LengthsError: if ``lengths`` is not one integer from 0 to seq for each sample.
        StateError: if ``hx`` has the wrong structure, number of layers, batch size or width.
        DtypeError: if a call's input or state has a different dtype from the weights.
        DeviceError: if a call's input or state is on a different device from the weights.

    torch's page: https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html

    >>> out, h_n = rnnkit.GRU(10, 20)(torch.ones(3, 32, 10))
    >>> out.shape, h_n.shape
    (torch.Size([3, 32, 20]), torch.Size([1, 32, 20]))
    """

    __rnnkit__: ClassFacts = GRUCell.__rnnkit__._replace(
        torch_class=torch.nn.GRU, cell_class=GRUCell
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
        """Make ``num_layers`` GRUs in a stack, each in two directions if ``bidirectional``.

        Input and output are ``(seq, batch, feature)``, or ``(batch, seq, feature)`` with
        ``batch_first``. States are ``(num_layers * directions, batch, hidden_size)``.
        ``bias=False`` leaves out the biases, and ``dropout`` acts between layers. torch does not
        have the last two arguments: ``state_batch_first`` puts the batch first in states, and
        ``axes`` has the names of axes in the caller's jaxtyping scope.

        A call takes ``input``, ``hx``, ``lengths`` and ``reset``, and returns output and state. The
        docstring of the class describes each argument and each error.
        """
        options = (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(input_size, hidden_size, *options, device=device, dtype=dtype)
        set_options(self, LAYER_AXES, axes, state_batch_first=state_batch_first)
