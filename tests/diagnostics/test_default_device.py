"""The diagnostics judge a model on the CPU, whatever ``torch.set_default_device`` says."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import rnnkit
from tests.diagnostics.models_of_users import (
    BATCH,
    FEATURE,
    HIDDEN,
    LENGTHS,
    SEQ,
    VOCABULARY,
    Model,
    numbers,
    tokens,
)

X = numbers(BATCH, SEQ, FEATURE)


def loop(m: Any, x: Any) -> list[float]:
    """Run a cell, and return plain numbers."""
    hx = None
    for x_t in x.unbind(1):
        hx = m.cell(x_t, hx)
    return hx.sum(1).tolist()


def windows(m: Any, x: Any) -> Any:
    """Go on from a state that is kept, in two calls."""
    first, state = m.lstm(x[:, :4])
    return torch.cat([first, m.lstm(x[:, 4:], state)[0]], 1)


def lstm(width: int = FEATURE, **options: Any) -> nn.LSTM:
    """Make a layer of ours."""
    return rnnkit.LSTM(width, HIDDEN, **{"batch_first": True, **options})


def tagger(m: Any, x: Any) -> Any:
    """Give each token, or step, a score."""
    return m.head(m.lstm(m.embed(x))[0])


HEAD, KEPT, WORDS = nn.Linear(HIDDEN, 2), nn.Identity(), nn.Embedding(VOCABULARY, FEATURE)
MODELS: dict[str, tuple[nn.Module, Any]] = {
    "tagger": (Model(tagger, embed=WORDS, lstm=lstm(), head=HEAD), tokens(BATCH, SEQ)),
    "swapped": (Model(tagger, embed=KEPT, lstm=lstm(batch_first=False), head=HEAD), X),
    "loop": (Model(loop, cell=rnnkit.GRUCell(FEATURE, HIDDEN)), X),
    "windows": (Model(windows, lstm=lstm()), X),
    "bare, both ways": (lstm(bidirectional=True, num_layers=2), X),
}
PADDED: dict[str, Any] = {"lengths": LENGTHS, "pad": "pre"}
DIAGNOSTICS: dict[str, Callable[..., Any]] = {
    "verify": lambda *given: rnnkit.verify(*given, raises=False),
    "verify, padded": lambda *given: rnnkit.verify(*given, raises=False, **PADDED),
    "verify, causal": lambda *given: rnnkit.verify(*given, raises=False, causal="strict"),
    "trace": rnnkit.trace,
    "dependency_map": rnnkit.dependency_map,
    "assert_no_leak": rnnkit.testing.assert_no_leak,
}


@pytest.mark.parametrize("name", MODELS)
def test_same_text(name: str) -> None:
    """What a diagnostic says, but for the seconds, is the same; of an error, its text."""
    for diagnostic in DIAGNOSTICS.values():

        def told(run: Callable[..., Any] = diagnostic) -> str:
            try:
                result = run(*MODELS[name])
            except (AssertionError, rnnkit.RnnkitError) as error:
                result = error
            return "\n".join(
                line.partition(" forward passes")[0] for line in f"{result}".split("\n")
            )

        expected = told()
        with torch.device("meta"):
            assert told() == expected
