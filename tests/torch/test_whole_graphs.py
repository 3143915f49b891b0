"""Layers, ``unroll`` and ``Recurrent`` of rnnkit's cells are one whole graph, training included."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.func import functional_call, grad, vmap

import rnnkit
from tests.compiles import WHOLE, switched_on, trained
from tests.torch.side_by_side import HIDDEN, INPUT

pytestmark = WHOLE
_switched_on = pytest.fixture(autouse=True)(switched_on)


class Parent(nn.Module):
    """A model with something before and after its recurrent part."""

    def __init__(self, core: nn.Module, width: int) -> None:
        """Keep the parts."""
        super().__init__()
        self.before = nn.Linear(INPUT, INPUT)
        self.core = core
        self.after = nn.Linear(width, 2)

    def forward(self, x: Tensor, hx: Any = None, **options: Any) -> Any:
        """Run the recurrent part between two linear ones."""
        output, state = self.core(torch.tanh(self.before(x)), hx, **options)
        return self.after(output), state


class Unrolled(nn.Module):
    """A cell over the steps, with the options of ``unroll``."""

    def __init__(self, cell: nn.Module, **options: Any) -> None:
        """Keep the cell."""
        super().__init__()
        self.cell = cell
        self.options = options

    def forward(self, x: Tensor, hx: Any = None, **options: Any) -> Any:
        """Run over a sequence."""
        return rnnkit.unroll(self.cell, x, hx, **self.options, **options)


def check(model: nn.Module, calls: list[tuple[Any, ...]], **tolerance: Any) -> None:
    """Hold a compiled model to the eager one: results and gradients, all calls by few graphs."""
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, fullgraph=True, backend=counter, dynamic=True)
    for *args, kwargs in calls:
        expected = trained(model, model, *args, **kwargs)
        found = trained(model, compiled, *args, **kwargs)
        torch.testing.assert_close(found, expected, **tolerance)
    # A state of one layer in one direction has an axis of 1, whose strides are a case of their own.
    assert counter.frame_count <= 3


@pytest.mark.parametrize(
    "options", [{"dropout": 0.5}, {"dtype": torch.float64}, {"dtype": torch.bfloat16}], ids=str
)
def test_dropout_and_dtypes(options: dict[str, Any]) -> None:
    """Dropout draws the numbers that it draws eagerly, and each dtype has a kernel."""
    model = Parent(rnnkit.LSTM(INPUT, HIDDEN, num_layers=2), HIDDEN)
    model.core.dropout, dtype = options.get("dropout", 0.0), options.get("dtype", torch.float32)
    tolerance = {"rtol": 0.1, "atol": 0.1} if dtype is torch.bfloat16 else {}

    check(model.to(dtype), [(torch.randn(6, 4, INPUT, dtype=dtype), None, {})], **tolerance)


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_one_graph_for_all_sizes(name: str) -> None:
    """Two sizes make two graphs, however many follow; axes that are marked make one."""
    layer = getattr(rnnkit, name)(INPUT, HIDDEN)
    sizes = [(6, 4), (9, 5), (8, 2), (12, 3)]
    for expected, marked in ((2, False), (1, True)):
        torch._dynamo.reset()
        counter = CompileCounterWithBackend("aot_eager")
        compiled = torch.compile(Parent(layer, HIDDEN), fullgraph=True, backend=counter)
        for steps, batch in sizes:
            x = torch.randn(steps, batch, INPUT)
            if marked:
                torch._dynamo.mark_dynamic(x, (0, 1))
            compiled(x)[0].sum().backward()

        assert counter.frame_count == expected


CELLS: dict[str, Any] = {
    "LSTM": rnnkit.LSTMCell, "GRU": rnnkit.GRUCell, "RNN": rnnkit.RNNCell,
}  # fmt: skip


def test_recurrent_of_many_steps() -> None:
    """A graph of 300 steps, two layers and two directions has as many nodes as one of three."""
    cells = [rnnkit.LSTMCell(INPUT, HIDDEN), rnnkit.GRUCell(2 * HIDDEN, HIDDEN)]
    core = rnnkit.Recurrent(cells, reverse_cells=copy.deepcopy(cells), dropout=0.5)
    model, nodes = Parent(core, 2 * HIDDEN), []

    def count(graph: torch.fx.GraphModule, _: Any) -> Any:
        nodes.append(len(graph.graph.nodes))
        return graph.forward

    with torch._dynamo.config.patch(allow_rnn=False):
        for steps in (3, 300):
            torch._dynamo.reset()
            x = torch.randn(steps, 2, INPUT)
            compiled = torch.compile(model, fullgraph=True, backend=count, dynamic=False)
            torch.testing.assert_close(
                trained(model, compiled, x), trained(model, model, x), rtol=1e-4, atol=1e-4
            )

    assert nodes[0] == nodes[1]


@pytest.mark.parametrize(
    ("name", "lowered"),
    [("RNN", torch.bfloat16), ("LSTM", torch.float16), ("GRU", torch.bfloat16)],
)
def test_under_autocast(name: str, lowered: torch.dtype) -> None:
    """A compiled layer has the results and dtypes that autocast gives it eagerly."""
    model = Parent(getattr(rnnkit, name)(INPUT, HIDDEN), HIDDEN)
    # oneDNN's half-precision LSTM is not on every CPU.
    with torch.backends.mkldnn.flags(enabled=False), torch.autocast("cpu", dtype=lowered):
        check(model, [(torch.randn(6, 4, INPUT), None, {})], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", ["LSTM"])
def test_weights_frozen_and_computed(name: str) -> None:
    """Frozen weights get no gradient, and computed ones pass theirs on."""
    layer = getattr(rnnkit, name)(INPUT, HIDDEN, num_layers=2)
    layer.weight_hh_l0.requires_grad_(requires_grad=False)
    nn.utils.parametrizations.weight_norm(layer, "weight_hh_l1")
    check(Parent(layer, HIDDEN), [(torch.randn(6, 4, INPUT), None, {})])

    assert layer.weight_hh_l0.grad is None


@pytest.mark.parametrize("name", ["RNN"])
def test_transforms_take_the_loop(name: str) -> None:
    """Per-sample gradients compile too: the operator has no rule for them, the loop has."""
    loop = rnnkit.Recurrent(getattr(rnnkit, name)(INPUT, HIDDEN).cells())
    weights = {key: value.detach() for key, value in loop.named_parameters()}

    def loss(weights: dict[str, Tensor], sample: Tensor) -> Tensor:
        output, _ = functional_call(loop, weights, (sample.unsqueeze(1),))
        return output.square().sum()

    each = vmap(grad(loss), (None, 1))
    x = torch.randn(5, 3, INPUT)

    torch.testing.assert_close(
        torch.compile(each, backend="aot_eager")(weights, x), each(weights, x)
    )


class Checked(rnnkit.GRU):
    """A user's layer with a check of their own."""

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Refuse what is too long."""
        assert input.shape[0] < 8
        super().check_input(input, batch_sizes)


def test_a_subclass_with_a_check_keeps_it() -> None:
    """Where a user has replaced one of torch's checks, torch's own forward is traced."""
    layer = Checked(INPUT, HIDDEN)
    x = torch.randn(6, 4, INPUT)
    targets: list[str] = []

    def note(graph: torch.fx.GraphModule, _: Any) -> Any:
        targets.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    found = torch.compile(layer, fullgraph=True, backend=note)(x)

    torch.testing.assert_close(found, layer(x))
    assert not any("rnnkit" in target for target in targets)
