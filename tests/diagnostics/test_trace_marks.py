"""Each mark of ``trace``, on layers and cells, torch's and rnnkit's."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, numbers
from tests.diagnostics.test_trace_right import Parts

X = numbers(BATCH, SEQ, FEATURE)


def steps(call: Callable[[Any, Tensor], Any]) -> Callable[[Any, Tensor], Any]:
    """Call a cell for each of three steps."""

    def run(nn: Any, x: Tensor) -> Any:
        cell = nn.GRUCell()
        return [call(cell, x_t) for x_t in x[:, :3].unbind(1)]

    return run


def pair(
    bridge: Callable[[Any], Any], kind: str = "LSTM", decoder: str = "", **options: Any
) -> Callable[[Any, Tensor], Any]:
    """Run an encoder and a decoder, and what is between their states."""

    def run(nn: Any, x: Tensor) -> Any:
        one, two = getattr(nn, kind)(**options), getattr(nn, decoder or kind)()
        return two(x[:, 0] if decoder else x, bridge(one(x)[1]))

    return run


def windows_from_zeros(nn: Any, x: Tensor) -> Any:
    """Join windows of one sequence, each from zeros, made anew or not given, behind a head."""
    layer, head = nn.GRU(), torch.nn.Linear(HIDDEN, 2)
    first = torch.zeros(1, BATCH, HIDDEN)
    starts = iter([None, first, None])
    return torch.cat([head(layer(w, next(starts))[0]) for w in x.split(3, 1)], 1)


def zeros_each_time(nn: Any, x: Tensor) -> Any:
    """Give a layer zeros at each step."""
    layer = nn.GRU()
    return [layer(w, torch.zeros(1, BATCH, HIDDEN))[0] for w in x.split(1, 1)[:2]]


def h_never_advanced(nn: Any, x: Tensor) -> Any:
    """Advance only c."""
    cell, h = nn.LSTMCell(), numbers(BATCH, HIDDEN)
    c = torch.zeros(BATCH, HIDDEN)
    for x_t in x[:, :2].unbind(1):
        new, c = cell(x_t, (h, c))
    return new


def output_from_its_end(nn: Any, x: Tensor) -> Any:
    """Read a layer's output from its end state."""
    first, second = nn.LSTM(), nn.LSTM_wide()
    return second(*first(x))[0]


GIVEN = numbers(BATCH, HIDDEN)

#: Wrong programs, and the marks of each row that has some.
MARKED: dict[str, tuple[Callable[[Any, Tensor], Any], Any]] = {
    "never advanced": (
        steps(lambda cell, x: cell(hx=GIVEN, input=x)),
        snapshot(
            [
                ["the same state as in row 0: it is never advanced"],
                ["the same state as in row 1: it is never advanced"],
            ]
        ),
    ),
    "h never advanced": (
        h_never_advanced,
        snapshot([["the same h as in row 0: it is never advanced"]]),
    ),
    "dropped": (
        steps(lambda cell, x: int(cell(x).sum())),
        snapshot(
            [
                ["starts from zeros, and the state of row 0 is unused"],
                ["starts from zeros, and the state of row 1 is unused"],
            ]
        ),
    ),
    "zeros each time": (
        zeros_each_time,
        snapshot([["starts from zeros, and the state of row 0 is unused"]]),
    ),
    "windows from zeros": (
        windows_from_zeros,
        snapshot(
            [
                [
                    "its input goes on where that of row 0 ended, but it starts from zeros, and the state of row 0 is unused"
                ],
                [
                    "its input goes on where that of row 1 ended, but it starts from zeros, and the state of row 1 is unused"
                ],
            ]
        ),
    ),
    "swapped": (
        pair(lambda state: state[::-1]),
        snapshot([["its h is c of row 0", "its c is h of row 0"]]),
    ),
    "swapped behind a bridge": (
        pair(lambda state: [(part * 2).tanh() for part in state[::-1]]),
        snapshot([["its h is computed from c of row 0", "its c is computed from h of row 0"]]),
    ),
    "h for both": (pair(lambda state: (state[0], state[0])), snapshot([["its c is h of row 0"]])),
    "output from its end": (
        output_from_its_end,
        snapshot([["reads the output of row 0 from its end state: step 0 has seen it all"]]),
    ),
}


@pytest.mark.parametrize("name", MARKED)
def test_marks(name: str) -> None:
    """A wrong program is marked where it goes wrong, with torch's layers and rnnkit's."""
    make, expected = MARKED[name]
    for nn in (torch.nn, rnnkit.nn):
        found = rnnkit.trace(partial(make, Parts(nn)), X)

        assert [row.marks for row in found.marked] == expected


def test_training_without_detach() -> None:
    """Of a training loop without detach, the row before the error says which state it is."""
    layer = Parts(torch.nn).LSTM()

    def train(x: Tensor) -> None:
        state = None
        for window in x.split(3, 1):
            output, state = layer(window, state)
            output.sum().backward()

    with pytest.raises(RuntimeError, match="second time") as caught:
        rnnkit.trace(train, X)

    found = caught.value.trace  # type: ignore[attr-defined]
    assert [row.marks for row in found.rows] == snapshot(
        [
            [],
            [
                "its h belongs to the graph of row 0, which backward has freed: detach it",
                "its c belongs to the graph of row 0, which backward has freed: detach it",
            ],
        ]
    )
    assert caught.value.__notes__ == snapshot(
        ["rnnkit.trace: 2 rows until then, in this error's .trace"]
    )
