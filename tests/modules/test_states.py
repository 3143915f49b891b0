"""``rnnkit.states``: a tensor, a pair, an LSTMState and a tuple of states, treated alike."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import rnnkit
from rnnkit import LSTMState, states
from tests.strategies import assert_same, tensors_of

ROWS, BATCH, HIDDEN, PROJ = 4, 3, 6, 5


def tensors(*, cell: bool = False) -> tuple[Tensor, Tensor]:
    """The h and c of a layer or a cell, of different widths, as with a projection."""
    front = (BATCH,) if cell else (ROWS, BATCH)
    return torch.randn(*front, PROJ), torch.randn(*front, HIDDEN)


#: Every kind of state, made of a layer's or a cell's tensors.
STATES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "tensor": lambda h, _: h,
    "LSTMState": LSTMState,
    "pair": lambda h, c: (h, c),
    "Recurrent's": lambda h, c: (h, LSTMState(h + 1, c), (c, h), c - 1),
}
kinds = pytest.mark.parametrize("kind", STATES)
where = pytest.mark.parametrize("axis", [0, 1])


def state_of(kind: str, axis: int) -> Any:
    """A state of a kind: a cell's, with the batch on axis 0, or a layer's, with it on axis 1."""
    return STATES[kind](*tensors(cell=axis == 0))


def structure(state: Any) -> Any:
    """The types of a state, from the outside in."""
    if isinstance(state, Tensor):
        return Tensor
    return (type(state), *map(structure, state))


def check(state: Any, actual: Any, by_hand: Callable[[Tensor], Tensor]) -> None:
    """A result has the kind of the state, and holds what is done by hand to each tensor."""
    assert structure(actual) == structure(state)
    assert_same([by_hand(tensor) for tensor in tensors_of(state)], tensors_of(actual))


@kinds
@where
def test_detach(kind: str, axis: int) -> None:
    """Detach keeps the numbers, and cuts them from what made them."""
    state = STATES[kind](*(t.requires_grad_() for t in tensors(cell=axis == 0)))

    actual = states.detach(state)

    check(state, actual, Tensor.detach)
    assert all(tensor.requires_grad for tensor in tensors_of(state))
    assert not any(tensor.requires_grad for tensor in tensors_of(actual))


@kinds
def test_to(kind: str) -> None:
    """The arguments of ``to`` are those of Tensor.to: dtype, device, by position or by name."""
    state = state_of(kind, 1)

    check(state, states.to(state, torch.float64), Tensor.double)
    check(state, states.to(state, dtype=torch.float64), Tensor.double)
    assert {tensor.device.type for tensor in tensors_of(states.to(state, "meta"))} == {"meta"}


INDICES: dict[str, tuple[Any, list[int]]] = {
    "list": ([2, 0, 0, 1], [2, 0, 0, 1]),
    "tuple": ((1, 2), [1, 2]),
    "range": (range(1, 3), [1, 2]),
    "int64": (torch.tensor([2, 2]), [2, 2]),
    "int32": (torch.tensor([2, 0], dtype=torch.int32), [2, 0]),
    "int16": (torch.tensor([2, 0, 2], dtype=torch.int16), [2, 0, 2]),
    "uint8": (torch.tensor([2, 0], dtype=torch.uint8), [2, 0]),
    "uint16": (torch.tensor([2, 0], dtype=torch.uint16), [2, 0]),
    "uint64": (torch.tensor([2, 0], dtype=torch.uint64), [2, 0]),
    "negative": ([-1, -3, 1], [2, 0, 1]),
    "booleans": (torch.tensor([True, False, True]), [0, 2]),
    "list of booleans": ([False, True, True], [1, 2]),
    "0 and 1": ([0, 1, 1], [0, 1, 1]),
    "0 and 1 in a tensor": (torch.tensor([1, 0, 0]), [1, 0, 0]),
    "nothing": ([], []),
    "no boolean": (torch.tensor([False, False, False]), []),
    "slice": (slice(1, None), [1, 2]),
    "slice in steps": (slice(None, None, 2), [0, 2]),
}


@pytest.mark.covering(2)
@pytest.mark.parametrize("index", INDICES)
@kinds
@where
def test_select(kind: str, axis: int, index: str) -> None:
    """Select picks samples by position, by booleans or by slice; 0 and 1 are positions."""
    state = state_of(kind, axis)
    given_as, positions = INDICES[index]

    actual = states.select(state, given_as)

    picked = torch.tensor(positions, dtype=torch.int64)
    check(state, actual, lambda tensor: tensor.index_select(axis, picked))


@given(order=st.permutations(range(BATCH)))
def test_select_can_be_undone(order: list[int]) -> None:
    """What a permutation has put in order, its inverse puts back."""
    state = state_of("LSTMState", 1)
    back = torch.tensor(order).argsort()

    assert_same(state, states.select(states.select(state, order), back))


@kinds
@where
def test_repeat(kind: str, axis: int) -> None:
    """Repeat keeps the copies of a sample together, the order of beams."""
    state = state_of(kind, axis)
    beams = torch.tensor([0, 0, 1, 1, 2, 2])

    check(state, states.repeat(state, 2), lambda tensor: tensor.index_select(axis, beams))


def test_repeat_is_what_a_repeated_batch_gives() -> None:
    """The repeated state is that of the batch with each sample repeated."""
    layer, x = rnnkit.LSTM(2, HIDDEN, 2), torch.randn(7, BATCH, 2)
    _, state = layer(x)
    _, expected = layer(x.repeat_interleave(4, dim=1))

    torch.testing.assert_close(states.repeat(state, 4), expected)


@pytest.mark.covering(2)
@pytest.mark.parametrize(
    "mask",
    [
        torch.tensor([True, False, True]),
        [True, False, True],
        torch.tensor([1, 0, 1]),
        torch.tensor([1.0, 0.0, 1.0]),
        [1, 0, 1],
        (1, 0, 1),
    ],
    ids=["booleans", "list of booleans", "integers", "floats", "list", "tuple"],
)
@kinds
@where
def test_reset(kind: str, axis: int, mask: Any) -> None:
    """Samples that are marked, by booleans or by 1, become zero, the others stay."""
    state = state_of(kind, axis)
    kept = torch.tensor([0.0, 1.0, 0.0]).view([-1, 1] if axis == 0 else [1, -1, 1])

    check(state, states.reset(state, mask), lambda tensor: tensor * kept)


@kinds
@where
def test_reset_to_a_state(kind: str, axis: int) -> None:
    """Samples that are marked start from the state that is given."""
    state, initial = state_of(kind, axis), state_of(kind, axis)
    mask = torch.tensor([True, False, True])

    actual = states.reset(state, mask, initial=initial)

    for sample, fresh in enumerate(mask.tolist()):
        expected = states.select(initial if fresh else state, [sample])
        assert_same(expected, states.select(actual, [sample]))
    assert structure(actual) == structure(state)


def test_reset_to_h_alone() -> None:
    """None for c means zeros, as it does in a call."""
    state = rnnkit.LSTMState(torch.ones(2, 3), torch.ones(2, 3))

    actual = states.reset(state, [0, 1], initial=(torch.full((2, 3), 2.0), None))

    assert actual.h.tolist() == [[1.0] * 3, [2.0] * 3]
    assert actual.c.tolist() == [[1.0] * 3, [0.0] * 3]


def test_reset_ends_a_state_that_is_no_number() -> None:
    """A NaN is gone after the reset, and has no gradient."""
    h = torch.randn(BATCH, HIDDEN)
    h[1] = torch.nan
    h.requires_grad_()

    fresh = states.reset(h, [0, 1, 0])
    fresh.sum().backward()

    assert fresh.isfinite().all()
    assert h.grad is not None
    assert h.grad.tolist() == [[1.0] * HIDDEN, [0.0] * HIDDEN, [1.0] * HIDDEN]


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("made_in", [torch.no_grad, torch.inference_mode])
def test_reset_by_a_mask_that_is_used_again(made_in: Any, *, initial: bool) -> None:
    """A mask may come from inference mode, and be written into before the backward pass."""
    h, fresh = (torch.randn(BATCH, HIDDEN, requires_grad=True) for _ in range(2))
    with made_in():
        mask = torch.tensor([True, False, False])

    result = states.reset(h, mask, fresh if initial else None)
    with made_in():
        mask.logical_not_()
    result.sum().backward()

    expected = torch.tensor([[0.0], [1.0], [1.0]]).expand(BATCH, HIDDEN)
    assert_same(expected, h.grad)
    assert fresh.grad is None or torch.equal(fresh.grad, 1 - expected)


@pytest.mark.parametrize("act", ["select", "repeat", "reset", "reset to a state"])
@kinds
def test_batch_first_states(kind: str, act: str) -> None:
    """With state_batch_first=True each function does to a batch-first state what it does else."""
    state = state_of(kind, 1)
    acts: dict[str, Callable[..., Any]] = {
        "select": lambda one, **options: states.select(one, [2, 0], **options),
        "repeat": lambda one, **options: states.repeat(one, 2, **options),
        "reset": lambda one, **options: states.reset(one, [0, 1, 1], **options),
        "reset to a state": lambda one, **options: states.reset(one, [0, 1, 1], one, **options),
    }

    expected = states.batch_first(acts[act](state))
    actual = acts[act](states.batch_first(state), state_batch_first=True)

    assert_same(expected, actual)
    assert structure(actual) == structure(state)


@pytest.mark.parametrize("act", ["select", "repeat", "reset"])
def test_cell_state_has_its_batch_on_axis_0_always(act: str) -> None:
    """A cell's state is the same with state_batch_first and without."""
    state = state_of("LSTMState", 0)
    argument: Any = {"select": [1, 0], "repeat": 3, "reset": [1, 0, 0]}[act]
    function = getattr(states, act)

    assert_same(function(state, argument), function(state, argument, state_batch_first=True))


