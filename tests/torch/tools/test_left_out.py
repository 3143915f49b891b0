"""torch.compile with default settings: a layer stays out of the graph, and runs as it is."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.testing import assert_close

import rnnkit
from tests.compiles import count_afresh
from tests.covering import covers
from tests.strategies import LAYERS, assert_same
from tests.torch.interop import BATCH, HIDDEN, INPUT, SEQ, carried, sample
from tests.torch.models import Unrolled
from tests.torch.script_models import LENGTHS, Parent
from tests.torch.tools.tools import marks, trained

pytestmark = marks


class Model(Parent):
    """A model around a core: a layer of torch's, or ours, or a loop over a cell."""

    def forward(self, x, hx=None, **options):
        """Run the core on what the module before it returns."""
        x = self.before(x)
        if options.pop("packs", False):
            x = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
        if options.pop("steps", False):
            return self.core.step(x[0], hx)
        output, state = self.core(x, hx, **options)
        return output.data if isinstance(output, PackedSequence) else output, state


#: The options of a call, by what they are.
CALLS = {
    "plain": lambda _: {},
    "a state": lambda name: {"hx": carried(name)},
    "half a state": lambda name: {"hx": (carried(name)[0], None)} if name == "LSTM" else {},
    "packed": lambda _: {"packs": True},
    "lengths": lambda _: {"lengths": torch.tensor(LENGTHS)},
    "a list of lengths": lambda _: {"lengths": LENGTHS},
    "resets": lambda _: {"reset": torch.eye(SEQ, BATCH).bool()},
    "a step": lambda _: {"steps": True},
}


def frames() -> int:
    """Return how many frames Dynamo has compiled since they were last counted."""
    total = torch._dynamo.utils.counters["frames"]["total"]
    count_afresh()
    return total


def compiled(model: nn.Module, *, dynamic: bool | None = None):
    """Compile a model afresh."""
    torch._dynamo.reset()
    count_afresh()
    return torch.compile(model, backend="eager", dynamic=dynamic)


@covers(2, dynamic=[None, True], kind=CALLS, name=LAYERS)
def test_a_layer_runs_as_it_is(name, kind, dynamic):
    """Bits, of gradients too, are eager mode's; frames are torch's and two more, three of a step."""
    x = sample(name)
    options = CALLS[kind](name)
    theirs = Model(getattr(nn, name)(INPUT, HIDDEN))
    known = kind in ("plain", "a state", "packed")  # to torch's layers
    compiled(theirs, dynamic=dynamic)(x, **(options if known else {}))
    at_most = frames() + (3 if kind == "a step" else 2)
    model = Model(getattr(rnnkit, name)(INPUT, HIDDEN))
    found = trained(model, compiled(model, dynamic=dynamic), x, **options)
    assert frames() <= at_most
    assert_same(trained(model, model, x, **options), found)
    # Torch 2.15 takes a second model for the first.
    model = Model(getattr(rnnkit, name)(6, HIDDEN), nn.Linear(INPUT, 6))
    assert_same(torch.compile(model, backend="eager")(x, **options), model(x, **options))


def test_wrong_lengths_are_refused_as_in_eager_mode():
    """A compiled model raises the error of the layer, with its evidence and its code."""
    model = Model(rnnkit.GRU(INPUT, HIDDEN))
    with pytest.raises(
        rnnkit.LengthsError, match=r"lengths\[1\] is 9, but the input has 6"
    ) as caught:
        compiled(model)(sample("GRU"), lengths=[6, 9, 5, 1, 3])
    assert caught.value.code == "lengths-range"


@covers(2, kind=["plain", "lengths", "resets"], core=["Recurrent", "unroll"], name=LAYERS)
def test_what_needs_no_switch_stays_in_the_graph(name, core, kind):
    """A Recurrent and an unrolled cell compute the same inside of the graph, trained as well."""
    cell = getattr(rnnkit, f"{name}Cell")(INPUT, HIDDEN)
    model = Model(rnnkit.Recurrent(cell) if core == "Recurrent" else Unrolled(cell))
    x = sample(name)
    options = CALLS[kind](name)

    assert_close(compiled(model)(x, **options), model(x, **options))
    assert frames() <= 3
