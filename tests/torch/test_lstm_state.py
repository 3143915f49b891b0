"""LSTMState is a tuple where torch expects one, and stays an LSTMState where torch can keep it."""

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, default_collate

import rnnkit
from rnnkit import LSTMState
from tests.torch.interop import BATCH, HIDDEN, INPUT, carried, sample

LAYERS = 4


def a_state(*axes: int) -> LSTMState:
    """A state whose h and c differ."""
    size = axes or (LAYERS, BATCH, HIDDEN)
    return LSTMState(torch.randn(size), torch.randn(size))


def assert_kept(expected: LSTMState, actual: Any) -> None:
    """The result is an LSTMState, and h is in the place of h."""
    assert type(actual) is LSTMState
    torch.testing.assert_close(actual.h, expected.h, rtol=0, atol=0)
    torch.testing.assert_close(actual.c, expected.c, rtol=0, atol=0)


def test_is_the_tuple_of_torch() -> None:
    """The state unpacks, compares and tests as the pair (h, c)."""
    h, c = torch.randn(3), torch.randn(3)

    state = LSTMState(h=h, c=c)

    assert isinstance(state, tuple)
    assert state._fields == ("h", "c")
    assert (state.h, state.c) == (h, c) == state


def by_weights_only_file(state: LSTMState) -> Any:
    """Write a state and read it with weights_only, torch's default."""
    file = io.BytesIO()
    torch.save({"state": state, "step": 3}, file)
    file.seek(0)
    return torch.load(file, weights_only=True)["state"]


def by_written_spec(state: LSTMState) -> Any:
    """Take a state apart, and write its structure as text, as torch.export does."""
    leaves, spec = pytree.tree_flatten(state)
    return pytree.tree_unflatten(leaves, pytree.treespec_loads(pytree.treespec_dumps(spec)))


ROUND: list[Callable[[LSTMState], Any]] = [
    *(copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))),
    *(by_weights_only_file, by_written_spec),
]


@pytest.mark.parametrize("carry", ROUND)
def test_round_trip(carry: Callable[[LSTMState], Any]) -> None:
    """What copies, writes or takes apart a state gives an LSTMState back."""
    state = a_state()

    assert_kept(state, carry(state))


def test_maps() -> None:
    """tree_map, vmap and grad reach both tensors, and give a state."""
    state = a_state()

    doubled = pytree.tree_map(lambda tensor: 2 * tensor, {"nested": [state]})
    mapped = torch.vmap(lambda s: LSTMState(s.h / 2, s.c * s.h), in_dims=1, out_dims=1)(state)
    gradient = torch.func.grad(lambda one: (one.h.square() + 3 * one.c).sum())(state)

    assert_kept(LSTMState(2 * state.h, 2 * state.c), doubled["nested"][0])
    assert_kept(LSTMState(state.h / 2, state.c * state.h), mapped)
    assert_kept(LSTMState(2 * state.h, torch.full_like(state.c, 3)), gradient)


def test_collate() -> None:
    """States of single samples are collated to one state with a batch in front."""
    states = [a_state(LAYERS, HIDDEN) for _ in range(3)]

    expected = LSTMState(*(torch.stack(parts) for parts in zip(*states, strict=True)))

    assert_kept(expected, default_collate(states))
    assert_kept(expected, next(iter(DataLoader(states, batch_size=3))))


@pytest.mark.parametrize("name", ["LSTM", "LSTMCell"])
def test_every_kind_of_pair_is_taken(name: str) -> None:
    """A tuple, a list and an LSTMState lead to the same result, and an LSTMState comes out."""
    module, x = getattr(rnnkit, name)(INPUT, HIDDEN), sample(name)
    pair = carried(name)
    expected = module(x, pair)
    for kind in (list, LSTMState._make):
        result = module(x, kind(pair))
        if name == "LSTM":
            assert torch.equal(result[0], expected[0])
        assert_kept(*(each[1] if name == "LSTM" else each for each in (expected, result)))
