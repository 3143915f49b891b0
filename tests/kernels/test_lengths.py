"""``lengths``: each sample of a padded batch gives what it gives alone, cut to its length."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import rnnkit
from tests.kernels.paths import KINDS, LENGTHS, SEQ, case_of, kinds, layers, on, paths
from tests.strategies import (
    APART,
    WAYS,
    Case,
    assert_same,
    cases,
    gradients,
    laid_out,
    tensors_of,
)

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")


def turned(case: Case, tensor: Tensor) -> Tensor:
    """Bring an input or output from the layout of the case to (seq, batch, ...), and back."""
    return tensor.transpose(0, 1) if case.options.get("batch_first") else tensor


def beyond(case: Case, lengths: tuple[int, ...], tensor: Tensor) -> Tensor:
    """What an input or output holds beyond the lengths, one row for each such step."""
    steps = torch.arange(case.seq).unsqueeze(1)
    return turned(case, tensor)[steps >= torch.tensor(lengths)]


def poisoned(case: Case, lengths: tuple[int, ...]) -> Tensor:
    """The case's numbers, NaN and infinity beyond the lengths; a leaf."""
    numbers = case.numbers().detach().clone()
    for sample, length in enumerate(lengths):
        padding = turned(case, numbers)[length:, sample]
        padding[::2] = torch.nan
        padding[1::2] = torch.inf
    # Steps and samples that are one in memory would all be padding.
    way = case.memory.get("input")
    return laid_out(numbers, way if way in APART else WAYS[0]).requires_grad_()


def alone(case: Case, layer: Any, lengths: tuple[int, ...], numbers: Tensor, hx: Any) -> Any:
    """Output and state of torch's layer, run on one sample after the other, each without batch."""
    outputs, states = [], []
    starts = tuple(torch.zeros(shape, dtype=case.dtype) for shape in case.state_shapes)
    starts = starts if hx is None else hx
    for sample, length in enumerate(lengths):
        start: Any = tuple(tensor[:, sample] for tensor in starts)
        width = start[0].shape[-1] * (1 + case.options.get("bidirectional", False))
        output = torch.zeros(0, width, dtype=case.dtype)
        end = start
        if length:
            sequence = turned(case, numbers)[:length, sample]
            output, end = layer(sequence, start if case.is_lstm else start[0])
        outputs.append(torch.nn.functional.pad(output, (0, 0, 0, case.seq - length)))
        states.append(tensors_of(end))
    columns = [torch.stack(tensors, dim=1) for tensors in zip(*states, strict=True)]
    return turned(case, torch.stack(outputs, dim=1)), columns


def check_alone(
    case: Case, lengths: tuple[int, ...], state: str, path: str, tolerance: float = 1e-10
) -> None:
    """Output, state and gradients of a padded batch are those of each sample alone."""
    tensors = () if state == "none" else case.tensors()
    counts = case.laid_out("lengths", torch.tensor(lengths)) if case.memory else list(lengths)
    lengths = tuple(int(count) for count in counts)
    numbers, padded = case.numbers(), poisoned(case, lengths)
    theirs = case.module(torch.nn).eval()
    ours = case.module(rnnkit, state_batch_first=state == "batch first").eval()
    hx: Any = tuple(t.transpose(0, 1) for t in tensors) if state == "batch first" else tensors
    hx = None if not tensors else hx if case.is_lstm else hx[0]

    expected, ends = alone(case, theirs, lengths, numbers, tensors or None)
    with on(path):
        actual, carried = ours(padded, hx, lengths=counts)
    carried = tensors_of(carried)
    if state == "batch first":
        carried = [tensor.transpose(0, 1) for tensor in carried]
    way = case.memory.get("gradients", WAYS[0])
    of_alone = gradients([expected, *ends], [numbers, *tensors, *theirs.parameters()], way)
    of_batch = gradients([actual, *carried], [padded, *tensors, *ours.parameters()], way)

    assert not beyond(case, lengths, actual).any()
    assert not beyond(case, lengths, of_batch[0]).any()
    torch.testing.assert_close(
        [actual, *carried, *of_batch],
        [expected, *ends, *of_alone],
        rtol=tolerance,
        atol=tolerance,
    )


@pytest.mark.covering(3)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("state", ["none", "given", "batch first"])
@paths
@kinds
def test_each_sample_as_alone_for_every_option(
    kind: str,
    path: str,
    state: str,
    num_layers: int,
    *,
    bidirectional: bool,
    batch_first: bool,
    bias: bool,
) -> None:
    """With every option on either path a batch gives what its samples give alone."""
    options = {"bidirectional": bidirectional, "batch_first": batch_first, "bias": bias}

    check_alone(case_of(kind, num_layers=num_layers, **options), LENGTHS, state, path)


def draw_lengths(data: st.DataObject, case: Case) -> tuple[int, ...]:
    """Lengths of a batch, of which one at least leaves padding and one a step."""
    some = st.lists(st.integers(0, case.seq), min_size=case.batch, max_size=case.batch)
    fits = some.filter(lambda lengths: min(lengths) < case.seq and max(lengths) > 0)
    return tuple(data.draw(fits))


