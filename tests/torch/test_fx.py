"""Torch.fx records a call of our modules as one node, as it does for torch's classes.

A tracer knows torch's classes by the package they live in; ours must be a leaf without that.
"""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.utils import _pytree as pytree

import rnnkit
from tests.torch.side_by_side import BATCH, HIDDEN, INPUT, assert_same, carried, pair, sample, six


class Plain(nn.Module):
    """A model that gives its recurrent module no state."""

    def __init__(self, core: nn.Module) -> None:
        """Keep the parts."""
        super().__init__()
        self.before = nn.Linear(INPUT, INPUT)
        self.core = core

    def forward(self, x: Tensor) -> object:
        """Run the recurrent module on the transformed input."""
        return self.core(self.before(x))


class Stateful(Plain):
    """A model that hands a state through."""

    def forward(self, x: Tensor, hx: object) -> object:
        """Run the recurrent module from a state."""
        return self.core(self.before(x), hx)


class Keywords(Plain):
    """A model that names the arguments."""

    def forward(self, x: Tensor, hx: object) -> object:
        """Run the recurrent module from a state."""
        return self.core(input=self.before(x), hx=hx)


class StartsFromParameter(Plain):
    """A model whose first state is learned."""

    def __init__(self, core: nn.Module, state: Tensor | tuple[Tensor, Tensor]) -> None:
        """Keep the parts."""
        super().__init__(core)
        self.start = nn.ParameterList(pytree.tree_leaves(state))

    def forward(self, x: Tensor) -> object:
        """Run the recurrent module from the learned state."""
        return self.core(x, self.start[0] if len(self.start) == 1 else tuple(self.start))


class ReadsConstant(Plain):
    """A model whose input is a constant and whose state is not, as in a decoder's first step."""

    def __init__(self, core: nn.Module, constant: Tensor) -> None:
        """Keep the parts."""
        super().__init__(core)
        self.register_buffer("constant", constant)

    def forward(self, hx: object) -> object:
        """Run the recurrent module on the constant."""
        return self.core(self.constant, hx)


class Unpacks(Plain):
    """A model that makes a pair of two tensors and takes the pair in the result apart."""

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        """Use all three results."""
        output, (h, c) = self.core(x, (h, c))
        return output.sum(0) + h[0] - c[0]


class NoLeaves(fx.Tracer):
    """A tracer that looks into every module."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 - torch's form
        """Say no."""
        return False


class LinearLeaves(fx.Tracer):
    """A tracer with its own idea of a leaf on top of torch's."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Say yes to Plain's linear module, and ask torch about the rest."""
        return "before" in module_qualified_name or super().is_leaf_module(m, module_qualified_name)


def steps(graph: fx.Graph) -> list[tuple[str, str]]:
    """The nodes of a graph: kind and target."""
    return [(node.op, str(node.target)) for node in graph.nodes]


def assert_traced_alike(
    theirs: nn.Module, ours: nn.Module, args: tuple[object, ...], tracer: type[fx.Tracer]
) -> None:
    """Both give the same graph, in which ours is one node, and it computes what torch computes."""
    graphs = [tracer().trace(model) for model in (theirs, ours)]

    assert steps(graphs[1]) == steps(graphs[0])
    assert steps(graphs[1]).count(("call_module", "core")) == 1
    assert_same(theirs(*args), fx.GraphModule(ours, graphs[1])(*args))


@pytest.mark.covering(2)
@six
@pytest.mark.parametrize("tracer", [fx.Tracer, LinearLeaves])
@pytest.mark.parametrize("model", [Plain, Stateful, Keywords])
def test_one_node(name: str, tracer: type[fx.Tracer], model: type[nn.Module]) -> None:
    """With or without a state, by position or by name, a call is one node."""
    torch.manual_seed(0)
    args = (sample(name),) if model is Plain else (sample(name), carried(name))

    assert_traced_alike(*pair(name, model), args, tracer)


@six
def test_learned_state(name: str) -> None:
    """A state that is a parameter of the model becomes an argument of the node."""
    torch.manual_seed(0)

    models = pair(name, StartsFromParameter, carried(name))

    assert_traced_alike(*models, (sample(name),), fx.Tracer)


@six
def test_constant_input(name: str) -> None:
    """A call is one node too if only its state is traced."""
    torch.manual_seed(0)

    models = pair(name, ReadsConstant, sample(name))

    assert_traced_alike(*models, (carried(name),), fx.Tracer)


def test_unpacked_result() -> None:
    """`out, (h, c) = lstm(x, (h, c))` can be traced."""
    torch.manual_seed(0)
    args = sample("LSTM"), *carried("LSTM")

    assert_traced_alike(*pair("LSTM", Unpacks), args, fx.Tracer)


@six
def test_leaf_by_itself(name: str) -> None:
    """A tracer that calls no module a leaf fails on torch's class; ours stays one node."""
    torch.manual_seed(0)
    theirs, ours = pair(name, Plain)
    with pytest.raises(fx.proxy.TraceError):
        NoLeaves().trace(theirs)

    graph = NoLeaves().trace(ours)

    assert ("call_module", "core") in steps(graph)
    x = sample(name)
    assert_same(theirs(x), fx.GraphModule(ours, graph)(x))


