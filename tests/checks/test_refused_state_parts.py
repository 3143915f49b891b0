"""States given in parts, or as an array: what puts them together."""

from typing import Any

import numpy as np
import pytest
import torch
from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, fixed, refusal


@pytest.mark.parametrize(
    ("given", "came"),
    [
        (4, "(1, 9), (1, 9), (1, 9), (1, 9)\n"),
        (5, "(1, 9), (1, 9), (1, 9), (1, 9), ...\n"),
        (6, "(1, 9), (1, 9), (1, 9), (1, 9), ...\n"),
    ],
)
def test_four_parts_are_shown(given: int, came: str) -> None:
    """Of many parts a message shows four, and dots only if there are more."""
    x, hx = filled(7, 5, 3), [filled(1, 9)] * given

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRU(3, 4)(x, hx))
    assert f"got a list of {given}: {came}" in str(error)


def test_list_of_one_layer() -> None:
    """A list that holds the one layer's state is refused with the call that stacks it."""
    x, hx = filled(7, 5, 3), [filled(5, 4)]

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRU(3, 4)(x, hx))
    assert str(error) == snapshot("""\
hx must be one tensor, got a list of 1: (5, 4)
  GRU(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       torch.stack(hx), if these are the states layer by layer\
""")
    rnnkit.GRU(3, 4)(x, fixed(error, "torch.stack(hx)", hx=hx))


def test_list_of_bidirectional_layers() -> None:
    """A list of each layer's two directions is refused with the call that joins them."""
    x, hx = filled(7, 5, 3), [filled(2, 5, 4), filled(2, 5, 4)]

    error = refusal(
        rnnkit.StateError, "mumbles", lambda nn: nn.GRU(3, 4, 2, bidirectional=True)(x, hx)
    )
    assert str(error) == snapshot("""\
hx must be one tensor, got a list of 2: (2, 5, 4), (2, 5, 4)
  GRU(3, 4, num_layers=2, bidirectional=True) carries one tensor
  hx        expected (num_layers * directions = 4, batch=5, hidden_size=4)
  fix       torch.cat(hx), if these are the states layer by layer\
""")
    rnnkit.GRU(3, 4, 2, bidirectional=True)(x, fixed(error, "torch.cat(hx)", hx=hx))


def test_list_of_samples_for_a_cell() -> None:
    """A cell has no layers: a list for it holds its samples."""
    x, hx = filled(2, 3), [filled(4), filled(4)]

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRUCell(3, 4)(x, hx))
    assert str(error) == snapshot("""\
hx must be one tensor, got a list of 2: (4,), (4,)
  GRUCell(3, 4) carries one tensor
  hx        expected (batch=2, hidden_size=4)
  fix       torch.stack(hx), if these are the states sample by sample\
""")
    rnnkit.GRUCell(3, 4)(x, fixed(error, "torch.stack(hx)", hx=hx))


@pytest.mark.parametrize(
    "hx",
    [
        [torch.tensor(0.0), torch.tensor(0.0)],
        [filled(1, 5), filled(1, 5)],
        [filled(5, 4), filled(1, 4)],
        [filled(5, 4), None],
        [None, None],
        [filled(5, 4)] * 3,
    ],
    ids=["numbers", "no batch", "unlike", "one missing", "both missing", "one layer too many"],
)
def test_parts_that_make_no_state(hx: Any) -> None:
    """A list from which no state can be made is refused with zeros instead."""
    x = filled(7, 5, 3)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRU(3, 4, 2)(x, hx))
    assert str(error).endswith("\n  fix       hx=None for zeros")


def test_array() -> None:
    """A NumPy array is refused with the call that makes it a tensor."""
    x, hx = filled(7, 5, 3), np.zeros((1, 5, 4), dtype=np.float32)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRU(3, 4)(x, hx))
    assert str(error) == snapshot("""\
hx must be one tensor, got an ndarray
  GRU(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       torch.as_tensor(hx)\
""")
    rnnkit.GRU(3, 4)(x, fixed(error, "torch.as_tensor(hx)", hx=hx))


def test_array_for_an_lstm() -> None:
    """One array is no pair: it is not offered to an LSTM."""
    x, hx = filled(7, 5, 3), np.zeros((1, 5, 4), dtype=np.float32)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4)(x, hx))
    assert str(error).endswith("\n  fix       hx=None for zeros, or (h, c)")


def test_tensor_without_layers_for_an_lstm() -> None:
    """One tensor of another rank is refused with what brings it to h's."""
    x, hx = filled(7, 5, 3), filled(5, 4)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4)(x, hx))
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a Tensor of shape (5, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       (hx.unsqueeze(0), None), which starts c from zeros\
""")
    rnnkit.LSTM(3, 4)(x, fixed(error, "(hx.unsqueeze(0), None)", hx=hx))


def test_tensor_of_one_sample_for_an_lstm() -> None:
    """One tensor for one sample is refused with the repetition, and its condition after the pair."""
    x, hx = filled(7, 5, 3), filled(1, 1, 4)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4)(x, hx))
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a Tensor of shape (1, 1, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       (hx.repeat(1, 5, 1), None), which starts c from zeros, if they start alike\
""")
    rnnkit.LSTM(3, 4)(x, fixed(error, "(hx.repeat(1, 5, 1), None)", hx=hx))


def test_tensor_that_is_no_h() -> None:
    """One tensor that no short expression brings to h's shape is refused with zeros instead."""
    x, hx = filled(7, 5, 3), filled(1, 5, 9)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4)(x, hx))
    assert str(error).endswith("\n  fix       hx=None for zeros, or (h, c)")


def test_more_than_h() -> None:
    """Three parts of which only the first fits are refused with zeros instead."""
    x, hx = filled(7, 5, 3), (filled(1, 5, 4), filled(7, 5, 4), filled(1, 5, 4))

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4)(x, hx))
    assert str(error).endswith("\n  fix       hx=None for zeros, or (h, c)")


def test_list_of_a_pair_for_a_cell() -> None:
    """A list of h and a wrong c is refused for c, as a tuple is."""
    x, h, c = filled(5, 3), filled(5, 4), filled(5, 6)
    messages = {
        str(refusal(rnnkit.StateError, "says", lambda nn, hx=hx: nn.LSTMCell(3, 4)(x, hx)))
        for hx in ([h, c], (h, c))
    }
    assert len(messages) == 1
    assert "c is 6 wide" in messages.pop()