@kinds
def test_batch_first_and_back(kind: str) -> None:
    """batch_first exchanges the first two axes, from_batch_first exchanges them back."""
    state = state_of(kind, 1)

    turned = states.batch_first(state)

    check(state, turned, lambda tensor: tensor.transpose(0, 1))
    check(state, states.from_batch_first(turned), lambda tensor: tensor)
    for tensor in tensors_of(turned) + tensors_of(states.from_batch_first(turned)):
        # torch's kernels take no state that is otherwise.
        assert tensor.is_contiguous()


@kinds
def test_batch_first_leaves_states_without_that_axis(kind: str) -> None:
    """A cell's state, or that of unbatched input, has nothing to exchange."""
    state = state_of(kind, 0)

    check(state, states.batch_first(state), lambda tensor: tensor)
    check(state, states.from_batch_first(state), lambda tensor: tensor)


@kinds
@where
def test_states_given_are_left_as_they_were(kind: str, axis: int) -> None:
    """No function changes the state that it is given."""
    state = state_of(kind, axis)
    kept = [tensor.clone() for tensor in tensors_of(state)]

    for act in (
        lambda: states.select(state, [1, 1]),
        lambda: states.repeat(state, 2),
        lambda: states.reset(state, [1, 1, 1]),
        lambda: states.batch_first(state),
    ):
        for tensor in tensors_of(act()):
            assert tensor.isfinite().all()

    assert_same(kept, tensors_of(state))
