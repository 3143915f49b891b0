"""LSTMState is a tuple where torch expects one, and stays an LSTMState where torch can keep it."""

import copy
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, default_collate
from torch.utils.data._utils.pin_memory import pin_memory

import rnnkit

LAYERS, BATCH, HIDDEN = 4, 2, 7


def a_state(*axes: int) -> rnnkit.LSTMState:
    """A state whose h and c differ."""
    size = axes or (LAYERS, BATCH, HIDDEN)
    return rnnkit.LSTMState(torch.randn(size), torch.randn(size))


def assert_kept(expected: rnnkit.LSTMState, actual: object) -> None:
    """The result is an LSTMState, and h is in the place of h."""
    assert type(actual) is rnnkit.LSTMState
    torch.testing.assert_close(actual.h, expected.h, rtol=0, atol=0)
    torch.testing.assert_close(actual.c, expected.c, rtol=0, atol=0)


def test_is_the_tuple_of_torch() -> None:
    """The state unpacks, compares and tests as the pair (h, c)."""
    h, c = torch.randn(3), torch.randn(3)

    state = rnnkit.LSTMState(h=h, c=c)

    assert isinstance(state, tuple)
    assert state._fields == ("h", "c")
    assert (state.h, state.c) == (h, c) == state


def by_pickle(state: rnnkit.LSTMState) -> object:
    """A state that went through pickle."""
    return pickle.loads(pickle.dumps(state))


def by_weights_only_file(state: rnnkit.LSTMState) -> object:
    """A state that went through a file read with weights_only, torch's default."""
    file = io.BytesIO()
    torch.save({"state": state, "step": 3}, file)
    file.seek(0)
    return torch.load(file, weights_only=True)["state"]


def by_flattening(state: rnnkit.LSTMState) -> object:
    """A state that was taken apart and put together."""
    leaves, spec = pytree.tree_flatten(state)
    return pytree.tree_unflatten(leaves, spec)


def by_written_spec(state: rnnkit.LSTMState) -> object:
    """A state whose structure went through text, as torch.export writes it."""
    leaves, spec = pytree.tree_flatten(state)
    return pytree.tree_unflatten(leaves, pytree.treespec_loads(pytree.treespec_dumps(spec)))


@pytest.mark.parametrize(
    "carry", [copy.deepcopy, by_pickle, by_weights_only_file, by_flattening, by_written_spec]
)
def test_round_trip(carry: Callable[[rnnkit.LSTMState], object]) -> None:
    """What copies, writes or takes apart a state gives an LSTMState back."""
    torch.manual_seed(0)
    state = a_state()

    assert_kept(state, carry(state))


def test_tree_map() -> None:
    """A function mapped over a state reaches both tensors and keeps the type."""
    torch.manual_seed(0)
    state = a_state()

    doubled = pytree.tree_map(lambda tensor: 2 * tensor, {"nested": [state]})

    assert_kept(rnnkit.LSTMState(2 * state.h, 2 * state.c), doubled["nested"][0])


def test_collate() -> None:
    """States of single samples are collated to one state with a batch in front."""
    torch.manual_seed(0)
    states = [a_state(LAYERS, HIDDEN) for _ in range(3)]

    expected = rnnkit.LSTMState(
        torch.stack([state.h for state in states]), torch.stack([state.c for state in states])
    )

    assert_kept(expected, default_collate(states))
    assert_kept(expected, next(iter(DataLoader(states, batch_size=3))))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="memory is pinned for CUDA only")
def test_pin_memory() -> None:
    """A loader that pins memory hands out a pinned LSTMState."""
    torch.manual_seed(0)
    state = a_state()

    pinned = pin_memory(state)

    assert_kept(state, pinned)
    assert all(tensor.is_pinned() for tensor in pinned)


def test_vmap() -> None:
    """A function of a state is mapped over an axis of both tensors, in and out."""
    torch.manual_seed(0)
    state = a_state()

    def decay(one: rnnkit.LSTMState) -> rnnkit.LSTMState:
        assert one.h.shape == (LAYERS, HIDDEN)
        return rnnkit.LSTMState(one.h / 2, one.c * one.h)

    mapped = torch.vmap(decay, in_dims=1, out_dims=1)(state)

    assert_kept(rnnkit.LSTMState(state.h / 2, state.c * state.h), mapped)


def test_gradient_of_a_state() -> None:
    """torch.func.grad with respect to a state gives a state of gradients."""
    torch.manual_seed(0)
    state = a_state()

    gradient = torch.func.grad(lambda one: (one.h.square() + 3 * one.c).sum())(state)

    assert_kept(rnnkit.LSTMState(2 * state.h, torch.full_like(state.c, 3)), gradient)


@pytest.mark.parametrize("structure", [tuple, list, rnnkit.LSTMState._make])
@pytest.mark.parametrize("name", ["LSTM", "LSTMCell"])
def test_every_kind_of_pair_is_taken(
    name: str, structure: Callable[[rnnkit.LSTMState], tuple[Tensor, Tensor] | list[Tensor]]
) -> None:
    """A tuple, a list and an LSTMState lead to the same result, and an LSTMState comes out."""
    torch.manual_seed(0)
    module = getattr(rnnkit, name)(3, HIDDEN)
    axes = (BATCH,) if name == "LSTMCell" else (1, BATCH)
    x, state = torch.randn(*axes[:-1], BATCH, 3), a_state(*axes, HIDDEN)

    result, expected = module(x, structure(state)), module(x, state)

    if name == "LSTM":
        (output, result), (expected_output, expected) = result, expected
        assert torch.equal(output, expected_output)
    assert_kept(expected, result)
