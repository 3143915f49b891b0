"""``lengths`` in training and inference: dropout, autocast, other weights, no gradients."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.utils import parametrizations, prune

import rnnkit
from tests.kernels.paths import (
    KINDS,
    LENGTHS,
    SEQ,
    case_of,
    kinds,
    layers,
    on,
    paths,
    skip_without_kernel,
)
from tests.strategies import assert_same, tensors_of

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")


def cut(layer: Any, x: Tensor, hx: Any = None) -> list[Tensor]:
    """The outputs of the samples that have steps, each run alone, one below the other."""
    rows = []
    for sample, length in enumerate(LENGTHS):
        if length:
            one: Any = None if hx is None else [t[:, sample] for t in tensors_of(hx)]
            start = one if one is None or len(one) > 1 else one[0]
            rows.append(layer(x[:length, sample], start)[0])
    return rows


def valid(output: Tensor) -> list[Tensor]:
    """What a padded output holds up to each length, of the samples that have steps."""
    return [output[:length, sample] for sample, length in enumerate(LENGTHS) if length]


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
@paths
@kinds
@pytest.mark.parametrize("given", [False, True])
def test_autocast(kind: str, path: str, *, given: bool) -> None:
    """Under autocast a padded batch is near to its samples without."""
    skip_without_kernel(kind)
    case = case_of(kind, torch.float32, num_layers=2, bidirectional=True)
    layer, x = case.module(rnnkit), case.numbers()
    hx = case.state() if given else None

    with on(path), torch.autocast("cpu", torch.bfloat16):
        output, state = layer(x, hx, lengths=LENGTHS)
    sum(tensor.float().sum() for tensor in (output, *tensors_of(state))).backward()

    expected = cut(layer, x, hx)
    torch.testing.assert_close(
        [one.float() for one in valid(output)], expected, rtol=0.05, atol=0.05
    )
    assert x.grad is not None
    assert x.grad.isfinite().all()


@paths
@kinds
def test_autocast_of_samples_without_steps(kind: str, path: str) -> None:
    """Under autocast a sample without steps changes no dtype, not even of a float32 state."""
    skip_without_kernel(kind)
    case = case_of(kind, torch.float32, num_layers=2, bidirectional=True)
    layer, x, hx = case.module(rnnkit), case.numbers(), case.state()
    some = [max(1, length) for length in LENGTHS]

    with on(path), torch.autocast("cpu", torch.bfloat16):
        expected = tensors_of(layer(x, hx, lengths=some))
        actual = tensors_of(layer(x, hx, lengths=LENGTHS))

    assert [tensor.dtype for tensor in actual] == [tensor.dtype for tensor in expected]


@paths
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [*((kind, torch.bfloat16) for kind in KINDS), ("LSTM", torch.complex128)],
)
def test_half_precision_and_complex_numbers(kind: str, dtype: torch.dtype, path: str) -> None:
    """A padded batch keeps its dtype and is near to its samples alone."""
    case = case_of(kind, dtype, bidirectional=True)
    layer, x = case.module(rnnkit), case.numbers()

    with on(path):
        output, state = layer(x, lengths=LENGTHS)

    torch.testing.assert_close(valid(output), cut(layer, x), rtol=0.05, atol=0.05)
    assert {tensor.dtype for tensor in (output, *tensors_of(state))} == {dtype}
    assert all(tensor.isfinite().all() for tensor in tensors_of(state))


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


@pytest.mark.covering(2)
@kinds
@pytest.mark.parametrize("size", [(3, 5, 2, 4), (16, 40, 8, 64)])
@pytest.mark.parametrize("fill", [0.15, 0.9])
def test_the_road_of_its_own_choice(kind: str, size: tuple[int, ...], fill: float) -> None:
    """Small or large, mostly padding or hardly any: each sample gives what it gives alone."""
    batch, seq, features, hidden = size
    lengths = [max(1, round(seq * fill)) - n % 2 for n in range(batch)]
    layer = getattr(rnnkit, kind.split(maxsplit=1)[0])(features, hidden, **KINDS[kind])
    x = torch.randn(seq, batch, features)

    output, _ = layer(x, lengths=lengths)

    for sample, length in enumerate(lengths):
        alone = layer(x[:length, sample])[0] if length else output[:0, sample]
        torch.testing.assert_close(output[:length, sample], alone, rtol=1e-4, atol=1e-5)
        assert not output[length:, sample].any()


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
    torch.testing.assert_close(valid(after), cut(layer, x), rtol=1e-10, atol=1e-10)


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


@paths
@layers
def test_layout_of_the_input_in_memory(name: str, path: str) -> None:
    """A transposed or sliced input gives what its copy gives, and is left as it was."""
    case = case_of(name, batch_first=True)
    layer = case.module(rnnkit)
    wide = torch.randn(SEQ, len(LENGTHS), 12, dtype=torch.float64)
    x = wide.transpose(0, 1)[:, :, ::2]
    kept = wide.clone()

    with on(path):
        assert_same(layer(x.contiguous(), lengths=LENGTHS), layer(x, lengths=LENGTHS))

    assert torch.equal(kept, wide)


@kinds
def test_path_under_autocast(kind: str) -> None:
    """Under autocast a batch runs padded, since packed it would come back in another dtype."""
    skip_without_kernel(kind)
    case = case_of(kind, torch.float32, num_layers=2)
    layer, x = case.module(rnnkit), case.numbers()

    with torch.autocast("cpu", torch.bfloat16):
        chosen = layer(x, lengths=LENGTHS)
        with on("padded"):
            assert_same(layer(x, lengths=LENGTHS), chosen)


@pytest.mark.parametrize("lengths", [LENGTHS, (SEQ,) * 5, (3,) * 5], ids=str)
@pytest.mark.parametrize("given", [False, True])
def test_autocast_without_a_kernel(lengths: tuple[int, ...], *, given: bool) -> None:
    """Where oneDNN has no kernel, as to train in float16, lengths run as without autocast."""
    case = case_of("LSTM", torch.float32, num_layers=2, bidirectional=True)
    layer, x = case.module(rnnkit), case.numbers()
    hx: Any = None if not given else case.state()
    with torch.autocast("cpu", torch.float16):
        result = layer(x, hx, lengths=lengths)
    (gradient,) = torch.autograd.grad(sum(tensor.sum() for tensor in tensors_of(result)), x)

    torch.testing.assert_close(result, layer(x, hx, lengths=lengths))
    assert gradient.isfinite().all()
