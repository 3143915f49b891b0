"""What the type checkers refuse: each line is a mistake that a program makes.

Run by ``mypy --strict`` and ``basedpyright``, never by Python. An ignore that is not needed is
an error there, so that a mistake which gets through is noticed.
"""

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

import rnnkit
from rnnkit import nn

lstm = rnnkit.LSTM(3, 4)
gru = rnnkit.GRU(3, 4)
lstm_cell = rnnkit.LSTMCell(3, 4)
gru_cell = rnnkit.GRUCell(3, 4)


def states_of_another_kind(x: Tensor, h: Tensor, c: Tensor, packed: PackedSequence) -> None:
    """RNN and GRU carry one tensor, LSTM two."""
    gru(x, (h, c))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    gru(packed, [h])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    lstm(x, h)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    lstm(x, (h,))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    lstm(x, (h, c, c))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    gru_cell(x, (h, c))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lstm_cell(x, h)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def results_of_a_layer(x: Tensor) -> None:
    """A result is a pair, and its first part is the output."""
    gru(gru(x))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    lstm(x).sum()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    gru(x)[1].h.sum()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    lstm(x)[1].cell.sum()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    _output, _h, _c = lstm(x)  # type: ignore[misc]  # pyright: ignore[reportAssignmentType]


def one_state_of_an_lstm_cell(x: Tensor) -> Tensor:
    """An LSTMCell gives two tensors."""
    return lstm_cell(x)  # type: ignore[return-value]  # pyright: ignore[reportReturnType]


def inputs_of_another_kind(x: Tensor, packed: PackedSequence) -> None:
    """A layer takes a tensor or a PackedSequence, a cell a tensor."""
    gru([x, x])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    lstm()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    lstm(x, states=None)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    rnnkit.RNNCell(3, 4)(packed)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def arguments_of_constructors() -> None:
    """Arguments have types, names and places."""
    rnnkit.LSTM(3, "4")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rnnkit.LSTM(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    rnnkit.LSTM(3, 4, hidden=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    rnnkit.LSTM(3, 4, dropout="0.5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rnnkit.LSTM(3, 4, nonlinearity="relu")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    rnnkit.LSTM(3, 4, 1, True, False, 0.0, False, 0, None, None, True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    rnnkit.GRU(3, 4, proj_size=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    rnnkit.RNN(3, 4, 2, False)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rnnkit.RNNCell(3, 4, "relu")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rnnkit.ProjectedLSTMCell(3, 4, 2.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rnnkit.LSTMCell(3, 4, batch_first=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def lengths_and_resets(x: Tensor, packed: PackedSequence) -> None:
    """Lengths are integers, not one and not floats; packed input brings its own."""
    gru(x, lengths=2)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    gru(x, lengths=[2.5, 1.0])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    gru(x, reset=True)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    gru(packed, lengths=[2, 1])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    lstm.forward(x, x)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    gru_cell.forward(x, (x, x))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


class Stateless(nn.Module):
    """A module that is no cell: it has no first state."""

    def __call__(self, input: Tensor) -> Tensor:
        """Run over anything."""
        return input


def cells_over_a_sequence(x: Tensor, h: Tensor) -> None:
    """A cell is given its own kind of state, and gives it back."""
    rnnkit.unroll(gru_cell, x, (h, h))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    rnnkit.unroll(lstm_cell, x, h)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    rnnkit.unroll(gru_cell, x)[1].h.sum()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    rnnkit.unroll(gru_cell, x, state=h)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    rnnkit.unroll(gru_cell, x, fused="no")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    rnnkit.unroll(Stateless(), x)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    rnnkit.unroll(gru, x)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    rnnkit.unroll(lstm, x)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    rnnkit.Recurrent(gru)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    rnnkit.Recurrent(lstm)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    rnnkit.GRU(3, 4, axes={"time": "seq"})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    rnnkit.Recurrent(Stateless())  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    rnnkit.Recurrent(gru_cell, gru_cell)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    rnnkit.states.select(h, [0], batch_first=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    rnnkit.Recurrent(gru_cell)(x, h)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rnnkit.Recurrent(lstm_cell)(x)[1][0].size(0)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def diagnoses(model: nn.Module, x: Tensor) -> None:
    """Keyword arguments are a mapping, the call a function; what streams takes and returns a state."""
    rnnkit.verify(model, x, kwargs=[x])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rnnkit.verify(model, x, streaming="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rnnkit.verify(model, x, call="forward")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rnnkit.verify(model, x, skip="batch")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rnnkit.verify(model, x, skip=["bach"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    rnnkit.verify(model, x).plot().sevefig("x.png")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    rnnkit.testing.assert_streams(lambda x, _: x, x)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]


def batch_sizes() -> None:
    """initial_state takes a number or None, and says which."""
    gru.initial_state("2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    lstm.initial_state()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    lstm_cell.initial_state(2.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def names() -> None:
    """A name that does not exist is not found."""
    rnnkit.LTSM(3, 4)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    nn.LTSM(3, 4)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
