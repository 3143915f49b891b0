"""Where the fused kernels cannot go, the loop can: transforms, compilers, exporters.

torch.nn's outcome stands beside ours, so that the documentation can say which path to take; if
torch learns one of these, its test here fails, and the path is told again.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

import rnnkit
from tests.compiles import compiles

SEQ, BATCH, WIDTH, HIDDEN = 5, 2, 3, 4

pytestmark = [
    compiles,
    # torch's rules for forward mode, which its exporter imports too, are themselves scripted.
    pytest.mark.filterwarnings("ignore:`torch.jit.script"),
    # scan compiles its step when it runs for itself, and says so when it does not.
    pytest.mark.filterwarnings("ignore:torch.compile is ignored when called inside:UserWarning"),
]


class Torch(nn.Module):
    """A head over torch's layer."""

    def __init__(self, kind: str) -> None:
        """Make the parts."""
        super().__init__()
        self.core = getattr(nn, kind)(WIDTH, HIDDEN)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Run over a sequence."""
        return self.head(self.core(x)[0])


class Unrolled(nn.Module):
    """A head over a cell."""

    def __init__(self, kind: str, **options: Any) -> None:
        """Make the parts."""
        super().__init__()
        self.core = cell(kind)
        self.head = nn.Linear(HIDDEN, 1)
        self.options = options

    def forward(self, x: Tensor, lengths: Any = None, reset: Any = None) -> Tensor:
        """Run over a sequence."""
        output, _ = rnnkit.unroll(self.core, x, lengths=lengths, reset=reset, **self.options)
        return self.head(output)


class Stacked(nn.Module):
    """A head over two layers in two directions."""

    def __init__(self, kind: str) -> None:
        """Make the parts."""
        super().__init__()
        cells, reverse_cells = ([cell(kind), cell(kind, 2 * HIDDEN)] for _ in range(2))
        self.core = rnnkit.Recurrent(cells, reverse_cells=reverse_cells)
        self.head = nn.Linear(2 * HIDDEN, 1)

    def forward(self, x: Tensor, lengths: Any = None) -> Tensor:
        """Run over a sequence."""
        return self.head(self.core(x, lengths=lengths)[0])


def cell(kind: str, width: int = WIDTH) -> Any:
    """Make a cell; 'projected' is an LSTM's with proj_size."""
    if kind == "projected":
        return rnnkit.LSTM(width, HIDDEN + 2, proj_size=HIDDEN).cells()[0]
    return getattr(rnnkit, f"{kind}Cell")(width, HIDDEN)


def sequences(*, seq: int = SEQ, batch: int = BATCH) -> Tensor:
    """Make an input."""
    return torch.randn(seq, batch, WIDTH)


kinds = pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "projected"])
models = pytest.mark.parametrize("model", [Unrolled, Stacked])
Model = Callable[[str], nn.Module]


