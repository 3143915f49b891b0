"""``lengths`` in training and inference: dropout, autocast, other weights, no gradients."""

import copy
from typing import Any

import pytest
import torch
from torch.func import functional_call
from torch.nn.utils import parametrizations, prune

import rnnkit
from tests.kernels.paths import (
    LENGTHS,
    by_cells,
    case_of,
    close,
    kinds,
    layers,
    on,
    paths,
)
from tests.strategies import assert_same, tensors_of

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")


@paths
@layers
def test_dropout_has_no_effect_in_evaluation(name: str, path: str) -> None:
    """In evaluation a layer with dropout gives what the same layer gives without."""
    dropping = case_of(name, num_layers=2, dropout=0.5).module(rnnkit).eval()
    plain = case_of(name, num_layers=2).module(rnnkit)
    x = case_of(name).numbers()

    with on(path):
        assert_same(plain(x, lengths=LENGTHS), dropping(x, lengths=LENGTHS))


@paths
def test_dropout_between_layers_in_training(path: str) -> None:
    """Between layers each feature of each step is dropped with the probability, or scaled up."""
    lengths = [30, 0, 50, 17]
    layer = rnnkit.RNN(40, 40, 2, nonlinearity="relu", bias=False, dropout=0.4)
    for name, weight in layer.named_parameters():
        # What the upper layer reads is then what it gives.
        torch.nn.init.eye_(weight) if "ih" in name else torch.nn.init.zeros_(weight)

    with on(path):
        output, state = layer(torch.ones(50, 4, 40), lengths=lengths)
    kept = torch.cat([output[:length, sample] for sample, length in enumerate(lengths)])

    assert kept.unique().tolist() == [0, pytest.approx(1 / 0.6)]
    assert (kept == 0).float().mean().item() == pytest.approx(0.4, abs=0.03)
    assert len(kept.unique(dim=0)) == sum(lengths)
    assert_same(torch.stack([output[length - 1, n] for n, length in enumerate(lengths)]), state[1])
    assert state[0, [0, 2, 3]].eq(1).all()


@paths
@layers
def test_all_dropped(name: str, path: str) -> None:
    """With a dropout of 1 nothing of the input reaches the upper layer."""
    layer = case_of(name, num_layers=2, bidirectional=True, dropout=1.0).module(rnnkit)
    x = case_of(name).numbers()

    with on(path):
        assert_same(layer(x, lengths=LENGTHS)[0], layer(-x, lengths=LENGTHS)[0])


@pytest.mark.covering(2)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@paths
@kinds
def test_without_gradients(kind: str, path: str, mode: Any) -> None:
    """Without gradients the numbers are the same, and nothing asks for a gradient."""
    case = case_of(kind, num_layers=2, bidirectional=True)
    layer, x = case.module(rnnkit), case.numbers()

    with on(path):
        expected = layer(x, lengths=LENGTHS)
        with mode():
            actual = layer(x, lengths=LENGTHS)

    torch.testing.assert_close(tensors_of(actual), tensors_of(expected), rtol=1e-12, atol=1e-12)
    assert not any(tensor.requires_grad for tensor in tensors_of(actual))


@paths
def test_a_relu_that_grows_without_bound(path: str) -> None:
    """A relu RNN that would overflow on the padding has finite outputs and gradients."""
    layer = rnnkit.RNN(2, 3, nonlinearity="relu")
    with torch.no_grad():
        for weight, number in zip(layer.parameters(), (1, 10, 1, 1), strict=True):
            weight.fill_(number)
    x = torch.ones(60, 2, 2)
    x[:, 1] = -7
    x.requires_grad_()

    with on(path):
        output, state = layer(x, lengths=[3, 60])
    output.sum().backward()

    assert layer(x)[0].isinf().any()
    assert output.isfinite().all()
    assert state.isfinite().all()
    assert all(leaf.grad.isfinite().all() for leaf in (x, *layer.parameters()))


@paths
@kinds
def test_weights_given_for_one_call(kind: str, path: str) -> None:
    """functional_call runs a padded batch with the weights it is given."""
    case = case_of(kind, num_layers=2, bidirectional=True)
    layer, x = case.module(rnnkit), case.numbers()
    weights = {name: weight * 2 for name, weight in layer.named_parameters()}
    doubled = copy.deepcopy(layer)
    doubled.load_state_dict(weights)

    with on(path):
        actual = functional_call(layer, weights, (x,), {"lengths": LENGTHS})
        assert_same(doubled(x, lengths=LENGTHS), actual)


@paths
@layers
@pytest.mark.parametrize("how", ["weight_norm", "prune"])
def test_weights_that_are_computed(name: str, path: str, how: str) -> None:
    """A parametrized or pruned weight is, in a padded batch too, what it has been trained to."""
    case = case_of(name)
    layer, x = case.module(rnnkit), case.numbers()
    if how == "prune":
        prune.l1_unstructured(layer, "weight_hh_l0", amount=0.5)
    else:
        parametrizations.weight_norm(layer, "weight_hh_l0")
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)

    with on(path):
        layer(x, lengths=LENGTHS)[0].sum().backward()
        before = layer(x, lengths=LENGTHS)[0]
        optimizer.step()
        after = layer(x, lengths=LENGTHS)[0]

    assert not torch.equal(before, after)
    zeros = tensors_of(layer.initial_state(len(LENGTHS)))
    close(after, by_cells(layer, x, zeros, torch.tensor(LENGTHS), None)[0])


@paths
@kinds
def test_two_windows_are_one_sequence(kind: str, path: str) -> None:
    """The state after a first window, whatever its lengths, carries into the next one."""
    case = case_of(kind, num_layers=2)
    layer, x = case.module(rnnkit), case.numbers()
    counts = torch.tensor(LENGTHS)

    with on(path):
        _, expected = layer(x, lengths=counts)
        _, state = layer(x[:3], lengths=counts.clamp(max=3))
        _, state = layer(x[3:], state, lengths=(counts - 3).clamp(min=0))

    torch.testing.assert_close(tensors_of(state), tensors_of(expected), rtol=1e-10, atol=1e-10)
