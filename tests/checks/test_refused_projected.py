"""States of LSTMs with a projection, whose h is narrower than c."""

from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, fixed, refusal


def test_tensor_alone() -> None:
    """A message about the structure tells both shapes where h and c differ."""
    x, hx = filled(7, 5, 3), filled(1, 5, 2)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4, proj_size=2)(x, hx))
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a Tensor of shape (1, 5, 2)
  LSTM(3, 4, proj_size=2) carries the pair (h, c)
  hx        expected (h, c), h (num_layers=1, batch=5, proj_size=2) and c (num_layers=1, batch=5, hidden_size=4)
  fix       (hx, None), which starts c from zeros\
""")
    rnnkit.LSTM(3, 4, proj_size=2)(x, fixed(error, "(hx, None)", hx=hx))


def test_tensor_without_layers() -> None:
    """One tensor of another rank is brought to h's shape, not to c's."""
    x, hx = filled(7, 5, 3), filled(5, 2)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4, proj_size=2)(x, hx))
    rnnkit.LSTM(3, 4, proj_size=2)(x, fixed(error, "(hx.unsqueeze(0), None)", hx=hx))


def test_stacked_pair() -> None:
    """Two h stacked are no pair: the advice to part them is not given."""
    x, hx = filled(7, 5, 3), filled(2, 1, 5, 2)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4, proj_size=2)(x, hx))
    assert "tuple(hx)" not in str(error)


def test_more_than_the_pair() -> None:
    """Three parts of which the first two are h and c are refused with the call that keeps those."""
    x, hx = filled(7, 5, 3), (filled(1, 5, 2), filled(1, 5, 4), filled(1, 5, 4))

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4, proj_size=2)(x, hx))
    rnnkit.LSTM(3, 4, proj_size=2)(x, fixed(error, "hx[:2]", hx=hx))


def test_two_h_and_more() -> None:
    """If the second of three is as narrow as h, it is no c."""
    x, hx = filled(7, 5, 3), (filled(1, 5, 2),) * 3

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4, proj_size=2)(x, hx))
    assert "hx[:2]" not in str(error)


def test_width_of_h() -> None:
    """An h of a width that the layer has nowhere is refused with its own option."""
    x, hx = filled(7, 5, 3), (filled(1, 5, 3), filled(1, 5, 4))

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4, proj_size=2)(x, hx))
    assert str(error) == snapshot("""\
Expected hidden[0] size (1, 5, 2), got [1, 5, 3]
  LSTM(3, 4, proj_size=2): h is 3 wide, proj_size=2 is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, proj_size=2)    got (1, 5, 3)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 4)
  fix       layer.initial_state(5), or hx=None, or a Linear(3, 2) between\
""")


def test_width_of_c() -> None:
    """A c as narrow as h is refused by its own width."""
    x, hx = filled(7, 5, 3), (filled(1, 5, 2), filled(1, 5, 2))

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4, proj_size=2)(x, hx))
    assert str(error) == snapshot("""\
Expected hidden[1] size (1, 5, 4), got [1, 5, 2]
  LSTM(3, 4, proj_size=2): c is 2 wide, hidden_size=4 is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, proj_size=2)    got (1, 5, 2)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 2)
  fix       layer.initial_state(5), or hx=None, or a Linear(2, 4) between\
""")


def test_both_directions_of_h() -> None:
    """An h twice as wide is refused with the proj_size that it fits."""
    x, hx = filled(7, 5, 3), (filled(1, 5, 4), filled(1, 5, 6))

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 6, proj_size=2)(x, hx))
    assert str(error) == snapshot("""\
Expected hidden[0] size (1, 5, 2), got [1, 5, 4]
  LSTM(3, 6, proj_size=2): h is 4 wide, proj_size=2 is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, proj_size=2)    got (1, 5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=6)    got (1, 5, 6)
  evidence  4 is twice 2: both directions side by side
  fix       LSTM(..., proj_size=4), or a Linear(4, 2) between\
""")
    fixed(error, "LSTM(..., proj_size=4)", "3, 6")(x, hx)


def test_both_directions_of_h_as_wide_as_no_projection() -> None:
    """Where twice the width is no projection any more, no such option is advised."""
    x, hx = filled(7, 5, 3), (filled(1, 5, 6), filled(1, 5, 5))

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 5, proj_size=3)(x, hx))
    assert str(error) == snapshot("""\
Expected hidden[0] size (1, 5, 3), got [1, 5, 6]
  LSTM(3, 5, proj_size=3): h is 6 wide, proj_size=3 is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, proj_size=3)    got (1, 5, 6)
  c         expected (num_layers=1, batch=5, hidden_size=5)    got (1, 5, 5)
  evidence  6 is twice 3: both directions side by side
  fix       a Linear(6, 3) between\
""")


def test_both_directions_of_c() -> None:
    """A c twice as wide is refused with the hidden_size that it fits."""
    x, hx = filled(7, 5, 3), (filled(1, 5, 2), filled(1, 5, 8))

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4, proj_size=2)(x, hx))
    assert "LSTM(..., hidden_size=8)" in str(error)


def test_both_directions_of_an_unprojected_h() -> None:
    """Without a projection, an h twice as wide is refused with the hidden_size that it fits."""
    x, hx = filled(7, 5, 3), (filled(1, 5, 8), filled(1, 5, 8))

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4)(x, hx))
    assert str(error) == snapshot("""\
Expected hidden[0] size (1, 5, 4), got [1, 5, 8]
  LSTM(3, 4): h is 8 wide, hidden_size=4 is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 8)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 8)
  evidence  8 is twice 4: both directions side by side
  fix       LSTM(..., hidden_size=8), or a Linear(8, 4) between
            and c alike\
""")
    fixed(error, "LSTM(..., hidden_size=8)", "3")(x, hx)


def test_c_is_right() -> None:
    """A c that has the shape of a wrong h, and is right, is not called wrong alike."""
    x, hx = filled(7, 5, 3), (filled(1, 5, 4), filled(1, 5, 4))

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4, proj_size=2)(x, hx))
    assert "alike" not in str(error)


def test_cell_of_a_projected_layer() -> None:
    """The cell of such a layer tells h from c too."""
    x, hx = filled(5, 3), (filled(5, 4), filled(5, 6))
    cell = rnnkit.LSTM(3, 4, proj_size=2).cells()[0]

    error = refusal(rnnkit.StateError, "lacks", lambda _: cell(x, hx))
    assert str(error) == snapshot("""\
hidden0 has inconsistent hidden_size: got 4, expected 2
  ProjectedLSTMCell(3, 4, proj_size=2): h is 4 wide, proj_size=2 is wanted
  input     expected (batch, input_size=3)    got (5, 3)
  h         expected (batch=5, proj_size=2)    got (5, 4)
  c         expected (batch=5, hidden_size=4)    got (5, 6)
  evidence  proj_size=2 is the width of h, hidden_size=4 that of c
  fix       cell.initial_state(5), or hx=None\
""")
