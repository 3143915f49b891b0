"""States of a batch that are wrong in more than one size, or in a size that misleads."""

from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, fixed, refusal


def test_four_rows_for_two_directions() -> None:
    """A bidirectional layer with twice its rows is not told that two directions are too many."""
    x, hx = filled(7, 5, 3), filled(4, 5, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4, bidirectional=True)(x, hx))
    assert str(error) == snapshot("""\
Expected hidden size (2, 5, 4), got [4, 5, 4]
  GRU(3, 4, bidirectional=True): hx has 4 rows, this layer carries 2
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers * directions = 2, batch=5, hidden_size=4)    got (4, 5, 4)
  fix       layer.initial_state(5), or hx=None\
""")


def test_rows_and_batch() -> None:
    """Of wrong rows and a wrong batch the rows are told; the shapes tell the batch."""
    x, hx = filled(7, 5, 3), filled(3, 8, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4, 2)(x, hx))
    assert str(error) == snapshot("""\
Expected hidden size (2, 5, 4), got [3, 8, 4]
  GRU(3, 4, num_layers=2): hx has 3 rows, this layer carries 2
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (3, 8, 4)
  fix       layer.initial_state(5), or hx=None\
""")


def test_rows_and_width() -> None:
    """Of wrong rows and a wrong width the rows are told; the shapes tell the width."""
    x, hx = filled(7, 5, 3), filled(3, 5, 6)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4, 2)(x, hx))
    assert "hx has 3 rows, this layer carries 2" in str(error)


def test_one_sample_of_another_width() -> None:
    """One sample's state of another width is not to be repeated."""
    x, hx = filled(7, 5, 3), filled(1, 1, 6)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4)(x, hx))
    assert str(error) == snapshot("""\
Expected hidden size (1, 5, 4), got [1, 1, 6]
  GRU(3, 4): hx is for one sample, the input has 5
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 1, 6)
  fix       layer.initial_state(5), or hx=None\
""")


def test_one_sample_of_another_width_for_a_cell() -> None:
    """Nor is a cell's."""
    x, hx = filled(5, 3), filled(1, 6)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRUCell(3, 4)(x, hx))
    assert str(error) == snapshot("""\
Input batch size 5 doesn't match hidden0 batch size 1
  GRUCell(3, 4): hx is for one sample, the input has 5
  input     expected (batch, input_size=3)    got (5, 3)
  hx        expected (batch=5, hidden_size=4)    got (1, 6)
  fix       cell.initial_state(5), or hx=None\
""")
    cell = rnnkit.GRUCell(3, 4)
    cell(x, fixed(error, "cell.initial_state(5)", cell=cell))


def test_width_of_batch_first_states() -> None:
    """With the batch on axis 0 the width is the last axis too."""
    x, hx = filled(7, 5, 3), filled(5, 1, 6)

    error = refusal(
        rnnkit.StateError, "lacks", lambda nn: nn.GRU(3, 4, state_batch_first=True)(x, hx)
    )
    assert str(error) == snapshot("""\
Expected hidden size (5, 1, 4), got [5, 1, 6]
  GRU(3, 4, state_batch_first=True): hx is 6 wide, hidden_size=4 is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (batch=5, num_layers=1, hidden_size=4)    got (5, 1, 6)
  fix       layer.initial_state(5), or hx=None, or a Linear(6, 4) between\
""")


def test_width_of_h_alone() -> None:
    """If c fits and h is of another width, h is named."""
    x, h, c = filled(5, 3), filled(5, 6), filled(5, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTMCell(3, 4)(x, (h, c)))
    assert str(error) == snapshot("""\
hidden0 has inconsistent hidden_size: got 6, expected 4
  LSTMCell(3, 4): h is 6 wide, hidden_size=4 is wanted
  input     expected (batch, input_size=3)    got (5, 3)
  h         expected (batch=5, hidden_size=4)    got (5, 6)
  c         expected (batch=5, hidden_size=4)    got (5, 4)
  fix       cell.initial_state(5), or hx=None, or a Linear(6, 4) between\
""")
