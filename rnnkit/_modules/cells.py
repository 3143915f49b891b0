"""RNNCell, LSTMCell and GRUCell: torch's cells, their calls checked, each below its equations.

A step gets what the input gives to all gates, ``W_ih x + b_ih``, and what h gives to them,
``W_hh h + b_hh``, both ``(batch, gates * hidden)``. torch's kernels compute the same.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import Parameter

from rnnkit._base.class_facts import ClassFacts
from rnnkit._base.state import LSTMState, State
from rnnkit._checks.constructors import Device, checked_arguments
from rnnkit._checks.scope import CELL_AXES, Axes
from rnnkit._kernels.derivatives import (
    gru_backward,
    lstm_backward,
    relu_derivative,
    rnn_backward,
    tanh_derivative,
)
from rnnkit._kernels.gates import gru_forward, lstm_forward, rnn_forward
from rnnkit._kernels.padded import LSTM_SIGNS, RELU_SIGNS
from rnnkit._kernels.recurrences import Recurrence, known
from rnnkit._modules.cell_base import Cell
from rnnkit._modules.common import set_options

#: An LSTM's state as callers give it: of (h, c) one or both may be None.
Pair: TypeAlias = tuple[Tensor | None, Tensor | None] | list[Tensor] | list[Tensor | None]


def rnn_step(
    activate: Callable[[Tensor], Tensor], given: Tensor, hidden: Tensor, _: Tensor
) -> Tensor:
    """Return an RNN's next state, from what input and h give to its one gate.

    ``given`` is ``W_ih x + b_ih`` and ``hidden`` ``W_hh h + b_hh``, ``(batch, hidden)`` each, and
    ``activate`` the nonlinearity. The last argument is h itself, which is not needed any more.
    """
    return activate(given + hidden)


TANH_RECURRENCE = known(
    Recurrence(
        "RNN_TANH",
        gates=1,
        step=partial(rnn_step, torch.tanh),
        nonlinearity="tanh",
        step_kernel=torch.rnn_tanh_cell,
        kernel=torch.rnn_tanh,
        forward=partial(rnn_forward, torch.Tensor.tanh_),
        backward=partial(rnn_backward, tanh_derivative),
    )
)
RELU_RECURRENCE = known(
    Recurrence(
        "RNN_RELU",
        gates=1,
        step=partial(rnn_step, torch.relu),
        nonlinearity="relu",
        step_kernel=torch.rnn_relu_cell,
        kernel=torch.rnn_relu,
        forward=partial(rnn_forward, torch.Tensor.relu_),
        backward=partial(rnn_backward, relu_derivative),
        signs=RELU_SIGNS,
    )
)


class RNNCell(Cell[Tensor, Tensor], torch.nn.RNNCell):  # type: ignore[misc]  # two overloads for one with a default
    """One step of an Elman RNN: ``torch.nn.RNNCell`` whose calls are checked for wrong shapes.

    ::

        h' = tanh(W_ih x + b_ih + W_hh h + b_hh)

    A call is ``h = cell(input, hx=None)``.

    - ``input`` is ``(batch, input_size)``, or ``(input_size,)`` without a batch.
    - ``hx`` is the state before the step, ``(batch, hidden_size)``, or ``(hidden_size,)`` without a
      batch. None means zeros, or what ``initial_state`` returns in a subclass that overrides it.
    - ``h`` is h' above, the state after the step, in the shape of ``hx``.

    To run a whole sequence, with ``lengths`` or ``reset``, use :func:`rnnkit.unroll`.

    Args:
        input_size: the number of features of the input.
        hidden_size: the number of features of the state.
        bias: False leaves out the biases, the terms with ``b``.
        nonlinearity: ``"tanh"`` or ``"relu"``: the activation in the formula above.
        device: the device of the weights.
        dtype: the dtype of the weights.
        axes: for callers typed with jaxtyping: the name that the caller's annotations have for
            ``"batch"``, such as ``{"batch": "n"}``. Each call checks that the batch has the size
            that this name has in the caller. torch does not have this argument.

    Raises:
        ArgumentError: if an argument of the constructor, or of a call, is unknown or has the wrong
            type or value.
        ShapeError: if a call's input has wrong axes or sizes.
        StateError: if ``hx`` has the wrong structure, batch size or width. It is a ShapeError.
        DtypeError: if a call's input or state has a different dtype from the weights.
        DeviceError: if a call's input or state is on a different device from the weights.

    torch's page: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNCell.html

    >>> cell, h = rnnkit.RNNCell(3, 4), None
    >>> for x_t in torch.ones(5, 2, 3):
    ...     h = cell(x_t, h)
    >>> h.shape
    torch.Size([2, 4])
    """

    __rnnkit__: ClassFacts = ClassFacts(torch.nn.RNNCell, TANH_RECURRENCE)

    @checked_arguments
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        axes: Axes | None = None,
    ) -> None:
        """Make a cell of an RNN, whose ``nonlinearity`` is tanh or relu.

        A call takes ``input`` ``(batch, input_size)`` and ``hx`` ``(batch, hidden_size)``, and
        returns the state after the step. Use rnnkit.unroll for ``lengths`` and ``reset``.
        ``bias=False`` leaves out the biases. ``axes``, which torch does not have, has the name of
        the batch axis in the caller's jaxtyping scope. The docstring of the class describes each
        argument and each error.
        """
        init: Any = super(Cell, self).__init__  # Cell's own is that of the others
        init(input_size, hidden_size, bias, nonlinearity, device=device, dtype=dtype)
        set_options(self, CELL_AXES, axes)


def lstm_step(given: Tensor, hidden: Tensor, state: State) -> LSTMState:
    """Return an LSTM's next state, from what input and h give to its gates, and from (h, c).

    ``given`` is ``W_ih x + b_ih`` and ``hidden`` ``W_hh h + b_hh``, ``(batch, 4 * hidden)`` each.
    """
    i, f, g, o = (given + hidden).chunk(4, -1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return LSTMState(h, c)


LSTM_RECURRENCE = known(
    Recurrence(
        "LSTM",
        gates=4,
        step=lstm_step,
        step_kernel=torch.lstm_cell,
        kernel=torch.lstm,
        forward=lstm_forward,
        backward=lstm_backward,
        signs=LSTM_SIGNS,
    )
)


class LSTMCell(Cell[LSTMState, Pair], torch.nn.LSTMCell):  # type: ignore[misc]  # two overloads for one with a default
    """One step of an LSTM: ``torch.nn.LSTMCell`` whose calls are checked for wrong shapes.

    ::

        i, f, g, o = split(W_ih x + b_ih + W_hh h + b_hh)
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(c')

    A call is ``h, c = cell(input, hx=None)``.

    - ``input`` is ``(batch, input_size)``, or ``(input_size,)`` without a batch.
    - ``hx`` is the pair ``(h, c)`` before the step: each is ``(batch, hidden_size)``, or
      ``(hidden_size,)`` without a batch. None, for the pair, h or c, means zeros, or what
      ``initial_state`` returns in a subclass that overrides it.
    - The result is the :class:`LSTMState` ``(h', c')`` after the step, in the shapes of ``hx``.

    To run a whole sequence, with ``lengths`` or ``reset``, use :func:`rnnkit.unroll`.

    Args:
        input_size: the number of features of the input.
        hidden_size: the number of features of h and of c.
        bias: False leaves out the biases, the terms with ``b``.
        device: the device of the weights.
        dtype: the dtype of the weights.
        axes: for callers typed with jaxtyping: the name that the caller's annotations have for
            ``"batch"``, such as ``{"batch": "n"}``. Each call checks that the batch has the size
            that this name has in the caller. torch does not have this argument.

    Raises:
        ArgumentError: if an argument of the constructor, or of a call, is unknown or has the wrong
            type or value.
        ShapeError: if a call's input has wrong axes or sizes.
        StateError: if ``hx`` has the wrong structure, batch size or width. It is a ShapeError.
        DtypeError: if a call's input or h, or c on a GPU, has a different dtype from the weights.
        DeviceError: if a call's input or state is on a different device from the weights.

    torch's page: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html

    >>> h, c = rnnkit.LSTMCell(3, 4)(torch.ones(2, 3))
    >>> h.shape, c.shape
    (torch.Size([2, 4]), torch.Size([2, 4]))
    """

    __rnnkit__: ClassFacts = ClassFacts(torch.nn.LSTMCell, LSTM_RECURRENCE, ("h", "c"))


class ProjectedLSTMCell(LSTMCell):
    """One step of an LSTM with ``proj_size``; torch has no such cell, only the layer.

    ::

        i, f, g, o = split(W_ih x + b_ih + W_hh h + b_hh)
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = W_hr (sigmoid(o) * tanh(c'))

    A call is ``h, c = cell(input, hx=None)``.

    - ``input`` is ``(batch, input_size)``, or ``(input_size,)`` without a batch.
    - ``hx`` is the pair ``(h, c)`` before the step: h is ``(batch, proj_size)`` and c
      ``(batch, hidden_size)``; without a batch they lack that axis. None, for the pair, h or c,
      means zeros, or what ``initial_state`` returns in a subclass that overrides it.
    - The result is the :class:`LSTMState` ``(h', c')`` after the step, in the shapes of ``hx``.

    To run a whole sequence, with ``lengths`` or ``reset``, use :func:`rnnkit.unroll`.

    Args:
        input_size: the number of features of the input.
        hidden_size: the number of features of c.
        proj_size: the number of features of h, from 1 to ``hidden_size - 1``.
        bias: False leaves out the biases, the terms with ``b``.
        device: the device of the weights.
        dtype: the dtype of the weights.

    Raises:
        ArgumentError: if an argument of the constructor, or of a call, is unknown or has the wrong
            type or value.
        ShapeError: if a call's input has wrong axes or sizes.
        StateError: if ``hx`` has the wrong structure, batch size or width. It is a ShapeError.
        DtypeError: if a call's input or state has a different dtype from the weights.
        DeviceError: if a call's input or state is on a different device from the weights.

    torch's page: https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html

    >>> h, c = rnnkit.ProjectedLSTMCell(3, 4, proj_size=2)(torch.ones(5, 3))
    >>> h.shape, c.shape
    (torch.Size([5, 2]), torch.Size([5, 4]))
    """

    __rnnkit__: ClassFacts = LSTMCell.__rnnkit__._replace(
        recurrence=LSTM_RECURRENCE._replace(step_kernel=None), is_projected=True
    )
    proj_size: int

    @checked_arguments
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        proj_size: int,
        bias: bool = True,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Make a cell whose h is ``proj_size`` wide, and whose c is ``hidden_size`` wide.

        A call takes ``input`` ``(batch, input_size)`` and ``hx``, the pair of h and c, and returns
        the pair after the step. Use rnnkit.unroll for ``lengths`` and ``reset``. ``bias=False``
        leaves out the biases. The docstring of the class describes each argument and each error.
        """
        super().__init__(input_size, hidden_size, bias=bias, device=device, dtype=dtype)
        self.proj_size = proj_size
        self.weight_hh: Tensor = Parameter(self.weight_hh.new_empty(4 * hidden_size, proj_size))
        self.weight_hr: Tensor = Parameter(self.weight_hh.new_empty(proj_size, hidden_size))
        self.reset_parameters()

    def extra_repr(self) -> str:
        """Return the constructor's arguments, as ``print(cell)`` shows them."""
        return f"{Cell.extra_repr(self)}, proj_size={self.proj_size}"


def gru_step(given: Tensor, hidden: Tensor, h: Tensor) -> Tensor:
    """Return a GRU's next state, from what input and h give to its gates, and from h.

    ``given`` is ``W_ih x + b_ih`` and ``hidden`` ``W_hh h + b_hh``, ``(batch, 3 * hidden)`` each.
    """
    given_r, given_z, given_n = given.chunk(3, -1)
    hidden_r, hidden_z, hidden_n = hidden.chunk(3, -1)
    r = torch.sigmoid(given_r + hidden_r)
    z = torch.sigmoid(given_z + hidden_z)
    n = torch.tanh(given_n + r * hidden_n)
    return n + z * (h - n)  # (1 - z) * n + z * h, with one product less


GRU_RECURRENCE = known(
    Recurrence(
        "GRU",
        gates=3,
        step=gru_step,
        step_kernel=torch.gru_cell,
        kernel=torch.gru,
        forward=gru_forward,
        backward=gru_backward,
    )
)


class GRUCell(Cell[Tensor, Tensor], torch.nn.GRUCell):  # type: ignore[misc]  # two overloads for one with a default
    """One step of a GRU: ``torch.nn.GRUCell`` whose calls are checked for wrong shapes.

    ::

        r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
        n = tanh(W_in x + b_in + r * (W_hn h + b_hn))
        h' = (1 - z) * n + z * h

    A call is ``h = cell(input, hx=None)``.

    - ``input`` is ``(batch, input_size)``, or ``(input_size,)`` without a batch.
    - ``hx`` is the state before the step, ``(batch, hidden_size)``, or ``(hidden_size,)`` without a
      batch. None means zeros, or what ``initial_state`` returns in a subclass that overrides it.
    - ``h`` is h' above, the state after the step, in the shape of ``hx``.

    To run a whole sequence, with ``lengths`` or ``reset``, use :func:`rnnkit.unroll`.

    Args:
        input_size: the number of features of the input.
        hidden_size: the number of features of the state.
        bias: False leaves out the biases, the terms with ``b``.
        device: the device of the weights.
        dtype: the dtype of the weights.
        axes: for callers typed with jaxtyping: the name that the caller's annotations have for
            ``"batch"``, such as ``{"batch": "n"}``. Each call checks that the batch has the size
            that this name has in the caller. torch does not have this argument.

    Raises:
        ArgumentError: if an argument of the constructor, or of a call, is unknown or has the wrong
            type or value.
        ShapeError: if a call's input has wrong axes or sizes.
        StateError: if ``hx`` has the wrong structure, batch size or width. It is a ShapeError.
        DtypeError: if a call's input or state has a different dtype from the weights.
        DeviceError: if a call's input or state is on a different device from the weights.

    torch's page: https://docs.pytorch.org/docs/stable/generated/torch.nn.GRUCell.html

    >>> rnnkit.GRUCell(3, 4)(torch.ones(2, 3)).shape
    torch.Size([2, 4])
    """

    __rnnkit__: ClassFacts = ClassFacts(torch.nn.GRUCell, GRU_RECURRENCE)


def empty_cell(layer: Any, input_size: int) -> Any:
    """Return a cell like those that a layer is made of, without numbers: on the device meta.

    ``input_size`` is that of the cell, whose layer may stand on another one.
    """
    sizes = (input_size, layer.hidden_size)
    if layer.proj_size:
        return ProjectedLSTMCell(*sizes, layer.proj_size, layer.bias, device="meta")
    cell = layer.__rnnkit__.cell_class(*sizes, layer.bias, device="meta")
    if isinstance(layer, torch.nn.RNN):
        # torch's layer goes by its mode, whatever is set later.
        cell.nonlinearity = layer.mode.removeprefix("RNN_").lower()
    return cell
