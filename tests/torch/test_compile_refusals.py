"""Compiled, a module refuses what it refuses in eager mode, and takes a state with its batch first."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from rnnkit import states
from tests.compiles import Compiled, compiles
from tests.torch.side_by_side import (
    BATCH,
    HIDDEN,
    INPUT,
    assert_close,
    carried,
    layers,
    pair,
    sample,
    settings,
)

LENGTHS = "lengths must be integers from 0 to seq, one for each sample"
RESET = "reset must be booleans, or 0 and 1"
#: Values that a graph meets only when it runs, what it says of them, and values that are right.
VALUES = {
    "negative": ("lengths", LENGTHS, [-1, 3], [0, 3]),
    "too long": ("lengths", LENGTHS, [6, 3], [5, 3]),
    "not a flag": ("reset", RESET, [[0, 2]] * 5, [[0, 1]] * 5),
}
#: Who runs the graph, of what, and which values: every pair, and inductor once.
GRAPHS = [
    (runner, run, value)
    for place, runner in enumerate(("eager", "aot_eager", "export"))
    for run, value in zip(
        ("layer", "cells", "user's cell"), [*VALUES, *VALUES][place : place + 3], strict=True
    )
] + [("inductor", "layer", "too long"), ("export, strict", "user's cell", "negative")]


class Own(nn.Module):
    """A user's cell."""

    def __init__(self) -> None:
        """Make the weights."""
        super().__init__()
        self.linear = nn.Linear(7, 4)

    def forward(self, input: Tensor, hx: Tensor) -> Tensor:
        """Run one step."""
        return self.linear(torch.cat([input, hx], 1)).tanh()

    def initial_state(self, batch_size: int) -> Tensor:
        """Return zeros."""
        return torch.zeros(batch_size, 4)


RUN = {
    "layer": lambda: rnnkit.LSTM(3, 4),
    "cells": lambda: rnnkit.Recurrent(rnnkit.GRU(3, 4).cells()),
    "user's cell": lambda: rnnkit.Recurrent(Own()),
}


def graph_of(module: nn.Module, runner: str, x: Tensor, options: dict[str, Any]) -> Any:
    """One graph of the whole module."""
    torch._dynamo.reset()
    if runner.startswith("export"):
        return torch.export.export(module, (x,), options, strict=runner.endswith("strict")).module()
    return torch.compile(module, backend=runner, fullgraph=True)


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@pytest.mark.parametrize(("runner", "run", "value"), GRAPHS)
def test_a_graph_refuses_values_when_it_runs(runner: str, run: str, value: str) -> None:
    """A wrong length or flag ends the call in our sentence; a right one after it runs."""
    (name, sentence, wrong, right), module, x = VALUES[value], RUN[run](), torch.randn(5, 2, 3)
    with torch._dynamo.config.patch(allow_rnn=True):
        graph = graph_of(module, runner, x, {name: torch.tensor(right)})

        with pytest.raises(RuntimeError, match=sentence):
            graph(x, **{name: torch.tensor(wrong)})

        expected = module(x, **{name: torch.tensor(right)})
        torch.testing.assert_close(graph(x, **{name: torch.tensor(right)}), expected)


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@pytest.mark.parametrize(
    ("function", "sentence", "wrong"),
    [
        (states.reset, "mask must be booleans, or 0 and 1", [0, 2]),
        (states.select, "index must be positions of samples", [0, 2]),
    ],
)
def test_a_graph_refuses_positions_and_masks(function: Any, sentence: str, wrong: Any) -> None:
    """A function on states refuses in a graph what it refuses in eager mode."""
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    with pytest.raises(RuntimeError, match=sentence):
        compiled(torch.ones(1, 2, 4), torch.tensor(wrong))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("trace", ["compile", "export", "jit"])
def test_a_list_is_refused_while_it_is_traced(trace: str) -> None:
    """A list of ints is part of the graph: a wrong one is a LengthsError at once."""
    module, x = RUN["cells"]().requires_grad_(requires_grad=False), torch.randn(5, 2, 3)
    calls = {
        "compile": lambda: torch.compile(module, backend="aot_eager")(x, lengths=[6, 3]),
        "export": lambda: torch.export.export(module, (x,), {"lengths": [6, 3]}, strict=False),
        "jit": lambda: torch.jit.trace(lambda x: module(x, lengths=[6, 3])[0], (x,)),
    }
    with pytest.raises(rnnkit.LengthsError, match=r"lengths\[0\] is 6"):
        calls[trace]()


pytestmark = [
    pytest.mark.slow,
    # torch is about to retire what it still imports itself.
    pytest.mark.filterwarnings("ignore:.torch.jit"),
    compiles,
]

Call = tuple[Any, ...]


def bad_calls(name: str) -> list[Call]:
    """Calls that are refused: another width, another rank, a state of a larger batch."""
    x = sample(name)
    return [(x[..., :-1],), (x[None, None],), (x, carried(name, BATCH + 2))]


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@settings
def test_refusal_is_that_of_eager_mode(name: str, allow_rnn: bool) -> None:
    """Bad input of a compiled module raises our exception with the message of an eager call."""
    _, ours = pair(name)
    with torch._dynamo.config.patch(allow_rnn=allow_rnn):
        compiled = Compiled(ours)
        for call in bad_calls(name):
            with pytest.raises(rnnkit.RnnkitError) as eager:
                ours(*call)

            with pytest.raises(rnnkit.RnnkitError) as caught:
                compiled.call(*call)

            assert (caught.type, str(caught.value)) == (eager.type, str(eager.value))
            compiled.call(sample(name))


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@layers
def test_state_batch_first(name: str) -> None:
    """A layer with its state batch first is one graph too."""
    torch.manual_seed(0)
    layer = getattr(rnnkit, name)(INPUT, HIDDEN, num_layers=4, state_batch_first=True)
    x = sample(name)
    state = layer(x)[1]

    with torch._dynamo.config.patch(allow_rnn=True):
        assert_close(layer(x, state), Compiled(layer, fullgraph=True).call(x, state))
