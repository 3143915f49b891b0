"""``reset``: each piece of each sample gives what it gives alone."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import rnnkit
from tests.kernels.paths import KINDS, LENGTHS, RESET_PATHS, SEQ, case_of, kinds, layers, on
from tests.strategies import WAYS, Case, assert_same, cases, gradients, tensors_of

reset_paths = pytest.mark.parametrize("path", RESET_PATHS)
BATCH = len(LENGTHS)


def drawn(case: Case, rate: float = 0.4) -> Tensor:
    """A mask ``(seq, batch)`` for a case."""
    generator = torch.Generator().manual_seed(case.seed)
    return torch.rand(case.seq, case.batch, generator=generator) < rate


def by_cells(
    layer: Any, x: Tensor, hx: list[Tensor], lengths: tuple[int, ...], reset: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Run a layer's cells, one sample and one step after the other, over ``(seq, batch, ...)``."""
    cells, directions = layer.cells(), 1 + layer.bidirectional
    ends: list[list[Tensor]] = []
    for place in range(0, len(cells), directions):
        outputs = []
        for direction, cell in enumerate(cells[place : place + directions]):
            start = [tensor[place + direction] for tensor in hx]
            columns, states = [], []
            for sample, length in enumerate(lengths):
                state = [tensor[sample : sample + 1] for tensor in start]
                zeros = [torch.zeros_like(tensor) for tensor in state]
                steps = [state[0].new_zeros(1, state[0].shape[1])] * len(x)
                for t in reversed(range(length)) if direction else range(length):
                    cut = t + direction
                    if cut < length and reset[cut, sample]:
                        state = zeros
                    step = x[t, sample : sample + 1]
                    state = tensors_of(cell(step, state if len(state) > 1 else state[0]))
                    steps[t] = state[0]
                columns.append(torch.cat(steps))
                states.append(state)
            outputs.append(torch.stack(columns, dim=1))
            ends.append([torch.cat(each) for each in zip(*states, strict=True)])
        x = torch.cat(outputs, dim=2)
    return x, [torch.stack(each) for each in zip(*ends, strict=True)]


def check(
    case: Case,
    reset: Tensor,
    path: str,
    *,
    lengths: tuple[int, ...] | None = None,
    given_state: bool = True,
    tolerance: float = 1e-12,
) -> None:
    """Output, state and gradients are those of a loop over the layer's cells."""
    layer, numbers, tensors = case.module(rnnkit).eval(), case.numbers(), list(case.tensors())
    turned = bool(case.options.get("batch_first"))
    # As users have it: a mask that was transposed here would be turned back to where it was.
    mask = case.laid_out("mask", reset.T if turned else reset)
    reset = mask.T if turned else mask
    counts: Any = lengths
    if lengths is not None and case.memory:
        counts = case.laid_out("lengths", torch.tensor(lengths))
        lengths = tuple(counts.tolist())
    x = numbers.transpose(0, 1) if turned else numbers
    start = tensors if given_state else [torch.zeros_like(tensor) for tensor in tensors]
    expected, ends = by_cells(layer, x, start, lengths or (case.seq,) * case.batch, reset)
    expected = expected.transpose(0, 1) if turned else expected
    hx: Any = (tuple(tensors) if case.is_lstm else tensors[0]) if given_state else None

    with on(path):
        actual, state = layer(numbers, hx, lengths=counts, reset=mask)

    leaves, way = [numbers, *tensors, *layer.parameters()], case.memory.get("gradients", WAYS[0])
    torch.testing.assert_close(
        [actual, *tensors_of(state), *gradients([actual, *tensors_of(state)], leaves, way)],
        [expected, *ends, *gradients([expected, *ends], leaves, way)],
        rtol=tolerance,
        atol=tolerance,
    )


@pytest.mark.covering(3)
@reset_paths
@kinds
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("options", [(1, False, True), (1, True, False), (2, True, True)], ids=str)
def test_each_piece_as_alone_for_every_option(
    kind: str, path: str, lengths: tuple[int, ...] | None, options: tuple[int, bool, bool]
) -> None:
    """With every option, on every path, a batch gives what its pieces give alone."""
    names = ("num_layers", "bidirectional", "batch_first")
    case = case_of(kind, **dict(zip(names, options, strict=True)))

    check(case, drawn(case), path, lengths=lengths)


