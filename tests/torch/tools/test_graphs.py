"""How many graphs are made, and of what size: of our modules no more than of torch's."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils import _pytree as pytree

import rnnkit
from tests.compiles import count_afresh, layers_in_graphs
from tests.torch.interop import CELLS, LAYERS, carried, pair, sample
from tests.torch.models import CORES, HIDDEN, WIDTH, Model, layer_of
from tests.torch.script_models import Parent
from tests.torch.tools.tools import marks, trained

pytestmark = marks


class Counted:
    """A module compiled afresh, and the graphs that were made for it."""

    def __init__(self, module, **options):
        torch._dynamo.reset()
        count_afresh()
        self.graphs = []
        self.call = torch.compile(module, backend=self._note, **options)

    def _note(self, graph, _):
        calls = [node for node in graph.graph.nodes if node.op.startswith("call")]
        self.graphs.append([getattr(node.target, "__name__", str(node.target)) for node in calls])
        return graph.forward


#: How many graphs torch's class and ours take for many sizes, and for many steps from a state. Dynamo
#: always looks into a cell, and into a layer if it is told to: torch's, unrolled, it traces again for
#: each number of steps, and ours for the first size, for all others, and for a single step or sample.
GRAPHS = {"LSTM": ((5, 3), (3, 2)), "GRUCell": ((3, 3), (1, 1)), "RNN": None}


@pytest.mark.parametrize("name", GRAPHS)
def test_as_many_graphs(name):
    """Over many sizes, square ones too, and from a state, ours costs no graph more than torch's."""
    sizes = [(sample(name, *each),) for each in ((5, 2), (6, 4), (3, 3), (1, 1), (7, 5))]
    begun = [(sample(name, seq, 4), carried(name, 4)) for seq in (5, 5, 6, 7)]
    models = pair(name, None if name in CELLS else Model)
    found = []
    with layers_in_graphs(name == "LSTM"):
        for calls in (sizes, begun):
            results = []
            counts = []
            for model in models:
                counted = Counted(model)
                results.append(pytree.tree_leaves([counted.call(*args) for args in calls]))
                counts.append(len(counted.graphs))
            found.append(tuple(counts))
            assert_close(*results)
            # Where a layer is in no graph, how often Dynamo looks at it is no cost.
            assert GRAPHS[name] is None or not torch._dynamo.utils.counters["graph_break"]
    assert found == [*(GRAPHS[name] or [(theirs, theirs) for theirs, _ in found])]


def test_a_whole_graph_is_refused_as_for_torch():
    """Without allow_rnn Dynamo refuses a full graph of a layer, be it torch's or ours."""
    for name in LAYERS:
        for module in pair(name, Model):
            with pytest.raises(torch._dynamo.exc.Unsupported, match="RNN, GRU, or LSTM"):
                Counted(module, fullgraph=True).call(sample(name))


@pytest.mark.parametrize(
    ("core", "name", "option"),
    [("layer", "LSTM", ""), ("layer", "GRU", "reset"), ("unroll", "GRU", ""), ("step", "RNN", "")],
)
def test_one_graph_for_all_sizes(core, name, option):
    """Two sizes make two graphs, however many follow; axes that are marked make one."""
    model = CORES[core](name)
    for expected in (2, 1):
        with layers_in_graphs(core == "layer"):
            counted = Counted(model, fullgraph=True)
            for sizes in ((6, 4), (9, 5), (8, 2), (12, 3)):
                x = torch.randn(*sizes, WIDTH)
                x = x[0] if core == "step" else x
                given = {option: torch.rand(sizes) < 0.3} if option else {}
                if expected == 1:
                    for tensor in (x, *given.values()):
                        torch._dynamo.mark_dynamic(tensor, 0 if core == "step" else (0, 1))
                assert_close(counted.call(x, **given), model(x, **given))

        assert len(counted.graphs) == expected


def deep() -> nn.Module:
    """Two layers in two directions, with dropout between."""
    cells = [rnnkit.LSTMCell(WIDTH, HIDDEN), rnnkit.GRUCell(2 * HIDDEN, HIDDEN)]
    return rnnkit.Recurrent(cells, reverse_cells=copy.deepcopy(cells), dropout=0.5)


GROWING = {
    "Recurrent": deep,
    "layer": lambda: layer_of("LSTM", num_layers=2, bidirectional=True),
}


@pytest.mark.parametrize("core", GROWING)
def test_a_graph_does_not_grow(core):
    """It has as many nodes for three steps as for a hundred, also with resets and lengths."""
    model = Model(GROWING[core]())
    for with_pieces in (False, True):
        sizes = []
        for steps in (3, 100):
            x = torch.randn(steps, 4, WIDTH)
            lengths = torch.tensor([steps, 0, steps - 1, 1])
            pieces = {"reset": torch.rand(steps, 4) < 0.2, "lengths": lengths}
            options = pieces if with_pieces else {}
            with layers_in_graphs(core == "layer"):
                counted = Counted(model, fullgraph=True, dynamic=False)
                found = trained(model, counted.call, x, **options)
            assert_close(found, trained(model, model, x, **options), rtol=1e-4, atol=1e-4)
            sizes += [len(graph) for graph in counted.graphs]
        assert sizes == [sizes[0]] * 2


class Checked(rnnkit.GRU):
    """A user's layer with a check of their own."""

    def check_input(self, input, batch_sizes):
        """Refuse what is too long."""
        assert input.shape[0] < 8
        super().check_input(input, batch_sizes)


def test_a_subclass_with_a_check_keeps_it():
    """Where a user has replaced one of torch's checks, torch's own forward is traced."""
    layer = Checked(WIDTH, HIDDEN)
    x = torch.randn(6, 4, WIDTH)
    with layers_in_graphs():
        counted = Counted(layer, fullgraph=True)
        assert_close(counted.call(x), layer(x))
    assert not any("rnnkit" in target for target in counted.graphs[0])


@pytest.mark.parametrize(
    ("name", "strict"),
    [
        *(("RNN", False), ("GRU", False), ("LSTMCell", False), ("RNNCell", True)),
        pytest.param("LSTM", True, marks=pytest.mark.needs_torch("2.13", "strict, of a subclass")),
    ],
)
def test_an_exported_program_is_torchs(name, strict):
    """For a known number of steps it has torch's nodes and parameters, and needs no rnnkit."""
    theirs, ours = pair(name, Parent)
    free = {"x": {0 if name in CELLS else 1: torch.export.Dim("batch", min=2, max=64)}}
    programs = [
        torch.export.export(model, (sample(name),), dynamic_shapes=free, strict=strict)
        for model in (theirs, ours)
    ]

    nodes = [[str(node.target) for node in program.graph.nodes] for program in programs]
    assert len(nodes[0]) == len(nodes[1])
    assert not any("rnnkit" in target for target in nodes[1])
    assert sorted(programs[1].state_dict) == sorted(theirs.state_dict())
