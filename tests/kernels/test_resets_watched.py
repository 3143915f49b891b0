"""``reset`` under what watches a call or changes its numbers: transforms, traces, autocast, dropout."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import rnnkit
from rnnkit._kernels import paths
from tests.kernels.paths import (
    BATCH,
    LENGTHS,
    SEQ,
    case_of,
    close,
    kinds,
    layers,
    mask,
    on,
    skip_without_kernel,
)
from tests.kernels.test_resets import drawn, reset_paths
from tests.strategies import assert_same, tensors_of


@layers
def test_under_vmap(name: str) -> None:
    """Each of many batches has resets of its own."""
    case = case_of(name, bidirectional=True)
    layer, reset = case.module(rnnkit), torch.stack([mask(), mask(0.1)])
    x = torch.randn(2, SEQ, BATCH, 6, dtype=torch.float64)

    actual = torch.func.vmap(lambda x, reset: layer(x, reset=reset)[0])(x, reset)

    each = [layer(one, reset=cut)[0] for one, cut in zip(x, reset, strict=True)]
    close(actual, torch.stack(each))


@layers
@pytest.mark.needs_torch("2.13", "torch.func.jvp reads no value of a tensor made inside of it")
@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_forward_derivatives(name: str) -> None:
    """Forward-mode derivatives are those of backward mode."""
    case = case_of(name, num_layers=2)
    layer, x = case.module(rnnkit), case.numbers().detach()
    tangent = torch.randn_like(x)

    def output(x: Tensor) -> Tensor:
        return layer(x, lengths=LENGTHS, reset=mask())[0]

    _, actual = torch.func.jvp(output, (x,), (tangent,))
    _, expected = torch.autograd.functional.jvp(output, x, tangent)

    close(actual, expected)


@layers
def test_traced(name: str) -> None:
    """A trace takes the mask as an input."""
    layer = case_of(name).module(rnnkit).eval().requires_grad_(requires_grad=False)
    x = torch.randn(SEQ, BATCH, 6, dtype=torch.float64)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that tracing is old, and that sizes are fixed
        traced = torch.jit.trace(
            lambda x, reset: layer(x, reset=reset)[0], (x, mask()), check_trace=False
        )

    close(traced(x, mask(0.1)), layer(x, reset=mask(0.1))[0])


@pytest.mark.unhooked("a tracer's sizes are tensors")
@layers
def test_unrolled_cells_traced(name: str) -> None:
    """So does a trace of unroll."""
    layer = case_of(name).module(rnnkit).requires_grad_(requires_grad=False)
    (cell,) = layer.cells()
    x = torch.randn(SEQ, BATCH, 6, dtype=torch.float64)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(
            lambda x, reset: rnnkit.unroll(cell, x, reset=reset)[0],
            (x, mask()), check_trace=False,
        )  # fmt: skip

    close(traced(x, mask(0.1)), rnnkit.unroll(cell, x, reset=mask(0.1))[0])


@pytest.mark.covering(2)
@kinds
@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("number", [1.0, float("nan")])
def test_autocast(kind: str, rate: float, number: float) -> None:
    """Under autocast output and state are of the dtype that they have without resets."""
    skip_without_kernel(kind)
    case = case_of(kind, torch.float32, num_layers=2, bidirectional=True)
    layer, x = case.module(rnnkit).eval(), case.numbers().detach()
    x[0, 0, 0] = number
    reset = torch.zeros(SEQ, BATCH, dtype=torch.bool)
    reset[2:] = torch.rand(SEQ - 2, BATCH) < rate

    with torch.autocast("cpu", torch.bfloat16):
        expected = layer(x)
        actual = layer(x, reset=reset)

    dtypes = [tensor.dtype for tensor in tensors_of(expected)]
    assert [tensor.dtype for tensor in tensors_of(actual)] == dtypes
    clean = layer(x, reset=reset)[0][:, 1:]
    torch.testing.assert_close(actual[0][:, 1:].float(), clean, rtol=0.05, atol=0.05)


@kinds
def test_autocast_without_a_kernel(kind: str) -> None:
    """Where autocast asks for a kernel that is missing, resets run as without autocast."""
    case = case_of(kind, torch.float32)
    layer, x = case.module(rnnkit), case.numbers()

    with torch.autocast("cpu", torch.float16):
        output, state = layer(x, case.state(), reset=mask())
    sum(tensor.float().sum() for tensor in (output, *tensors_of(state))).backward()

    expected = layer(x, case.state(), reset=mask())[0]
    torch.testing.assert_close(output.float(), expected, rtol=0.05, atol=0.05)


@layers
def test_backward_under_autocast(name: str) -> None:
    """Gradients of what ran in full precision are of full precision, wherever backward is called."""
    case = case_of(name, torch.float32)
    layer, x = case.module(rnnkit), case.numbers()
    found = []
    for enabled in (False, True):
        with on("rows"):
            output, _ = layer(x, reset=mask())
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(torch.autograd.grad(output.sum(), [x, *layer.parameters()]))

    assert_same(*found)


@layers
def test_dropout_between_layers(name: str) -> None:
    """In training, features between two layers are dropped, by the random numbers of the moment."""
    case = case_of(name, num_layers=2, dropout=0.5)
    layer, x = case.module(rnnkit), case.numbers()

    for path in ("blank", "rows", "packed"):
        with on(path):
            torch.manual_seed(0)
            first = layer(x, reset=mask())[0]
            torch.manual_seed(0)
            assert_same(first, layer(x, reset=mask())[0])
            assert not torch.equal(first, layer(x, reset=mask())[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@kinds
def test_half_precision(kind: str, dtype: torch.dtype) -> None:
    """In half precision a batch keeps its dtype and is near to what it gives in float32."""
    case = case_of(kind, dtype, bidirectional=True)
    layer, x = case.module(rnnkit), case.numbers()

    output, state = layer(x, reset=mask())

    expected = copy.deepcopy(layer).float()(x.float(), reset=mask())[0]
    torch.testing.assert_close(output.float(), expected, rtol=0.05, atol=0.05)
    assert {tensor.dtype for tensor in (output, *tensors_of(state))} == {dtype}


@layers
@pytest.mark.unhooked("Dynamo cannot trace the checks that the hook adds")
@pytest.mark.slow
def test_compiled(name: str) -> None:
    """A compiled parent runs resets and lengths as the eager one does."""
    case = case_of(name, bidirectional=True)
    recurrent = rnnkit.Recurrent(case.module(rnnkit).cells()[:1])
    x = case.numbers()
    torch._dynamo.reset()

    compiled = torch.compile(
        lambda x, reset: recurrent(x, lengths=list(LENGTHS), reset=reset), backend="eager"
    )

    close(compiled(x, mask()), recurrent(x, lengths=list(LENGTHS), reset=mask()))


@reset_paths
@layers
def test_only_what_asks_for_a_gradient_has_one(name: str, path: str) -> None:
    """Frozen weights, an input without gradient, a state alone that has one: each may be."""
    case = case_of(name, num_layers=2)
    layer, x, tensors = case.module(rnnkit), case.numbers().detach(), case.tensors()
    hx: Any = tensors if case.is_lstm else tensors[0]
    layer.weight_hh_l0.requires_grad_(requires_grad=False)
    reset = drawn(case)
    reset[0] = False

    with on(path):
        output, state = layer(x, hx, reset=reset)
    sum(tensor.sum() for tensor in (output, *tensors_of(state))).backward()

    assert layer.weight_hh_l0.grad is None
    assert layer.weight_ih_l0.grad is not None
    assert all(tensor.grad.abs().sum() > 0 for tensor in tensors)


@pytest.mark.covering(2)
@pytest.mark.parametrize("reset", [None, mask()], ids=["lengths", "resets"])
@pytest.mark.parametrize("path", ["rows", "packed", "padded", "steps"])
@kinds
def test_checkpointed(kind: str, path: str, reset: Tensor | None) -> None:
    """Under a checkpoint, which runs a layer once more in the backward pass, gradients are the same."""
    case = case_of(kind)
    layer, x = case.module(rnnkit), case.numbers()
    lengths = LENGTHS if reset is None else None

    def run(x: Tensor) -> Tensor:
        output: Tensor = layer(x, lengths=lengths, reset=reset)[0]
        return output.square().sum()

    leaves = [x, *layer.parameters()]
    with on(path):
        expected = torch.autograd.grad(run(x), leaves)
        found = torch.autograd.grad(checkpoint(run, x, use_reentrant=False), leaves)

    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of torch's kernels
@pytest.mark.parametrize("reset", [None, mask()], ids=["lengths", "resets"])
@pytest.mark.parametrize("path", ["rows", "packed", "padded", "steps"])
@kinds
def test_many_gradients_at_once(kind: str, path: str, reset: Tensor | None) -> None:
    """A batch of gradients gives for each what that one gives alone, as torch's kernels do."""
    case = case_of(kind)
    layer, x = case.module(rnnkit), case.numbers()
    leaves = [x, *layer.parameters()]
    with on(path):
        output, _ = layer(x, lengths=LENGTHS if reset is None else None, reset=reset)
        many = torch.randn(3, *output.shape, dtype=output.dtype)

        def derived(gradient: Tensor, **options: Any) -> tuple[Tensor, ...]:
            return torch.autograd.grad(output, leaves, gradient, retain_graph=True, **options)

        expected = [torch.stack(each) for each in zip(*map(derived, many), strict=True)]
        close(derived(many, is_grads_batched=True), expected)
        close(torch.vmap(derived)(many), expected)


