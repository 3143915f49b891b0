"""The class that a message says to type takes the arguments that it says."""

from typing import Any

import torch
from torch.nn.utils import parametrize

import rnnkit
from rnnkit import ArgumentError, LayoutError, ShapeError, StateError
from tests.checks.refusals import Case, Refused, call, fix, table


class Configured(rnnkit.LSTM):
    """A user's layer with a constructor of its own."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Take sizes from a dict."""
        super().__init__(**config)


class Named(rnnkit.LSTM):
    """A user's layer with torch's constructor."""


class Passing(rnnkit.GRU):
    """A user's layer that passes options on."""

    def __init__(self, size: int, **options: Any) -> None:
        """Take one size for both."""
        super().__init__(size, size, **options)


class Cell(rnnkit.GRUCell):
    """A user's cell with a constructor of its own."""

    def __init__(self, config: dict[str, int]) -> None:
        """Take sizes from a dict."""
        super().__init__(**config)


SIZES = {"input_size": 3, "hidden_size": 4}


def parametrized() -> rnnkit.LSTM:
    """Return a layer whose class torch has made."""
    layer = rnnkit.LSTM(3, 4)
    parametrize.register_parametrization(layer, "weight_hh_l0", torch.nn.Identity())
    return layer


CASES = {
    "A class that torch makes.": Case(
        call("layer(input)", layer=parametrized(), input=(7, 5, 8)),
        Refused(ShapeError, "lacks", code="input-width"),
        fix=fix("LSTM(8, ...)", "4", into="layer"),
        lacks="ParametrizedLSTM(8",
    ),
    "Its option of the layout.": Case(
        call("layer(input, (h, h))", layer=parametrized(), input=(5, 7, 3), h=(1, 5, 4)),
        Refused(LayoutError, "lacks"),
        fix=fix("LSTM(..., batch_first=True)", "3, 4", into="layer"),
    ),
    "A user's class with another constructor.": Case(
        call("layer(input)", layer=Configured(SIZES), input=(7, 5, 8)),
        Refused(ShapeError, "lacks", code="input-width"),
        fix=fix("LSTM(8, ...)", "4", into="layer"),
    ),
    "Its option of the states.": Case(
        call("layer(input, (h, h))", layer=Configured(SIZES), input=(7, 5, 3), h=(5, 1, 4)),
        Refused(StateError, "lacks", code="state-transposed"),
        fix=fix("LSTM(..., state_batch_first=True)", "3, 4", into="layer"),
    ),
    "A wider one.": Case(
        call("layer(input, (h, h))", layer=Configured(SIZES), input=(7, 5, 3), h=(1, 5, 8)),
        Refused(StateError, "lacks", code="state-twice-as-wide"),
        fix=fix("LSTM(..., hidden_size=8)", "3", into="layer"),
    ),
    "A user's class with torch's constructor is typed.": Case(
        call("layer(input)", layer=Named(3, 4), input=(7, 5, 8)),
        Refused(ShapeError, "lacks", code="input-width"),
        fix=fix("Named(8, ...)", "4", into="layer", Named=Named),
    ),
    "One that passes options on is typed with an option.": Case(
        call("layer(input, hx)", layer=Passing(3), input=(5, 7, 3), hx=(1, 5, 3)),
        Refused(LayoutError, "lacks"),
        fix=fix(
            "Passing(..., batch_first=True)",
            "3",
            into="layer",
            Passing=Passing,
        ),
    ),
    "A step.": Case(
        call("layer.step(x_t)", layer=Configured(SIZES | {"bidirectional": True}), x_t=(5, 3)),
        Refused(ArgumentError, "lacks", "x_t", code="step-bidirectional"),
        has="  fix       LSTM(..., bidirectional=False), or",
    ),
    "A user's cell.": Case(
        call("cell(input)", cell=Cell(SIZES), input=(5, 8)),
        Refused(ShapeError, "lacks", code="input-width"),
        has="  fix       GRUCell(8, ...), or",
    ),
    "The layer for a user's cell.": Case(
        call("cell(input)", cell=Cell(SIZES), input=(7, 5, 3)),
        Refused(ShapeError, "lacks", code="input-rank"),
        has="or a layer: GRU(3, ...)",
    ),
    "A layer in place of a cell.": Case(
        call("Recurrent(layer)", layer=Configured(SIZES)),
        Refused(ArgumentError, "lacks", "cells", code="recurrent-layer"),
        has="\n  fix       LSTM(...).cells()",
    ),
}


@table(CASES)
def test_refused(case: Case) -> None:
    """Each is refused, and what the message says to type runs."""
    case.check()
