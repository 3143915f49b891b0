"""Numbers that a constructor refuses, at the ends of what it reads into them."""

import pytest
from inline_snapshot import snapshot

import rnnkit
from rnnkit import ArgumentError
from tests.checks.refusals import refusal

FIXES = {
    # A fraction in the place of bias may be the dropout; a whole number is none.
    ("GRU", (3, 4, 2, 0.0)): snapshot("bias=True or False"),
    ("GRU", (3, 4, 2, 1.0)): snapshot("bias=True or False"),
    # A flag in the place of a size.
    ("GRU", (True, 4)): snapshot("pass options by name: GRU(..., batch_first=True) or bias=True"),
    ("LSTM", (3, False)): snapshot(
        "pass options by name: LSTM(..., batch_first=False) or bias=False"
    ),
    # A dropout as a string, or in percent.
    ("GRU", (3, 4, 2, True, False, "0")): snapshot("dropout=0"),
    ("GRU", (3, 4, 2, True, False, "1")): snapshot("dropout=1"),
    ("GRU", (3, 4, 2, True, False, 5)): snapshot("dropout=0.05"),
    ("GRU", (3, 4, 2, True, False, 100)): snapshot("dropout=1"),
    ("GRU", (3, 4, 2, True, False, 4)): snapshot("dropout: a float from 0 to 1"),
    ("GRU", (3, 4, 2, True, False, 101)): snapshot("dropout: a float from 0 to 1"),
}


@pytest.mark.parametrize("made", FIXES, ids=str)
def test_fix(made: tuple[str, tuple[object, ...]]) -> None:
    """What is advised follows from the number."""
    name, args = made

    error = refusal(ArgumentError, "lacks", lambda nn: getattr(nn, name)(*args))
    assert error.code == "option-value"
    assert str(error).split("  fix ")[1].splitlines()[0].strip() == FIXES[made]


def test_options_of_a_recurrent() -> None:
    """They are held to what layers take, and the call is shown by the option alone."""
    cell = rnnkit.GRUCell(3, 4)

    error = refusal(ArgumentError, "lacks", lambda _: rnnkit.Recurrent(cell, dropout=2.0))
    assert error.argument == "dropout"
    assert str(error) == snapshot("""\
dropout should be a number in range [0, 1] representing the probability of an element being zeroed
  Recurrent(dropout=2.0)
  dropout   expected a float from 0 to 1    got 2.0
  fix       dropout: a float from 0 to 1
  more      option-value, in the docs under "Errors"\
""")
