"""``lengths`` and ``reset`` in training, in inference, and under what watches a call or its weights."""

import copy
from functools import partial
from itertools import product

import pytest
import torch
from torch.func import vmap
from torch.nn.utils import parametrizations, prune
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

import rnnkit
from rnnkit._base.state import state_of
from tests.covering import covers
from tests.kernels.paths import (
    BATCH,
    KINDS,
    LENGTHS,
    PATHS,
    RESET_PATHS,
    SEQ,
    by_cells,
    close,
    each_path,
    made,
    mask,
    on,
)
from tests.strategies import assert_same, gradients, tensors_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop"),  # of torch's kernels
    # torch's rules for forward mode are themselves scripted.
    pytest.mark.filterwarnings("ignore:.torch.jit"),
]

#: What cuts a batch, with each path on which it may run.
WAYS = [
    *product([{"lengths": LENGTHS}], PATHS),
    *product([{"reset": mask()}], RESET_PATHS),
]


#: Runs a test in each way, and on each kind.
in_each_way = covers(1, kind=KINDS, way=WAYS)


@in_each_way
def test_dropout(kind, way):
    """In evaluation it has no effect; in training it drops by the random numbers of the moment."""
    given, path = way
    _, plain, x = made(kind, num_layers=2, bidirectional=True)

    def output(probability, x=x, seed=0):
        torch.manual_seed(seed)
        dropping = copy.deepcopy(plain)
        dropping.dropout = probability
        return dropping(x, **given)[0]

    with on(path):
        plain.eval()
        assert_same(plain(x, **given)[0], output(0.5))
        plain.train()
        assert_same(output(0.5), output(0.5))
        assert not torch.equal(output(0.5), output(0.5, seed=1))
        assert_same(output(1.0), output(1.0, -x))


@each_path
def test_dropout_between_layers_in_training(path):
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


@in_each_way
def test_without_gradients(kind, way):
    """The numbers are the same, nothing asks for a gradient, and results take part in a graph."""
    given, path = way
    _, layer, x = made(kind, num_layers=2, bidirectional=True)
    weight = torch.ones((), dtype=x.dtype, requires_grad=True)

    with on(path):
        expected = layer(x, **given)
        with torch.inference_mode():
            close(layer(x, **given), expected)
        with torch.no_grad():
            found = tensors_of(layer(x, **given))

    close(found, expected)
    assert not any(tensor.requires_grad for tensor in found)
    sum((each * weight).sum() for each in found).backward()
    assert weight.grad is not None


@each_path
def test_a_relu_that_grows_without_bound(path):
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


def test_a_relu_by_hand_passes_gradients_of_what_is_no_number():
    """Where the output of a relu is NaN, its gradient goes on, as through torch's kernel."""
    _, layer, x = made("RNN relu")
    x = x.detach()
    x[1, 2] = torch.nan
    found = []
    for path in ("rows", "packed"):
        with on(path):
            output = layer(x, lengths=[SEQ, 3, SEQ, 3, 3])[0]
            found.append(torch.autograd.grad(output.sum(), list(layer.parameters())))

    assert_close(*found, equal_nan=True)


@covers(3, kind=KINDS, way=WAYS, how=["weight_norm", "prune"])
def test_weights_that_are_computed(kind, way, how):
    """A parametrized or pruned weight is what it has been trained to, in the cells too."""
    given, path = way
    _, layer, x = made(kind)
    if how == "prune":
        prune.l1_unstructured(layer, "weight_hh_l0", amount=0.5)
    else:
        parametrizations.weight_norm(layer, "weight_hh_l0")
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)

    with on(path):
        before = layer(x, **given)[0]
        before.sum().backward()
        optimizer.step()
        after = layer(x, **given)[0]

    assert not torch.equal(before, after)
    each = torch.tensor(given.get("lengths", (SEQ,) * BATCH))
    zeros = tensors_of(layer.initial_state(BATCH))
    close(after, by_cells(layer, x, zeros, each, given.get("reset"))[0])
    close(after, rnnkit.unroll(layer.cells()[0], x, **given)[0])


@covers(2, kind=KINDS, way=WAYS)
def test_each_weight_frozen(kind, way):
    """Whatever is frozen, the input among it, all else has the gradients that it has without."""
    given, path = way
    case, layer, x = made(kind)
    hx = case.tensors()
    leaves = [x, *hx, *layer.parameters()]

    def derive(wanted):
        return gradients(layer(x, state_of(hx), **given), wanted)

    with on(path):
        everything = derive(leaves)
        for frozen in leaves:
            frozen.requires_grad_(False)
            found = derive([leaf for leaf in leaves if leaf is not frozen])
            frozen.requires_grad_()

            pairs = zip(everything, leaves, strict=True)
            assert_close(found, [grad for grad, leaf in pairs if leaf is not frozen])


@in_each_way
def test_gradients_again_and_many_at_once(kind, way):
    """Under a checkpoint, which runs a layer once more, and as a batch, gradients are the same.

    A checkpoint stops the second run by an exception, which a loop over a cell hands on.
    """
    given, path = way
    _, layer, x = made(kind)
    (cell,) = layer.cells()
    leaves = [x, *layer.parameters()]
    with on(path):
        for run in (layer, partial(rnnkit.unroll, cell, fused=False)):
            output = run(x, **given)[0]
            again = checkpoint(run, x, use_reentrant=False, **given)[0]
            many = torch.randn(3, *output.shape, dtype=output.dtype)

            def derived(of, output=output, **options):
                return torch.autograd.grad(output, leaves, of, retain_graph=True, **options)

            expected = [torch.stack(each) for each in zip(*map(derived, many), strict=True)]
            close(derived(many, is_grads_batched=True), expected)
            close(vmap(derived)(many), expected)
            close(torch.autograd.grad(again, leaves, many[0]), derived(many[0]))
