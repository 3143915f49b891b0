"""States of one sample for a batch, batches joined, layers taken apart; and None through all."""

import copy
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import rnnkit
from rnnkit import LSTMState, states
from tests.strategies import assert_same

sizes = st.integers(1, 4)


def state_of(draw_pair: bool, rows: int, batch: int, *, batch_first: bool = False) -> Any:
    """Return a layer's state, never zeros: a tensor, or a pair whose members differ."""
    shape = (batch, rows, 3) if batch_first else (rows, batch, 3)
    h = torch.rand(shape) + 1
    return LSTMState(h, torch.rand(*shape[:2], 5) + 1) if draw_pair else h


def leaves(state: Any) -> list[Tensor]:
    """Return the tensors of a state."""
    return [state] if isinstance(state, Tensor) else list(state)


@given(pair=st.booleans(), rows=sizes, batch=sizes, batch_first=st.booleans())
def test_expanded_is_each_sample_the_same(
    pair: bool, rows: int, batch: int, batch_first: bool
) -> None:
    """Every sample of an expanded state is the one that was given, in memory of its own."""
    one = state_of(pair, rows, 1, batch_first=batch_first)

    whole = states.expand(one, batch, state_batch_first=batch_first)

    for tensor, wide in zip(leaves(one), leaves(whole), strict=True):
        axis = 0 if batch_first else 1
        assert wide.shape[axis] == batch
        assert wide.is_contiguous()
        for sample in wide.unbind(axis):
            assert torch.equal(sample, tensor.squeeze(axis))
    assert type(whole) is type(one)


def test_expanded_for_the_batch_that_it_has() -> None:
    """A state that is of the batch already stays what it is, so that a pair may be half so."""
    pair = LSTMState(torch.rand(2, 5, 3), torch.rand(2, 1, 3))

    wide = states.expand(pair, 5)

    assert torch.equal(wide.h, pair.h)
    assert wide.c.shape == (2, 5, 3)


def test_a_state_that_is_learned_gets_the_gradients_of_all_samples() -> None:
    """The gradient of the one state is the sum over the samples that start from it."""
    h0 = torch.nn.Parameter(torch.rand(1, 4))

    states.expand(h0, 5).sum().backward()

    assert h0.grad is not None
    assert torch.equal(h0.grad, torch.full((1, 4), 5.0))


@given(pair=st.booleans(), rows=sizes, batches=st.lists(sizes, min_size=1), first=st.booleans())
def test_joined_and_selected_is_each_again(
    pair: bool, rows: int, batches: list[int], first: bool
) -> None:
    """From states that are joined, select gives back each of them."""
    parts = [state_of(pair, rows, batch, batch_first=first) for batch in batches]

    whole = states.cat(parts, state_batch_first=first)

    start = 0
    for part, batch in zip(parts, batches, strict=True):
        found = states.select(whole, slice(start, start + batch), state_batch_first=first)
        assert all(map(torch.equal, leaves(found), leaves(part)))
        start += batch


@given(pair=st.booleans(), rows=sizes, batch=sizes)
def test_layers_taken_apart_and_joined_is_the_whole(pair: bool, rows: int, batch: int) -> None:
    """to_layers and from_layers undo each other."""
    whole = state_of(pair, rows, batch)

    parts = states.to_layers(whole)

    assert len(parts) == rows
    assert all(map(torch.equal, leaves(states.from_layers(parts)), leaves(whole)))
    turned = states.to_layers(states.batch_first(whole), state_batch_first=True)
    for one, other in zip(parts, turned, strict=True):
        assert all(map(torch.equal, leaves(one), leaves(other)))


@pytest.mark.parametrize("kind", [rnnkit.GRU, rnnkit.LSTM])
def test_a_recurrent_of_a_layer_s_cells_goes_on_from_its_state(kind: Any) -> None:
    """What to_layers gives is the state that Recurrent(layer.cells()) takes."""
    layer = kind(3, 4, num_layers=2)
    input = torch.rand(7, 5, 3)
    _, hx = layer(input)

    output, _ = rnnkit.Recurrent(layer.cells())(input, states.to_layers(hx))

    torch.testing.assert_close(output, layer(input, hx)[0])


def test_none_goes_through() -> None:
    """None, the first state everywhere, is None afterwards."""
    assert states.detach(None) is None
    assert states.to(None, torch.float64) is None
    assert states.select(None, [0]) is None
    assert states.repeat(None, 2) is None
    assert states.expand(None, 5) is None
    assert states.cat([None, None]) is None
    assert states.reset(None, [1]) is None
    assert states.batch_first(None) is None
    assert states.from_batch_first(None) is None
    assert states.from_layers([None, None]) is None
    assert states.to_layers(None) is None
    assert states.bridge(None) is None


