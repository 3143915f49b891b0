"""States that a layer refuses for the number of their axes."""

from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, fixed, refusal, sizes


def test_no_layer_axis() -> None:
    """A state without the axis of layers is refused with the axis."""
    x, hx = filled(7, 5, 3), filled(5, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), (5, 4))
    assert str(error) == snapshot("""\
For batched 3-D input, hx should also be 3-D but got 2-D tensor
  GRU(3, 4): hx has 2 axes in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (5, 4)
  fix       hx.unsqueeze(0)\
""")
    rnnkit.GRU(3, 4)(x, fixed(error, "hx.unsqueeze(0)", hx=hx))


def test_no_layer_axis_of_two_layers() -> None:
    """With several layers the axis is repeated for them."""
    x, hx = filled(7, 5, 3), filled(5, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.RNN(3, 4, 2)(x, hx))
    assert sizes(error) == ("hx", (2, 5, 4), (5, 4))
    assert str(error) == snapshot("""\
For batched 3-D input, hx should also be 3-D but got 2-D tensor
  RNN(3, 4, num_layers=2): hx has 2 axes in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (5, 4)
  fix       hx.repeat(2, 1, 1), if they start alike\
""")
    rnnkit.RNN(3, 4, 2)(x, fixed(error, "hx.repeat(2, 1, 1)", hx=hx))


def test_no_layer_axis_of_a_pair() -> None:
    """Of an LSTM's pair without that axis both ranks are told."""
    x, h = filled(7, 5, 3), filled(5, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4)(x, (h, h)))
    assert sizes(error) == ("hx", (1, 5, 4), (5, 4))
    assert str(error) == snapshot("""\
For batched 3-D input, hx and cx should also be 3-D but got (2-D, 2-D) tensors
  LSTM(3, 4): h has 2 axes in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (5, 4)
  fix       h.unsqueeze(0)\
""")
    h = fixed(error, "h.unsqueeze(0)", h=h)
    rnnkit.LSTM(3, 4)(x, (h, h))


def test_no_layer_axis_of_c() -> None:
    """If c alone has another rank, c is named."""
    x, h, c = filled(7, 5, 3), filled(1, 5, 4), filled(5, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4)(x, (h, c)))
    assert sizes(error) == ("hx", (1, 5, 4), (5, 4))
    assert str(error) == snapshot("""\
For batched 3-D input, hx and cx should also be 3-D but got (3-D, 2-D) tensors
  LSTM(3, 4): c has 2 axes in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  h         expected (num_layers=1, batch=5, hidden_size=4)    got (1, 5, 4)
  c         expected (num_layers=1, batch=5, hidden_size=4)    got (5, 4)
  fix       c.unsqueeze(0)\
""")
    rnnkit.LSTM(3, 4)(x, (h, fixed(error, "c.unsqueeze(0)", c=c)))


def test_no_batch_axis() -> None:
    """The state of one sample for a batch is refused with the axis it lacks."""
    x, hx = filled(7, 5, 3), filled(2, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4, 2)(x, hx))
    assert sizes(error) == ("hx", (2, 5, 4), (2, 4))
    assert str(error) == snapshot("""\
For batched 3-D input, hx should also be 3-D but got 2-D tensor
  GRU(3, 4, num_layers=2): hx has 2 axes in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (2, 4)
  fix       hx.unsqueeze(1).repeat(1, 5, 1), if they start alike\
""")
    rnnkit.GRU(3, 4, 2)(x, fixed(error, "hx.unsqueeze(1).repeat(1, 5, 1)", hx=hx))


def test_one_axis() -> None:
    """A state of one axis is refused."""
    x, hx = filled(7, 5, 3), filled(4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 5, 4), (4,))
    assert str(error) == snapshot("""\
For batched 3-D input, hx should also be 3-D but got 1-D tensor
  GRU(3, 4): hx has 1 axis in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=1, batch=5, hidden_size=4)    got (4,)
  fix       hx.repeat(1, 5, 1), if they start alike\
""")


def test_layers_and_directions_apart() -> None:
    """A state with layers and directions on two axes is refused."""
    x, hx = filled(7, 5, 3), filled(2, 2, 5, 4)

    error = refusal(
        rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4, 2, bidirectional=True)(x, hx)
    )
    assert sizes(error) == ("hx", (4, 5, 4), (2, 2, 5, 4))
    assert str(error) == snapshot("""\
For batched 3-D input, hx should also be 3-D but got 4-D tensor
  GRU(3, 4, num_layers=2, bidirectional=True): hx has 4 axes in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers * directions = 4, batch=5, hidden_size=4)    got (2, 2, 5, 4)
  fix       hx.flatten(0, 1)\
""")
    rnnkit.GRU(3, 4, 2, bidirectional=True)(x, fixed(error, "hx.flatten(0, 1)", hx=hx))


def test_axis_of_size_one_too_many() -> None:
    """A surplus axis of size 1 is refused with the call that drops it."""
    x, hx = filled(7, 5, 3), filled(2, 5, 1, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4, 2)(x, hx))
    assert sizes(error) == ("hx", (2, 5, 4), (2, 5, 1, 4))
    assert str(error) == snapshot("""\
For batched 3-D input, hx should also be 3-D but got 4-D tensor
  GRU(3, 4, num_layers=2): hx has 4 axes in place of 3
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  hx        expected (num_layers=2, batch=5, hidden_size=4)    got (2, 5, 1, 4)
  fix       hx.squeeze(2)\
""")
    rnnkit.GRU(3, 4, 2)(x, fixed(error, "hx.squeeze(2)", hx=hx))


