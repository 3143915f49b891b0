"""Options that a constructor does not have, by other libraries' names; or in the place of another.

torch takes the latter in silence: a warning, since the call is right. ``LSTM(3, 8, 2, True)``
switches the bias on, and not ``batch_first``.
"""

import os
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from inline_snapshot import snapshot

import rnnkit
from rnnkit import ArgumentError
from tests.checks.refusals import Case, Refused, call, fix, refusal, table

CASES = {
    "Another library's name for the width.": Case(
        "nn.GRU(3, units=4)",
        Refused(ArgumentError, "mumbles", "units", code="option-unknown"),
        fix=fix("hidden_size=4", where="nn.GRU(3, @)"),
        has="fix       hidden_size=4",
    ),
    "Another library's option of the output.": Case(
        "nn.LSTM(3, 4, return_sequences=True)",
        Refused(ArgumentError, "mumbles", "return_sequences", code="option-unknown"),
        fix=fix(
            "output, state = layer(input)", where="@", layer=rnnkit.LSTM(3, 4), input=(7, 5, 3)
        ),
        message=snapshot("""\
LSTM.__init__() got an unexpected keyword argument 'return_sequences'
  LSTM(3, 4, return_sequences=True)
  fix       leave it out: output, state = layer(input) returns every step
  more      python -m rnnkit explain option-unknown\
"""),
    ),
    "Another library's word for the layout is its opposite.": Case(
        "nn.LSTM(3, 4, time_major=True)",
        Refused(ArgumentError, "mumbles", "time_major", code="option-unknown"),
        fix=fix("batch_first=False", where="nn.LSTM(3, 4, @)"),
        has="fix       batch_first=False",
    ),
    "Another library's activation, of a layer that has none.": Case(
        "nn.LSTM(3, 4, activation='tanh')",
        Refused(ArgumentError, "mumbles", "activation", code="option-unknown"),
        has="leave activation out: LSTM has fixed ones, RNN and RNNCell take nonlinearity",
    ),
    "Another library's activation, of a layer that has the option.": Case(
        "nn.RNN(3, 4, activation='relu')",
        Refused(ArgumentError, "mumbles", "activation", code="option-unknown"),
        fix=fix("nonlinearity='relu'", where="nn.RNN(3, 4, @)"),
        has="fix       nonlinearity='relu'",
    ),
    "A Recurrent in two directions has cells for both.": Case(
        "rnnkit.Recurrent(GRUCell(3, 4), bidirectional=True)",
        Refused(ArgumentError, "lacks", "bidirectional", code="option-unknown"),
        fix=fix("reverse_cells=[...]", "GRUCell(3, 4)", where="rnnkit.Recurrent(GRUCell(3, 4), @)"),
        message=snapshot("""\
Recurrent.__init__() got an unexpected keyword argument 'bidirectional'
  Recurrent(a GRUCell, bidirectional=True)
  fix       reverse_cells=[...], the cell of each layer's backward direction
  more      python -m rnnkit explain option-unknown\
"""),
    ),
    "A cell has one direction.": Case(
        "nn.GRUCell(3, 4, bidirectional=True)",
        Refused(ArgumentError, "says", "bidirectional", code="option-unknown"),
        message=snapshot("""\
GRUCell.__init__() got an unexpected keyword argument 'bidirectional'
  GRUCell(3, 4, bidirectional=True)
  fix       leave bidirectional out: a cell is one layer, in one direction, for one step
  more      python -m rnnkit explain option-unknown\
"""),
    ),
    "A cell is one layer.": Case(
        "nn.RNNCell(3, 4, num_layers=2)",
        Refused(ArgumentError, "says", "num_layers", code="option-unknown"),
        message=snapshot("""\
RNNCell.__init__() got an unexpected keyword argument 'num_layers'
  RNNCell(3, 4, num_layers=2)
  fix       leave num_layers out: a cell is one layer, in one direction, for one step
  more      python -m rnnkit explain option-unknown\
"""),
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """The option is named, and the one that the constructor has for it."""
    case.check()


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
  more      python -m rnnkit explain option-value\
""")


TOLD = {
    "nn.LSTM(3, 8, 2, True)": snapshot(
        "LSTM(3, 8, 2, True): the last argument is bias, which is True anyway, not batch_first. Write batch_first=True if the input is (batch, seq, feature), or drop it."
    ),
    "nn.GRU(3, 8, 1, True)": snapshot(
        "GRU(3, 8, 1, True): the last argument is bias, which is True anyway, not batch_first. Write batch_first=True if the input is (batch, seq, feature), or drop it."
    ),
    "nn.RNN(3, 8, 1, 'relu', True)": snapshot(
        "RNN(3, 8, 1, 'relu', True): the last argument is bias, which is True anyway, not batch_first. Write batch_first=True if the input is (batch, seq, feature), or drop it."
    ),
    "nn.LSTM(3, 8, 1, True, dropout=0.0)": snapshot(
        "LSTM(3, 8, 1, True): the last argument is bias, which is True anyway, not batch_first. Write batch_first=True if the input is (batch, seq, feature), or drop it."
    ),
    "nn.RNNCell(3, 8, 'relu')": snapshot(
        "RNNCell(3, 8, 'relu'): the argument 'relu' is bias, and counts as True. Write nonlinearity='relu'."
    ),
    "nn.RNNCell(3, 8, 'tanh', 'tanh')": snapshot(
        "RNNCell(3, 8, 'tanh', 'tanh'): the argument 'tanh' is bias, and counts as True. Write nonlinearity='tanh'."
    ),
    "nn.GRUCell(3, 8, 'tanh')": snapshot(
        "GRUCell(3, 8, 'tanh'): the argument 'tanh' is bias, and counts as True. Drop it."
    ),
    "nn.LSTMCell(3, 8, 'relu', None)": snapshot(
        "LSTMCell(3, 8, 'relu', None): the argument 'relu' is bias, and counts as True. Drop it."
    ),
    "nn.RNNCell(3, 0)": snapshot(
        "RNNCell(3, 0): a cell without hidden features computes nothing. Write hidden_size from 1."
    ),
    "nn.LSTMCell(3, hidden_size=0)": snapshot(
        "LSTMCell(3, hidden_size=0): a cell without hidden features computes nothing. Write hidden_size from 1."
    ),
    "nn.GRUCell(0, 0)": snapshot(
        "GRUCell(0, 0): a cell without hidden features computes nothing. Write hidden_size from 1."
    ),
}

#: What is said by name, or goes on after the bias, is meant.
MEANT = [
    "nn.LSTM(3, 8, 2)",
    "nn.LSTM(3, 8, 2, False)",
    "nn.LSTM(3, 8, 2, True, False)",
    "nn.LSTM(3, 8, 2, bias=True)",
    "nn.LSTM(3, 8, 2, True, batch_first=True)",
    "nn.GRU(3, 8, 2, True, True)",
    "nn.RNN(3, 8, 2, 'relu')",
    "nn.RNN(3, 8, 2, 'relu', False)",
    "nn.RNN(3, 8, 2, 'relu', True, True)",
    "nn.RNNCell(3, 8, True)",
    "nn.RNNCell(3, 8, True, 'relu')",
    "nn.LSTMCell(3, 8, True, None)",
    "nn.GRUCell(0, 8)",  # it computes from its state
]


@pytest.mark.unhooked("the annotation refuses a string, and adds frames")
@pytest.mark.parametrize("made", TOLD)
def test_told(made: str) -> None:
    """What was written is named, and what was probably meant; the module is made all the same."""
    with pytest.warns(UserWarning, match="Write|Drop") as caught:
        module: Any = call(made)(rnnkit.nn)

    assert [str(each.message).partition("\n")[0] for each in caught] == [TOLD[made]]
    assert module.bias


@pytest.mark.parametrize("made", MEANT)
def test_meant(made: str) -> None:
    """Nothing is said of an option in its own place."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(made)(rnnkit.nn)


@pytest.mark.unhooked("it adds frames")
@pytest.mark.skipif("MUTANT_UNDER_TEST" in os.environ, reason="mutmut adds frames")
@pytest.mark.parametrize(
    "make",
    [lambda: rnnkit.GRU(3, 8, 1, True), lambda: rnnkit.RNNCell(3, 8, "relu")],  # type: ignore[arg-type]
    ids=["a layer", "a cell"],
)
def test_told_where_it_is_written(make: Callable[[], object]) -> None:
    """The warning is of the caller's line."""
    with pytest.warns(UserWarning, match="is bias") as caught:
        make()

    assert [each.filename for each in caught] == [__file__]