def per_sample(module: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Differentiate each sample's loss for itself, all at once."""

    def loss(weights: dict[str, Tensor], sample: Tensor) -> Tensor:
        output = torch.func.functional_call(module, weights, (sample.unsqueeze(1),))
        return output.square().sum()

    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    return torch.func.vmap(torch.func.grad(loss), (None, 1))(weights, x)


@kinds
@models
def test_gradients_of_each_sample(kind: str, model: Model) -> None:
    """By vmap over grad a module has the gradients that a loop over samples gives."""
    module, x = model(kind), sequences()
    found = per_sample(module, x)
    for i in range(BATCH):
        loss = module(x[:, i : i + 1]).square().sum()
        expected = torch.autograd.grad(loss, list(module.parameters()))
        torch.testing.assert_close([grads[i] for grads in found.values()], list(expected))


@kinds
@models
def test_ensemble(kind: str, model: Model) -> None:
    """Several models run at once, by vmap over their stacked weights, as one by one."""
    modules, x = [model(kind) for _ in range(3)], sequences()
    state = torch.func.stack_module_state(modules)

    def run(*state: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(modules[0], state, (x,))

    outputs = torch.func.vmap(run)(*state)
    torch.testing.assert_close(outputs, torch.stack([module(x) for module in modules]))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_torch_has_no_ensemble(kind: str) -> None:
    """The layers of torch have no rule for vmap over their weights."""
    modules, x = [Torch(kind) for _ in range(3)], sequences()
    state = torch.func.stack_module_state(modules)
    with pytest.raises(RuntimeError, match="Batching rule not implemented"):
        torch.func.vmap(lambda *s: torch.func.functional_call(modules[0], s, (x,)))(*state)


@kinds
@models
def test_forward_mode(kind: str, model: Model) -> None:
    """jvp, dual numbers and the difference quotient agree."""
    module = model(kind).double()
    x = sequences().double()
    tangent = torch.randn_like(x)
    quotient = (module(x + 1e-6 * tangent) - module(x - 1e-6 * tangent)) / 2e-6

    _, derivative = torch.func.jvp(module, (x,), (tangent,))
    with forward_ad.dual_level():
        _, dual = forward_ad.unpack_dual(module(forward_ad.make_dual(x, tangent)))
    torch.testing.assert_close(derivative, quotient, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(dual, derivative)


def test_forward_mode_in_single_precision() -> None:
    """There torch's LSTM has none on CPU, where oneDNN runs it, and the loop has."""
    x, tangent = sequences(), sequences()
    for module in (Unrolled("LSTM"), Stacked("LSTM")):
        with forward_ad.dual_level():
            dual = forward_ad.unpack_dual(module(forward_ad.make_dual(x, tangent))).tangent
        torch.testing.assert_close(dual, torch.func.jvp(module, (x,), (tangent,))[1])
    if torch.backends.mkldnn.is_available():
        with pytest.raises(NotImplementedError, match="forward AD"):
            torch.func.jvp(Torch("LSTM"), (x,), (tangent,))


@kinds
def test_second_derivatives(kind: str) -> None:
    """The loop's gradients can be differentiated again, by the input and by every weight."""
    module = Unrolled(kind, fused=False).double()
    x = sequences(seq=3).double().requires_grad_()
    names, weights = zip(*module.named_parameters(), strict=True)

    def run(x: Tensor, *weights: Tensor) -> Tensor:
        state = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(module, state, (x, [3, 2]))

    assert torch.autograd.gradgradcheck(run, (x, *weights), fast_mode=True)


@kinds
def test_second_derivatives_in_single_precision(kind: str) -> None:
    """In float32 a penalty on the gradient has the gradient that it has in float64."""
    module = Unrolled(kind, fused=False)
    found = []
    for one in (module, copy.deepcopy(module).double()):
        x = torch.linspace(-1, 1, SEQ * BATCH * WIDTH).view(SEQ, BATCH, WIDTH)
        x = x.to(one.head.weight.dtype).requires_grad_()
        (slope,) = torch.autograd.grad(one(x).sum(), x, create_graph=True)
        weights = list(one.core.parameters())
        found.append([g.double() for g in torch.autograd.grad(slope.square().sum(), weights)])

    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@pytest.mark.parametrize(
    ("kind", "model"),
    [("RNN", Unrolled), ("LSTM", Stacked), ("GRU", Unrolled), ("projected", Unrolled)],
)
def test_one_graph_with_gradients(kind: str, model: Model) -> None:
    """Compiled with fullgraph=True it gives outputs and gradients, lengths or none."""
    module, x = model(kind), sequences(seq=3)
    torch._dynamo.reset()
    compiled: Any = torch.compile(module, backend="aot_eager", fullgraph=True)
    for lengths in (None, torch.tensor([3, 1])):
        outputs = [run(x, lengths) for run in (module, compiled)]
        grads = [
            torch.autograd.grad(output.square().sum(), list(module.parameters()))
            for output in outputs
        ]
        torch.testing.assert_close(*outputs)
        torch.testing.assert_close(*grads)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_torch_makes_no_graph(kind: str) -> None:
    """With default settings Dynamo refuses torch's layers."""
    torch._dynamo.reset()
    compiled: Any = torch.compile(Torch(kind), backend="eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="RNN, GRU, or LSTM"):
        compiled(sequences())