def test_a_finite_half_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum of a finite output in half precision may be infinite: that is no reason to run again."""
    layer, x = rnnkit.LSTM(1, 64).half(), torch.ones(200, 16, 1, dtype=torch.half)
    torch.nn.init.constant_(layer.bias_ih_l0, 3.0)
    reset = torch.zeros(200, 16, dtype=torch.bool)
    reset[100] = True
    monkeypatch.setattr(paths, "_run_pieces", None)

    with on("blank"), torch.no_grad():
        output, _ = layer(x, reset=reset)

    assert output.sum().isinf()
    assert output.isfinite().all()


def test_a_relu_by_hand_passes_gradients_of_what_is_no_number() -> None:
    """Where the output of a relu is NaN, its gradient goes on, as through torch's kernel."""
    case = case_of("RNN relu")
    layer, x = case.module(rnnkit), case.numbers().detach()
    x[1, 2] = torch.nan

    def gradients() -> tuple[Tensor, ...]:
        output = layer(x, lengths=[SEQ, 3, SEQ, 3, 3])[0]
        return torch.autograd.grad(output.sum(), list(layer.parameters()))

    with on("rows"):
        found = gradients()
    with on("packed"):
        torch.testing.assert_close(found, gradients(), equal_nan=True)


@layers
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_without_numbers(name: str, lengths: Any) -> None:
    """On the meta device a call has the shapes that it has elsewhere."""
    case = case_of(name, bidirectional=True)
    layer, x = case.module(rnnkit), case.numbers()

    expected = layer(x, lengths=lengths, reset=mask())
    actual = layer.to("meta")(x.to("meta"), lengths=lengths, reset=mask())

    assert [t.shape for t in tensors_of(actual)] == [t.shape for t in tensors_of(expected)]
