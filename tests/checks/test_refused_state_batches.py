"""States that a layer refuses for their batch, or for the order of their axes."""

from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, fixed, refusal, sizes


def test_batch_first_forgotten() -> None:
    """A batch-first input is told by the batch of its state."""
    x, hx = filled(2, 5, 3), filled(2, 2, 4)

    error = refusal(rnnkit.LayoutError, "says", lambda nn: nn.GRU(3, 4, 2)(x, hx))
    assert sizes(error) == ("hx", (2, 5, 4), (2, 2, 4))
    assert str(error) == snapshot("""\
Expected hidden size (2, 5, 4), got [2, 2, 4]
  GRU(3, 4, num_layers=2): the input looks batch-first, but batch_first=False
  input     expected (seq, batch, input_size=3)    got (2, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (2, 2, 4)
  evidence  hx has batch 2, which is axis 0 of the input
  fix       GRU(..., batch_first=True), or input.transpose(0, 1)\
""")
    rnnkit.GRU(3, 4, 2)(fixed(error, "input.transpose(0, 1)", input=x), hx)
    fixed(error, "GRU(..., batch_first=True)", "3, 4, 2")(x, hx)


def test_batch_first_too_much() -> None:
    """A seq-first input of a batch-first layer is told by the batch of its state."""
    x, h = filled(7, 5, 3), filled(1, 5, 4)

    error = refusal(
        rnnkit.LayoutError, "says", lambda nn: nn.LSTM(3, 4, batch_first=True)(x, (h, h))
    )
    assert sizes(error) == ("hx", (1, 7, 4), (1, 5, 4))
    assert str(error) == snapshot("""\
Expected hidden[0] size (1, 7, 4), got [1, 5, 4]
  LSTM(3, 4, batch_first=True): the input looks seq-first, but batch_first=True
  input     expected (batch, seq, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=7, hidden_size=4)    got (1, 5, 4)
  c         expected (num_layers=1, batch=7, hidden_size=4)    got (1, 5, 4)
  evidence  h has batch 5, which is axis 1 of the input
  fix       LSTM(..., batch_first=False), or input.transpose(0, 1)
            and c alike\
""")
    rnnkit.LSTM(3, 4, batch_first=True)(fixed(error, "input.transpose(0, 1)", input=x), (h, h))
    fixed(error, "LSTM(..., batch_first=False)", "3, 4")(x, (h, h))


def test_batch_first_or_larger_batch() -> None:
    """A state that may also be left from a larger batch is told both."""
    x, hx = filled(7, 5, 3), filled(1, 7, 4)

    error = refusal(rnnkit.LayoutError, "says", lambda nn: nn.RNN(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), (1, 7, 4))
    assert str(error) == snapshot("""\
Expected hidden size (1, 5, 4), got [1, 7, 4]
  RNN(3, 4): the input looks batch-first, but batch_first=False
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 7, 4)
  evidence  hx has batch 7, which is axis 0 of the input
  fix       RNN(..., batch_first=True), or input.transpose(0, 1)
            if hx is left from a batch of 7 instead: hx=None, or the samples that went on\
""")
    fixed(error, "RNN(..., batch_first=True)", "3, 4")(x, hx)


def test_batch_first_state() -> None:
    """A batch-first state is refused with the exchange."""
    x, hx = filled(7, 5, 3), filled(5, 2, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4, 2)(x, hx))
    assert sizes(error) == ("hx", (2, 5, 4), (5, 2, 4))
    assert str(error) == snapshot("""\
Expected hidden size (2, 5, 4), got [5, 2, 4]
  GRU(3, 4, num_layers=2): hx has the batch on axis 0, a state has the layers on axis 0
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (5, 2, 4)
  evidence  hx with axes 0 and 1 exchanged fits
  fix       hx.transpose(0, 1).contiguous(), or GRU(..., state_batch_first=True)\
""")
    rnnkit.GRU(3, 4, 2)(x, fixed(error, "hx.transpose(0, 1).contiguous()", hx=hx))
    fixed(error, "GRU(..., state_batch_first=True)", "3, 4, 2")(x, hx)


def test_batch_first_state_of_a_batch_first_layer() -> None:
    """The option batch_first speaks of the input, never of the state."""
    x, h = filled(5, 7, 3), filled(5, 1, 4)

    error = refusal(
        rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4, batch_first=True)(x, (h, h))
    )
    assert sizes(error) == ("hx", (1, 5, 4), (5, 1, 4))
    assert str(error) == snapshot("""\
Expected hidden[0] size (1, 5, 4), got [5, 1, 4]
  LSTM(3, 4, batch_first=True): h has the batch on axis 0, a state has the layers on axis 0
  input     expected (batch, seq, input_size=3)    got (5, 7, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (5, 1, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (5, 1, 4)
  evidence  h with axes 0 and 1 exchanged fits
  fix       h.transpose(0, 1).contiguous(), or LSTM(..., state_batch_first=True)
            and c alike\
""")
    h = fixed(error, "h.transpose(0, 1).contiguous()", h=h)
    rnnkit.LSTM(3, 4, batch_first=True)(x, (h, h))


