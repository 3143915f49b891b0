"""What ``rnnkit.states`` refuses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot

import rnnkit
from rnnkit import LSTMState, states
from tests.checks.refusals import filled

#: Under jaxtyping's import hook the annotations refuse first what is of another type.
typed = pytest.mark.skipif(hasattr(rnnkit, "jaxtyping"), reason="the annotation refuses it first")


def refused(expected: type[rnnkit.RnnkitError], act: Callable[[], object]) -> Any:
    """The error of a wrong call, of exactly the expected class."""
    with pytest.raises(rnnkit.RnnkitError) as caught:
        act()
    assert type(caught.value) is expected
    return caught.value


def test_select_beyond_the_batch() -> None:
    """A position that no sample has is refused."""
    error = refused(rnnkit.ArgumentError, lambda: states.select(filled(4, 3, 6), [0, 3]))
    assert error.argument == "index"
    assert str(error) == snapshot(
        "index must lie on the batch axis of the state, which has 3 samples"
    )


def test_select_before_the_batch() -> None:
    """A negative position is counted from the end, and not beyond the first sample."""
    error = refused(rnnkit.ArgumentError, lambda: states.select(filled(3, 6), [-1, -4]))
    assert error.argument == "index"
    assert str(error) == snapshot(
        "index must lie on the batch axis of the state, which has 3 samples"
    )


def test_select_out_of_no_samples() -> None:
    """A batch of no samples has no position."""
    error = refused(rnnkit.ArgumentError, lambda: states.select(filled(0, 6), [0]))
    assert str(error) == snapshot(
        "index must lie on the batch axis of the state, which has 0 samples"
    )


def test_select_by_a_mask_of_another_size() -> None:
    """A boolean mask that is not as long as the batch is refused."""
    mask = torch.tensor([True, False])

    error = refused(rnnkit.ArgumentError, lambda: states.select(filled(4, 3, 6), mask))
    assert error.argument == "index"
    assert str(error) == snapshot(
        "index must be integers (new_batch,) or booleans (batch=3,), got torch.bool (2,)"
    )


@typed
@pytest.mark.parametrize(
    "index", [1, torch.tensor(1), [0.0, 1.0], [[0], [1]], "01", None, {"a": 0}, ["0"]], ids=repr
)
def test_select_by_what_is_no_index(index: Any) -> None:
    """A bare number, floats, a table, a text: none of them is an index."""
    error = refused(rnnkit.ArgumentError, lambda: states.select(filled(4, 3, 6), index))
    assert error.argument == "index"


def test_message_of_what_is_no_index() -> None:
    """A float index is refused with what it was, and what is wanted."""
    index = torch.tensor([0.0, 1.0])

    error = refused(rnnkit.ArgumentError, lambda: states.select(filled(4, 3, 6), index))
    assert str(error) == snapshot(
        "index must be integers (new_batch,) or booleans (batch=3,), got torch.float32 (2,)"
    )


def test_select_reads_the_batch_where_it_is_told() -> None:
    """With batch_first a position is one of axis 0, without one of axis 1."""
    state = filled(3, 4, 6)

    assert states.select(state, [3]).shape == (3, 1, 6)
    refused(rnnkit.ArgumentError, lambda: states.select(state, [3], batch_first=True))


@pytest.mark.parametrize("act", ["select", "repeat", "reset"])
@pytest.mark.parametrize("rank", [1, 4])
def test_states_of_another_rank(act: str, rank: int) -> None:
    """A tensor of a rank that no batched state has is refused."""
    state = LSTMState(filled(3, 6), filled(*[3] * rank))
    argument: Any = {"select": [1, 0], "repeat": 2, "reset": [1, 0, 0]}[act]

    error = refused(rnnkit.StateError, lambda: getattr(states, act)(state, argument))
    assert error.argument == "state"
    assert error.actual == (3,) * rank


def test_message_of_another_rank() -> None:
    """The state of unbatched input has no batch to select from, and 1 axis in a cell."""
    error = refused(rnnkit.StateError, lambda: states.repeat(filled(6), 2))
    assert str(error) == snapshot("""\
a state has 2 or 3 axes, got 1
  rnnkit.states tells the batch axis by the rank
  state     expected (layers * directions, batch, hidden)    got (6,)\
""")


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "detach": states.detach,
    "to": lambda state: states.to(state, torch.float64),
    "select": lambda state: states.select(state, [0]),
    "repeat": lambda state: states.repeat(state, 2),
    "reset": lambda state: states.reset(state, [1]),
    "batch_first": states.batch_first,
    "from_batch_first": states.from_batch_first,
    "from_layers": lambda state: states.from_layers([state]),
    "bridge": states.bridge,
}


@typed
@pytest.mark.parametrize("wrong", [None, 3, "h"], ids=repr)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_state(name: str, wrong: Any) -> None:
    """What is no tensor and holds none is refused, alone and as one of a pair."""
    for state in (wrong, (filled(1, 1, 6), wrong)):
        error = refused(rnnkit.StateError, lambda state=state: FUNCTIONS[name](state))
        assert error.argument == "state"


def test_message_of_a_pair_that_lacks_c() -> None:
    """A pair whose c is None is refused: zeros are made where a layer is called."""
    error = refused(rnnkit.StateError, lambda: states.detach((filled(4, 3, 6), None)))
    assert str(error) == snapshot("a state is a tensor or a tuple of tensors, got None")


def test_no_layers() -> None:
    """An empty list of states is refused."""
    error = refused(rnnkit.ArgumentError, lambda: states.from_layers([]))
    assert error.argument == "states"
    assert str(error) == snapshot("from_layers takes a list of states of at least one layer")


def test_bridge_of_odd_rows() -> None:
    """A state with an odd number of rows comes from no bidirectional layer."""
    state = LSTMState(filled(3, 5, 6), filled(3, 5, 6))

    error = refused(rnnkit.StateError, lambda: states.bridge(state))
    assert error.argument == "state"
    assert error.actual == (3, 5, 6)
    assert str(error) == snapshot("""\
bridge takes the state of a bidirectional layer, (layers * 2, batch, hidden)
  got (3, 5, 6)
  fix       pass it as it is\
""")


def test_bridge_of_odd_rows_batch_first() -> None:
    """With batch_first the rows are on axis 1."""
    error = refused(rnnkit.StateError, lambda: states.bridge(filled(4, 3, 6), batch_first=True))
    assert error.actual == (4, 3, 6)
    assert str(error) == snapshot("""\
bridge takes the state of a bidirectional layer, (batch, layers * 2, hidden)
  got (4, 3, 6)
  fix       pass it as it is\
""")


def test_bridge_of_a_cells_state() -> None:
    """A cell's state has no rows to join."""
    error = refused(rnnkit.StateError, lambda: states.bridge(filled(4, 6)))
    assert str(error) == snapshot("""\
bridge takes the state of a bidirectional layer, (layers * 2, batch, hidden)
  got (4, 6)
  fix       pass it as it is\
""")


@typed
def test_bridge_in_another_way() -> None:
    """A way to join that is not known is refused."""
    how: Any = "mean"

    error = refused(rnnkit.ArgumentError, lambda: states.bridge(filled(4, 3, 6), how))
    assert error.argument == "how"
    assert str(error) == snapshot("how must be 'concat' or 'sum', got 'mean'")
