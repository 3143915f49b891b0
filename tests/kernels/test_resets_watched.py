"""``reset`` under what watches a call or changes its numbers: transforms, traces, autocast, dropout."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import rnnkit
from tests.kernels.paths import (
    BATCH,
    LENGTHS,
    SEQ,
    case_of,
    close,
    drawn,
    kinds,
    layers,
    mask,
    on,
    reset_paths,
)
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


@pytest.mark.unhooked("a tracer's sizes are tensors")
@pytest.mark.parametrize("unrolled", [False, True])
@layers
def test_traced(name: str, unrolled: bool) -> None:
    """A trace takes the mask as an input, of a layer and of unroll."""
    layer = case_of(name).module(rnnkit).eval().requires_grad_(requires_grad=False)
    (cell,) = layer.cells()
    x = torch.randn(SEQ, BATCH, 6, dtype=torch.float64)

    def run(x: Tensor, reset: Tensor) -> Tensor:
        return (rnnkit.unroll(cell, x, reset=reset) if unrolled else layer(x, reset=reset))[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that tracing is old, and that sizes are fixed
        traced = torch.jit.trace(run, (x, mask()), check_trace=False)

    close(traced(x, mask(0.1)), run(x, mask(0.1)))
