"""Lengths that are refused for what they are: no integers, or not in a list."""

from typing import Any

import numpy as np
import torch
from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import filled, fixed, refusal, sizes


def refused(lengths: Any) -> rnnkit.LengthsError:
    """Give lengths to a GRU for a batch of 5, 7 steps long."""
    x = filled(7, 5, 3)
    error: rnnkit.LengthsError = refusal(
        rnnkit.LengthsError, "lacks", lambda nn: nn.GRU(3, 4)(x, lengths=lengths)
    )
    return error


def test_fractions() -> None:
    """Fractions of the longest sample, a habit of speech recipes, are refused."""
    lengths = torch.tensor([1.0, 0.5, 0.25, 0.75, 0.125])

    error = refused(lengths)
    assert sizes(error) == ("lengths", (5,), (5,))
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are torch.float32, no counts
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got torch.float32 (5,)
  fix       lengths.long(); of fractions of the input (lengths * seq).round().long()\
""")
    assert fixed(error, "(lengths * seq).round().long()", lengths=lengths, seq=7).tolist() == [
        7, 4, 2, 5, 1,
    ]  # fmt: skip


def test_whole_numbers_in_floats() -> None:
    """A floating-point tensor is refused, even of whole numbers."""
    lengths = torch.tensor([7.0, 3.0, 4.0, 1.0, 2.0])

    error = refused(lengths)
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are torch.float32, no counts
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got torch.float32 (5,)
  fix       lengths.long(); of fractions of the input (lengths * seq).round().long()\
""")
    rnnkit.GRU(3, 4)(filled(7, 5, 3), lengths=fixed(error, "lengths.long()", lengths=lengths))


def test_a_list_of_floats() -> None:
    """Floats in a list are refused."""
    error = refused([7.0, 3.5, 4.0, 1.0, 2.0])
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are torch.float32, no counts
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got a list of 5
  fix       [int(n) for n in lengths]\
""")


def test_an_array_of_floats() -> None:
    """Floats in an array are refused."""
    error = refused(np.array([7.0, 3.5, 4.0, 1.0, 2.0]))
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are torch.float64, no counts
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got an ndarray
  fix       [int(n) for n in lengths]\
""")


def test_two_axes() -> None:
    """A column of lengths is refused."""
    error = refused(torch.tensor([[7], [3], [4], [1], [2]]))
    assert sizes(error) == ("lengths", (5,), (5, 1))
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths have 2 axes, one is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got torch.int64 (5, 1)
  fix       torch.as_tensor(lengths).flatten()\
""")


def test_one_number_for_all() -> None:
    """A single number is refused: it says of no sample that it is meant."""
    error = refused(7)
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are neither list nor tensor
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got 7
  fix       [7] * 5\
""")


def test_no_axis() -> None:
    """A tensor of one number is refused."""
    error = refused(torch.tensor(7))
    assert sizes(error) == ("lengths", (5,), ())
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths have 0 axes, one is wanted
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got torch.int64 ()
  fix       [7] * 5\
""")


def test_a_mask() -> None:
    """A mask (seq, batch) is refused."""
    error = refused(torch.ones(7, 5, dtype=torch.bool))
    assert sizes(error) == ("lengths", (5,), (7, 5))
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are booleans, as a mask is
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got torch.bool (7, 5)
  fix       of a mask: mask.sum(0)\
""")


def test_booleans() -> None:
    """Booleans are refused, though Python counts them as integers."""
    error = refused([True, False, True, True, False])
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths[0] is True
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got a list of 5
  fix       a list of ints\
""")


def test_strings() -> None:
    """Strings in a list are refused, as a file of text gives them."""
    lengths = ["7", "3", "4", "1", "2"]

    error = refused(lengths)
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths hold strings
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got a list of 5
  fix       [int(n) for n in lengths]\
""")
    assert fixed(error, "[int(n) for n in lengths]", lengths=lengths) == [7, 3, 4, 1, 2]


def test_an_array_of_strings() -> None:
    """Strings in an array are refused."""
    error = refused(np.array(["7", "3", "4", "1", "2"]))
    assert error.argument == "lengths"


def test_an_array_of_objects() -> None:
    """An array that holds a None is refused."""
    error = refused(np.array([7, None, 4, 1, 2]))
    assert error.argument == "lengths"


def test_one_string() -> None:
    """A string is refused, though it is a sequence of digits."""
    error = refused("73412")
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are neither list nor tensor
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got '73412'
  fix       a list of ints\
""")


def test_a_dict() -> None:
    """A dict of lengths by name is refused."""
    error = refused({"a": 7, "b": 3, "c": 4, "d": 1, "e": 2})
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are neither list nor tensor
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got a dict
  fix       a list of ints\
""")


def test_a_missing_length() -> None:
    """A None among the lengths is refused."""
    error = refused([7, None, 4, 1, 2])
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths[1] is None
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got a list of 5
  fix       a list of ints\
""")


def test_a_list_of_lists() -> None:
    """Lists of unequal size are refused."""
    error = refused([[7, 3], [4], [1], [2], [2]])
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are no plain list of ints
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got a list of 5
  fix       a list of ints\
""")


def test_a_number_beyond_all_integers() -> None:
    """A number that no tensor can hold is refused."""
    error = refused([2**70, 3, 4, 1, 2])
    assert str(error) == snapshot("""\
lengths must be integers from 0 to 7, one for each sample
  GRU(3, 4): lengths are no plain list of ints
  input     expected (seq, batch, input_size=3)    got (7, 5, 3)
  lengths   expected (batch=5,), integers    got a list of 5
  fix       a list of ints\
""")


def test_a_mask_of_ones_and_zeros() -> None:
    """A mask that holds integers is refused with the sum that makes lengths of it."""
    mask = (torch.arange(7).unsqueeze(1) < torch.tensor([7, 2, 5, 1, 4])).long()

    error = refused(mask)
    lengths = fixed(error, "mask.sum(0)", mask=mask)
    assert lengths.tolist() == [7, 2, 5, 1, 4]