@reset_paths
@layers
@settings(max_examples=settings().max_examples // 5)
@given(data=st.data())
def test_each_piece_as_alone_for_any_sizes(name: str, path: str, data: st.DataObject) -> None:
    """Whatever sizes, lengths and resets, a batch gives what its pieces give alone."""
    case = data.draw(cases([name], ["padded"], [torch.float64]))
    # Half of the time, since a mask is then turned.
    case = replace(case, options=case.options | {"batch_first": data.draw(st.booleans())})
    counts = st.lists(st.integers(0, case.seq), min_size=case.batch, max_size=case.batch)

    check(
        case,
        drawn(case, data.draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))),
        path,
        lengths=data.draw(st.none() | counts.map(tuple)),
        given_state=data.draw(st.booleans()),
    )


@reset_paths
@layers
def test_each_piece_as_alone_in_single_precision(name: str, path: str) -> None:
    """In float32, where LSTM has a fast kernel, the law holds to float32's rounding."""
    case = case_of(name, torch.float32, num_layers=2, bidirectional=True)

    check(case, drawn(case), path, lengths=LENGTHS, tolerance=1e-4)


@pytest.mark.covering(2)
@kinds
@pytest.mark.parametrize("size", [(3, 9, 2, 4), (11, 40, 8, 48)])
@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_the_path_of_its_own_choice(kind: str, size: tuple[int, ...], rate: float) -> None:
    """Small or large, few resets or many: each piece gives what it gives alone."""
    batch, seq, features, hidden = size
    layer = getattr(rnnkit, kind.split(maxsplit=1)[0])(features, hidden, **KINDS[kind])
    x = torch.randn(seq, batch, features)
    reset = torch.rand(seq, batch) < rate

    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            output, _ = layer(x, reset=reset)
            for sample in range(batch):
                cuts = [t for t in range(1, seq) if reset[t, sample]]
                for start, stop in zip([0, *cuts], [*cuts, seq], strict=True):
                    alone, _ = layer(x[start:stop, sample])
                    torch.testing.assert_close(
                        output[start:stop, sample], alone, rtol=1e-4, atol=1e-5
                    )


@layers
@given(data=st.data())
def test_no_reset_changes_nothing(name: str, data: st.DataObject) -> None:
    """A mask without a reset gives, bit for bit, what the call without it gives."""
    case = data.draw(cases([name], ["padded", "unbatched"]))
    layer, numbers, tensors = case.module(rnnkit).eval(), case.numbers(), case.tensors()
    hx: Any = tensors if case.is_lstm else tensors[0]
    mask = torch.zeros(numbers.shape[:-1], dtype=torch.bool)

    assert_same(layer(numbers, hx), layer(numbers, hx, reset=mask))


@reset_paths
@layers
def test_a_reset_at_the_first_step_alone(name: str, path: str) -> None:
    """It drops the state that a sample was given, going forward; going backward it says nothing."""
    case = case_of(name, bidirectional=True, num_layers=2)
    layer, x, tensors = case.module(rnnkit), case.numbers(), case.tensors()
    reset = torch.zeros(SEQ, BATCH, dtype=torch.bool)
    reset[0, 2] = True
    dropped = [tensor.detach().clone() for tensor in tensors]
    for tensor in dropped:
        tensor[0::2, 2] = 0

    with on(path):
        actual = layer(x, tensors if case.is_lstm else tensors[0], reset=reset)

    expected = layer(x, tuple(dropped) if case.is_lstm else dropped[0])
    torch.testing.assert_close(tensors_of(actual), tensors_of(expected), rtol=1e-12, atol=1e-12)


@kinds
@pytest.mark.parametrize("batch_first", [False, True])
def test_one_sequence_without_batch(kind: str, batch_first: bool) -> None:
    """A sequence without a batch axis, and a mask without, give what they give in a batch of one."""
    case = replace(case_of(kind, bidirectional=True, batch_first=batch_first), batch=1)
    layer, x, hx, reset = case.module(rnnkit), case.numbers(), case.state(), drawn(case)[:, 0]
    axis = 0 if batch_first else 1
    alone: Any = tuple(t[:, 0] for t in hx) if case.is_lstm else hx[:, 0]

    output, state = layer(x, hx, reset=reset.unsqueeze(axis))
    actual, end = layer(x.squeeze(axis), alone, reset=reset)

    assert_same(output.squeeze(axis), actual)
    assert_same([tensor.squeeze(1) for tensor in tensors_of(state)], end)


