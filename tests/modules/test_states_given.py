"""What may be given as a hidden state, for padded, unbatched and packed input alike."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import rnnkit
from tests.strategies import CELLS, CLASSES, LAYERS, LAYOUTS, WAYS, Case, assert_same, cases

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")

six = pytest.mark.parametrize("name", CLASSES)
layers = pytest.mark.parametrize("name", LAYERS)
pairs = pytest.mark.parametrize("name", ["LSTM", "LSTMCell"])
singles = pytest.mark.parametrize("name", ["RNN", "GRU", "RNNCell", "GRUCell"])


def call(case: Case, module: Any, hx: Any) -> Any:
    """Call a module on the case's input; dropout drops the same at each call."""
    torch.manual_seed(case.seed)
    return module(case.input(), hx)


def zeros(case: Case) -> tuple[Tensor, ...]:
    """Zeros of the right shapes, dtype and device."""
    return tuple(torch.zeros(shape, dtype=case.dtype) for shape in case.state_shapes)


def one_or_pair(case: Case, tensors: tuple[Any, ...]) -> Any:
    """What a module takes: the one tensor, or the two."""
    return tensors if case.is_lstm else tensors[0]


def in_one_piece(case: Case) -> Case:
    """The case with a state in one piece, as a layer brings one that has the batch on axis 0."""
    return replace(case, memory={**case.memory, "h": WAYS[0], "c": WAYS[0]})


def state_of(case: Case, result: Any) -> Any:
    """The state in a module's result."""
    return result[1] if case.is_layer else result


def batch_first(case: Case, state: Any) -> Any:
    """A layer's state with the batch on axis 0, if it has a batch."""
    if not case.is_batched:
        return state
    if isinstance(state, Tensor):
        return state.transpose(0, 1)
    return tuple(tensor.transpose(0, 1) for tensor in state)


@six
@given(data=st.data())
def test_nothing_means_zeros(name: str, data: st.DataObject) -> None:
    """No state, None, and zeros of the shapes in the table are the same."""
    case = data.draw(cases([name]))
    module = case.module(rnnkit)

    expected = call(case, module, one_or_pair(case, zeros(case)))
    torch.manual_seed(case.seed)

    assert_same(expected, module(case.input()))
    assert_same(expected, call(case, module, None))


@singles
@given(data=st.data())
def test_one_tensor_is_used(name: str, data: st.DataObject) -> None:
    """RNN and GRU start from the tensor that they are given, by position or by name."""
    case = data.draw(cases([name]))
    module = case.module(rnnkit)

    expected = call(case, case.module(torch.nn), case.state())
    torch.manual_seed(case.seed)

    assert_same(expected, module(case.input(), hx=case.state()))


@pairs
@given(data=st.data(), kind=st.sampled_from([tuple, list, rnnkit.LSTMState]))
def test_a_pair_may_be_a_tuple_a_list_or_a_state(
    name: str, data: st.DataObject, kind: type
) -> None:
    """LSTM starts from the pair in whatever holds it."""
    case = data.draw(cases([name]))
    pair = case.tensors()

    hx = rnnkit.LSTMState(*pair) if kind is rnnkit.LSTMState else kind(pair)

    expected = call(case, case.module(torch.nn), pair)
    assert_same(expected, call(case, case.module(rnnkit), hx))


@pairs
@given(data=st.data(), given_place=st.sampled_from([0, 1]), kind=st.sampled_from([tuple, list]))
def test_none_for_one_of_the_pair_means_zeros(
    name: str, data: st.DataObject, given_place: int, kind: type
) -> None:
    """``(h, None)`` starts c from zeros, ``(None, c)`` starts h from zeros."""
    case = data.draw(cases([name]))
    half: list[Any] = [None, None]
    full = list(zeros(case))
    half[given_place] = full[given_place] = case.tensors()[given_place]

    expected = call(case, case.module(torch.nn), tuple(full))

    assert_same(expected, call(case, case.module(rnnkit), kind(half)))


@pairs
@given(data=st.data())
def test_none_for_both_of_the_pair_means_zeros(name: str, data: st.DataObject) -> None:
    """``(None, None)`` is no state."""
    case = data.draw(cases([name]))
    module = case.module(rnnkit)

    assert_same(call(case, module, None), call(case, module, (None, None)))


@layers
@given(data=st.data())
def test_batch_first_states_in_and_out(name: str, data: st.DataObject) -> None:
    """With state_batch_first the layer takes and gives the same states, the batch on axis 0."""
    case = in_one_piece(data.draw(cases([name])))
    output, state = call(case, case.module(rnnkit), case.state())

    module = case.module(rnnkit, state_batch_first=True)
    actual_output, actual_state = call(case, module, batch_first(case, case.state()))

    assert_same(output, actual_output)
    assert_same(batch_first(case, state), actual_state)
    assert isinstance(actual_state, rnnkit.LSTMState if case.is_lstm else Tensor)


