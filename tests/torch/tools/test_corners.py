"""Tools at the corners: models, calls and settings that the table of tools does not have."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import rnnkit
from rnnkit import LSTMState
from tests.compiles import layers_in_graphs, without_onednn
from tests.strategies import laid_out, tensors_of
from tests.torch.models import CORES, HIDDEN, WIDTH, Call, Model, layer_of
from tests.torch.script_models import Packs
from tests.torch.tools.tools import check, marks

pytestmark = marks

X = torch.randn(6, 4, WIDTH)
RESET = torch.rand(6, 4, generator=torch.Generator().manual_seed(1)) < 0.3


class Corner(NamedTuple):
    """A model, its calls, and what is allowed of its graphs and numbers."""

    model: nn.Module
    calls: list[Call]
    graphs: int = 1
    tolerance: float | None = None


def plain(core, x=X, hx=None, **options):
    """Return a corner of one call."""
    return Corner(Model(core).to(x.dtype), [((x, hx), options)])


def sizes(core: str, name: str, *each: tuple[int, int], **options: bool) -> Corner:
    """Calls that differ in their first two axes; a compiler makes a graph for each of them."""
    calls = [((torch.randn(*size, WIDTH), None), {}) for size in each]
    return Corner(Model(CORES[core](name, **options)), calls, len(each))


def anywhere() -> Corner:
    """However input, state, lengths and mask lie in memory."""
    layer = layer_of("LSTM", num_layers=2, batch_first=True, state_batch_first=True)
    hx = LSTMState(*(laid_out(torch.randn(4, 2, HIDDEN), "overlapping") for _ in "hc"))
    x = laid_out(torch.randn(4, 6, WIDTH), "exchanged")
    lengths = laid_out(torch.tensor([5, 6, 0, 1]), "cut out")
    reset = laid_out(RESET.mT, "exchanged")
    return plain(layer, x, hx, lengths=lengths, reset=reset)._replace(graphs=2)


def with_dropout(dtype: torch.dtype = torch.float32) -> Corner:
    """Dropout draws the numbers that it draws eagerly, in each dtype."""
    layer = layer_of("LSTM", num_layers=2, dropout=0.5)
    return plain(layer, torch.randn(6, 4, WIDTH, dtype=dtype))


class Tied(nn.Module):
    """Two layers that share the weights of the hidden side."""

    def __init__(self):
        super().__init__()
        self.first = layer_of("GRU")
        self.second = layer_of("GRU", width=HIDDEN)
        self.second.weight_hh_l0 = self.first.weight_hh_l0
        self.second.bias_hh_l0 = self.first.bias_ih_l0

    def forward(self, x, hx=None):
        """Run one on the other's output."""
        return self.second(self.first(x, hx)[0], hx)


def computed() -> Corner:
    """Frozen weights get no gradient, and computed ones pass theirs on."""
    layer = layer_of("LSTM", num_layers=2)
    layer.weight_hh_l0.requires_grad_(False)
    return plain(parametrizations.weight_norm(layer, "weight_hh_l1"))


class Learned(rnnkit.LSTM):
    """A layer whose first state is a parameter."""

    def __init__(self):
        super().__init__(WIDTH, HIDDEN)
        self.first = nn.Parameter(torch.randn(HIDDEN))

    def initial_state(self, batch_size):
        """Begin each sample alike."""
        state = self.first.expand(1, batch_size, -1)
        return LSTMState(state, state.tanh())


def packing(name: str) -> Corner:
    """A compiled model may pack inside."""
    each = torch.tensor([5, 2]), torch.tensor([3, 4, 5])
    calls = [((torch.randn(5, len(sizes), WIDTH),), {"sizes": sizes}) for sizes in each]
    model = Packs(layer_of(name, num_layers=2, bidirectional=True))
    model.is_cut = True  # by Dynamo, where it packs
    return Corner(model, calls)


def kinds_of_state() -> Corner:
    """A tuple, a list and an LSTMState; without a batch; a transposed input."""
    alone = torch.randn(6, WIDTH)
    pair = [torch.randn(1, 4, HIDDEN), torch.randn(1, 4, HIDDEN)]
    calls = [
        (X, tuple(pair)),
        (X, pair),
        (X, LSTMState(*pair)),
        (X, (pair[0], None)),
        (alone, None),
        (alone, tuple(part[:, 0] for part in pair)),
        (X.mT.contiguous().mT, LSTMState(*pair)),
    ]
    return Corner(Model(layer_of("LSTM")), [(call, {}) for call in calls], len(calls))