@pytest.mark.covering(2)
@reset_paths
@kinds
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_is_no_number_does_not_pass_a_reset(kind: str, path: str, number: float) -> None:
    """A NaN or an infinity before a cut, and on padding, reaches nothing beyond it."""
    case = case_of(kind, bidirectional=True, num_layers=2)
    layer, clean = case.module(rnnkit), case.numbers().detach()
    reset = torch.zeros(SEQ, BATCH, dtype=torch.bool)
    reset[3] = True
    dirty = clean.clone()
    dirty[1, 2] = dirty[5, 4] = number
    dirty[6, 4:] = dirty[4:, 0] = math.nan

    with on(path):
        expected, _ = layer(clean, lengths=LENGTHS, reset=reset)
        actual, _ = layer(dirty, lengths=LENGTHS, reset=reset)

    assert not actual[:3, 2].isfinite().all()
    touched = torch.zeros(SEQ, BATCH, dtype=torch.bool)
    touched[:3, 2] = touched[3:6, 4] = True
    torch.testing.assert_close(actual[~touched], expected[~touched], rtol=1e-12, atol=1e-12)


@layers
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_second_derivatives(name: str, lengths: Any) -> None:
    """The gradient of a gradient is right by packed rows too."""
    case = case_of(name, bidirectional=True)
    layer, x, reset = case.module(rnnkit), case.numbers(), drawn(case)
    weights = list(layer.parameters())

    def norm(output: Tensor) -> list[Tensor]:
        first = torch.autograd.grad(output.pow(2).sum(), [x, *weights], create_graph=True)
        return list(torch.autograd.grad(sum(g.pow(2).sum() for g in first), [x, *weights]))

    with on("rows"):
        actual = norm(layer(x, lengths=lengths, reset=reset)[0])
    zeros = [torch.zeros_like(tensor) for tensor in case.tensors()]
    expected = norm(by_cells(layer, x, zeros, lengths or (SEQ,) * BATCH, reset)[0])

    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.covering(2)
@reset_paths
@layers
@pytest.mark.parametrize("rate", [0.4, 0.0])
def test_a_mask_that_is_used_again(name: str, path: str, rate: float) -> None:
    """What is written into the mask after a call changes no derivative of it, of any order."""
    case = case_of(name, bidirectional=True)
    layer, x, mask, tensors = case.module(rnnkit), case.numbers(), drawn(case, rate), case.tensors()
    mask[0, 1] = True

    def both(*, write: bool) -> list[Tensor]:
        used = mask.clone()
        with on(path):
            output, _ = layer(x, tensors if case.is_lstm else tensors[0], reset=used)
        if write:
            used.logical_not_()
        leaves = [x, *tensors]
        first = torch.autograd.grad(output.pow(2).sum(), leaves, create_graph=True)
        return [*first, *torch.autograd.grad(first[0].pow(2).sum(), layer.weight_hh_l0)]

    torch.testing.assert_close(both(write=True), both(write=False), rtol=1e-12, atol=1e-12)


@reset_paths
@layers
def test_a_tied_bias(name: str, path: str) -> None:
    """One parameter in two places has the sum of both gradients, and of both second ones."""
    case = case_of(name)
    layer, x, reset = case.module(rnnkit), case.numbers(), drawn(case)
    layer.bias_hh_l0 = layer.bias_ih_l0
    bias = layer.bias_ih_l0
    zeros = [torch.zeros_like(tensor) for tensor in case.tensors()]

    def both(output: Tensor) -> tuple[Tensor, Tensor]:
        (first,) = torch.autograd.grad(output.pow(2).sum(), bias, create_graph=True)
        (second,) = torch.autograd.grad(first.pow(2).sum(), bias)
        return first, second

    with on(path):
        actual = both(layer(x, reset=reset)[0])

    expected = both(by_cells(layer, x, zeros, (SEQ,) * BATCH, reset)[0])
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
