"""States that a layer refuses for their layers, directions or width."""

import torch
from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, fixed, refusal, sizes


def test_directions_forgotten() -> None:
    """A state without rows for the backward direction is refused with the product."""
    x, hx = filled(7, 5, 3), filled(2, 5, 4)

    error = refusal(
        rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4, 2, bidirectional=True)(x, hx)
    )
    assert sizes(error) == ("hx", (4, 5, 4), (2, 5, 4))
    assert str(error) == snapshot("""\
Expected hidden size (4, 5, 4), got [2, 5, 4]
  GRU(3, 4, num_layers=2, bidirectional=True): hx has no rows for the backward direction
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers * directions = 4, batch=5, hidden_size=4)    got (2, 5, 4)
  evidence  num_layers * directions = 4
  fix       layer.initial_state(5), or hx=None\
""")


def test_directions_of_a_bidirectional_layer() -> None:
    """A bidirectional encoder's state is refused with the sum of directions."""
    x, h = filled(7, 5, 3), filled(4, 5, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4, 2)(x, (h, h)))
    assert sizes(error) == ("hx", (2, 5, 4), (4, 5, 4))
    assert str(error) == snapshot("""\
Expected hidden[0] size (2, 5, 4), got [4, 5, 4]
  LSTM(3, 4, num_layers=2): h has two rows for each layer: a bidirectional layer's state
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=2, batch=5, hidden_size=4)    got (4, 5, 4)
  c         expected (num_layers=2, batch=5, hidden_size=4)    got (4, 5, 4)
  evidence  4 is twice num_layers=2
  fix       rnnkit.states.bridge(h, "sum") adds the directions
            and c alike\
""")
    h = fixed(error, 'rnnkit.states.bridge(h, "sum")', h=h)
    rnnkit.LSTM(3, 4, 2)(x, (h, h))


def test_directions_of_batch_first_states() -> None:
    """With batch-first states the directions are on axis 1."""
    x, hx = filled(7, 5, 3), filled(5, 2, 4)
    gru = rnnkit.GRU(3, 4, state_batch_first=True)

    error = refusal(
        rnnkit.StateError, "lacks", lambda nn: nn.GRU(3, 4, state_batch_first=True)(x, hx)
    )
    assert sizes(error) == ("hx", (5, 1, 4), (5, 2, 4))
    assert str(error) == snapshot("""\
Expected hidden size (5, 1, 4), got [5, 2, 4]
  GRU(3, 4, state_batch_first=True): hx has two rows for each layer: a bidirectional layer's state
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (batch=5, num_layers=1, hidden_size=4)    got (5, 2, 4)
  evidence  2 is twice num_layers=1
  fix       rnnkit.states.bridge(hx, "sum", batch_first=True) adds the directions\
""")
    gru(x, fixed(error, 'rnnkit.states.bridge(hx, "sum", batch_first=True)', hx=hx))


def test_another_number_of_layers() -> None:
    """A state of another number of layers is refused with both numbers."""
    x, hx = filled(7, 5, 3), filled(3, 5, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4, 2)(x, hx))
    assert sizes(error) == ("hx", (2, 5, 4), (3, 5, 4))
    assert str(error) == snapshot("""\
Expected hidden size (2, 5, 4), got [3, 5, 4]
  GRU(3, 4, num_layers=2): hx has 3 rows, this layer carries 2
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (3, 5, 4)
  fix       layer.initial_state(5), or hx=None\
""")


def test_layers_of_c() -> None:
    """If h fits and c has other layers, c is named."""
    x, h, c = filled(7, 5, 3), filled(2, 5, 4), filled(1, 5, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4, 2)(x, (h, c)))
    assert sizes(error) == ("hx", (2, 5, 4), (1, 5, 4))
    assert str(error) == snapshot("""\
Expected hidden[1] size (2, 5, 4), got [1, 5, 4]
  LSTM(3, 4, num_layers=2): c has 1 row, this layer carries 2
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=2, batch=5, hidden_size=4)    got (2, 5, 4)
  c         expected (num_layers=2, batch=5, hidden_size=4)    got (1, 5, 4)
  fix       layer.initial_state(5), or hx=None\
""")


def test_another_width() -> None:
    """A state of another width is refused with both numbers."""
    x, hx = filled(7, 5, 3), filled(1, 5, 6)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), (1, 5, 6))
    assert str(error) == snapshot("""\
Expected hidden size (1, 5, 4), got [1, 5, 6]
  GRU(3, 4): hx is 6 wide, hidden_size=4 is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 6)
  fix       layer.initial_state(5), or hx=None, or a Linear(6, 4) between\
""")


def test_both_directions_side_by_side() -> None:
    """A state twice as wide is refused as both directions side by side."""
    x, hx = filled(7, 5, 3), filled(1, 5, 8)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.RNN(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), (1, 5, 8))
    assert str(error) == snapshot("""\
Expected hidden size (1, 5, 4), got [1, 5, 8]
  RNN(3, 4): hx is 8 wide, hidden_size=4 is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 8)
  evidence  8 is twice 4: both directions side by side
  fix       RNN(..., hidden_size=8), or a Linear(8, 4) between\
""")
    fixed(error, "RNN(..., hidden_size=8)", "3")(x, hx)


def test_pair_in_the_other_order() -> None:
    """With a projection, (c, h) is told by the widths."""
    x = filled(7, 5, 3, dtype=torch.float64)
    h = filled(1, 5, 2, dtype=torch.float64)
    c = filled(1, 5, 4, dtype=torch.float64)

    error = refusal(
        rnnkit.StateError,
        "says",
        lambda nn: nn.LSTM(3, 4, proj_size=2, dtype=torch.float64)(x, (c, h)),
    )
    assert sizes(error) == ("hx", (1, 5, 2), (1, 5, 4))
    assert str(error) == snapshot("""\
Expected hidden[0] size (1, 5, 2), got [1, 5, 4]
  LSTM(3, 4, proj_size=2): h and c are in the other order
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, proj_size=2)    got (1, 5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 2)
  evidence  each has the shape of the other
  fix       hx=(h, c)\
""")
    hx = fixed(error, "(h, c)", h=h, c=c)
    rnnkit.LSTM(3, 4, proj_size=2, dtype=torch.float64)(x, hx)


def test_projection_forgotten() -> None:
    """With a projection, an h as wide as c is refused."""
    x, h = filled(7, 5, 3), filled(1, 5, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4, proj_size=2)(x, (h, h)))
    assert sizes(error) == ("hx", (1, 5, 2), (1, 5, 4))
    assert str(error) == snapshot("""\
Expected hidden[0] size (1, 5, 2), got [1, 5, 4]
  LSTM(3, 4, proj_size=2): h is 4 wide, proj_size=2 is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, proj_size=2)    got (1, 5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 4)
  evidence  proj_size=2 is the width of h, hidden_size=4 that of c
  fix       layer.initial_state(5), or hx=None\
""")


def test_everything_wrong() -> None:
    """A state of which no size fits is refused."""
    x, hx = filled(7, 5, 3), filled(3, 8, 6)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4, 2)(x, hx))
    assert sizes(error) == ("hx", (2, 5, 4), (3, 8, 6))
    assert str(error) == snapshot("""\
Expected hidden size (2, 5, 4), got [3, 8, 6]
  GRU(3, 4, num_layers=2): hx fits on no axis
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (3, 8, 6)
  fix       layer.initial_state(5), or hx=None\
""")