def test_batch_axis_for_unbatched_input() -> None:
    """A batch of one in the state of an unbatched call is refused with the squeeze."""
    x, hx = filled(7, 3), filled(2, 1, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.GRU(3, 4, 2)(x, hx))
    assert sizes(error) == ("hx", (2, 4), (2, 1, 4))
    assert str(error) == snapshot("""\
For unbatched 2-D input, hx should also be 2-D but got 3-D tensor
  GRU(3, 4, num_layers=2): hx has 3 axes in place of 2
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (num_layers=2, hidden_size=4)    got (2, 1, 4)
  fix       hx.squeeze(1)\
""")
    rnnkit.GRU(3, 4, 2)(x, fixed(error, "hx.squeeze(1)", hx=hx))


def test_one_layer_and_batch_of_one_for_unbatched_input() -> None:
    """With one layer the squeeze leaves the layer."""
    x, h = filled(7, 3), filled(1, 1, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.LSTM(3, 4)(x, (h, h)))
    assert sizes(error) == ("hx", (1, 4), (1, 1, 4))
    assert str(error) == snapshot("""\
For unbatched 2-D input, hx and cx should also be 2-D but got (3-D, 3-D) tensors
  LSTM(3, 4): h has 3 axes in place of 2
  input     expected (seq, input_size=3)    got (7, 3)
  h         expected (num_layers=1, hidden_size=4)    got (1, 1, 4)
  c         expected (num_layers=1, hidden_size=4)    got (1, 1, 4)
  fix       h.squeeze(0)\
""")
    h = fixed(error, "h.squeeze(0)", h=h)
    rnnkit.LSTM(3, 4)(x, (h, h))


def test_state_of_a_batch_for_unbatched_input() -> None:
    """A batch of single steps is refused by the batch of its state."""
    x, hx = filled(5, 3), filled(1, 5, 4)

    error = refusal(rnnkit.LayoutError, "says", lambda nn: nn.GRU(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 4), (1, 5, 4))
    assert str(error) == snapshot("""\
For unbatched 2-D input, hx should also be 2-D but got 3-D tensor
  GRU(3, 4): the input is read as one unbatched sequence, but it looks like a batch
  input     expected (seq, input_size=3)    got (5, 3)
  hx        expected (num_layers=1, hidden_size=4)    got (1, 5, 4)
  evidence  hx has batch 5, which is axis 0 of the input
  fix       input.unsqueeze(0)\
""")
    rnnkit.GRU(3, 4)(fixed(error, "input.unsqueeze(0)", input=x), hx)


def test_state_of_a_batch_for_unbatched_input_batch_first() -> None:
    """With batch_first the missing step is axis 1."""
    x, h = filled(5, 3), filled(1, 5, 4)

    error = refusal(
        rnnkit.LayoutError, "says", lambda nn: nn.LSTM(3, 4, batch_first=True)(x, (h, h))
    )
    assert sizes(error) == ("hx", (1, 4), (1, 5, 4))
    assert str(error) == snapshot("""\
For unbatched 2-D input, hx and cx should also be 2-D but got (3-D, 3-D) tensors
  LSTM(3, 4, batch_first=True): the input is read as one unbatched sequence, but it looks like a batch
  input     expected (seq, input_size=3)    got (5, 3)
  h         expected (num_layers=1, hidden_size=4)    got (1, 5, 4)
  c         expected (num_layers=1, hidden_size=4)    got (1, 5, 4)
  evidence  h has batch 5, which is axis 0 of the input
  fix       input.unsqueeze(1)\
""")
    rnnkit.LSTM(3, 4, batch_first=True)(fixed(error, "input.unsqueeze(1)", input=x), (h, h))


def test_state_of_another_batch_for_unbatched_input() -> None:
    """A batch that is nowhere in an unbatched input is refused."""
    x, hx = filled(7, 3), filled(1, 5, 4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.RNN(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 4), (1, 5, 4))
    assert str(error) == snapshot("""\
For unbatched 2-D input, hx should also be 2-D but got 3-D tensor
  RNN(3, 4): hx has 3 axes in place of 2
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (num_layers=1, hidden_size=4)    got (1, 5, 4)
  fix       hx=None for zeros, or hx as (num_layers=1, hidden_size=4)\
""")


def test_one_axis_for_unbatched_input() -> None:
    """A state without layers for an unbatched input is refused with the axis."""
    x, hx = filled(7, 3), filled(4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.RNN(3, 4)(x, hx))
    assert sizes(error) == ("hx", (1, 4), (4,))
    assert str(error) == snapshot("""\
For unbatched 2-D input, hx should also be 2-D but got 1-D tensor
  RNN(3, 4): hx has 1 axis in place of 2
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (num_layers=1, hidden_size=4)    got (4,)
  fix       hx.unsqueeze(0)\
""")
    rnnkit.RNN(3, 4)(x, fixed(error, "hx.unsqueeze(0)", hx=hx))


def test_one_axis_for_unbatched_input_of_two_layers() -> None:
    """With several layers the axis is repeated for them."""
    x, hx = filled(7, 3), filled(4)

    error = refusal(rnnkit.StateError, "says", lambda nn: nn.RNN(3, 4, 2)(x, hx))
    assert sizes(error) == ("hx", (2, 4), (4,))
    assert str(error) == snapshot("""\
For unbatched 2-D input, hx should also be 2-D but got 1-D tensor
  RNN(3, 4, num_layers=2): hx has 1 axis in place of 2
  input     expected (seq, input_size=3)    got (7, 3)
  hx        expected (num_layers=2, hidden_size=4)    got (4,)
  fix       hx.repeat(2, 1), if they start alike\
""")
    rnnkit.RNN(3, 4, 2)(x, fixed(error, "hx.repeat(2, 1)", hx=hx))
