"""States that a layer refuses with packed input, where torch's own checks are missing."""

import torch
from inline_snapshot import snapshot
from torch.nn.utils.rnn import pack_sequence

import rnnkit
from tests.checks.refusals import filled, fixed, packed, refusal, sizes


def test_layers_of_c() -> None:
    """A c with fewer layers than h is refused, where torch reads memory that is not there."""
    x = packed(7, 6, 6, 2, 1)
    h, c = filled(2, 5, 4), filled(1, 5, 4)

    error = refusal(rnnkit.StateError, "unsafe", lambda nn: nn.LSTM(3, 4, 2)(x, (h, c)))
    assert sizes(error) == ("hx", (2, 5, 4), (1, 5, 4))
    assert str(error) == snapshot("""\
Expected hidden[1] size (2, 5, 4), got [1, 5, 4]
  LSTM(3, 4, num_layers=2): c has 1 row, this layer carries 2
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  h         expected (num_layers=2, batch=5, hidden_size=4)    got (2, 5, 4)
  c         expected (num_layers=2, batch=5, hidden_size=4)    got (1, 5, 4)
  fix       layer.initial_state(5), or hx=None\
""")


def test_surplus_layers_of_c() -> None:
    """A c with more layers than h is refused, where torch drops them in silence."""
    x = packed(7, 6, 6, 2, 1)
    h, c = filled(1, 5, 4), filled(3, 5, 4)

    error = refusal(rnnkit.StateError, "unsafe", lambda nn: nn.LSTM(3, 4)(x, (h, c)))
    assert sizes(error) == ("hx", (1, 5, 4), (3, 5, 4))
    assert str(error) == snapshot("""\
Expected hidden[1] size (1, 5, 4), got [3, 5, 4]
  LSTM(3, 4): c has 3 rows, this layer carries 1
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (3, 5, 4)
  fix       layer.initial_state(5), or hx=None\
""")


def test_directions_of_c() -> None:
    """A c without the backward direction is refused."""
    x = packed(7, 6, 6, 2, 1)
    h, c = filled(2, 5, 4), filled(1, 5, 4)

    error = refusal(
        rnnkit.StateError, "unsafe", lambda nn: nn.LSTM(3, 4, bidirectional=True)(x, (h, c))
    )
    assert sizes(error) == ("hx", (2, 5, 4), (1, 5, 4))
    assert str(error) == snapshot("""\
Expected hidden[1] size (2, 5, 4), got [1, 5, 4]
  LSTM(3, 4, bidirectional=True): c has no rows for the backward direction
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  h         expected (num_layers * directions = 2, batch=5, hidden_size=4)    got (2, 5, 4)
  c         expected (num_layers * directions = 2, batch=5, hidden_size=4)    got (1, 5, 4)
  evidence  num_layers * directions = 2
  fix       layer.initial_state(5), or hx=None\
""")


def test_one_sample_of_c() -> None:
    """A c of one sample is refused, where torch gives it to all in silence."""
    x = packed(7, 6, 6, 2, 1)
    h, c = filled(1, 5, 4), filled(1, 1, 4)

    error = refusal(rnnkit.StateError, "unsafe", lambda nn: nn.LSTM(3, 4)(x, (h, c)))
    assert sizes(error) == ("hx", (1, 5, 4), (1, 1, 4))
    assert str(error) == snapshot("""\
Expected hidden[1] size (1, 5, 4), got [1, 1, 4]
  LSTM(3, 4): c is for one sample, the input has 5
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 1, 4)
  fix       c.repeat(1, 5, 1), if they start alike\
""")
    rnnkit.LSTM(3, 4)(x, (h, fixed(error, "c.repeat(1, 5, 1)", c=c)))


def test_larger_batch() -> None:
    """A state of a larger batch is refused, of which torch takes the rows that it needs."""
    x = packed(7, 6, 6, 2, 1)
    hx = filled(1, 8, 4)

    error = refusal(rnnkit.StateError, "unsafe", lambda nn: nn.GRU(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), (1, 8, 4))
    assert str(error) == snapshot("""\
Expected hidden size (1, 5, 4), got [1, 8, 4]
  GRU(3, 4): hx is for a batch of 8, the input has 5
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 8, 4)
  evidence  8 > 5: probably left from a larger batch, as when the last of an epoch is smaller
  fix       hx=None for zeros; if the first 5 samples went on, hx[:, :5]
            if others did, rnnkit.states.select(hx, positions)\
""")
    rnnkit.GRU(3, 4)(x, fixed(error, "hx[:, :5]", hx=hx))


