"""What ``unroll`` refuses, of rnnkit's cells and of a user's."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn

import rnnkit
from tests.checks.refusals import filled, fixed


class Sums(nn.Module):
    """A user's cell that adds up what it reads, three features wide."""

    def forward(self, input: Tensor, hx: Tensor) -> Tensor:
        """Add a step."""
        return hx + input

    def initial_state(self, batch_size: int) -> Tensor:
        """Begin with nothing."""
        return torch.zeros(batch_size, 3)


def refused(expected: type[rnnkit.RnnkitError], *args: Any, **options: Any) -> Any:
    """The error of a wrong call of unroll, of exactly the expected class."""
    with pytest.raises(rnnkit.RnnkitError) as caught:
        rnnkit.unroll(*args, **options)
    assert type(caught.value) is expected
    return caught.value


@pytest.mark.unhooked("the annotation refuses it first")
def test_no_tensor() -> None:
    """A list of steps is refused with the call that stacks them."""
    steps = [filled(5, 3), filled(5, 3)]

    error = refused(rnnkit.ArgumentError, rnnkit.GRUCell(3, 4), steps)
    assert error.argument == "input"
    assert str(error) == snapshot("""\
input must be a Tensor, got a list
  GRUCell(3, 4)
  input     expected a Tensor    got a list
  fix       torch.nn.utils.rnn.pad_sequence(input), or torch.stack(input) for equal lengths\
""")


def test_state_of_another_batch() -> None:
    """A user's cell has a state for as many samples as the input."""
    x, hx = filled(7, 5, 3), filled(4, 3)

    error = refused(rnnkit.StateError, Sums(), x, hx)
    assert (error.argument, error.expected, error.actual) == ("hx", (5,), (4, 3))
    assert str(error) == snapshot("""\
Expected hidden batch size 5, got [4]
  unroll of Sums: a cell's state has the batch on axis 0
  input     expected (seq, batch, feature)    got (7, 5, 3)
  hx        expected (batch=5, ...)    got (4, 3)
  fix       initial_state(5) of this cell, or hx=None\
""")


def test_state_of_another_batch_in_a_pair() -> None:
    """Each tensor of a user's state is looked at."""
    hx = (filled(5, 3), filled(4, 3))

    error = refused(rnnkit.StateError, Sums(), filled(7, 5, 3), hx)
    assert (error.argument, error.expected, error.actual) == ("hx", (5,), (4, 3))


@pytest.mark.parametrize("batch_first", [False, True])
def test_state_that_tells_of_another_layout(batch_first: bool) -> None:
    """A state for as many samples as there are steps says that the layout is the other one."""
    x, hx = filled(7, 5, 3), filled(5 if batch_first else 7, 3)

    error = refused(rnnkit.LayoutError, Sums(), x, hx, batch_first=batch_first)
    assert error.argument == "hx"
    transposed = fixed(error, "input.transpose(0, 1)", input=x)
    rnnkit.unroll(Sums(), transposed, hx, batch_first=batch_first)


def test_message_of_another_layout() -> None:
    """The message says on which axis the state's batch was found."""
    error = refused(rnnkit.LayoutError, Sums(), filled(7, 5, 3), filled(7, 3))
    assert str(error) == snapshot("""\
Expected hidden batch size 5, got [7]
  unroll of Sums: the input looks batch-first, but batch_first=False
  input     expected (seq, batch, feature)    got (7, 5, 3)
  hx        expected (batch=5, ...)    got (7, 3)
  evidence  hx has batch 7, which is axis 0 of the input
  fix       unroll(..., batch_first=True), or input.transpose(0, 1)\
""")


def test_a_vector_is_the_state_of_one_sequence() -> None:
    """Without a batch, a user's state is handed to the cell with a batch of one."""
    output, end = rnnkit.unroll(Sums(), torch.ones(7, 3), torch.tensor([1.0, 2.0, 3.0]))

    assert output.shape == (7, 3)
    assert end.tolist() == [8.0, 9.0, 10.0]


@pytest.mark.unhooked("the annotation refuses it first")
@pytest.mark.parametrize("batch_size", [-1, True, 2.0, "5"])
def test_initial_state_of_what_is_no_count(batch_size: Any) -> None:
    """Layers and cells alike make no state for a batch size that is none."""
    for module in (rnnkit.LSTM(3, 4), rnnkit.GRUCell(3, 4)):
        with pytest.raises(rnnkit.ArgumentError) as caught:
            module.initial_state(batch_size)
        assert caught.value.argument == "batch_size"


def test_message_of_what_is_no_count() -> None:
    """A negative batch size is refused with what would do."""
    with pytest.raises(rnnkit.ArgumentError) as caught:
        rnnkit.LSTM(3, 4).initial_state(-1)
    assert str(caught.value) == snapshot(
        "LSTM.initial_state: batch_size must be an int from 0, or None for a state without batch axis, got -1"
    )
