"""States that ``last_hidden`` and ``split_state`` refuse, and steps: what is said of each."""

from typing import Any

import pytest
import torch

import rnnkit
from rnnkit import ArgumentError, ShapeError, StateError
from tests.checks.refusals import Case, Refused, call, filled, table

CASES = {
    "An empty list.": Case(
        "rnnkit.LSTM(3, 4).last_hidden([])",
        Refused(StateError, "lacks", "state", (1, None, 4), (), annotated=True),
        has="    got an empty list\n",
    ),
    "One tensor in a list.": Case(
        call("rnnkit.LSTM(3, 4).last_hidden([h])", h=(1, 5, 4)),
        Refused(StateError, "lacks", "state", (1, None, 4), (1, 5, 4), annotated=True),
        has="    got ((1, 5, 4))\n",
    ),
    "Two tensors, the second of another width.": Case(
        call("rnnkit.LSTM(3, 4).last_hidden((h, c))", h=(1, 5, 4), c=(1, 5, 6)),
        Refused(StateError, "lacks", "state", (1, None, 4), (1, 5, 6)),
        has="    got ((1, 5, 4), (1, 5, 6))\n",
    ),
    "Three tensors.": Case(
        call("rnnkit.LSTM(3, 4).last_hidden((h, h, h))", h=(1, 5, 4)),
        Refused(StateError, "lacks", "state", (1, None, 4), (1, 5, 4), annotated=True),
        has="    got a tuple\n",
    ),
    "A tensor of another width.": Case(
        call("rnnkit.GRU(3, 4).split_state(h)", h=(1, 5, 6)),
        Refused(StateError, "lacks", "state", (1, None, 4), (1, 5, 6)),
        has="    got (1, 5, 6)\n",
    ),
    "A step of a bidirectional Recurrent.": Case(
        "rnnkit.Recurrent(GRUCell(3, 4), GRUCell(3, 4)).step(filled(5, 3))",
        Refused(ArgumentError, "lacks", "x_t"),
        has="  fix       Recurrent(..., without reverse_cells), or call the layer on the whole",
    ),
    "A sequence in the place of a step of a Recurrent.": Case(
        "rnnkit.Recurrent(GRUCell(3, 4)).step(filled(7, 5, 3))",
        Refused(ShapeError, "lacks", "x_t", (None, None), (7, 5, 3)),
        has="  x_t       expected (batch, feature)    got (7, 5, 3)\n",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """What came is shown beside what the layer returns."""
    case.check()


@pytest.mark.parametrize("name", ["GRU", "LSTM"])
def test_unbatched_states_are_taken(name: str) -> None:
    """The state of one sequence alone has no batch axis, whatever its layout."""
    layer: Any = getattr(rnnkit, name)(3, 4, 2, bidirectional=True)
    output, state = layer(filled(7, 3))

    assert layer.last_hidden(state).shape == (8,)
    assert torch.equal(layer.last_hidden(state)[:4], output[-1, :4])
    with pytest.raises(StateError):
        layer.last_hidden(layer.initial_state(None)[0] if name == "LSTM" else filled(5, 4))
