"""Options in the place of another, which torch takes in silence: a warning, since the call is right.

``LSTM(3, 8, 2, True)`` switches the bias on, and not ``batch_first``.
"""

import os
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from inline_snapshot import snapshot

import rnnkit
from tests.checks.refusals import call

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
]


@pytest.mark.unhooked("the annotation refuses a string, and adds frames")
@pytest.mark.parametrize("made", TOLD)
def test_told(made: str) -> None:
    """What was written is named, and what was probably meant; the module is made all the same."""
    with pytest.warns(UserWarning, match="is bias") as caught:
        module: Any = call(made)(rnnkit.nn)

    assert [str(each.message) for each in caught] == [TOLD[made]]
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
