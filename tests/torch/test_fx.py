"""Torch.fx records a call of our modules as one node, as it does for torch's classes.

A tracer knows torch's classes by the package they live in; ours must be a leaf without that.
"""

import copy

import pytest
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.utils import _pytree as pytree

import rnnkit
from tests.torch.interop import BATCH, HIDDEN, INPUT, carried, pair, same, sample, six


class Uses(nn.Module):
    """A model that uses its recurrent module in one way."""

    def __init__(self, core, use, *given):
        super().__init__()
        self.before = nn.Linear(INPUT, INPUT)
        self.core = core
        self.use = use
        self.given = nn.ParameterList(given)

    def forward(self, x, hx=None):
        """Use it."""
        return self.use(self, x, hx)


#: How a model calls its recurrent module: without a state, with one, by name, from a learned one, on
#: a constant from a state that is none, as in a decoder's first step, and with pairs taken apart.
USES = {
    "plain": lambda m, x, _: m.core(m.before(x)),
    "stateful": lambda m, x, hx: m.core(m.before(x), hx),
    "by name": lambda m, x, hx: m.core(input=m.before(x), hx=hx),
    "learned": lambda m, x, _: m.core(x, m.given[0] if len(m.given) == 1 else tuple(m.given)),
    "constant": lambda m, x, _: m.core(m.given[0], x),
    "two steps": lambda m, x_t, _: m.core.step(x_t, m.core.step(x_t)[1]),
}


def unpacked(model, x, hx):
    """Make a pair of two tensors, and take the pair in the result apart."""
    output, (h, c) = model.core(x, (hx[0], hx[1]))
    return output.sum(0) + h[0] - c[0]


class Leaves(fx.Tracer):
    """A tracer with its own idea of a leaf: a name, beside torch's idea or in its place."""

    def __init__(self, *, also_torchs):
        super().__init__()
        self.also_torchs = also_torchs

    def is_leaf_module(self, m, module_qualified_name):
        """Say yes to Plain's linear module, and maybe ask torch about the rest."""
        asked = self.also_torchs and super().is_leaf_module(m, module_qualified_name)
        return "before" in module_qualified_name or asked


def steps(graph: fx.Graph) -> list[tuple[str, str]]:
    """The nodes of a graph: kind and target."""
    return [(node.op, str(node.target)) for node in graph.nodes]


@six
def test_one_node(name):
    """However a model calls it, by position or by name, a call is one node, as of torch's class."""
    x = sample(name)
    hx = carried(name)
    uses = [
        ("plain", (x,), []), ("stateful", (x, hx), []), ("by name", (x, hx), []),
        ("learned", (x,), pytree.tree_leaves(hx)), ("constant", (hx,), [x]),
        *([(unpacked, (x, hx), [])] if name == "LSTM" else []),
    ]  # fmt: skip
    for use, args, given in uses:
        theirs, ours = pair(name, Uses, USES.get(use, use), *given)
        for tracer in (fx.Tracer(), Leaves(also_torchs=True)):
            graphs = [tracer.trace(each) for each in (theirs, ours)]

            assert steps(graphs[1]) == steps(graphs[0])
            assert steps(graphs[1]).count(("call_module", "core")) == 1
            same(theirs(*args), fx.GraphModule(ours, graphs[1])(*args))

    # A tracer that calls no module a leaf fails on torch's class; ours stays one node.
    theirs, ours = pair(name, Uses, USES["plain"])
    graph = Leaves(also_torchs=False).trace(ours)
    assert ("call_module", "core") in steps(graph)
    same(theirs(x), fx.GraphModule(ours, graph)(x))


@six
def test_graph_module_in_use(name):
    """A traced model is copied, given shapes and trained, its module of our class still; it checks."""
    theirs, ours = pair(name, Uses, USES["plain"])
    x = sample(name)

    traced = copy.deepcopy(fx.symbolic_trace(ours))
    ShapeProp(traced).propagate(x)

    shapes = {node.name: node.meta.get("tensor_meta") for node in traced.graph.nodes}
    assert pytree.tree_leaves(shapes["core"])[0] == pytree.tree_leaves(shapes["output"])[0]
    assert type(traced.core) is getattr(rnnkit, name)
    results = theirs(x), traced(x)
    for result in results:
        pytree.tree_leaves(result)[0].square().sum().backward()
    same(*results)
    same(*([weight.grad for weight in model.parameters()] for model in (theirs, traced)))

    other = torch.randn(*x.shape[:-2], BATCH + 2, INPUT)
    with pytest.raises(rnnkit.StateError):
        fx.symbolic_trace(pair(name, Uses, USES["stateful"])[1])(other, carried(name))


@pytest.mark.unhooked("the annotations ask for a tensor, and a proxy comes")
@pytest.mark.parametrize("batch_first", [False, True])
def test_steps(batch_first):
    """Steps are traced in either layout, for input with a batch and without."""
    kinds = [kind(INPUT, HIDDEN, batch_first=batch_first) for kind in (rnnkit.GRU, rnnkit.LSTM)]
    for core in (*kinds, rnnkit.Recurrent(rnnkit.LSTMCell(INPUT, HIDDEN), batch_first=batch_first)):
        model = Uses(core, USES["two steps"])
        traced = fx.symbolic_trace(model)

        for x_t in (torch.randn(BATCH, INPUT), torch.randn(INPUT)):
            same(model(x_t), traced(x_t))


class OwnProxy:
    """A proxy of a tool that has its own copy of ``torch.fx``: no class of torch's."""

    def __init__(self, tracer):
        self.tracer = tracer
        self.node = None


class OwnTracer:
    """The tracer of such a tool."""

    def path_of_module(self, _):
        """Name any module."""
        return "core"

    def create_proxy(self, *record):
        """Return what is to be recorded."""
        return record


@pytest.mark.unhooked("the annotations ask for a tensor, and a proxy comes")
@six
def test_a_tools_own_copy_of_fx(name):
    """A proxy is known by what it has, and a call with one is recorded as a leaf, too."""
    module = getattr(rnnkit, name)(INPUT, HIDDEN)
    x = OwnProxy(OwnTracer())

    assert module(x) == ("call_module", "core", (x,), {})
    assert module(x, x) == ("call_module", "core", (x, x), {})