@pytest.mark.unhooked("torch.fx cannot read a function that is wrapped so")
@six
def test_root_is_no_leaf(name: str) -> None:
    """Tracing a bare module fails for ours as for torch's, and records no call of itself."""
    for module in (nn, rnnkit):
        with pytest.raises((fx.proxy.TraceError, AttributeError, NameError)):
            fx.symbolic_trace(getattr(module, name)(INPUT, HIDDEN))


@six
def test_graph_module_in_use(name: str) -> None:
    """A traced model is copied, given shapes and trained, its module of our class still."""
    torch.manual_seed(0)
    theirs, ours = pair(name, Plain)
    x = sample(name)

    traced = copy.deepcopy(fx.symbolic_trace(ours))
    ShapeProp(traced).propagate(x)

    shapes = {node.name: node.meta["tensor_meta"] for node in traced.graph.nodes}
    results = pytree.tree_leaves(theirs(x))
    assert pytree.tree_leaves(shapes["core"])[0] == pytree.tree_leaves(shapes["output"])[0]
    assert type(traced.core) is getattr(rnnkit, name)
    for model in (theirs, traced):
        pytree.tree_leaves(model(x))[0].square().sum().backward()
    assert_same(results, traced(x))
    assert_same(
        [parameter.grad for parameter in theirs.parameters()],
        [parameter.grad for parameter in traced.parameters()],
    )


@six
def test_refusal_in_a_graph(name: str) -> None:
    """A traced model checks its calls as the eager one does."""
    traced = fx.symbolic_trace(pair(name, Stateful)[1])
    x = torch.randn(*sample(name).shape[:-2], BATCH + 2, INPUT)

    with pytest.raises(rnnkit.StateError):
        traced(x, carried(name))


@pytest.mark.parametrize("model", [Plain, Stateful, Keywords])
@pytest.mark.parametrize("kind", ["Recurrent", "projected cell"])
def test_one_node_of_what_torch_lacks(kind: str, model: type[nn.Module]) -> None:
    """So is a call of what torch has no class of: one node, in which no weight is read."""
    torch.manual_seed(0)
    projected = rnnkit.LSTM(INPUT, HIDDEN, proj_size=2).cells()[0]
    core = rnnkit.Recurrent(projected) if kind == "Recurrent" else projected
    x = sample("LSTM" if kind == "Recurrent" else "LSTMCell")
    first = core.initial_state(BATCH)
    traced_model = model(core)

    traced = fx.symbolic_trace(traced_model)

    args = (x,) if model is Plain else (x, first)
    assert steps(traced.graph).count(("call_module", "core")) == 1
    assert not [step for step in steps(traced.graph) if step[0] == "get_attr"]
    assert_same(traced_model(*args), traced(*args))


class Steps(nn.Module):
    """A model that runs two time steps, the second from the state of the first."""

    def __init__(self, core: Any) -> None:
        """Keep the layer."""
        super().__init__()
        self.core = core

    def forward(self, x_t: Tensor) -> object:
        """Run both on one input."""
        _, state = self.core.step(x_t)
        return self.core.step(x_t, state)


@pytest.mark.unhooked("the annotations ask for a tensor, and a proxy comes")
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", ["GRU", "LSTM", "Recurrent"])
def test_steps(kind: str, batch_first: bool) -> None:
    """Steps are traced in either layout, for input with a batch and without."""
    torch.manual_seed(0)
    core: Any = rnnkit.Recurrent(rnnkit.LSTMCell(INPUT, HIDDEN), batch_first=batch_first)
    if kind != "Recurrent":
        core = getattr(rnnkit, kind)(INPUT, HIDDEN, batch_first=batch_first)
    model = Steps(core)

    traced = fx.symbolic_trace(model)

    for x_t in (torch.randn(BATCH, INPUT), torch.randn(INPUT)):
        assert_same(model(x_t), traced(x_t))
