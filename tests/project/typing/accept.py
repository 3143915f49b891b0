"""What the type checkers know of a correct program: every type here is exact.

Run by ``mypy --strict`` and ``basedpyright``, never by Python.
"""

from typing import assert_type

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

import rnnkit
import rnnkit.nn as nn_by_path
from rnnkit import LSTMState, nn

#: What a layer gives for a tensor, with one tensor for its state, and with two.
OfOneState = tuple[Tensor, Tensor]
OfLSTM = tuple[Tensor, LSTMState]
rnn = rnnkit.RNN(3, 4)
lstm = rnnkit.LSTM(3, 4)
gru = rnnkit.GRU(3, 4)
rnn_cell = rnnkit.RNNCell(3, 4)
lstm_cell = rnnkit.LSTMCell(3, 4)
gru_cell = rnnkit.GRUCell(3, 4)


def layers_on_a_tensor(x: Tensor, h: Tensor, c: Tensor) -> None:
    """A layer gives a tensor for a tensor, and its state."""
    assert_type(rnn(x, h), OfOneState)
    assert_type(gru(x, hx=h), OfOneState)
    assert_type(gru(input=x, hx=None), OfOneState)
    assert_type(lstm(x), OfLSTM)
    assert_type(lstm(x, (h, c)), OfLSTM)
    assert_type(lstm(x, hx=[h, None]), OfLSTM)


def layers_on_a_packed_sequence(packed: PackedSequence, h: Tensor, c: Tensor) -> None:
    """A layer gives a PackedSequence for a PackedSequence, and its state."""
    assert_type(rnn(packed), tuple[PackedSequence, Tensor])
    assert_type(gru(packed, h), tuple[PackedSequence, Tensor])
    assert_type(lstm(packed), tuple[PackedSequence, LSTMState])
    assert_type(lstm(packed, (h, c)), tuple[PackedSequence, LSTMState])


def either_input(layer: rnnkit.GRU, x: Tensor | PackedSequence) -> Tensor:
    """What is common to both kinds of input can be said once."""
    _, state = layer(x)
    return assert_type(state, Tensor)


def results_unpack(x: Tensor) -> Tensor:
    """The results unpack as torch's do, and the LSTM's state has names besides."""
    output, (h, c) = lstm(x)
    assert_type((output, h, c), tuple[Tensor, Tensor, Tensor])
    _, state = lstm(x)
    assert_type((state.h, state.c), tuple[Tensor, Tensor])
    pair: tuple[Tensor, Tensor] = state
    assert_type(lstm(x, state)[1], LSTMState)
    return pair[0]


def state_over_a_loop(steps: list[Tensor]) -> LSTMState | None:
    """A state that is None at first is taken, and given back as a state."""
    state = None
    for x in steps:
        _, state = lstm(x, state)
    return state


def cells(x: Tensor, h: Tensor, c: Tensor) -> None:
    """A cell gives its state."""
    assert_type(rnn_cell(x, h), Tensor)
    assert_type(gru_cell(x, hx=None), Tensor)
    assert_type(lstm_cell(x), LSTMState)
    assert_type(lstm_cell(x, (h, None)), LSTMState)
    assert_type(lstm_cell(x, [h, c]), LSTMState)


def forward_as_the_call(x: Tensor, packed: PackedSequence, h: Tensor, c: Tensor) -> None:
    """``forward``, which a subclass may call, has the types of the call."""
    assert_type(gru.forward(x), OfOneState)
    assert_type(rnn.forward(packed, h), tuple[PackedSequence, Tensor])
    assert_type(lstm.forward(x, (h, c), lengths=[2, 1]), OfLSTM)
    assert_type(gru_cell.forward(x), Tensor)
    assert_type(lstm_cell.forward(x, (h, None)), LSTMState)


def lengths_and_resets(x: Tensor, n: Tensor, mask: Tensor) -> None:
    """Lengths are integers, in a list or a tensor; resets a mask."""
    assert_type(gru(x, lengths=[2, 1]), OfOneState)
    assert_type(lstm(x, lengths=n, reset=mask), OfLSTM)
    assert_type(lstm(x, reset=[[1, 0]]), OfLSTM)
    assert_type(rnn(x, reset=None, lengths=None), OfOneState)