@pytest.mark.parametrize("pair", [False, True])
def test_none_that_starts_again(*, pair: bool) -> None:
    """None is zeros: a sample that starts again from a state has that state, and no other."""
    initial = state_of(pair, 2, 3)

    begun = states.reset(None, [1, 0, 1], initial)

    assert type(begun) is type(initial)
    for tensor, fresh in zip(leaves(begun), leaves(initial), strict=True):
        assert torch.equal(tensor[:, [0, 2]], fresh[:, [0, 2]])
        assert not tensor[:, 1].any()


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("kind", [tuple, LSTMState])
def test_none_of_a_pair_that_starts_again(kind: Any, place: int) -> None:
    """So it is of one of a pair, and of the state of one cell among several."""
    state: list[Any] = [torch.rand(2, 3, 4), torch.rand(2, 3, 4)]
    full, initial = list(state), (torch.rand(2, 3, 4), torch.rand(2, 3, 4))
    state[place], full[place] = None, torch.zeros_like(initial[place])

    make: Any = LSTMState._make if kind is LSTMState else kind

    begun = states.reset(make(state), [1, 0, 1], initial)
    of_several: Any = states.reset((None, make(state)), [1, 0, 1], (initial, initial))

    assert type(begun) is type(of_several[1]) is kind
    assert_same(states.reset(make(full), [1, 0, 1], initial), begun)
    assert_same(begun, of_several[1])
    assert_same(states.reset(None, [1, 0, 1], initial), of_several[0])


def test_layers_without_a_batch() -> None:
    """Of cells without a batch, whose states are vectors, comes the state of one sequence."""
    vectors = [torch.rand(4), torch.rand(4)]

    assert torch.equal(states.from_layers(vectors), torch.stack(vectors))


def test_none_in_a_pair_goes_through() -> None:
    """So does a None that stands for one of a pair."""
    h = torch.rand(2, 5, 3)

    assert states.repeat((h, None), 2)[1] is None
    assert torch.equal(states.detach((h, None))[0], h)


def test_a_pair_is_made_of_two_tensors_or_of_what_holds_two() -> None:
    """LSTMState takes h and c, by place or by name, or an iterable of the two, as tuple does."""
    h, c = torch.rand(1, 5, 3), torch.rand(1, 5, 3)

    for made in (
        LSTMState(h, c),
        LSTMState(h=h, c=c),
        LSTMState(h, c=c),
        LSTMState((h, c)),
        LSTMState(t for t in (h, c)),
        LSTMState(iter([h, c])),
        LSTMState._make([h, c]),
        LSTMState(c, c)._replace(h=h),
    ):
        assert type(made) is LSTMState
        assert made.h is h
        assert made.c is c


@pytest.mark.parametrize("given", [(), ([],), ([1, 2, 3],), (torch.ones(2, 3),), (1,), (1, 2, 3)])
def test_a_pair_of_another_number_is_refused(given: tuple[Any, ...]) -> None:
    """Python's TypeError, as of any named tuple."""
    with pytest.raises(TypeError):
        LSTMState(*given)


def test_a_pair_survives_copies_and_pickles() -> None:
    """It is the named tuple that it was."""
    pair = LSTMState(torch.rand(2), torch.rand(2))

    for again in (copy.copy(pair), copy.deepcopy(pair), pickle.loads(pickle.dumps(pair))):
        assert type(again) is LSTMState
        assert all(map(torch.equal, again, pair))
    assert repr(pair).startswith("LSTMState(h=")


def test_a_pair_is_detached_and_moved_as_a_tensor_is() -> None:
    """A loop over windows calls the same methods on the state of a GRU and of an LSTM."""
    _, state = rnnkit.LSTM(3, 4)(torch.rand(7, 5, 3))

    assert not state.detach().c.requires_grad
    assert torch.equal(state.detach().h, state.h)
    assert {t.dtype for t in state.to(torch.float64)} == {torch.float64}
    assert {t.device.type for t in state.to(device="meta")} == {"meta"}


def test_half_a_pair_is_detached_and_moved() -> None:
    """None, for zeros, stays None."""
    half: LSTMState = LSTMState._make([torch.rand(2, 5, 3), None])

    assert half.detach().c is half.to(torch.float64).c is None
    assert half.to(torch.float64).h.dtype is torch.float64
