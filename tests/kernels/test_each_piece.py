"""Each piece of each sample, cut by ``lengths`` and by resets, gives what it gives by itself."""

from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

import rnnkit
from rnnkit._base.state import map_state, state_of
from tests.covering import covers
from tests.explaining import silent
from tests.kernels.paths import (
    ALL_PATHS,
    BATCH,
    KINDS,
    LENGTHS,
    RESET_PATHS,
    by_cells,
    case_of,
    close,
    drawn,
    each_layer,
    made,
    mask,
    on,
)
from tests.strategies import LAYERS, assert_same, cases, gradients, tensors_of

#: What a call begins from: zeros, the state that is given, or that of a user's own initial_state.
STATES = ("none", "given", "given, batch first", "own", "own, batch first")
#: Lengths, of which all may be zero, and resets.
NONE = (0,) * BATCH
CUTS = [(each, cut) for each in (None, LENGTHS, NONE) for cut in (None, mask())][1:]


def check(case, path, lengths=None, reset=None, state="given", tolerance=1e-10, device="cpu"):
    """Output, state and gradients are those of a loop over the layer's cells, whatever padding is.

    ``device`` is where new tensors are made by default.
    """
    is_turned = "batch first" in state
    layer = case.module(rnnkit, state_batch_first=is_turned).eval()

    def turn(tensor):
        return tensor.transpose(0, 1) if case.options.get("batch_first") else tensor

    counts = None if lengths is None else case.laid_out("lengths", torch.tensor(lengths))
    # As users have it: a mask that was transposed here would be turned back to where it was.
    cuts = None if reset is None else case.laid_out("mask", turn(reset).contiguous())
    each = torch.full((case.batch,), case.seq) if counts is None else counts.clone()
    x = case.numbers()
    tensors = list(case.tensors())
    step = torch.arange(case.seq).unsqueeze(1)
    padding = step >= each
    numbers = x.detach().clone(memory_format=torch.contiguous_format)
    turn(numbers)[padding] = torch.nan
    turn(numbers)[padding & (step % 2 == 1)] = torch.inf
    padded = case.padded(numbers)
    given = [padded, tensors, counts, cuts]
    before = [one.detach().clone() for one in tensors_of(given)]

    is_own = state.startswith("own")
    start = [torch.zeros_like(t) for t in tensors] if state == "none" else tensors
    restart = tensors if is_own else None
    expected, ends = by_cells(
        layer, turn(x), start, each, None if cuts is None else turn(cuts), restart
    )
    hx = state_of([t.transpose(0, 1) for t in tensors] if is_turned else tensors)
    if is_own:
        firsts = {case.batch: hx}
        layer.initial_state = lambda batch_size: firsts[batch_size]
    if is_own or state == "none":
        hx = None
    with on(path), torch.device(device), silent():
        actual, carried = layer(padded, hx, lengths=counts, reset=cuts)
    carried = tensors_of(carried)
    if is_turned:
        carried = [tensor.transpose(0, 1) for tensor in carried]
    others = [*tensors, *layer.parameters()]
    way = case.memory.get("gradients")
    on_all = gradients([turn(expected), *ends], [x, *others], way)
    found = gradients([actual, *carried], [padded, *others], way)

    assert_same(given, before)
    assert not turn(actual)[padding].any()
    assert not turn(found[0])[padding].any()
    close([actual, *carried, *found], [turn(expected), *ends, *on_all], tolerance)


@covers(
    3,
    kind=KINDS,
    path=ALL_PATHS,
    cut=CUTS,
    state=STATES,
    data=["drawn", "spoiled"],
    options=[
        {},
        {"num_layers": 2, "bidirectional": True},
        {"bidirectional": True, "batch_first": True, "bias": False},
        {"num_layers": 2, "batch_first": True},
    ],
)
def test_every_option(kind, path, cut, state, data, options):
    """With every option, on every path, by lengths and resets; a batch may have no step at all.

    A NaN or an infinity of the input reaches nothing beyond a cut.
    """
    check(replace(case_of(kind, **options), data=data), path, *cut, state)