def diagnoses(model: torch.nn.Module, x: Tensor) -> None:
    """What the model is called with, and how, has a type."""
    assert_type(rnnkit.verify(model, x, kwargs={"lengths": [2, 1]}), rnnkit.Report)
    assert_type(rnnkit.verify(model, x, call=lambda m, x: m(x)), rnnkit.Report)
    assert_type(rnnkit.verify(model, x, streaming=True), rnnkit.Report)


def streams(x: Tensor, h: Tensor) -> None:
    """What takes a chunk and a state streams, whatever its state is, and whether it takes None."""

    def step(x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        return x, x if state is None else state

    def from_a_state(x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return x, state

    rnnkit.testing.assert_streams(step, x)
    rnnkit.testing.assert_streams(step, x, h, seq_dim=0)
    rnnkit.testing.assert_streams(from_a_state, x, {"h": h}, out_seq_dim=1)
    rnnkit.testing.assert_streams(gru, x, seq_dim=0)
    rnnkit.testing.assert_streams(lstm, x, LSTMState(h, h))


def initial_states() -> None:
    """The initial state has the type of the state."""
    assert_type(gru.initial_state(None), Tensor)
    assert_type(lstm.initial_state(batch_size=2), LSTMState)
    assert_type(rnn_cell.initial_state(2), Tensor)
    assert_type(lstm_cell.initial_state(None), LSTMState)


def constructors() -> None:
    """Every argument has its type, by position where torch has it there."""
    dtype = torch.float64
    device = torch.device("cpu")
    rnnkit.RNN(3, 4, 2, "relu", False, True, 0.5, True, device, dtype, state_batch_first=True)
    rnnkit.LSTM(3, 4, 2, False, True, 0.5, True, 2, "cpu", None, state_batch_first=True)
    rnnkit.GRU(3, 4, 2, False, True, 0.5, True, 0, dtype, state_batch_first=True)
    rnnkit.RNNCell(3, 4, False, "relu", device, dtype)
    rnnkit.LSTMCell(3, 4, False, None, dtype)
    rnnkit.GRUCell(input_size=3, hidden_size=4, bias=False, device="cpu", dtype=dtype)
    rnnkit.GRU(3, 4, dropout=0)


def attributes(lstm: rnnkit.LSTM, cell: rnnkit.GRUCell) -> None:
    """The sizes and options are known."""
    assert_type((lstm.input_size, lstm.num_layers, lstm.proj_size), tuple[int, int, int])
    assert_type((lstm.batch_first, lstm.state_batch_first), tuple[bool, bool])
    assert_type((cell.hidden_size, cell.bias), tuple[int, bool])


def drop_in(x: Tensor) -> None:
    """What rnnkit.nn makes has the types of what it stands for."""
    assert_type(nn.LSTM(3, 4), rnnkit.LSTM)
    assert_type(nn_by_path.GRUCell(3, 4)(x), Tensor)
    assert_type(nn.Linear(3, 4), torch.nn.Linear)
    assert_type(nn.functional.relu(x), Tensor)
    assert_type(nn.utils.rnn.pack_padded_sequence(x, [2, 1]), PackedSequence)
    assert_type(nn.Parameter(x), torch.nn.Parameter)
    assert_type(nn.init.calculate_gain("tanh"), float)


def where_torch_is_wanted() -> tuple[torch.nn.LSTM, torch.nn.RNNBase, torch.nn.RNNCellBase]:
    """A module goes wherever torch's class is asked for."""
    return lstm, gru, rnn_cell


def found_in_a_model(model: torch.nn.Module) -> tuple[Tensor, LSTMState] | None:
    """What isinstance finds, and the methods of nn.Module, keep the class."""
    if isinstance(model, rnnkit.LSTM):
        assert_type(model, rnnkit.LSTM)
        assert_type(model.to("cpu").eval(), rnnkit.LSTM)
        return model(torch.ones(5, 2, 3))
    return None


def errors_are_caught(layer: rnnkit.GRU, x: Tensor) -> str:
    """What is raised is caught by its own name and by torch's, and has typed fields."""
    try:
        layer(x)
    except rnnkit.ShapeError as error:
        assert_type(error.argument, str)
        assert_type(error.expected, tuple[int | None, ...])
        assert_type(error.actual, tuple[int, ...])
        as_torch: RuntimeError = error
        return str(as_torch)
    except rnnkit.RnnkitError as error:
        return error.argument
    return ""