def test_layers_first_state() -> None:
    """A layer that wants batch-first states refuses torch's."""
    x, hx = filled(7, 5, 3), filled(2, 5, 4)
    gru = rnnkit.GRU(3, 4, 2, state_batch_first=True)

    error = refusal(
        rnnkit.StateError, "lacks", lambda nn: nn.GRU(3, 4, 2, state_batch_first=True)(x, hx)
    )
    assert sizes(error) == ("hx", (5, 2, 4), (2, 5, 4))
    assert str(error) == snapshot("""\
Expected hidden size (5, 2, 4), got [2, 5, 4]
  GRU(3, 4, num_layers=2, state_batch_first=True): hx has the layers on axis 0, a state has the batch on axis 0
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (batch=5, num_layers=2, hidden_size=4)    got (2, 5, 4)
  evidence  hx with axes 0 and 1 exchanged fits
  fix       hx.transpose(0, 1).contiguous(), or GRU(..., state_batch_first=False)\
""")
    gru(x, fixed(error, "hx.transpose(0, 1).contiguous()", hx=hx))
    fixed(error, "GRU(..., state_batch_first=False)", "3, 4, 2")(x, hx)


def test_swapped_axes_unbatched() -> None:
    """A state of an unbatched call with its axes swapped is refused."""
    x, hx = filled(7, 3), filled(4, 2)

    error = refusal(rnnkit.StateError, "mumbles", lambda nn: nn.GRU(3, 4, 2)(x, hx))
    assert sizes(error) == ("hx", (2, 4), (4, 2))
    assert str(error) == snapshot("""\
Expected hidden size (2, 4), got [4, 2]
  GRU(3, 4, num_layers=2): hx has its axes swapped
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (num_layers=2, hidden_size=4)    got (4, 2)
  fix       hx.t().contiguous()\
""")
    rnnkit.GRU(3, 4, 2)(x, fixed(error, "hx.t().contiguous()", hx=hx))


def test_larger_batch() -> None:
    """A state that is left from a larger batch is refused with its rows of now."""
    x, hx = filled(7, 5, 3), filled(1, 8, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), (1, 8, 4))
    assert str(error) == snapshot("""\
Expected hidden size (1, 5, 4), got [1, 8, 4]
  GRU(3, 4): hx is for a batch of 8, the input has 5
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 8, 4)
  evidence  8 > 5: probably left from a larger batch, as when the last of an epoch is smaller
  fix       hx=None for zeros; if the first 5 samples went on, hx[:, :5]
            if others did, rnnkit.states.select(hx, positions)\
""")
    rnnkit.GRU(3, 4)(x, fixed(error, "hx[:, :5]", hx=hx))


def test_larger_batch_of_batch_first_states() -> None:
    """With batch-first states the rows are cut on axis 0."""
    x, hx = filled(7, 5, 3), filled(8, 1, 4)
    gru = rnnkit.GRU(3, 4, state_batch_first=True)

    error = refusal(
        rnnkit.StateError, "lacks", lambda nn: nn.GRU(3, 4, state_batch_first=True)(x, hx)
    )
    assert sizes(error) == ("hx", (5, 1, 4), (8, 1, 4))
    assert str(error) == snapshot("""\
Expected hidden size (5, 1, 4), got [8, 1, 4]
  GRU(3, 4, state_batch_first=True): hx is for a batch of 8, the input has 5
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (batch=5, num_layers=1, hidden_size=4)    got (8, 1, 4)
  evidence  8 > 5: probably left from a larger batch, as when the last of an epoch is smaller
  fix       hx=None for zeros; if the first 5 samples went on, hx[:5]
            if others did, rnnkit.states.select(hx, positions)\
""")
    gru(x, fixed(error, "hx[:5]", hx=hx))


def test_smaller_batch() -> None:
    """A state of a smaller batch is refused."""
    x, h = filled(7, 5, 3), filled(1, 2, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4)(x, (h, h)))
    assert sizes(error) == ("hx", (1, 5, 4), (1, 2, 4))
    assert str(error) == snapshot("""\
Expected hidden[0] size (1, 5, 4), got [1, 2, 4]
  LSTM(3, 4): h is for a batch of 2, the input has 5
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 2, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 2, 4)
  fix       layer.initial_state(5), or hx=None
            and c alike\
""")


def test_one_sample_for_a_batch() -> None:
    """The state of one sample is refused with the repetition."""
    x, hx = filled(7, 5, 3), filled(2, 1, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.RNN(3, 4, 2)(x, hx))
    assert sizes(error) == ("hx", (2, 5, 4), (2, 1, 4))
    assert str(error) == snapshot("""\
Expected hidden size (2, 5, 4), got [2, 1, 4]
  RNN(3, 4, num_layers=2): hx is for one sample, the input has 5
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (2, 1, 4)
  fix       hx.repeat(1, 5, 1), if they start alike\
""")
    rnnkit.RNN(3, 4, 2)(x, fixed(error, "hx.repeat(1, 5, 1)", hx=hx))


def test_batch_of_c() -> None:
    """If h fits and c is of another batch, c is named."""
    x, h, c = filled(7, 5, 3), filled(1, 5, 4), filled(1, 6, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4)(x, (h, c)))
    assert sizes(error) == ("hx", (1, 5, 4), (1, 6, 4))
    assert str(error) == snapshot("""\
Expected hidden[1] size (1, 5, 4), got [1, 6, 4]
  LSTM(3, 4): c is for a batch of 6, the input has 5
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 6, 4)
  evidence  6 > 5: probably left from a larger batch, as when the last of an epoch is smaller
  fix       hx=None for zeros; if the first 5 samples went on, c[:, :5]
            if others did, rnnkit.states.select(hx, positions)\
""")
    rnnkit.LSTM(3, 4)(x, (h, fixed(error, "c[:, :5]", c=c)))
