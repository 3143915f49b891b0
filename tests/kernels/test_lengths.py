"""``lengths`` in any form, of no sample, and of a sample without a step, whose state comes back."""

from functools import partial

import pytest
import torch

import rnnkit
from rnnkit._base.state import state_of
from tests.covering import covers
from tests.kernels.paths import ALL_PATHS, KINDS, LENGTHS, SEQ, made, mask, on
from tests.modules.cells_of_users import LayerNormLSTMCell
from tests.strategies import LAYERS, assert_same, gradients, tensors_of

#: The sample that has no step.
NONE = LENGTHS.index(0)
OURS = (rnnkit.RNNCell, rnnkit.GRUCell, rnnkit.LSTMCell)
FILLS = (torch.nan, torch.inf, 1e300)


def filled(tensors, fill):
    """States of which the sample without a step has nothing but this number; leaves."""
    copies = [tensor.detach().clone() for tensor in tensors]
    for copy in copies:
        copy[..., NONE, :] = fill
    return [copy.requires_grad_() for copy in copies]


def check_handed_through(run, tensors, weights, fill):
    """Only that sample's own state holds what it was given; all else is what it is without."""
    results = []
    for number in (0.5, fill):
        start = filled(tensors, number)
        output, state = run(state_of(start))
        ends = tensors_of(state)
        for given, end in zip(start, ends, strict=True):
            handed = end[..., NONE, :].detach()
            same = given[..., NONE, :].detach().expand_as(handed)
            assert torch.equal(handed.nan_to_num(7), same.nan_to_num(7))
        others = [end[..., [n for n in range(len(LENGTHS)) if n != NONE], :] for end in ends]
        results.append((output, others, gradients([output, *ends], [*weights, *start])))

    assert_same(*results)
    assert all(tensor.isfinite().all() for tensor in tensors_of(results[1]))


@covers(
    3,
    kind=KINDS,
    path=ALL_PATHS,
    reset=[None, mask()],
    options=[{}, {"num_layers": 2, "bidirectional": True}],
    fill=FILLS,
)
def test_whatever_its_state_is(kind, path, reset, options, fill):
    """On each path a state that is NaN, or hardly a number, goes through a sample without steps."""
    case, layer, x = made(kind, **options)

    with on(path):
        check_handed_through(
            lambda hx: layer(x, hx, lengths=LENGTHS, reset=reset),
            case.tensors(),
            list(layer.parameters()),
            fill,
        )


@covers(
    3,
    make=[LayerNormLSTMCell, *OURS, *(partial(kind, dtype=torch.complex128) for kind in OURS)],
    return_states=[False, True],
    reverse=[False, True],
    fill=[torch.nan, torch.inf],
)
def test_step_by_step(make, fill, *, return_states, reverse):
    """So it does in a loop over any cell, in each of the states that the loop returns.

    Of a complex number that is none, parts are.
    """
    cell = make(6, 3)
    x = torch.randn(7, len(LENGTHS), 6, dtype=next(cell.parameters()).dtype)

    check_handed_through(
        lambda hx: rnnkit.unroll(
            cell, x, hx, lengths=LENGTHS, fused=False, return_states=return_states, reverse=reverse
        ),
        tensors_of(cell.initial_state(len(LENGTHS))),
        list(cell.parameters()),
        fill,
    )


@pytest.mark.parametrize("lengths", [[], torch.empty(0, dtype=torch.int64), torch.tensor([])])
def test_a_batch_of_no_samples(lengths):
    """An empty batch takes no lengths, and gives an empty output and state."""
    x = torch.randn(SEQ, 0, 2)
    for name in LAYERS:
        layer = getattr(rnnkit, name)(2, 3)
        (cell,) = layer.cells()
        output, state = layer(x, lengths=lengths)
        same, end = rnnkit.unroll(cell, x, lengths=lengths)

        assert output.shape == same.shape == (SEQ, 0, 3)
        assert all(tensor.shape == (1, 0, 3) for tensor in tensors_of(state))
        assert all(tensor.shape == (0, 3) for tensor in tensors_of(end))


def test_a_caller_may_write_into_one_of_two_zeros():
    """An LSTM begins with one tensor of zeros for h and c, and returns two."""
    layer = rnnkit.LSTM(3, 4)
    x = torch.ones(5, 2, 3)
    (cell,) = layer.cells()
    for lengths in ([0, 0], [0, 5]):
        ends = [layer(x, lengths=lengths)[1]]
        ends += [rnnkit.unroll(cell, x, lengths=lengths, fused=fused)[1] for fused in (True, False)]
        for h, c in ends:
            h.detach()[0].fill_(7)
            assert not (c.view(2, 4)[0] == 7).any()
