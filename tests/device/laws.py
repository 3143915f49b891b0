"""What holds on a device: the CPU's numbers and gradients, no warning, and no more waits than allowed.

``python -m tests.device`` collects this file on the simulated device, ``nox -s gpu`` on a GPU.
"""

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence
from torch.testing import assert_close

import rnnkit
from rnnkit import states
from tests.covering import covers
from tests.device.waiting import IS_SIMULATED, at_most
from tests.diagnostics.corpus.runner import subject
from tests.strategies import CELLS, LAYERS, cases, tensors_of

# torch's compiler warns of torch's own parts.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

#: Calls, and how often the host may wait for the device in each, its backward pass included: lengths
#: and masks on the device are read once, and what the host has is not.
OF_LAYERS = {
    "layer(x, hx)": 0,
    "layer(packed, hx)[0].data": 0,
    "layer(packed, hx)[1]": 0,
    "layer(x, layer.initial_state(len(listed)))": 0,
    "layer.last_hidden(layer(x, hx)[1])": 0,
    "layer(x, hx, lengths=listed)": 0,
    "layer(x, hx, lengths=lengths)": 1,
    "layer(x, hx, reset=reset)": 1,
    "layer(x, hx, lengths=lengths, reset=reset)": 2,
    "layer.step(x_t, hx)": 0,
    "layer.step(x_t, hx, reset=mask)": 1,
    # Read once for all cells.
    "rnnkit.Recurrent.of(layer)(x)": 0,
    "rnnkit.Recurrent.of(layer)(x, lengths=lengths)": 1,
    "rnnkit.Recurrent.of(layer)(x, reset=reset)": 1,
}
OF_CELLS = {
    "cell(x_t, hx)": 0,
    "rnnkit.unroll(cell, x, hx)": 0,
    "rnnkit.unroll(cell, x, hx, fused=False)": 0,
    "rnnkit.unroll(cell, x, hx, lengths=listed)": 0,
    "rnnkit.unroll(cell, x, hx, lengths=lengths, reverse=True)": 1,
    "rnnkit.unroll(cell, x, hx, lengths=lengths, return_states=True)": 1,
    "rnnkit.unroll(cell, x, hx, lengths=lengths, reset=reset)": 2,
    "rnnkit.unroll(cell, x, hx, reset=reset, fused=False)": 1,
    "rnnkit.Recurrent(cell, reverse_cells=cell)(x)": 0,
    "rnnkit.Recurrent(cell)(x, lengths=lengths, reset=reset)": 2,
}
OF_STATES = {
    "states.select(hx, slice(1, 3))": 0,
    "states.select(hx, [-1, 0])": 0,
    "states.select(hx, lengths % len(listed))": 0,
    "states.reset(hx, mask)": 0,
    "states.reset(hx, mask, hx)": 0,
    "states.cat([hx, hx])": 0,
    "states.detach(hx)": 0,
    "states.to(hx, torch.float16)": 0,
    "states.bridge(states.from_layers([*states.to_layers(hx)] * 2))": 0,
    "states.repeat(hx, 2)": 0,
    "states.expand(states.select(hx, slice(1)), len(listed))": 0,
    "states.from_layers([*states.to_layers(hx)])": 0,
    "states.batch_first(hx)": 0,
    "rnnkit.masked.mask(lengths, x.shape[axis])": 1,
    "rnnkit.masked.mean(x, lengths, axis)": 1,
    "rnnkit.masked.max(x, listed, axis)": 0,
    "rnnkit.masked.softmax(x, lengths, axis)": 1,
}
CALLS = {LAYERS: OF_LAYERS, CELLS: OF_CELLS, ("LSTM",): OF_STATES}
ALL = {**OF_LAYERS, **OF_CELLS, **OF_STATES}


