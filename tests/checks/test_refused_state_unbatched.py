"""States of one unbatched sequence or step, of wrong sizes or ranks."""

import pytest
from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, fixed, refusal, sizes


def test_rows_of_a_layer() -> None:
    """A state with more rows than the layer has layers is refused with both numbers."""
    x, hx = filled(7, 3), filled(3, 4)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRU(3, 4, 2)(x, hx))
    assert sizes(error) == ("hx", (2, 4), (3, 4))
    assert str(error) == snapshot("""\
Expected hidden size (2, 4), got [3, 4]
  GRU(3, 4, num_layers=2): hx has 3 rows, this layer carries 2
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (num_layers=2, hidden_size=4)    got (3, 4)
  fix       layer.initial_state(None), or hx=None\
""")
    layer = rnnkit.GRU(3, 4, 2)
    layer(x, fixed(error, "layer.initial_state(None)", layer=layer))


def test_width_of_a_layer() -> None:
    """A state of another width is refused with both widths."""
    x, hx = filled(7, 3), filled(2, 6)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRU(3, 4, 2)(x, hx))
    assert sizes(error) == ("hx", (2, 4), (2, 6))
    assert str(error) == snapshot("""\
Expected hidden size (2, 4), got [2, 6]
  GRU(3, 4, num_layers=2): hx is 6 wide, hidden_size=4 is wanted
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (num_layers=2, hidden_size=4)    got (2, 6)
  fix       layer.initial_state(None), or hx=None, or a Linear(6, 4) between\
""")


def test_width_of_a_cell() -> None:
    """A cell's one state of another width is refused with both widths."""
    x, hx = filled(3), filled(6)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRUCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (4,), (6,))
    assert str(error) == snapshot("""\
hidden0 has inconsistent hidden_size: got 6, expected 4
  GRUCell(3, 4): hx is 6 wide, hidden_size=4 is wanted
  input     expected (input_size=3,)    got (3,)
  hx        expected (hidden_size=4,)    got (6,)
  fix       cell.initial_state(None), or hx=None, or a Linear(6, 4) between\
""")
    cell = rnnkit.GRUCell(3, 4)
    cell(x, fixed(error, "cell.initial_state(None)", cell=cell))


def test_layers_state_for_a_cell() -> None:
    """A layer's state is too deep for a cell, whatever sizes it shares with the input."""
    x, hx = filled(3), filled(1, 3, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRUCell(3, 4)(x, hx))
    assert sizes(error) == ("hx", (4,), (1, 3, 4))
    assert str(error) == snapshot("""\
GRUCell: Expected hidden to be 1D or 2D, got 3D instead
  GRUCell(3, 4): hx has 3 axes in place of 1
  input     expected (input_size=3,)    got (3,)
  hx        expected (hidden_size=4,)    got (1, 3, 4)
  fix       hx=None for zeros, or hx as (hidden_size=4,)\
""")


@pytest.mark.parametrize("steps", [2, 5])
def test_batch_first_state_of_a_batch(steps: int) -> None:
    """The state of a batch as long as axis 0 tells that the input lacks its seq axis."""
    x, hx = filled(steps, 3), filled(steps, 1, 4)
    layer = rnnkit.GRU(3, 4, state_batch_first=True)

    error = refusal(
        rnnkit.LayoutError, "lacks", lambda nn: nn.GRU(3, 4, state_batch_first=True)(x, hx)
    )
    assert f"hx has batch {steps}, which is axis 0 of the input" in str(error)
    layer(fixed(error, "input.unsqueeze(0)", input=x), hx)


def test_batch_first_state_of_another_batch() -> None:
    """With the batch on axis 0, axis 1 is no batch, even where it is as long as the input."""
    x, hx = filled(2, 3), filled(6, 2, 4)

    error = refusal(
        rnnkit.StateError, "lacks", lambda nn: nn.GRU(3, 4, 2, state_batch_first=True)(x, hx)
    )
    assert str(error) == snapshot("""\
For unbatched 2-D input, hx should also be 2-D but got 3-D tensor
  GRU(3, 4, num_layers=2, state_batch_first=True): hx has 3 axes in place of 2
  input     expected (seq, input_size=3)    got (2, 3)
  hx        expected (num_layers=2, hidden_size=4)    got (6, 2, 4)
  fix       hx[-1]\
""")


def test_state_of_two_samples() -> None:
    """Two steps with a state for two samples are told as a batch without seq axis."""
    x, hx = filled(2, 3), filled(1, 2, 4)

    error = refusal(rnnkit.LayoutError, "says", lambda nn: nn.GRU(3, 4)(x, hx))
    assert "hx has batch 2, which is axis 0 of the input" in str(error)
    rnnkit.GRU(3, 4)(fixed(error, "input.unsqueeze(0)", input=x), hx)
