"""LSTMState is a tuple where torch expects one, and stays an LSTMState where torch can keep it."""

import torch
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, default_collate

from rnnkit import LSTMState
from tests.copies import COPIES, by_file
from tests.strategies import assert_same


def a_state(*axes: int) -> LSTMState:
    """A state whose h and c differ."""
    return LSTMState(torch.randn(axes), torch.randn(axes))


def assert_kept(expected, actual):
    """The result is an LSTMState, and h is in the place of h."""
    assert type(actual) is LSTMState
    assert_same(expected, actual)


def by_written_spec(state: LSTMState):
    """Take a state apart, and write its structure as text, as torch.export does."""
    leaves, spec = pytree.tree_flatten(state)
    return pytree.tree_unflatten(leaves, pytree.treespec_loads(pytree.treespec_dumps(spec)))


def test_round_trip():
    """It is the pair that torch expects; what copies, writes or takes it apart gives it back."""
    state = a_state(4, 5, 7)
    assert isinstance(state, tuple)
    assert (state.h, state.c) == (state[0], state[1]) == state
    for carry in (*COPIES, by_written_spec):
        assert_kept(state, carry(state))
    # A checkpoint is read with weights_only, torch's default.
    assert_kept(state, by_file({"state": state, "step": 3}, weights_only=True)["state"])


def test_maps():
    """tree_map, vmap and grad reach both tensors, and give a state."""
    state = a_state(4, 5, 7)

    doubled = pytree.tree_map(lambda tensor: 2 * tensor, {"nested": [state]})
    mapped = torch.vmap(lambda s: LSTMState(s.h / 2, s.c * s.h), in_dims=1, out_dims=1)(state)
    gradient = torch.func.grad(lambda one: (one.h.square() + 3 * one.c).sum())(state)

    assert_kept(LSTMState(2 * state.h, 2 * state.c), doubled["nested"][0])
    assert_kept(LSTMState(state.h / 2, state.c * state.h), mapped)
    assert_kept(LSTMState(2 * state.h, torch.full_like(state.c, 3)), gradient)


def test_collate():
    """States of single samples are collated to one state with a batch in front."""
    states = [a_state(4, 7) for _ in range(3)]
    expected = LSTMState(*(torch.stack(parts) for parts in zip(*states, strict=True)))
    for collated in (default_collate(states), next(iter(DataLoader(states, batch_size=3)))):
        assert_kept(expected, collated)
