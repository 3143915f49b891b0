"""LSTMState is a tuple where torch expects one, and stays an LSTMState where torch can keep it."""

import copy
import io
import pickle
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, default_collate

from rnnkit import LSTMState
from tests.torch.interop import BATCH, HIDDEN

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
    """The state unpacks, compares and tests as the pair (h, c), by whose names it has its fields."""
    h, c = torch.randn(3), torch.randn(3)
    state = LSTMState(h=h, c=c)

    assert isinstance(state, tuple)
    assert (state.h, state.c) == (h, c) == state


def by_pickle(state: LSTMState) -> Any:
    """Write a state and read it with pickle."""
    return pickle.loads(pickle.dumps(state))


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


def test_round_trip() -> None:
    """What copies, writes or takes apart a state gives an LSTMState back."""
    state = a_state()
    for carry in (copy.deepcopy, by_pickle, by_weights_only_file, by_written_spec):
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
