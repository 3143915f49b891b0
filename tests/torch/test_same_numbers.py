"""The law of the package: with the same weights, what torch.nn computes, bit for bit."""

import pickle
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

import rnnkit
from tests.explaining import silent
from tests.fuzz.draws import Draw, draws
from tests.strategies import assert_same, cases, gradients
from tests.torch.interop import six

# torch says so once a process, for its own class and for ours.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")


def run(case, module, numbers, hx):
    """Run a module in training mode, the random numbers of its dropout drawn from the seed."""
    torch.manual_seed(case.seed)
    return module(case.packed(numbers), hx)


def facts(drawn, result):
    """Results, their classes, gradients, and where the random numbers stand."""
    tensors, leaves, kind = result
    derived = any(tensor.requires_grad for tensor in tensors)
    return [
        kind is PackedSequence,
        [type(tensor) is Tensor for tensor in tensors],
        torch.get_rng_state(),
        tensors,
        gradients(tensors, leaves, drawn.memory.get("gradients")) if derived else [],
    ]


def check_same_call(drawn: Draw):
    """What comes of a call is what comes of torch's, and nothing is explained; else both raise."""
    theirs = drawn.run(nn)
    if isinstance(theirs, Exception):
        assert isinstance(drawn.run(rnnkit), Exception)
        return
    expected = facts(drawn, theirs)
    with silent():
        ours = drawn.run(rnnkit)
    assert not isinstance(ours, Exception), ours
    torch.testing.assert_close(facts(drawn, ours), expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.filterwarnings("ignore")
@six
@given(data=st.data())
def test_a_call_is_torchs(name, data):
    """Whatever is done to a module, and set around it."""
    check_same_call(data.draw(draws([name])))


def test_an_axis_of_one_that_lies_apart():
    """Where nothing is differentiated torch multiplies such an input as it lies."""
    check_same_call(
        Draw(
            name="GRU", input_size=4, hidden_size=9, batch=5, seq=7, layout="unbatched",
            options={"batch_first": True}, memory={"input": "of pairs"},
            treatment="frozen", kind="plain", mode="no_grad",
        )
    )  # fmt: skip


@given(case=cases())
def test_module_is_what_torch_makes(case):
    """After the same seed, and drawn again, the weights are torch's, in its order, under its names.

    A module prints as torch's does, and stores nothing of its own.
    """
    theirs = case.module(torch.nn)
    drawn_by_torch = torch.get_rng_state()
    ours = case.module(rnnkit)

    assert torch.equal(drawn_by_torch, torch.get_rng_state())
    assert isinstance(ours, getattr(torch.nn, case.name))
    assert summary(theirs) == summary(ours)
    assert_same(theirs.state_dict().values(), ours.state_dict().values())
    for module in (theirs, ours):
        torch.manual_seed(case.seed + 1)
        module.reset_parameters()
    assert_same(theirs.parameters(), ours.parameters())


def summary(module) -> list[Any]:
    """What a module shows of itself: text, names, and what it stores but for its weights."""
    ours = vars(torch.nn.Module())
    options = {
        key: value
        for key, value in vars(module).items()
        if key not in ours and not key.startswith("_flat_weight")
    }
    names = [name for name, _ in module.named_parameters()]
    state = module.state_dict()
    return [repr(module), names, [*state], state._metadata, [*module.__getstate__()], options]


@given(case=cases())
def test_what_torch_pickled_is_taken_up(case):
    """The state of a module of torch's makes one of ours, which is pickled, too."""
    theirs = case.module(torch.nn)
    ours = case.module(rnnkit)
    numbers = case.numbers()
    hx = case.state()
    expected = run(case, theirs, numbers, hx)
    heir = type(ours).__new__(type(ours))
    heir.__setstate__(pickle.loads(pickle.dumps(theirs.__getstate__())))
    copy = pickle.loads(pickle.dumps(ours))
    assert type(copy) is type(ours)
    for module in (heir, copy):
        assert_same(expected, run(case, module, numbers, hx))
