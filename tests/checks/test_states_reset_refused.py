"""What ``rnnkit.states`` refuses of masks, fresh states, counts and lists of states."""

import pytest
import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import LSTMState, states
from tests.checks.refusals import filled
from tests.checks.test_states_refused import refused, typed


def test_reset_by_a_mask_of_another_size() -> None:
    """A mask of another length than the batch is refused."""
    mask = torch.tensor([True, False, True, False])

    error = refused(rnnkit.ArgumentError, lambda: states.reset(filled(4, 3, 6), mask))
    assert error.argument == "mask"
    assert str(error) == snapshot("""\
mask must have shape (3,), got (4,)
  one flag for each sample; positions are no mask
  fix       a boolean tensor (3,), true where a sample starts anew\
""")


def test_reset_by_fewer_positions() -> None:
    """Positions of samples are refused, though 0 and 1 among them look like a mask."""
    error = refused(rnnkit.ArgumentError, lambda: states.reset(filled(4, 3, 6), [0, 1]))
    assert error.argument == "mask"


def test_reset_by_as_many_positions() -> None:
    """As many positions as there are samples are refused for the number that is no flag."""
    error = refused(rnnkit.ArgumentError, lambda: states.reset(filled(4, 3, 6), [2, 0, 1]))
    assert error.argument == "mask"
    assert str(error) == snapshot(
        "mask must be booleans, or 0 and 1; got other values: positions are no mask"
    )


def test_reset_by_fractions() -> None:
    """A half is no flag."""
    mask = torch.tensor([0.5, 0.0, 1.0])

    error = refused(rnnkit.ArgumentError, lambda: states.reset(filled(3, 6), mask))
    assert error.argument == "mask"


def test_reset_by_a_mask_of_steps() -> None:
    """A mask (seq, batch) is refused, whatever the batch axis of the state."""
    mask = torch.ones(7, 3, dtype=torch.bool)

    error = refused(rnnkit.ArgumentError, lambda: states.reset(filled(4, 3, 6), mask))
    assert str(error) == snapshot("""\
mask must have shape (3,), got (7, 3)
  one flag for each sample; positions are no mask
  fix       a boolean tensor (3,), true where a sample starts anew\
""")


def test_reset_reads_the_batch_where_it_is_told() -> None:
    """With batch_first the mask is for axis 0, without for axis 1."""
    state = filled(3, 4, 6)

    assert states.reset(state, [1, 0, 1], batch_first=True).shape == state.shape
    refused(rnnkit.ArgumentError, lambda: states.reset(state, [1, 0, 1]))


@typed
def test_reset_by_what_is_no_mask() -> None:
    """What no tensor can be made of is refused."""
    error = refused(rnnkit.ArgumentError, lambda: states.reset(filled(3, 6), ["yes", "no", "no"]))
    assert error.argument == "mask"
    assert str(error) == snapshot("mask must be booleans, or 0 and 1, of shape (3,); got a list")


def test_reset_to_a_state_of_another_shape() -> None:
    """A fresh state for fewer samples would be broadcast: it is refused."""
    error = refused(
        rnnkit.ArgumentError, lambda: states.reset(filled(3, 6), [1, 0, 0], initial=filled(1, 6))
    )
    assert error.argument == "initial"
    assert str(error) == snapshot(
        "initial must have the shape and dtype of state, (3, 6) of torch.float32; got (1, 6) of torch.float32"
    )


def test_reset_to_a_state_of_another_dtype() -> None:
    """A fresh state of another dtype would change the dtype of all: it is refused."""
    fresh = filled(3, 6, dtype=torch.float64)

    error = refused(
        rnnkit.ArgumentError, lambda: states.reset(filled(3, 6), [1, 0, 0], initial=fresh)
    )
    assert error.argument == "initial"
    assert str(error) == snapshot(
        "initial must have the shape and dtype of state, (3, 6) of torch.float32; got (3, 6) of torch.float64"
    )


@typed
def test_reset_to_a_pair_of_something_else() -> None:
    """A number is no member of a fresh pair."""
    state = LSTMState(filled(3, 6), filled(3, 6))

    error = refused(
        rnnkit.ArgumentError, lambda: states.reset(state, [1, 0, 0], initial=(filled(3, 6), 0))
    )
    assert error.argument == "initial"


@typed
def test_reset_to_a_state_of_another_kind() -> None:
    """A tensor is no fresh state for a pair."""
    state = LSTMState(filled(3, 6), filled(3, 6))

    error = refused(
        rnnkit.ArgumentError, lambda: states.reset(state, [1, 0, 0], initial=filled(3, 6))
    )
    assert error.argument == "initial"
    assert str(error) == snapshot(
        "initial must be a state of the same kind as state, got a Tensor of shape (3, 6)"
    )


@typed
@pytest.mark.parametrize("times", [-1, True, 1.5])
def test_repeat_by_what_is_no_count(times: int) -> None:
    """A negative number, a flag or a fraction is no count of beams."""
    error = refused(rnnkit.ArgumentError, lambda: states.repeat(filled(3, 6), times))
    assert error.argument == "times"


def test_message_of_what_is_no_count() -> None:
    """A negative count is refused with what it was."""
    error = refused(rnnkit.ArgumentError, lambda: states.repeat(filled(3, 6), -1))
    assert str(error) == snapshot("times must be an int from 0, got -1")


def test_layers_of_two_kinds() -> None:
    """A GRU's state and an LSTM's make no layer together."""
    pair = LSTMState(filled(3, 6), filled(3, 6))

    error = refused(rnnkit.ArgumentError, lambda: states.from_layers([filled(3, 6), pair]))
    assert error.argument == "states"
    assert str(error) == snapshot(
        "from_layers takes a list of states of one kind: all tensors, or all pairs"
    )


def test_layers_of_two_widths() -> None:
    """States of two widths make no layer together."""
    error = refused(rnnkit.StateError, lambda: states.from_layers([filled(3, 6), filled(3, 4)]))
    assert error.argument == "states"
    assert str(error) == snapshot(
        "from_layers takes states of one batch and width, got (3, 6), (3, 4)"
    )


@typed
def test_reset_to_a_shorter_pair() -> None:
    """A fresh state of another number of tensors is refused, and so are layers of two kinds."""
    pair = LSTMState(filled(3, 6), filled(3, 6))

    error = refused(
        rnnkit.StateError, lambda: states.reset(pair, [1, 0, 0], initial=(filled(3, 6),))
    )
    assert str(error) == snapshot("states are not of one kind: a tuple of 2 and a tuple of 1")
    error = refused(rnnkit.StateError, lambda: states.from_layers([(pair,), (pair, pair)]))
    assert str(error) == snapshot("states are not of one kind: a tuple of 1 and a tuple of 2")