@layers
@given(data=st.data())
def test_batch_first_states_out_of_nothing(name: str, data: st.DataObject) -> None:
    """With state_batch_first and no state the layer starts from zeros."""
    case = data.draw(cases([name]))
    output, state = call(case, case.module(rnnkit), None)

    actual_output, actual_state = call(case, case.module(rnnkit, state_batch_first=True), None)

    assert_same(output, actual_output)
    assert_same(batch_first(case, state), actual_state)


@given(data=st.data(), given_place=st.sampled_from([0, 1]))
def test_batch_first_states_with_none_for_one(data: st.DataObject, given_place: int) -> None:
    """With state_batch_first the None of a pair means zeros too."""
    case = in_one_piece(data.draw(cases(["LSTM"])))
    half: list[Any] = [None, None]
    full = list(zeros(case))
    half[given_place] = full[given_place] = case.tensors()[given_place]
    output, state = call(case, case.module(rnnkit), tuple(full))
    half[given_place] = batch_first(case, half[given_place])

    actual = call(case, case.module(rnnkit, state_batch_first=True), tuple(half))

    assert_same((output, batch_first(case, state)), actual)


@pytest.mark.parametrize("layout", LAYOUTS)
@layers
def test_batch_first_state_has_the_shape_of_the_table(name: str, layout: str) -> None:
    """A batch-first state is (batch, layers * directions, hidden); unbatched, batch is not."""
    case = Case(
        name=name,
        input_size=3,
        hidden_size=7,
        batch=2,
        seq=5,
        layout=layout,
        lengths=(5, 4) if layout == "packed" else (4, 5),
        options={"num_layers": 2, "bidirectional": True},
    )
    module = case.module(rnnkit, state_batch_first=True)

    _, state = module(case.input())
    h = state.h if case.is_lstm else state

    assert h.shape == ((2, 4, 7) if case.is_batched else (4, 7))
    assert h.is_contiguous()


@layers
@given(data=st.data(), state_batch_first=st.booleans())
def test_a_returned_state_is_taken_by_the_next_call(
    name: str, data: st.DataObject, *, state_batch_first: bool
) -> None:
    """What a layer returns it takes, whatever the layout."""
    case = data.draw(cases([name]))
    module = case.module(rnnkit, state_batch_first=state_batch_first)
    _, state = call(case, module, None)

    _, after = call(case, module, state)

    assert [part.shape for part in as_tensors(after)] == [part.shape for part in as_tensors(state)]


def as_tensors(state: Any) -> tuple[Tensor, ...]:
    """The tensors of a state."""
    return state if isinstance(state, tuple) else (state,)


@six
@given(data=st.data(), state_batch_first=st.booleans())
def test_initial_state_is_the_default(
    name: str, data: st.DataObject, *, state_batch_first: bool
) -> None:
    """initial_state(batch), unbatched initial_state(None), is what a call without state starts."""
    case = data.draw(cases([name]))
    options = {"state_batch_first": state_batch_first} if case.is_layer else {}
    module = case.module(rnnkit, **options)

    state = module.initial_state(case.batch if case.is_batched else None)

    one_by_one = as_tensors(state)
    assert {tensor.dtype for tensor in one_by_one} == {case.dtype}
    assert not any(tensor.any() or tensor.requires_grad for tensor in one_by_one)
    assert_same(call(case, module, None), call(case, module, state))


@six
def test_initial_state_lies_where_the_weights_lie(name: str) -> None:
    """initial_state has the device of the weights."""
    state = getattr(rnnkit, name)(3, 7, device="meta").initial_state(2)

    assert {tensor.device.type for tensor in as_tensors(state)} == {"meta"}


@pairs
@given(data=st.data())
def test_a_pair_comes_out_as_a_named_tuple(name: str, data: st.DataObject) -> None:
    """LSTM and LSTMCell give the tuple (h, c) whose members have these names."""
    case = data.draw(cases([name]))
    module = case.module(rnnkit)

    state = state_of(case, call(case, module, case.state()))
    h, c = state

    assert isinstance(state, tuple)
    for named in (state, module.initial_state(case.batch)):
        assert type(named) is rnnkit.LSTMState
    assert state.h is h
    assert state.c is c
    assert tuple(tensor.shape for tensor in state) == case.state_shapes


@pytest.mark.parametrize("name", [name for name in LAYERS + CELLS if "LSTM" not in name])
@given(data=st.data())
def test_one_tensor_comes_out_as_a_tensor(name: str, data: st.DataObject) -> None:
    """RNN and GRU give a tensor of the shape they take."""
    case = data.draw(cases([name]))

    state = state_of(case, call(case, case.module(rnnkit), case.state()))

    assert type(state) is Tensor
    assert (state.shape,) == case.state_shapes