def test_larger_batch_of_sorted_sequences() -> None:
    """Sequences packed by their length make no difference."""
    x = pack_sequence([filled(n, 3) for n in (7, 6, 6, 2, 1)])
    h = filled(1, 8, 4)

    error = refusal(rnnkit.StateError, "unsafe", lambda nn: nn.LSTM(3, 4)(x, (h, h)))
    assert sizes(error) == ("hx", (1, 5, 4), (1, 8, 4))
    assert str(error) == snapshot("""\
Expected hidden[0] size (1, 5, 4), got [1, 8, 4]
  LSTM(3, 4): h is for a batch of 8, the input has 5
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 8, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 8, 4)
  evidence  8 > 5: probably left from a larger batch, as when the last of an epoch is smaller
  fix       hx=None for zeros; if the first 5 samples went on, h[:, :5]
            if others did, rnnkit.states.select(hx, positions)
            and c alike\
""")
    h = fixed(error, "h[:, :5]", h=h)
    rnnkit.LSTM(3, 4)(x, (h, h))


def test_smaller_batch() -> None:
    """A state of a smaller batch is refused, where torch says an index is out of range."""
    x = packed(7, 6, 6, 2, 1)
    hx = filled(1, 2, 4)

    error = refusal(rnnkit.StateError, "unsafe", lambda nn: nn.RNN(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), (1, 2, 4))
    assert str(error) == snapshot("""\
Expected hidden size (1, 5, 4), got [1, 2, 4]
  RNN(3, 4): hx is for a batch of 2, the input has 5
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 2, 4)
  fix       layer.initial_state(5), or hx=None\
""")


def test_state_for_the_longest_step() -> None:
    """The batch of a state is the number of sequences, not that of steps."""
    x = packed(7, 6, 6, 2, 1)
    hx = filled(1, 7, 4)

    error = refusal(rnnkit.LayoutError, "unsafe", lambda nn: nn.GRU(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), (1, 7, 4))
    assert str(error) == snapshot("""\
Expected hidden size (1, 5, 4), got [1, 7, 4]
  GRU(3, 4): the sequences look packed in the other layout
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 7, 4)
  evidence  hx has batch 7, which is the number of steps packed
  fix       pack_padded_sequence(..., batch_first=True) for a (batch, seq, feature) input
            if hx is left from a batch of 7 instead: hx=None, or the samples that went on\
""")
    dots = "filled(7, 5, 3), [5, 5, 4, 3, 2, 1, 1]"
    fix = "pack_padded_sequence(..., batch_first=True)"
    rnnkit.GRU(3, 4)(fixed(error, fix, dots, filled=filled), hx)


def test_batch_first_state() -> None:
    """A batch-first state is refused, also of a batch-first layer."""
    x = packed(7, 6, 6, 2, 1)
    h = filled(5, 2, 4)

    error = refusal(
        rnnkit.StateError, "unsafe", lambda nn: nn.LSTM(3, 4, 2, batch_first=True)(x, (h, h))
    )
    assert sizes(error) == ("hx", (2, 5, 4), (5, 2, 4))
    assert str(error) == snapshot("""\
Expected hidden[0] size (2, 5, 4), got [5, 2, 4]
  LSTM(3, 4, num_layers=2, batch_first=True): h has the batch on axis 0, a state has the layers on axis 0
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  h         expected (num_layers=2, batch=5, hidden_size=4)    got (5, 2, 4)
  c         expected (num_layers=2, batch=5, hidden_size=4)    got (5, 2, 4)
  evidence  h with axes 0 and 1 exchanged fits
  fix       h.transpose(0, 1).contiguous(), or LSTM(..., state_batch_first=True)
            and c alike\
""")
    h = fixed(error, "h.transpose(0, 1).contiguous()", h=h)
    rnnkit.LSTM(3, 4, 2, batch_first=True)(x, (h, h))


def test_no_layer_axis() -> None:
    """A state without the axis of layers is refused with the axis."""
    x = packed(7, 6, 6, 2, 1)
    hx = filled(5, 4)

    error = refusal(rnnkit.StateError, "unsafe", lambda nn: nn.GRU(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), (5, 4))
    assert str(error) == snapshot("""\
For batched 3-D input, hx should also be 3-D but got 2-D tensor
  GRU(3, 4): hx has 2 axes in place of 3
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (5, 4)
  fix       hx.unsqueeze(0)\
""")
    rnnkit.GRU(3, 4)(x, fixed(error, "hx.unsqueeze(0)", hx=hx))


