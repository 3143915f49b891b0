"""``rnnkit.states``: a tensor, a pair, an LSTMState and a tuple of states, treated alike."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rnnkit import ArgumentError, LSTMState, states
from tests.explaining import silent
from tests.strategies import assert_same, tensors_of

ROWS = 4
BATCH = 3
HIDDEN = 6
PROJ = 5

#: Every kind of state, made of a layer's or a cell's tensors, of different widths.
STATES = {
    "tensor": lambda h, _: h,
    "LSTMState": LSTMState,
    "pair": lambda h, c: (h, c),
    "Recurrent's": lambda h, c: (h, LSTMState(h + 1, c), (c, h), c - 1),
}
kinds = pytest.mark.parametrize("kind", STATES)


def state_of(kind: str, axis: int = 1, *, rows: int = ROWS, batch: int = BATCH):
    """A state of a kind: a cell's, with the batch on axis 0, or a layer's, with it on axis 1."""
    front = (batch,) if axis == 0 else (rows, batch)
    return STATES[kind](torch.rand(*front, PROJ) + 1, torch.rand(*front, HIDDEN) + 1)


def structure(state):
    """The types of a state, from the outside in."""
    return Tensor if isinstance(state, Tensor) else (type(state), *map(structure, state))


def check(state, actual, by_hand, *axis):
    """A result has the kind of the state, and holds what is done by hand to each tensor."""
    assert structure(actual) == structure(state)
    assert_same([by_hand(tensor, *axis) for tensor in tensors_of(state)], tensors_of(actual))


def kept(*flags: float) -> Callable[[Tensor, int], Tensor]:
    """Keep the samples whose flag is 1, and set the others to zero."""
    return lambda t, axis: t * torch.tensor(flags).view([-1, 1] if axis == 0 else [1, -1, 1])


#: What is done to the samples of a state: by rnnkit, and by hand to one tensor and its batch axis.
ACTS = {
    "select": (
        partial(states.select, index=[2, 0, 0, 1]),
        lambda t, axis: t.index_select(axis, torch.tensor([2, 0, 0, 1])),
    ),
    "repeat": (
        partial(states.repeat, times=2),
        lambda t, axis: t.index_select(axis, torch.tensor([0, 0, 1, 1, 2, 2])),
    ),
    "reset": (partial(states.reset, mask=[0, 1, 0]), kept(1, 0, 1)),
    "cat": (
        lambda state, **options: states.cat([state, state], **options),
        lambda t, axis: torch.cat([t, t], axis),
    ),
    "expand": (partial(states.expand, batch_size=BATCH), lambda t, _: t),
}
#: What is done to all of it.
OTHERS = {
    "detach": (states.detach, lambda t, _: t.detach()),
    "to": (lambda state: states.to(state, torch.float64), lambda t, _: t.double()),
    "to by name": (lambda state: states.to(state, dtype=torch.half), lambda t, _: t.half()),
    "batch_first": (states.batch_first, lambda t, axis: t.transpose(0, axis)),
    "from_batch_first": (states.from_batch_first, lambda t, axis: t.transpose(0, axis)),
}
ALL = {**ACTS, **OTHERS}


@kinds
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("act", ALL)
def test_each_tensor_is_treated_as_by_hand(act, device, kind):
    """The kind of the state stays, and so does what is given; batch-first states are the same.

    On which device new tensors are made by default is no matter.
    """
    run, by_hand = ALL[act]
    for axis in (0, 1):
        state = state_of(kind, axis)
        before = copy.deepcopy(state)

        with silent(), torch.device(device):
            actual = run(state)

        check(state, actual, by_hand, axis)
        assert_same(before, state)
        if act in ACTS:
            # A cell's state has its batch on axis 0 always.
            turned = run(states.batch_first(state), state_batch_first=True)
            assert_same(states.batch_first(actual), turned)
        elif "batch" in act:
            # torch's kernels take no state that is otherwise.
            assert all(tensor.is_contiguous() for tensor in tensors_of(actual))


INDICES = [
    ((1, 2), [1, 2]),
    (range(1, 3), [1, 2]),
    *((torch.tensor([2, 0, 2], dtype=getattr(torch, kind)), [2, 0, 2])
      for kind in ("int64", "int32", "int16", "uint8", "uint16", "uint64")),
    ([-1, -3, 1], [2, 0, 1]),
    (torch.tensor([True, False, True]), [0, 2]),
    ([False, True, True], [1, 2]),
    ([0, 1, 1], [0, 1, 1]),
    (torch.tensor([1, 0, 0]), [1, 0, 0]),
    ([], []),
    (torch.tensor([False, False, False]), []),
    (slice(1, None), [1, 2]),
    (slice(None, None, 2), [0, 2]),
]  # fmt: skip


@pytest.mark.parametrize("axis", [0, 1])
def test_select_takes_positions_booleans_and_slices(axis):
    """0 and 1 are positions; what a permutation has put in order, its inverse puts back.

    The last of one sample is the first.
    """
    state = state_of("LSTMState", axis)
    for index, positions in INDICES:
        picked = torch.tensor(positions, dtype=torch.int64)
        found = states.select(state, index)
        check(state, found, lambda t, picked=picked: t.index_select(axis, picked))

    order = [2, 0, 1]
    back = torch.tensor(order).argsort()
    assert_same(state, states.select(states.select(state, order), back))
    assert_same(states.select(state, [0]), states.select(states.select(state, [0]), [-1]))


MASKS = [
    torch.tensor([True, False, True]), [True, False, True], torch.tensor([1, 0, 1]),
    torch.tensor([1.0, 0.0, 1.0]), [1, 0, 1], (1, 0, 1),
]  # fmt: skip


@kinds
def test_reset_starts_samples_again(kind):
    """Samples that are marked, by booleans or by 1, are those of the initial state, or zeros."""
    for axis in (0, 1):
        state = state_of(kind, axis)
        initial = state_of(kind, axis)
        for mask in MASKS:
            check(state, states.reset(state, mask), kept(0, 1, 0), axis)
            actual = states.reset(state, mask, initial=initial)
            for sample, fresh in enumerate((1, 0, 1)):
                expected = states.select(initial if fresh else state, [sample])
                assert_same(expected, states.select(actual, [sample]))
            # None, in a state or for all of it, is zeros.
            begun = states.reset(None, mask, initial)
            check(initial, begun, kept(1, 0, 1), axis)


@pytest.mark.parametrize("make", [tuple, LSTMState._make])
@pytest.mark.parametrize("place", [0, 1])
def test_reset_of_half_a_pair(place, make):
    """None for one of a pair is zeros, in the state, in a part of it and in the initial one."""
    whole = torch.rand(2, 2, 3, 4).unbind()
    parts = [*torch.rand(2, 2, 3, 4)]
    parts[place] = torch.zeros(2, 3, 4)
    full = make(parts)
    parts[place] = None
    half = make(parts)
    again = partial(states.reset, mask=[1, 0, 1])

    expected = again(full, initial=whole)
    assert type(again(half, initial=whole)) is type(full)
    assert_same(expected, again(half, initial=whole))
    of_several = again((None, half), initial=(whole, whole))
    assert_same((again(None, initial=whole), expected), of_several)
    assert_same(again(whole, initial=full), again(whole, initial=half))


@pytest.mark.parametrize("made_in", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("initial", [False, True])
def test_gradients_of_reset(made_in, *, initial):
    """A NaN is gone after it, and has no gradient; a mask may be used again before backward."""
    h, fresh = (torch.randn(BATCH, HIDDEN, requires_grad=True) for _ in range(2))
    with torch.no_grad():
        h[0] = torch.nan
    with made_in():
        mask = torch.tensor([True, False, False])

    result = states.reset(h, mask, fresh if initial else None)
    with made_in():
        mask.logical_not_()
    result.sum().backward()

    assert result.isfinite().all()
    expected = torch.tensor([[0.0], [1.0], [1.0]]).expand(BATCH, HIDDEN)
    assert_same(expected, h.grad)
    assert fresh.grad is None or torch.equal(fresh.grad, 1 - expected)


sizes = st.integers(1, 4)


@given(kind=st.sampled_from(list(STATES)), rows=sizes, batch=sizes, first=st.booleans())
def test_expanded_is_each_sample_the_same(kind, rows, batch, first):
    """Every sample of an expanded state is the one that was given, in memory of its own."""
    one = state_of(kind, rows=rows, batch=1)
    one = states.batch_first(one) if first else one

    whole = states.expand(one, batch, state_batch_first=first)

    check(one, whole, lambda t: torch.cat([t] * batch, dim=0 if first else 1))
    assert all(tensor.is_contiguous() for tensor in tensors_of(whole))
    alone = states.expand(one, None, state_batch_first=first)
    check(one, alone, lambda t: t.squeeze(0 if first else 1))


def test_a_learned_state_gets_the_gradients_of_all_samples():
    """The gradient of the one state is the sum over samples; a pair may be half expanded."""
    h0 = torch.nn.Parameter(torch.rand(1, 4))

    wide = states.expand(LSTMState(h0, torch.rand(5, 4)), 5)
    wide.h.sum().backward()

    assert wide.c.shape == (5, 4)
    assert_same(torch.full((1, 4), 5.0), h0.grad)


@given(
    kind=st.sampled_from(list(STATES)),
    rows=sizes,
    batches=st.lists(sizes, min_size=1),
    first=st.booleans(),
)
def test_joined_and_selected_is_each_again(kind, rows, batches, first):
    """From states that are joined, select gives back each of them."""
    parts = [state_of(kind, rows=rows, batch=batch) for batch in batches]
    parts = [states.batch_first(part) if first else part for part in parts]

    whole = states.cat(parts, state_batch_first=first)

    start = 0
    for part, batch in zip(parts, batches, strict=True):
        found = states.select(whole, slice(start, start + batch), state_batch_first=first)
        check(part, found, lambda tensor: tensor)
        start += batch


def test_none_goes_through():
    """None, the initial state everywhere, is None afterwards, and so is a None in a pair."""
    h = torch.rand(2, BATCH, 3)
    for run, _ in ALL.values():
        assert run(None) is None
        half = run((h, None))
        assert half[1] is None
        assert_same(run(h), half[0])
    assert states.from_layers([None, None]) is None
    assert states.to_layers(None) is None
    assert states.bridge(None) is None


@kinds
def test_states_without_numbers(kind):
    """On the meta device samples are picked and start again by lists and by masks, too."""
    state = states.to(state_of(kind), "meta")
    marked = [True, False, True]
    for index in ([2, 0], torch.tensor([2, 0]), torch.tensor(marked)):
        picked = states.select(state, index)
        assert {tensor.shape[:2] for tensor in tensors_of(picked)} == {(ROWS, 2)}
    for again in (marked, torch.tensor(marked), [1, 0, 0]):
        reset = states.reset(state, again)
        assert {tensor.shape[:2] for tensor in tensors_of(reset)} == {(ROWS, BATCH)}
    with pytest.raises(ArgumentError, match="has 3 samples"):
        states.select(state, [5])


@pytest.mark.parametrize(("name", "instead"), [("zeros", "initial_state"), ("stack", "cat")])
def test_other_names(name, instead):
    """A name that people look for here is answered with ours; any other as by any module."""
    with pytest.raises(AttributeError, match=instead):
        getattr(states, name)
    assert not hasattr(states, "tacs")
