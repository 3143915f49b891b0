"""The diagnostics judge a model on the CPU, whatever ``torch.set_default_device`` says."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

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

elsewhere = torch.device("meta")
X = numbers(BATCH, SEQ, FEATURE)


def tagger(m: Any, x: Tensor) -> Tensor:
    """Give each token a score."""
    return m.head(m.lstm(m.embed(x))[0])


def flat(m: Any, x: Tensor) -> Tensor:
    """Forget the order of the axes."""
    return m.head(m.lstm(x)[0])


def loop(m: Any, x: Tensor) -> list[float]:
    """Run a cell, and return plain numbers."""
    hx = None
    for x_t in x.unbind(1):
        hx = m.cell(x_t, hx)
    return hx.sum(1).tolist()


def windows(m: Any, x: Tensor) -> Tensor:
    """Go on from a state that is kept, in two calls."""
    first, state = m.lstm(x[:, :4])
    return torch.cat([first, m.lstm(x[:, 4:], state)[0]], 1)


def lstm(width: int = FEATURE, **options: Any) -> nn.LSTM:
    """Make a layer of ours."""
    torch.manual_seed(1)
    return rnnkit.LSTM(width, HIDDEN, **{"batch_first": True, **options})


def head() -> nn.Linear:
    """Make a head."""
    return nn.Linear(HIDDEN, 2)


MODELS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "tagger": (
        lambda: Model(tagger, embed=nn.Embedding(VOCABULARY, 5), lstm=lstm(5), head=head()),
        tokens(BATCH, SEQ),
    ),
    "swapped": (lambda: Model(flat, lstm=lstm(batch_first=False), head=head()), X),
    "loop": (lambda: Model(loop, cell=rnnkit.GRUCell(FEATURE, HIDDEN)), X),
    "windows": (lambda: Model(windows, lstm=lstm()), X),
    "bare": (lstm, X),
    "both ways": (lambda: lstm(bidirectional=True, num_layers=2), X),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "lengths": {"lengths": LENGTHS, "pad": "pre"},
    "causal": {"causal": "strict"},
}


def told(run: Callable[[], Any]) -> str:
    """What a diagnostic says, but for the seconds; of an error, its text."""
    try:
        result = run()
    except (AssertionError, rnnkit.RnnkitError) as error:
        result = error
    return "\n".join(line.partition(" forward passes")[0] for line in str(result).splitlines())


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", MODELS)
def test_verify(name: str, options: str) -> None:
    """A report is the same one, and so is an alarm."""
    make, x = MODELS[name]
    model = make()

    def report() -> Any:
        return rnnkit.verify(model, x, raises=False, **OPTIONS[options])

    expected = told(report)

    with elsewhere:
        assert told(report) == expected


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("diagnostic", ["trace", "dependency_map", "assert_no_leak"])
def test_the_others(name: str, diagnostic: str) -> None:
    """So are a trace, a map, and the line in a project's tests."""
    make, x = MODELS[name]
    model = make()
    run = getattr(rnnkit, diagnostic, None) or getattr(rnnkit.testing, diagnostic)
    expected = told(lambda: run(model, x))

    with elsewhere:
        assert told(lambda: run(model, x)) == expected
