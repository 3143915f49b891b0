"""torch.compile with default settings: a layer stays out of the graph, and runs as it is."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils import _pytree as pytree

import rnnkit
from rnnkit._base import dynamo
from tests.strategies import LAYERS, assert_same
from tests.torch.tools.tools import marks

pytestmark = marks

SEQ = 7
BATCH = 5
HIDDEN = 4
LENGTHS = [7, 2, 5, 1, 3]


class Parent(nn.Module):
    """A model around a core: a layer of torch's, or ours, or a loop over a cell."""

    def __init__(self, core: Any, width: int):
        super().__init__()
        self.before = nn.Linear(3, width)
        self.core = core

    def forward(self, x: Tensor, hx: Any = None, **options: Any) -> Any:
        """Run the core on what the module before it returns."""
        x = self.before(x)
        if options.pop("packs", False):
            x = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
        if isinstance(self.core, rnnkit.LSTMCell | rnnkit.GRUCell | rnnkit.RNNCell):
            return rnnkit.unroll(self.core, x, hx, **options)
        if options.pop("steps", False):
            return self.core.step(x[0], hx)
        output, state = self.core(x, hx, **options)
        return getattr(output, "data", output), state


def member(*axes: int) -> Tensor:
    """Return a part of a state."""
    return torch.randn(axes, generator=torch.Generator().manual_seed(1))


def whole_state(name: str) -> Any:
    """Return a state of one layer."""
    h = member(1, BATCH, HIDDEN)
    c = member(1, BATCH, HIDDEN)
    return (h, c) if name == "LSTM" else h


#: The options of a call, by what they are.
CALLS = {
    "plain": lambda _: {},
    "a state": lambda name: {"hx": whole_state(name)},
    "half a state": lambda name: {"hx": (member(1, BATCH, HIDDEN), None)} if name == "LSTM" else {},
    "packed": lambda _: {"packs": True},
    "lengths": lambda _: {"lengths": torch.tensor(LENGTHS)},
    "a list of lengths": lambda _: {"lengths": LENGTHS},
    "resets": lambda _: {"reset": torch.eye(SEQ, BATCH).bool()},
    "a step": lambda _: {"steps": True},
}


def frames() -> int:
    """Return how many frames Dynamo has compiled since they were last counted."""
    total = torch._dynamo.utils.counters["frames"]["total"]
    torch._dynamo.utils.counters.clear()
    return total


def compiled(model: nn.Module, *, dynamic: bool | None, backend: str = "eager") -> Any:
    """Compile a model afresh."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    return torch.compile(model, backend=backend, dynamic=dynamic)


@pytest.mark.parametrize("dynamic", [None, True])
@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_runs_as_it_is(name: str, kind: str, dynamic: bool | None):
    """Bits are eager mode's, whatever a call has, and frames are torch's and two more at most."""
    x = torch.randn(SEQ, BATCH, 3)
    options = CALLS[kind](name)
    theirs = Parent(getattr(nn, name)(3, HIDDEN), 3)
    known = kind in ("plain", "a state", "packed")  # to torch's layers
    compiled(theirs, dynamic=dynamic)(x, **(options if known else {}))
    at_most = frames() + 2
    for width in (3, 6):  # torch 2.15 takes the second model for the first
        model = Parent(getattr(rnnkit, name)(width, HIDDEN), width)
        run = (
            compiled(model, dynamic=dynamic)
            if width == 3
            else torch.compile(model, backend="eager")
        )
        assert_same(run(x, **options), model(x, **options))
        if width == 3:
            assert frames() <= at_most


@pytest.mark.parametrize("kind", ["lengths", "a list of lengths", "resets"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_trains_as_it_is(name: str, kind: str):
    """Gradients have eager mode's bits where the graphs around a layer are differentiated ahead."""
    model = Parent(getattr(rnnkit, name)(3, HIDDEN), 3)
    x = torch.randn(SEQ, BATCH, 3)
    options = CALLS[kind](name)
    slopes = []
    for call in (model, compiled(model, dynamic=None, backend="aot_eager")):
        model.zero_grad()
        sum(x.square().sum() for x in pytree.tree_leaves(call(x, **options))).backward()
        slopes.append([weight.grad for weight in model.parameters()])

    assert_same(slopes[0], slopes[1])


def test_wrong_lengths_are_refused_as_in_eager_mode():
    """A compiled model raises the error of the layer, with its evidence and its code."""
    model = Parent(rnnkit.GRU(3, HIDDEN), 3)
    with pytest.raises(
        rnnkit.LengthsError, match=r"lengths\[1\] is 9 and the input has 7"
    ) as caught:
        compiled(model, dynamic=None)(torch.randn(SEQ, BATCH, 3), lengths=[7, 9, 5, 1, 3])
    assert caught.value.code == "lengths-range"


@pytest.mark.parametrize("kind", ["plain", "lengths", "resets"])
@pytest.mark.parametrize("core", ["Recurrent", "unroll"])
@pytest.mark.parametrize("name", LAYERS)
def test_what_needs_no_switch_stays_in_the_graph(name: str, core: str, kind: str):
    """A Recurrent and an unrolled cell compute the same inside of the graph, trained as well."""
    cell = getattr(rnnkit, f"{name}Cell")(3, HIDDEN)
    model = Parent(rnnkit.Recurrent(cell) if core == "Recurrent" else cell, 3)
    x = torch.randn(SEQ, BATCH, 3)
    options = CALLS[kind](name)
    run = compiled(model, dynamic=None)

    torch.testing.assert_close(run(x, **options), model(x, **options))
    assert frames() <= 3


def test_a_whole_graph_of_a_layer_with_the_switch():
    """With ``allow_rnn``, a model and a bare layer make one whole graph, as before."""
    layer = rnnkit.GRU(3, HIDDEN)
    x = torch.randn(SEQ, BATCH, 3)
    with torch._dynamo.config.patch(allow_rnn=True):
        for module in (layer, Parent(rnnkit.LSTM(6, HIDDEN), 6)):
            torch._dynamo.reset()
            run = torch.compile(module, backend="eager", fullgraph=True)
            torch.testing.assert_close(run(x), module(x))


def test_without_torchs_private_names_more_is_compiled_and_nothing_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
):
    """If torch drops the way to skip frames, a compiled layer computes what it does in pieces."""
    monkeypatch.setattr(dynamo, "CAN_SKIP", False)
    model = Parent(rnnkit.GRU(3, HIDDEN), 3)
    x = torch.randn(SEQ, BATCH, 3)

    call = compiled(model, dynamic=None)

    torch.testing.assert_close(call(x), model(x))
