"""What may be given as a hidden state, for padded, unbatched and packed input alike."""

from dataclasses import replace
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import rnnkit
from tests.explaining import silent
from tests.kernels.paths import each_layer
from tests.strategies import Case, assert_same, cases, few, tensors_of
from tests.torch.interop import six


def call(case, module, *hx, **named):
    """Call a module on the case's input; dropout drops the same at each call."""
    torch.manual_seed(case.seed)
    x = case.input()
    with silent():
        return module(x, *hx, **named)


def forms(case: Case) -> list[tuple[Any, list[Any]]]:
    """Return states as torch takes them, and what may be given for each."""
    zeros = tuple(torch.zeros(shape, dtype=case.dtype) for shape in case.state_shapes)
    if not case.is_lstm:
        return [(zeros[0], [None]), (case.state(), [case.state()])]
    h, c = case.tensors()
    return [
        (zeros, [None, (None, None), [None, None]]),
        ((h, c), [(h, c), [h, c], rnnkit.LSTMState(h, c)]),
        ((h, zeros[1]), [(h, None), [h, None], (h, zeros[1])]),
        ((zeros[0], c), [(None, c), [None, c]]),
    ]


def batch_first(case, state):
    """A layer's state with the batch on axis 0, if it has a batch."""
    if state is None or not case.is_batched:
        return state
    if isinstance(state, Tensor):
        return state.transpose(0, 1)
    return [batch_first(case, part) for part in state]


def state_of(case, result):
    """The state in a module's result."""
    return result[1] if case.is_layer else result


@six
@few(12)
@given(data=st.data())
def test_each_form_of_a_state(name, data):
    """None is zeros, for one of a pair too, and a pair is in whatever holds two: as torch's.

    So it is of a batch of no samples.
    """
    case = data.draw(cases([name]))
    if case.layout == "padded" and data.draw(st.booleans()):
        case = replace(case, batch=0, data="drawn", memory={})
    module = case.module(rnnkit)
    torchs = case.module(torch.nn)
    for full, each in forms(case):
        expected = call(case, torchs, full)
        for hx in each:
            actual = call(case, module, hx)
            assert_same(expected, actual)
            assert_same(expected, call(case, module, hx=hx))
            state = state_of(case, actual)
            assert type(state) is (rnnkit.LSTMState if case.is_lstm else Tensor)
            assert tuple(part.shape for part in tensors_of(state)) == case.state_shapes
            if case.is_lstm:
                assert (state.h, state.c) == (state[0], state[1])
    assert_same(call(case, module, None), call(case, module))


@each_layer
@few(12)
@given(data=st.data())
def test_batch_first_states_in_and_out(name, data):
    """With state_batch_first all is the same but for the state's axes; the next call takes it."""
    drawn = data.draw(cases([name]))
    # A layer brings a state that has the batch on axis 0 into one piece.
    case = replace(drawn, memory={**drawn.memory, "h": "one piece", "c": "one piece"})
    module = case.module(rnnkit)
    turned = case.module(rnnkit, state_batch_first=True)
    for _, each in forms(case):
        for hx in each:
            output, state = call(case, module, hx)

            actual, end = call(case, turned, batch_first(case, hx))

            assert_same((output, batch_first(case, state)), (actual, end))
            assert type(end) is type(state)
            assert all(part.is_contiguous() for part in tensors_of(end))
            assert_same(call(case, module, state)[0], call(case, turned, end)[0])


@six
@given(data=st.data(), state_batch_first=st.booleans())
def test_initial_state_is_the_default(name, data, *, state_batch_first):
    """initial_state is what a call without a state starts from, in the weights' dtype, where they lie."""
    case = data.draw(cases([name]))
    options = {"state_batch_first": True} if state_batch_first and case.is_layer else {}
    module = case.module(rnnkit, **options)

    state = module.initial_state(case.batch if case.is_batched else None)

    parts = tensors_of(state)
    assert type(state) is (rnnkit.LSTMState if case.is_lstm else Tensor)
    assert {tensor.dtype for tensor in parts} == {case.dtype}
    assert not any(tensor.any() or tensor.requires_grad for tensor in parts)
    assert len({tensor.data_ptr() for tensor in parts}) == len(parts)
    assert_same(call(case, module, None), call(case, module, state))
    elsewhere = module.to("meta").initial_state(2)
    assert {tensor.device.type for tensor in tensors_of(elsewhere)} == {"meta"}