@each_layer
@given(data=st.data(), path=st.sampled_from(ALL_PATHS))
def test_any_sizes(name, data, path):
    """Whatever sizes, lengths and resets; in float32, where LSTM has a fast kernel, to rounding."""
    case = data.draw(cases([name], ["padded"], [torch.float32, torch.float64]))
    rate = data.draw(st.sampled_from([None, 0.0, 0.1, 0.5, 1.0]))

    lengths = data.draw(st.none() | case.counts())
    reset = None if rate is None else drawn(case, rate)
    state = data.draw(st.sampled_from(STATES))
    device = data.draw(st.sampled_from(["cpu", "meta"]))
    check(case, path, lengths, reset, state, 1e-4 if case.dtype is torch.float32 else 1e-10, device)


@covers(
    3,
    grad=[True, False],
    rate=[None, 0.02, 0.3],
    fill=[None, 0.15, 0.9],
    size=[(3, 5, 2, 4), (11, 40, 8, 48)],
    kind=KINDS,
)
def test_the_path_of_its_own_choice(kind, size, fill, rate, grad):
    """Small or large, mostly padding or hardly any, with few resets or many, trained or not."""
    batch, seq, features, hidden = size
    layer = getattr(rnnkit, kind.split(maxsplit=1)[0])(features, hidden, **KINDS[kind])
    x = torch.randn(seq, batch, features)
    state = tensors_of(layer.initial_state(batch))
    lengths = fill and [max(1, round(seq * fill)) - n % 2 for n in range(batch)]
    reset = None if rate is None else torch.rand(seq, batch) < rate
    each = torch.tensor(lengths or [seq] * batch)

    with torch.set_grad_enabled(grad):
        output, ends = layer(x, lengths=lengths, reset=reset)
        expected = by_cells(layer, x, state, each, reset)

    close((output, ends), expected, 1e-5)


@each_layer
@given(data=st.data(), kind=st.sampled_from(["lengths", "reset"]))
def test_full_lengths_and_no_reset_change_nothing(name, data, kind):
    """The call is the call without them, bit for bit, and draws the same random numbers."""
    case = data.draw(cases([name], ["padded"] if kind == "lengths" else ["padded", "unbatched"]))
    layer = case.module(rnnkit)
    numbers = case.numbers()
    tensors = case.tensors()
    none = torch.zeros(numbers.shape[:-1], dtype=torch.bool)
    option = [case.seq] * case.batch if kind == "lengths" else none

    results = []
    for options in ({}, {kind: option}):
        torch.manual_seed(case.seed)
        output, state = layer(numbers, state_of(tensors), **options)
        of_call = gradients((output, state), [numbers, *layer.parameters()])
        results.append((output, state, of_call, torch.get_rng_state()))

    assert_same(results[0], results[1])


@covers(3, rate=[0.4, 0.0], lengths=[None, LENGTHS], path=RESET_PATHS, name=LAYERS)
def test_second_derivatives(name, path, lengths, rate):
    """Those of a tied bias too, though the mask is written into after the call."""
    case, layer, x = made(name, bidirectional=True)
    tensors = case.tensors()
    reset = drawn(case, rate)
    layer.bias_hh_l0 = layer.bias_ih_l0
    reset[0, 1] = True
    leaves = [x, *tensors, *layer.parameters()]

    def both(output):
        first = torch.autograd.grad(output.pow(2).sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(each.pow(2).sum() for each in first), leaves)
        return [*first, *second]

    used = reset.clone()
    with on(path):
        output, _ = layer(x, state_of(tensors), lengths=lengths, reset=used)
    used.logical_not_()

    each = torch.tensor(lengths or [case.seq] * case.batch)
    expected, _ = by_cells(layer, x, list(tensors), each, reset)
    close(both(output), both(expected), 1e-10)


@covers(2, is_own=[False, True], batch_first=[False, True], kind=KINDS)
def test_one_sequence_without_batch(kind, batch_first, is_own):
    """A sequence without a batch axis, and a mask without, give what they give in a batch of one."""
    case = replace(case_of(kind, bidirectional=True, batch_first=batch_first), batch=1)
    layer = case.module(rnnkit)
    x = case.numbers()
    hx = case.state()
    reset = drawn(case)[:, 0]
    axis = 0 if batch_first else 1
    alone = map_state(lambda tensor: tensor[:, 0], hx)
    if is_own:
        firsts = {1: hx, None: alone}
        layer.initial_state = lambda batch_size: firsts[batch_size]
        hx = alone = None

    output, state = layer(x, hx, reset=reset.unsqueeze(axis))
    actual, end = layer(x.squeeze(axis), alone, reset=reset)

    assert_same(output.squeeze(axis), actual)
    assert_same([tensor.squeeze(1) for tensor in tensors_of(state)], end)
