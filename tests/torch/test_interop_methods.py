"""What layers have beside their call, in the hands of torch's tools: they trace, compile, map."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnkit
from rnnkit import states
from tests.torch.side_by_side import BATCH, HIDDEN, INPUT, SEQ, assert_same, layers

Use = Callable[[Any, Tensor], Any]


def last_hidden(layer: Any, x: Tensor) -> Any:
    """Summarize a sequence."""
    return layer.last_hidden(layer(x)[1])


def split(layer: Any, x: Tensor) -> Any:
    """Take the state apart; an output of a graph is no named tuple."""
    parts = layer.split_state(layer(x)[1])
    return tuple(parts) if isinstance(parts, tuple) else parts


def first_state(layer: Any, x: Tensor) -> Any:
    """Begin with the state that the layer gives."""
    return layer(x, layer.initial_state(x.shape[1]))[0]


def step(layer: Any, x: Tensor) -> Any:
    """Run one step."""
    return layer.step(x[0])[0]


def h_alone(layer: Any, x: Tensor) -> Any:
    """Begin with h, and zeros for c."""
    h = x.new_ones(1, x.shape[1], HIDDEN)
    return layer(x, (h, None) if isinstance(layer, nn.LSTM) else h)[0]


def c_alone(layer: Any, x: Tensor) -> Any:
    """Begin with c, and zeros for h."""
    c = x.new_ones(1, x.shape[1], HIDDEN)
    return layer(x, (None, c) if isinstance(layer, nn.LSTM) else c)[0]


def neither(layer: Any, x: Tensor) -> Any:
    """Begin with zeros for both."""
    return layer(x, (None, None) if isinstance(layer, nn.LSTM) else None)[0]


class Uses(nn.Module):
    """A model that uses a layer in one way."""

    def __init__(self, layer: Any, use: Use) -> None:
        """Keep the layer."""
        super().__init__()
        self.layer, self.use = layer, use

    def forward(self, x: Tensor) -> Any:
        """Use the layer."""
        return self.use(self.layer, x)


USES: list[Use] = [last_hidden, split, step, h_alone, c_alone, neither]
IN_A_GRAPH = pytest.param(
    first_state, marks=pytest.mark.needs_torch("2.13", "a Proxy is no size of a tensor")
)


def made(name: str, use: Use, **options: Any) -> tuple[Uses, Tensor, Tensor]:
    """Make a model, an input, and another one with a larger batch."""
    model = Uses(getattr(rnnkit, name)(INPUT, HIDDEN, **options), use)
    return model, torch.randn(SEQ, BATCH, INPUT), torch.randn(SEQ, BATCH + 2, INPUT)


@layers
@pytest.mark.parametrize("use", [*USES, first_state])
@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.unhooked("the hook's checks look at sizes, which are tensors there")
def test_jit_trace(name: str, use: Use) -> None:
    """A trace does what the model does, for a batch of another size too."""
    model, x, larger = made(name, use)

    traced = torch.jit.trace(model, x, check_trace=False)

    for given in (x, larger):
        assert_same(model(given), traced(given))


@layers
@pytest.mark.parametrize("use", [*USES, IN_A_GRAPH])
@pytest.mark.unhooked("the hook's checks refuse a Proxy")
def test_fx(name: str, use: Use) -> None:
    """A graph of torch.fx does what the model does, for a batch of another size too."""
    model, x, larger = made(name, use)

    traced = torch.fx.symbolic_trace(model)

    for given in (x, larger):
        assert_same(model(given), traced(given))


@pytest.mark.unhooked("the hook's checks refuse a Proxy")
def test_fx_of_a_layer_of_cells() -> None:
    """A layer over any cells is one node, as torch's layers are."""
    model = Uses(rnnkit.Recurrent(rnnkit.GRUCell(INPUT, HIDDEN)), lambda layer, x: layer(x)[0])
    x = torch.randn(SEQ, BATCH, INPUT)

    traced = torch.fx.symbolic_trace(model)

    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["layer"]
    assert_same(model(x), traced(x))