def computed_cell(how) -> Corner:
    """A cell whose first weight is computed."""
    cell = rnnkit.GRUCell(WIDTH, HIDDEN)
    how(cell, "weight_ih")
    return plain(cell, torch.randn(4, WIDTH))


#: By the tool.
CORNERS = {
    "compile": {
        # One step, one sample, one of each, and a batch of none.
        "sizes, layer": lambda: sizes("layer", "LSTM", (1, 1), (1, 3), (4, 1), (1, 0)),
        "sizes, Recurrent": lambda: sizes("Recurrent", "GRU", (1, 1), (1, 3), (4, 0)),
        "memory": anywhere,
        "dropout": with_dropout,
        "bfloat16": lambda: with_dropout(torch.bfloat16)._replace(tolerance=0.1),
        "frozen and computed": computed,
    },
    "Dynamo": {
        "tied": lambda: Corner(Tied(), [((X,), {})]),
        "a learned state": lambda: plain(Learned(), reset=RESET),
        "array of lengths": lambda: plain(layer_of("GRU"), lengths=np.array([3, 1, 6, 0])),
        "packs": lambda: packing("GRU"),
        "states": kinds_of_state,
        "pruned cell": lambda: computed_cell(lambda *at: prune.l1_unstructured(*at, 0.5)),
        "computed cell": lambda: computed_cell(parametrizations.weight_norm),
    },
    "compile, as it is": {"packs": lambda: packing("LSTM"), "states": kinds_of_state},
    "export": {
        # The number of steps changes alone.
        "more steps": lambda: sizes("layer", "LSTM", (6, 4), (9, 4)),
        "more steps, batch first": lambda: sizes("layer", "LSTM", (4, 6), (4, 9), batch_first=True),
        "all states": lambda: sizes("unroll", "LSTM", (6, 4), (9, 5), return_states=True),
    },
}


@pytest.mark.parametrize(
    ("tool", "corner"), [(tool, corner) for tool, corners in CORNERS.items() for corner in corners]
)
@pytest.mark.needs_torch("2.13", "Dynamo knows no array as one, and strict export no subclass")
def test_a_corner(tool, corner):
    """There, too, what a tool makes of a model keeps the law."""
    model, calls, graphs, tolerance = CORNERS[tool][corner]()
    given = {} if tolerance is None else {"rtol": tolerance, "atol": tolerance}
    check(tool, model, calls, graphs=graphs, **given)


HALF = [
    ("layer", "LSTM", {}),
    ("layer", "GRU", {}),
    ("unroll", "LSTM", {}),
    ("unroll", "RNN", {"reset": RESET, "lengths": torch.tensor([6, 2, 0, 4])}),
]


@pytest.mark.parametrize(("core", "name", "options"), HALF)
def test_under_autocast(core, name, options):
    """A compiled layer has the results and dtypes that autocast gives it eagerly.

    With resets the operator steps aside: the graph has a loop, and is as right.
    """
    lowered = torch.float16 if (core, name) == ("layer", "LSTM") else torch.bfloat16
    model, calls, *_ = plain(CORES[core](name), **options)
    # oneDNN's half-precision LSTM is not on every CPU. Where it is not, a cell runs its steps
    # eagerly, in float32, and a layer is refused; without oneDNN, torch has a kernel of its own.
    has_kernel = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    onednn = torch.backends.mkldnn.flags(enabled=has_kernel and core == "unroll" and not options)
    with onednn, torch.autocast("cpu", dtype=lowered):
        check("compile", model, calls, rtol=0.05, atol=0.05)


def test_with_something_switched_off():
    """Without oneDNN there are other kernels; without gradients no result requires one."""
    model, calls, *_ = plain(layer_of("LSTM"))
    with without_onednn():
        check("compile", model, calls)
    for off in (torch.no_grad, torch.inference_mode):
        torch._dynamo.reset()
        with off(), layers_in_graphs():
            found = torch.compile(model, fullgraph=True, backend="aot_eager")(*calls[0][0])
            assert not any(tensor.requires_grad for tensor in tensors_of(found))
            torch.testing.assert_close(tensors_of(found), tensors_of(model(*calls[0][0])))
