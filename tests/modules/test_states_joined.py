"""States of layers and directions, joined and taken apart; and the pair that an LSTM carries."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import rnnkit
from rnnkit import LSTMState, states
from tests.kernels.paths import each_layer
from tests.modules.test_states import BATCH, HIDDEN, PROJ, check, sizes, state_of, structure
from tests.strategies import assert_same, tensors_of


@given(kind=st.sampled_from(["tensor", "LSTMState", "pair"]), rows=st.lists(sizes, min_size=1))
def test_layers_joined_and_taken_apart(kind, rows):
    """States of cells and of layers are joined row by row; to_layers undoes it."""
    layers = [state_of(kind, rows=number) for number in rows]

    whole = states.from_layers(layers)

    joined = [torch.cat(parts) for parts in zip(*map(tensors_of, layers), strict=True)]
    assert_same(joined, whole)
    parts = states.to_layers(whole)
    assert [structure(part) for part in parts] == [structure(whole)] * sum(rows)
    check(whole, states.from_layers(parts), lambda tensor: tensor)
    assert_same(parts, states.to_layers(states.batch_first(whole), state_batch_first=True))
    vectors = [states.select(part, [0]) for part in parts]
    vectors = [tensors_of(part)[0].squeeze(0) for part in vectors]
    assert_same(torch.stack(vectors), states.from_layers(vectors))


@each_layer
def test_bridge(name):
    """The directions of each layer, side by side or summed, start a decoder in one direction."""
    options = {"proj_size": PROJ} if name == "LSTM" else {}
    layer = getattr(rnnkit, name)(2, HIDDEN, 2, bidirectional=True, **options)
    _, state = layer(torch.randn(7, BATCH, 2))
    split = tensors_of(layer.split_state(state))

    for how, wanted in (
        ("concat", [torch.cat([t[:, 0], t[:, 1]], dim=2) for t in split]),
        ("sum", [t[:, 0] + t[:, 1] for t in split]),
    ):
        bridged = states.bridge(state, how)
        assert_same(wanted, bridged)
        assert structure(bridged) == structure(state)
        turned = states.bridge(states.batch_first(state), how, state_batch_first=True)
        assert_same(states.batch_first(bridged), turned)
        if name == "LSTM":
            assert type(states.bridge(tuple(state), how)) is tuple
        else:
            decoder = getattr(rnnkit, name)(2, tensors_of(bridged)[0].shape[2], 2)
            layer.zero_grad()
            decoder(torch.randn(5, BATCH, 2), bridged)[0].sum().backward(retain_graph=True)
            assert all(weight.grad.any() for weight in layer.parameters())
    assert_same(states.bridge(state), states.bridge(state, "concat"))


def test_a_pair_is_made_of_two_tensors_or_of_what_holds_two():
    """LSTMState takes h and c, by place or by name, or an iterable of the two, as tuple does."""
    h = torch.rand(1, 5, 3)
    c = torch.rand(1, 5, 3)

    for made in (
        *(LSTMState(h, c), LSTMState(h=h, c=c), LSTMState(h, c=c), LSTMState((h, c))),
        *(LSTMState(t for t in (h, c)), LSTMState._make([h, c]), LSTMState(c, c)._replace(h=h)),
    ):
        for pair in (made, copy.copy(made)):
            assert type(pair) is LSTMState
            assert pair.h is h
            assert pair.c is c
    assert repr(made).startswith("LSTMState(h=")
    wrong = [(), ([],), ([1, 2, 3],), (torch.ones(2, 3),), (1,), (1, 2, 3)]
    for given_as in wrong:
        with pytest.raises(TypeError):
            LSTMState(*given_as)


def test_a_pair_is_detached_and_moved_as_a_tensor_is():
    """A loop over windows calls the same methods on the state of a GRU and of an LSTM."""
    _, state = rnnkit.LSTM(3, 4)(torch.rand(7, 5, 3))

    for cut in (state.detach(), states.detach(state)):
        assert_same(state, cut)
        assert state.h.requires_grad > cut.c.requires_grad
    for options, wants in (({"dtype": torch.float64}, torch.float64), ({}, torch.float32)):
        assert {t.dtype for t in state.to(device="meta", **options)} == {wants}
        assert {t.device.type for t in states.to(state, "meta", **options)} == {"meta"}
    half = LSTMState._make([state.h, None])
    assert half.detach().c is half.to(torch.float64).c is None
