"""States that a layer refuses because they are not the tensors that it carries."""

from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, fixed, refusal, sizes


def test_pair_for_a_gru() -> None:
    """An LSTM's pair given to a GRU is refused with the half that fits."""
    x, hx = filled(7, 5, 3), (filled(1, 5, 4), filled(1, 5, 4))

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRU(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), ())
    assert str(error) == snapshot("""\
hx must be one tensor, got a tuple of 2: (1, 5, 4), (1, 5, 4)
  GRU(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       hx[0], if this is an LSTM's (h, c)\
""")
    rnnkit.GRU(3, 4)(x, fixed(error, "hx[0]", hx=hx))


def test_tensor_for_an_lstm() -> None:
    """One tensor given to an LSTM is refused with the pair that starts c from zeros."""
    x, hx = filled(7, 5, 3), filled(1, 5, 4)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), (1, 5, 4))
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a Tensor of shape (1, 5, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       (hx, None), which starts c from zeros\
""")
    rnnkit.LSTM(3, 4)(x, fixed(error, "(hx, None)", hx=hx))


def test_stacked_pair() -> None:
    """The pair stacked in one tensor are refused with the call that parts them."""
    x, hx = filled(7, 5, 3), filled(2, 1, 5, 4)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), (2, 1, 5, 4))
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a Tensor of shape (2, 1, 5, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       tuple(hx), if h and c are stacked on axis 0\
""")
    rnnkit.LSTM(3, 4)(x, fixed(error, "tuple(hx)", hx=hx))


def test_stacked_pair_unbatched() -> None:
    """Unbatched they are refused too, where torch unpacks them in silence."""
    x, hx = filled(7, 3), filled(2, 1, 4)

    error = refusal(rnnkit.StateError, "accepts", lambda nn: nn.LSTM(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 4), (2, 1, 4))
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a Tensor of shape (2, 1, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, hidden_size=4)
  fix       tuple(hx), if h and c are stacked on axis 0\
""")
    rnnkit.LSTM(3, 4)(x, fixed(error, "tuple(hx)", hx=hx))


def test_three_for_an_lstm_unbatched() -> None:
    """Unbatched they are refused too, where torch drops the third in silence."""
    x, hx = filled(7, 3), (filled(1, 4),) * 3

    error = refusal(rnnkit.StateError, "accepts", lambda nn: nn.LSTM(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 4), ())
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 3: (1, 4), (1, 4), (1, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, hidden_size=4)
  fix       hx[:2], if the first two are h and c\
""")


def test_three_for_an_lstm() -> None:
    """Three tensors given to an LSTM are refused."""
    x, hx = filled(7, 5, 3), (filled(1, 5, 4),) * 3

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), ())
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 3: (1, 5, 4), (1, 5, 4), (1, 5, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       hx[:2], if the first two are h and c\
""")


def test_one_of_the_pair() -> None:
    """A tuple of h alone is refused."""
    x, hx = filled(7, 5, 3), (filled(1, 5, 4),)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), ())
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 1: (1, 5, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       (hx[0], None), which starts c from zeros\
""")


def test_tuple_of_one_for_an_rnn() -> None:
    """A tuple of one tensor given to an RNN is refused with its member."""
    x, hx = filled(7, 5, 3), (filled(1, 5, 4),)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.RNN(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), ())
    assert str(error) == snapshot("""\
hx must be one tensor, got a tuple of 1: (1, 5, 4)
  RNN(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       hx[0]\
""")
    rnnkit.RNN(3, 4)(x, fixed(error, "hx[0]", hx=hx))


def test_result_for_a_state() -> None:
    """A layer's whole result in the place of the state is refused with its second part."""
    x = filled(7, 5, 3)
    hx = rnnkit.LSTM(3, 4)(x)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), ())
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 2: (7, 5, 4), LSTMState
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       hx[1], if this is a layer's result (output, state)\
""")
    rnnkit.LSTM(3, 4)(x, fixed(error, "hx[1]", hx=hx))