@pytest.fixture(autouse=True, scope="module")
def _digits():
    """Compute with all digits of float32: by default a GPU takes fewer for these layers."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def made(case, device, counts):
    """Return the words of the calls: a module, and what it is given on a device, laid out there."""
    is_first = case.options.get("batch_first", False)
    module = case.module(rnnkit).to(device)
    module.dropout = 0.0  # each path draws in its own way
    x, *hx = (
        case.laid_out(part, tensor.detach().to(device)).requires_grad_()
        for part, tensor in zip(
            ["input", "h", "c"], [case.numbers(), *case.tensors()], strict=False
        )
    )
    reset = torch.arange(case.seq * case.batch).view(case.seq, case.batch) % 4 == 1
    found = {
        "leaves": [x, *hx, *module.parameters()],
        "x": x,
        "x_t": x,
        "hx": hx[0] if len(hx) == 1 else hx,
        "axis": 1 if is_first else 0,
        "listed": counts,
        "lengths": torch.tensor(counts, device=device),
        "reset": (reset.T if is_first else reset).to(device),
        "mask": reset[0].to(device),
    }
    if not case.is_layer:
        steps = torch.stack([x.roll(step, 0) for step in range(case.seq)])
        return {**found, "cell": module, "x": steps}
    # Sequences that are packed in their own order leave the state as it is.
    sizes = sorted(case.lengths, reverse=True)
    packed = pack_padded_sequence(x.detach().cpu(), sizes, is_first, enforce_sorted=is_first)
    x_t = x.select(found["axis"], 0)
    return {**found, "layer": module, "x_t": x_t, "packed": packed.to(device)}


def run(call, given):
    """Return results and gradients of a call that warns of nothing and stays on its device."""
    budget = ALL[call]
    words = {"rnnkit": rnnkit, "states": states, "torch": torch, **given}
    with at_most(budget, call):
        results = tensors_of(eval(call, words))  # noqa: S307 - our own calls
        if any(one.requires_grad for one in results):
            total = sum(one.sin().sum() for one in results if one.requires_grad)
            options = {"allow_unused": True, "materialize_grads": True}
            results += torch.autograd.grad(total, given["leaves"], **options)
    assert {one.device for one in results} == {given["x"].device}, call
    return results


def drawn(data, classes):
    """Draw a case, with so many steps of each sample, and the calls that it has."""
    case = data.draw(cases(classes, ["padded"], [torch.float32], ["drawn"]))
    both_ways = case.options.get("bidirectional")
    calls = [call for call in CALLS[classes] if not both_ways or ".step(" not in call]
    # Without any valid step there is nothing to pack: the padded path asks where padding is.
    return case, data.draw(case.counts().filter(any)), calls


@pytest.mark.parametrize("classes", CALLS)
@settings(max_examples=8, phases=[Phase.generate])
@given(data=st.data())
def test_as_on_the_cpu(classes, data):
    """Calls give the same numbers and gradients, on the device, and wait as often as they may."""
    case, counts, calls = drawn(data, classes)
    here = made(case, "cpu", counts)
    there = made(case, "cuda", counts)
    for call in calls:
        expected = run(call, here)
        found = [one.cpu() for one in run(call, there)]
        assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not IS_SIMULATED, reason="no call of a GPU works after it")
def test_a_position_beyond_the_batch():
    """The host does not wait for the check, and the device stops with the sentence."""
    index = torch.tensor([0, 3], device="cuda")
    with pytest.raises(RuntimeError, match="index must be positions of samples"):
        states.select(torch.zeros(1, 3, 4, device="cuda"), index)


@pytest.mark.parametrize("kind", LAYERS)
def test_samples_without_a_step(kind):
    """Where no sample has a valid step, the state stays, and torch warns of nothing."""
    layer = getattr(rnnkit, kind)(3, 4).to("cuda")
    x = torch.randn(7, 5, 3, device="cuda")
    state = layer.initial_state(5)
    output, after = layer(x, state, lengths=[0] * 5)

    assert not output.any()
    assert_close(tensors_of(after), tensors_of(state))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("classes", [LAYERS, CELLS])
@settings(max_examples=4, phases=[Phase.generate])
@given(data=st.data())
def test_autocast(dtype, classes, data):
    """Each way of a call lowers the output to one dtype, and all numbers and gradients are finite."""
    case, counts, calls = drawn(data, classes)
    given = made(case, "cuda", counts)
    with torch.autocast("cuda", dtype):
        for call in calls:
            found = run(call, given)
            assert found[0].dtype is dtype, call
            assert all(one.isfinite().all() for one in found), call


#: What is compiled: layers, several of them in two directions, and cells.
COMPILED = {
    "RNN": lambda: rnnkit.RNN(6, 10),
    "GRU": lambda: rnnkit.GRU(6, 10),
    "LSTM": lambda: rnnkit.LSTM(6, 10, num_layers=2, bidirectional=True),
    "cells": lambda: rnnkit.Recurrent(rnnkit.LSTMCell(6, 10), reverse_cells=rnnkit.LSTMCell(6, 10)),
    "a layer's cells": lambda: rnnkit.Recurrent.of(rnnkit.GRU(6, 10, bidirectional=True)),
}
#: The farthest that compiled numbers may be from eager ones.
TOLERANCES = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}


@covers(2, has_resets=[False, True], kind=COMPILED, dtype=TOLERANCES)
def test_compiled(kind, dtype, has_resets):
    """Compiled, a call with lengths has finite numbers and gradients, and eager mode's."""
    torch._dynamo.reset()
    layer = COMPILED[kind]().to("cuda", dtype)
    options = {"lengths": torch.tensor([9, 1, 0, 4, 7], device="cuda")}
    if has_resets:
        options["reset"] = torch.arange(9 * 5, device="cuda").view(9, 5) % 4 == 1
    backend = "aot_eager" if IS_SIMULATED else "inductor"
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    x = torch.randn(9, 5, 6, device="cuda", dtype=dtype)
    results = []
    for call in (layer, compiled):
        leaves = [x.clone().requires_grad_(), *layer.parameters()]
        with torch._dynamo.config.patch(allow_rnn=True):
            found = tensors_of(call(leaves[0], **options))
        total = sum(one.float().sin().sum() for one in found)
        results.append([*found, *torch.autograd.grad(total, leaves)])

    assert all(one.isfinite().all() for one in results[1])
    tolerance = TOLERANCES[dtype]
    assert_close(results[1], results[0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("right", [True, False])
def test_diagnoses_as_on_the_cpu(right):
    """Model and input on a device are told what they are told on the CPU."""
    model, (x,), options = subject("state_of_all_steps", right=right, library=rnnkit.nn)
    told = []
    for device in ("cpu", "cuda"):
        given = (model.to(device), x.to(device))
        report = rnnkit.verify(*given, **options, raises=False)
        assert bool(report.findings) is not right
        others = (rnnkit.dependency_map(*given), rnnkit.trace(*given))
        told.append([*map(str, (*report.checks, *others))])
    assert told[0] == told[1]