def test_four_axes() -> None:
    """A state of four axes is refused, where torch ends the process."""
    x = packed(7, 6, 6, 2, 1)
    h = filled(1, 1, 5, 4)

    error = refusal(rnnkit.StateError, "unsafe", lambda nn: nn.LSTM(3, 4)(x, (h, h)))
    assert sizes(error) == ("hx", (1, 5, 4), (1, 1, 5, 4))
    assert str(error) == snapshot("""\
For batched 3-D input, hx and cx should also be 3-D but got (4-D, 4-D) tensors
  LSTM(3, 4): h has 4 axes in place of 3
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 1, 5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 1, 5, 4)
  fix       h.squeeze(0)\
""")
    h = fixed(error, "h.squeeze(0)", h=h)
    rnnkit.LSTM(3, 4)(x, (h, h))


def test_another_width() -> None:
    """A state of another width is refused with both numbers."""
    x = packed(7, 6, 6, 2, 1)
    hx = filled(1, 5, 6)

    error = refusal(rnnkit.StateError, "unsafe", lambda nn: nn.RNN(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), (1, 5, 6))
    assert str(error) == snapshot("""\
Expected hidden size (1, 5, 4), got [1, 5, 6]
  RNN(3, 4): hx is 6 wide, hidden_size=4 is wanted
  input     expected (sum of lengths, input_size=3)    got (22, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 6)
  fix       layer.initial_state(5), or hx=None, or a Linear(6, 4) between\
""")


def test_pair_for_a_gru() -> None:
    """An LSTM's pair is refused by a GRU."""
    x = packed(7, 6, 6, 2, 1)
    hx = (filled(1, 5, 4), filled(1, 5, 4))

    error = refusal(rnnkit.StateError, "unsafe", lambda nn: nn.GRU(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), ())
    assert str(error) == snapshot("""\
hx must be one tensor, got a tuple of 2: (1, 5, 4), (1, 5, 4)
  GRU(3, 4) carries one tensor
  hx        expected (num_layers=1, batch=5, hidden_size=4)
  fix       hx[0], if this is an LSTM's (h, c)\
""")
    rnnkit.GRU(3, 4)(x, fixed(error, "hx[0]", hx=hx))


def test_tensor_for_an_lstm() -> None:
    """One tensor is refused by an LSTM."""
    x = packed(7, 6, 6, 2, 1)
    hx = filled(1, 5, 4)

    error = refusal(rnnkit.StateError, "unsafe", lambda nn: nn.LSTM(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), (1, 5, 4))
    assert str(error) == snapshot("""\
lstm expects two hidden states: hx is (h, c), got a Tensor of shape (1, 5, 4)
  LSTM(3, 4) carries the pair (h, c)
  hx        expected (h, c), each (num_layers=1, batch=5, hidden_size=4)
  fix       (hx, None), which starts c from zeros\
""")
    rnnkit.LSTM(3, 4)(x, fixed(error, "(hx, None)", hx=hx))


def test_another_dtype_of_the_state() -> None:
    """A state of another dtype is refused."""
    x = packed(7, 6, 6, 2, 1)
    h, c = filled(1, 5, 4), filled(1, 5, 4, dtype=torch.float64)

    error = refusal(rnnkit.DtypeError, "unsafe", lambda nn: nn.LSTM(3, 4)(x, (h, c)))
    assert error.argument == "hx"
    assert str(error) == snapshot("""\
hx dtype (torch.float64) does not match input dtype (torch.float32)
  LSTM(3, 4): state and input differ in dtype
  c         expected torch.float32    got torch.float64
  fix       c.to(torch.float32)\
""")
    rnnkit.LSTM(3, 4)(x, (h, fixed(error, "c.to(torch.float32)", c=c)))


def test_another_device_of_the_state() -> None:
    """A state on another device is refused."""
    x = packed(7, 6, 6, 2, 1)
    hx = filled(1, 5, 4).to("meta")

    error = refusal(rnnkit.DeviceError, "unsafe", lambda nn: nn.GRU(3, 4)(x, hx))
    assert error.argument == "hx"
    assert str(error) == snapshot("""\
Input and hidden tensors are not at the same device, found input tensor at cpu and hidden tensor at meta
  GRU(3, 4): state and input lie on different devices
  hx        expected on cpu    got meta
  fix       hx.to(input.device), or zeros with device=input.device\
""")