@paths
@layers
@settings(max_examples=settings().max_examples // 2)
@given(data=st.data(), state=st.sampled_from(["none", "given", "batch first"]))
def test_each_sample_as_alone_for_any_sizes(
    name: str, path: str, data: st.DataObject, state: str
) -> None:
    """Whatever sizes and lengths, a batch gives what its samples give alone, to rounding."""
    case = data.draw(
        cases([name], ["padded"], [torch.float64]).filter(lambda case: case.batch * case.seq > 1)
    )

    check_alone(case, draw_lengths(data, case), state, path)


@paths
@layers
@settings(max_examples=settings().max_examples // 3)
@given(data=st.data(), state=st.sampled_from(["none", "given"]))
def test_each_sample_as_alone_in_single_precision(
    name: str, path: str, data: st.DataObject, state: str
) -> None:
    """In float32, where LSTM has a fast kernel, the law holds to float32's rounding."""
    case = data.draw(
        cases([name], ["padded"], [torch.float32]).filter(lambda case: case.batch * case.seq > 1)
    )

    check_alone(case, draw_lengths(data, case), state, path, tolerance=1e-5)


@pytest.mark.covering(2)
@paths
@kinds
@pytest.mark.parametrize("lengths", [(3,), (1,), (0,)])
def test_a_batch_of_one(kind: str, path: str, lengths: tuple[int, ...]) -> None:
    """A single padded sample gives what it gives when it is cut."""
    case = Case(
        name=kind.split(maxsplit=1)[0],
        input_size=2,
        hidden_size=3,
        batch=1,
        seq=SEQ,
        dtype=torch.float64,
        options=KINDS[kind] | {"bidirectional": True},
    )

    check_alone(case, lengths, "given", path)


@paths
@kinds
def test_no_sample_with_a_step(kind: str, path: str) -> None:
    """If all lengths are 0, the state passes through, and no weight has a gradient."""
    check_alone(case_of(kind, num_layers=2, bidirectional=True), (0,) * 5, "given", path)


@layers
@given(data=st.data())
def test_full_lengths_change_nothing(name: str, data: st.DataObject) -> None:
    """If all lengths are those of the input, the call is the call without lengths, bit for bit."""
    case = data.draw(cases([name], ["padded"]))
    layer, numbers, tensors = case.module(rnnkit), case.numbers(), case.tensors()
    hx: Any = tensors if case.is_lstm else tensors[0]

    results = []
    for options in ({}, {"lengths": [case.seq] * case.batch}):
        torch.manual_seed(case.seed)
        output, state = layer(numbers, hx, **options)
        of_call = gradients([output, *tensors_of(state)], [numbers, *layer.parameters()])
        results.append((output, state, of_call, torch.get_rng_state()))

    assert_same(results[0], results[1])


@paths
@pytest.mark.parametrize(
    "given_as",
    [
        tuple,
        torch.tensor,
        lambda lengths: torch.tensor(lengths, dtype=torch.int32),
        lambda lengths: torch.tensor(lengths, dtype=torch.uint8),
        np.array,
        lambda lengths: np.array(lengths[::-1])[::-1],
        lambda lengths: np.broadcast_to(np.array(lengths), len(lengths)),
        lambda lengths: np.array(lengths, dtype=object),
        lambda lengths: np.array(lengths, dtype=">i4"),
        lambda lengths: [torch.tensor(length) for length in lengths],
        lambda lengths: [np.int64(length) for length in lengths],
    ],
    ids=[
        *("tuple", "int64", "int32", "uint8"),
        *("numpy", "backward", "read-only", "objects", "big-endian", "tensors", "numpy numbers"),
    ],
)
def test_lengths_may_come_as_any_integers(given_as: Any, path: str) -> None:
    """Lengths in a tensor, an array or a tuple are those in a list."""
    case = case_of("LSTM")
    layer, x = case.module(rnnkit), case.numbers()

    with on(path):
        assert_same(layer(x, lengths=list(LENGTHS)), layer(x, lengths=given_as(LENGTHS)))


@paths
@layers
@given(order=st.permutations(range(len(LENGTHS))))
def test_samples_in_any_order(name: str, path: str, order: list[int]) -> None:
    """Samples in another order give their outputs and states in that order."""
    case = case_of(name, bidirectional=True)
    layer, x = case.module(rnnkit), case.numbers()

    with on(path):
        expected = layer(x, lengths=LENGTHS)
        actual = layer(x[:, order], lengths=[LENGTHS[sample] for sample in order])

    torch.testing.assert_close(
        tensors_of(actual), [t[:, order] for t in tensors_of(expected)], rtol=1e-12, atol=1e-12
    )


@layers
@pytest.mark.parametrize("lengths", [[], (), torch.empty(0, dtype=torch.int64), torch.tensor([])])
def test_a_batch_of_no_samples(name: str, lengths: Any) -> None:
    """An empty batch takes no lengths, and gives an empty output and state."""
    output, state = getattr(rnnkit, name)(2, 3, 2)(torch.randn(SEQ, 0, 2), lengths=lengths)

    assert output.shape == (SEQ, 0, 3)
    assert all(tensor.shape == (2, 0, 3) for tensor in tensors_of(state))


@kinds
@paths
def test_each_weight_frozen(kind: str, path: str) -> None:
    """Whichever weight is frozen, those that are not have the gradients that they have without."""
    case = case_of(kind)
    layer: Any = case.module(rnnkit)
    weights = list(layer.parameters())
    with on(path):
        everything = gradients([layer(case.numbers(), lengths=LENGTHS)[0]], weights)
        for frozen in weights:
            frozen.requires_grad_(requires_grad=False)
            free = [weight for weight in weights if weight is not frozen]
            found = gradients([layer(case.numbers(), lengths=LENGTHS)[0]], free)
            frozen.requires_grad_()

            expected = [
                gradient
                for gradient, weight in zip(everything, weights, strict=True)
                if weight is not frozen
            ]
            torch.testing.assert_close(found, expected)