def test_result_of_a_gru_for_a_state() -> None:
    """The same is refused of a layer that carries one tensor."""
    x = filled(7, 5, 3)
    hx = rnnkit.GRU(3, 4)(x)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRU(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), ())
    assert str(error) == snapshot("""\
hx must be one tensor, got a tuple of 2: (7, 5, 4), (1, 5, 4)
  GRU(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       hx[1], if this is a layer's result (output, state)\
""")
    rnnkit.GRU(3, 4)(x, fixed(error, "hx[1]", hx=hx))


def test_list_of_layers() -> None:
    """A list of one state for each layer is refused with the call that joins them."""
    x, hx = filled(7, 5, 3), [filled(1, 5, 4)] * 3

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRU(3, 4, 3)(x, hx))
    assert sizes(error) == ("hx", (3, 5, 4), ())
    assert str(error) == snapshot("""\
hx must be one tensor, got a list of 3: (1, 5, 4), (1, 5, 4), (1, 5, 4)
  GRU(3, 4, num_layers=3) carries one tensor
  hx        expected (num_layers=3, batch=5, hidden_size=4)
  fix       torch.cat(hx), if these are the states layer by layer\
""")
    rnnkit.GRU(3, 4, 3)(x, fixed(error, "torch.cat(hx)", hx=hx))


def test_list_of_two_layers() -> None:
    """Two layers make no difference to that."""
    x, hx = filled(7, 5, 3), [filled(1, 5, 4)] * 2

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRU(3, 4, 2)(x, hx))
    assert sizes(error) == ("hx", (2, 5, 4), ())
    assert str(error) == snapshot("""\
hx must be one tensor, got a list of 2: (1, 5, 4), (1, 5, 4)
  GRU(3, 4, num_layers=2) carries one tensor
  hx        expected (num_layers=2, batch=5, hidden_size=4)
  fix       torch.cat(hx), if these are the states layer by layer\
""")
    rnnkit.GRU(3, 4, 2)(x, fixed(error, "torch.cat(hx)", hx=hx))


def test_list_of_pairs() -> None:
    """A list of one pair for each layer is refused with the call that joins them."""
    x, hx = filled(7, 5, 3), [(filled(1, 5, 4), filled(1, 5, 4))] * 2

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4, 2)(x, hx))
    assert sizes(error) == ("hx", (2, 5, 4), ())
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 2: tuple, tuple
  LSTM(3, 4, num_layers=2) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=2, batch=5, hidden_size=4)
  fix       rnnkit.states.from_layers(hx), if these are the states layer by layer\
""")
    hx = fixed(error, "rnnkit.states.from_layers(hx)", hx=hx)
    rnnkit.LSTM(3, 4, 2)(x, hx)


def test_number_for_a_state() -> None:
    """A number in the place of a state is refused."""
    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRU(3, 4)(filled(7, 5, 3), 0))
    assert sizes(error) == ("hx", (1, 5, 4), ())
    assert str(error) == snapshot("""\
hx must be one tensor, got 0
  GRU(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       hx=None for zeros\
""")

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4)(filled(7, 5, 3), 0))
    assert sizes(error) == ("hx", (1, 5, 4), ())
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got 0
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       hx=None for zeros, or (h, c)\
""")


def test_empty_tuple() -> None:
    """An empty tuple is refused."""
    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRU(3, 4)(filled(7, 5, 3), ()))
    assert sizes(error) == ("hx", (1, 5, 4), ())
    assert str(error) == snapshot("""\
hx must be one tensor, got an empty tuple
  GRU(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       hx=None for zeros\
""")

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4)(filled(7, 5, 3), ()))
    assert sizes(error) == ("hx", (1, 5, 4), ())
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got an empty tuple
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       hx=None for zeros, or (h, c)\
""")


def test_number_for_c() -> None:
    """A number in the place of c is refused."""
    hx = (filled(1, 5, 4), 0.0)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4)(filled(7, 5, 3), hx))
    assert sizes(error) == ("hx", (1, 5, 4), ())
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a tuple of 2: (1, 5, 4), float
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       (hx[0], None), which starts c from zeros\
""")


def test_dictionary() -> None:
    """A dictionary in the place of a state is refused."""
    hx = {"h": filled(1, 5, 4)}

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.LSTM(3, 4)(filled(7, 5, 3), hx))
    assert sizes(error) == ("hx", (1, 5, 4), ())
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a dict
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       hx=None for zeros, or (h, c)\
""")
