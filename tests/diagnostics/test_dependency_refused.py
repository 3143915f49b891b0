"""What ``dependency_map`` refuses."""

from typing import Any

import pytest
from inline_snapshot import snapshot
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import rnnkit
from tests.diagnostics.small import gru
from tests.diagnostics.test_dependency_map import X, model

#: What is refused: the model, its inputs, the options, the argument, and the message.
REFUSED: list[tuple[nn.Module, tuple[Any, ...], dict[str, int], str, Any]] = [
    (gru(), (X,), {"dim": -4}, "dim", snapshot("dim=-4, but the shape of the input is (5, 4, 3)")),
    (
        gru(),
        (X,),
        {"out_dim": -4},
        "out_dim",
        snapshot("the first output has no axis -4: its shape is (5, 4, 6)"),
    ),
    (
        model(lambda m, x: m.gru(x)[0].mean()),
        (X,),
        {},
        "out_dim",
        snapshot("the first output has no axis 0: its shape is ()"),
    ),
    (
        gru(),
        (X[:, :0],),
        {"dim": 1},
        "inputs",
        snapshot("axis 1 is empty: the first input has shape (5, 0, 3)"),
    ),
    (gru(), (), {"dim": 1}, "inputs", snapshot("inputs must be tensors, got nothing")),
    (
        gru(),
        (pack_sequence([X[0], X[1]]),),
        {},
        "inputs",
        snapshot("a packed input has no batch axis to try: pass the padded batch and lengths"),
    ),
]


def test_refused() -> None:
    """What is said of an axis that is not there names the argument of this function."""
    for made, inputs, options, argument, expected in REFUSED:
        with pytest.raises(rnnkit.ArgumentError) as error:
            rnnkit.dependency_map(made, *inputs, **options)
        text, _, _ = str(error.value).partition("\n")
        assert (error.value.argument, text) == (argument, expected)
