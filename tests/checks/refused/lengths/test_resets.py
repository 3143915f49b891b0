"""What is refused as ``reset``: a mask of another layout, of another shape, of other values."""

from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch.nn.utils.rnn import pack_padded_sequence

import rnnkit
from tests.checks.refusals import filled


def refused(expected: type[rnnkit.RnnkitError], reset: Any, **options: Any) -> Any:
    """The error of a layer's call with this mask, of exactly the expected class."""
    x = options.pop("input", filled(7, 5, 3))
    with pytest.raises(rnnkit.RnnkitError) as caught:
        rnnkit.GRU(3, 4, **options)(x, reset=reset)
    assert type(caught.value) is expected
    assert caught.value.argument == "reset"
    return caught.value


def test_transposed() -> None:
    """A batch-first mask of a seq-first layer is refused with the call that turns it."""
    mask = torch.ones(5, 7, dtype=torch.bool)

    error = refused(rnnkit.LayoutError, mask)
    assert (error.expected, error.actual) == ((7, 5), (5, 7))
    assert str(error) == snapshot("""\
reset must have shape (7, 5), got (5, 7)
  GRU(3, 4): the mask looks batch-first, but batch_first=False
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.bool (5, 7)
  fix       reset.t()
  more      mask-shape, in the docs under "Errors"\
""")
    rnnkit.GRU(3, 4)(filled(7, 5, 3), reset=mask.t())


def test_transposed_of_a_batch_first_layer() -> None:
    """A seq-first mask of a batch-first layer likewise."""
    error = refused(rnnkit.LayoutError, torch.ones(5, 7), batch_first=True)

    assert str(error) == snapshot("""\
reset must have shape (7, 5), got (5, 7)
  GRU(3, 4, batch_first=True): the mask looks seq-first, but batch_first=True
  input     expected (batch, seq, input_size=3)    got (7, 5, 3)
  reset     expected (batch, seq), booleans    got torch.float32 (5, 7)
  fix       reset.t()
  more      mask-shape, in the docs under "Errors"\
""")


@pytest.mark.parametrize(
    ("shape", "fix"), [((7, 5, 1), "reset.squeeze(-1)"), ((5, 7, 1), "reset.squeeze(-1).t()")]
)
def test_a_third_axis(shape: tuple[int, ...], fix: str) -> None:
    """A mask with an axis of one more, as environments give it, is refused with what takes it off."""
    mask = torch.ones(shape, dtype=torch.bool)

    error = refused(rnnkit.LayoutError if fix.endswith("t()") else rnnkit.ShapeError, mask)
    assert f"fix       {fix}" in str(error)
    rnnkit.GRU(3, 4)(filled(7, 5, 3), reset=eval(fix, {"reset": mask}))  # noqa: S307


def test_a_third_axis_says_so() -> None:
    """The message names the axis."""
    assert str(refused(rnnkit.ShapeError, torch.ones(7, 5, 1))) == snapshot("""\
reset must have shape (7, 5), got (7, 5, 1)
  GRU(3, 4): the mask has one axis too many
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.float32 (7, 5, 1)
  fix       reset.squeeze(-1)
  more      mask-shape, in the docs under "Errors"\
""")


def test_one_flag_for_each_sample() -> None:
    """Flags without steps are those of ``states.reset``, before the call."""
    assert str(refused(rnnkit.ShapeError, [0, 1, 0, 0, 1])) == snapshot("""\
reset must have shape (7, 5), got (5,)
  GRU(3, 4): there is one flag for each sample, and none for its steps
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.int64 (5,)
  fix       to start them again before the call: rnnkit.states.reset(hx, mask)
            where hx is your state
  more      mask-shape, in the docs under "Errors"\
""")


def test_another_number_of_steps() -> None:
    """A mask of another sequence has another shape."""
    assert str(refused(rnnkit.ShapeError, torch.ones(6, 5))) == snapshot("""\
reset must have shape (7, 5), got (6, 5)
  GRU(3, 4): there must be one flag for each step of each sample
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.float32 (6, 5)
  fix       a boolean tensor (7, 5)
  more      mask-shape, in the docs under "Errors"\
""")