@pytest.mark.unhooked("the hook's checks refuse a SymInt")
def test_symbolic_sizes() -> None:
    """A first state may have a symbolic size."""
    model, x, _ = made("GRU", lambda layer, x: layer.initial_state(x.shape[1]))
    make_fx: Any = torch.fx.experimental.proxy_tensor.make_fx

    weights = dict(model.named_parameters())

    def call(weights: Any, x: Tensor) -> Any:
        return torch.func.functional_call(model, weights, (x,))

    graph = make_fx(call, tracing_mode="symbolic")(weights, x)

    assert graph(weights, x).shape == (1, BATCH, HIDDEN)


@layers
def test_functional_call(name: str) -> None:
    """A first state is in the dtype of the weights of this call, and of the next."""
    model, x, _ = made(name, first_state)
    double = {key: weight.detach().double() for key, weight in model.named_parameters()}

    assert torch.func.functional_call(model, double, (x.double(),)).dtype is torch.float64
    assert model(x).dtype is torch.float32


@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
def test_select_compiled() -> None:
    """Picking samples makes one graph."""
    state, index = torch.randn(1, BATCH, HIDDEN), torch.tensor([1, 0, 1])
    compiled = torch.compile(states.select, fullgraph=True, backend="eager")

    assert_same(states.select(state, index), compiled(state, index))


def test_select_under_vmap() -> None:
    """Each of many states has its own samples picked."""
    many, index = torch.randn(4, 1, BATCH, HIDDEN), torch.tensor([[1, 0], [0, 0], [1, 1], [0, 1]])

    expected = torch.stack([states.select(*one) for one in zip(many, index, strict=True)])

    assert_same(expected, torch.vmap(states.select)(many, index))


def test_reset_under_vmap() -> None:
    """Each of many states has its own samples reset."""
    many, mask = torch.randn(4, 1, BATCH, HIDDEN), torch.tensor([[1, 0], [0, 0], [1, 1], [0, 1]])

    expected = torch.stack([states.reset(*one) for one in zip(many, mask, strict=True)])

    assert_same(expected, torch.vmap(states.reset)(many, mask))


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_sparse_input_of_a_cell(name: str) -> None:
    """A cell takes what torch's takes: a sparse input, as of one-hot words."""
    x = torch.eye(INPUT)[:BATCH].to_sparse()
    theirs, ours = (getattr(module, name)(INPUT, HIDDEN) for module in (nn, rnnkit))
    ours.load_state_dict(theirs.state_dict())

    assert_same(theirs(x), ours(x))


def test_c_in_another_precision() -> None:
    """A cell in bfloat16 may keep c in float32, as torch's on CPU takes it."""
    theirs, ours = (kind(INPUT, HIDDEN).bfloat16() for kind in (nn.LSTMCell, rnnkit.LSTMCell))
    ours.load_state_dict(theirs.state_dict())
    x, h = torch.randn(BATCH, INPUT).bfloat16(), torch.randn(BATCH, HIDDEN).bfloat16()
    c = torch.randn(BATCH, HIDDEN)

    assert_same(theirs(x, (h, c)), ours(x, (h, c)))


@pytest.mark.unhooked("the hook's checks refuse a Proxy")
def test_fx_of_a_pair_put_together() -> None:
    """A pair of values of the graph is a state of the layer."""

    def swapped_back(layer: Any, x: Tensor) -> Any:
        state = layer(x)[1]
        return layer.last_hidden((state[0], state[1]))

    model, x, _ = made("LSTM", swapped_back)

    assert_same(model(x), torch.fx.symbolic_trace(model)(x))


def test_first_state_of_a_parametrized_layer() -> None:
    """A layer whose first weight is computed has a first state in that weight's dtype."""
    layer = rnnkit.LSTM(INPUT, HIDDEN, dtype=torch.float64)
    nn.utils.parametrizations.weight_norm(layer, "weight_ih_l0")

    state = layer.initial_state(BATCH)

    assert state.h.shape == (1, BATCH, HIDDEN)
    assert state.c.dtype is torch.float64
    layer(torch.randn(SEQ, BATCH, INPUT, dtype=torch.float64), state)