def test_positions() -> None:
    """Positions in the shape of a mask are refused, with how a mask is made of them."""
    error = refused(rnnkit.ArgumentError, torch.arange(35).view(7, 5))

    assert str(error) == snapshot("""\
reset must be booleans, or 0 and 1
  GRU(3, 4): reset holds numbers other than 0 and 1: positions are not a mask
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.int64 (7, 5)
  fix       mask = torch.zeros(input.shape[:2], dtype=torch.bool), and True at each of the positions
  more      mask-values, in the docs under "Errors"\
""")


def test_positions_without_batch() -> None:
    """Of one sequence, the mask that is wanted has one axis."""
    error = refused(rnnkit.ArgumentError, torch.arange(7), input=filled(7, 3))

    assert str(error) == snapshot("""\
reset must be booleans, or 0 and 1
  GRU(3, 4): reset holds numbers other than 0 and 1: positions are not a mask
  input     expected (seq, input_size=3)    got (7, 3)
  reset     expected (seq,), booleans    got torch.int64 (7,)
  fix       mask = torch.zeros(len(input), dtype=torch.bool), and True at each of the positions
  more      mask-values, in the docs under "Errors"\
""")


def test_numbers_between() -> None:
    """Probabilities are no mask."""
    assert str(refused(rnnkit.ArgumentError, torch.full((7, 5), 0.5))) == snapshot("""\
reset must be booleans, or 0 and 1
  GRU(3, 4): reset holds numbers other than 0 and 1
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.float32 (7, 5)
  fix       reset > 0.5
  more      mask-values, in the docs under "Errors"\
""")


def test_no_mask_at_all() -> None:
    """What no tensor can be made of is refused by its kind."""
    assert str(refused(rnnkit.ArgumentError, [["no", "mask"]])) == snapshot("""\
reset must be booleans, or 0 and 1
  GRU(3, 4): reset is not a mask
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got a list
  fix       a boolean tensor of that shape
  more      mask-kind, in the docs under "Errors"\
""")


def test_packed_input() -> None:
    """A packed input has no layout that a mask could have."""
    packed = pack_padded_sequence(filled(7, 5, 3), [7, 6, 5, 2, 1])

    assert str(refused(rnnkit.ShapeError, torch.ones(7, 5), input=packed)) == snapshot("""\
reset is a mask over the steps of a padded input
  GRU(3, 4): the input is packed, and a mask has no place in it
  input     expected (sum of lengths, input_size=3)    got (21, 3)
  reset     expected (seq, batch), booleans    got torch.float32 (7, 5)
  fix       pad_packed_sequence(input), then its two results as input and lengths=
  more      mask-packed, in the docs under "Errors"\
""")


def test_unrolled() -> None:
    """``unroll`` and Recurrent refuse the same, under their own names."""
    cell, x = rnnkit.GRUCell(3, 4), filled(7, 5, 3)

    with pytest.raises(rnnkit.LayoutError) as caught:
        rnnkit.unroll(cell, x, reset=torch.ones(5, 7))
    assert str(caught.value) == snapshot("""\
reset must have shape (7, 5), got (5, 7)
  unroll of GRUCell(3, 4): the mask looks batch-first, but batch_first=False
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  reset     expected (seq, batch), booleans    got torch.float32 (5, 7)
  fix       reset.t()
  more      mask-shape, in the docs under "Errors"\
""")
    with pytest.raises(rnnkit.LayoutError) as caught:
        rnnkit.Recurrent(cell, batch_first=True)(x.transpose(0, 1), reset=torch.ones(7, 5))
    assert str(caught.value) == snapshot("""\
reset must have shape (5, 7), got (7, 5)
  Recurrent of GRUCell(3, 4): the mask looks seq-first, but batch_first=True
  input     expected (batch, seq, input_size=3)    got (5, 7, 3)
  reset     expected (batch, seq), booleans    got torch.float32 (7, 5)
  fix       reset.t()
  more      mask-shape, in the docs under "Errors"\
""")
    assert caught.value.__notes__ == ["in layer 0, forward direction, of Recurrent"]


@pytest.mark.parametrize(
    "mask",
    [torch.ones(7, 5), torch.ones(7, 5, dtype=torch.int32), torch.zeros(7, 5).tolist()],
    ids=["floats", "integers", "lists"],
)
def test_what_is_a_mask(mask: Any) -> None:
    """0 and 1 of any dtype, in a tensor or in lists, are a mask."""
    layer, x = rnnkit.GRU(3, 4), filled(7, 5, 3)

    expected = layer(x, reset=torch.as_tensor(mask).bool())

    torch.testing.assert_close(layer(x, reset=mask), expected, rtol=0, atol=0)
