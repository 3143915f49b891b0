"""Torch's tools in use on a module: what each does to ours equals what it does to torch's, bit for bit.

Each use is given a module and a call. Where torch's tool fails on torch's class, it fails on ours with an error that is caught as torch's.
"""

import copy

import pytest
import torch
from torch import nn

import rnnkit
from tests.copies import COPIES, by_file
from tests.explaining import entered
from tests.torch.interop import HIDDEN, INPUT, Given, attempt, cast, given, same, six, table, total


def halved(module):
    """Halve the weights in place."""
    for parameter in module.parameters():
        parameter.detach().mul_(0.5)
    return module


def copies(g: Given):
    """A copy made after a call follows its own parameters."""
    g.call()
    made = [make(g.module) for make in COPIES]
    assert {type(one) for one in made} == {g.kind}
    return [g.call(halved(one)) for one in made], g.call()


def checkpoints(g: Given):
    """A checkpoint, read with weights_only, loads into either class, by assignment too."""
    state = by_file(halved(g.module).state_dict(), weights_only=True)
    loaded = []
    for kind in (getattr(nn, g.name), getattr(rnnkit, g.name)):
        with torch.device("meta"):
            assigned = kind(INPUT, HIDDEN)
        assigned.load_state_dict(state, assign=True)
        assert [v.data_ptr() for v in assigned.state_dict().values()] == [
            v.data_ptr() for v in state.values()
        ]
        copied = kind(INPUT, HIDDEN)
        copied.load_state_dict(state)
        loaded += [g.call(copied), g.call(assigned)]
    return loaded


def where_it_is_made(g: Given):
    """Weights are on the device of the context, and move to another one and back."""
    with torch.device("meta"):
        made = g.kind(INPUT, HIDDEN)
    shapes = g.module.to("meta")(g.x.to("meta"))
    g.module.to_empty(device="cpu").load_state_dict(g.twin(g.kind).state_dict())
    return [p.device.type for p in made.parameters()], cast(shapes, torch.float32), g.call()


def autocast(g: Given):
    """Under autocast torch mixes dtypes of input, both members of the state, and weights.

    Ours explains nothing where torch runs.
    """
    found = []
    dtypes = (torch.float32, torch.bfloat16, torch.float64)
    for moved, inputs in ((g.module, dtypes[:2]), (copy.deepcopy(g.module).double(), dtypes)):
        for dtype in inputs:
            hx = [None, *(cast(g.hx, kept) for kept in dtypes)]
            if "LSTM" in g.name:
                hx += [(hx[1][0], hx[2][1]), (hx[3][0], hx[1][1])]
            for each in hx:
                with torch.autocast("cpu", dtype=torch.bfloat16), entered() as explaining:
                    found.append(attempt(moved, g.x.to(dtype), each))
                assert isinstance(found[-1], type) or not explaining
    return found


def borrowed_weights(g: Given):
    """A call with borrowed parameters uses those, of another dtype too, and leaves no trace."""
    found = []
    for dtype in (torch.float32, torch.float64):
        weights = {key: 2 * value.to(dtype) for key, value in g.module.state_dict().items()}
        x, hx = cast((g.x, g.hx), dtype)
        found += [torch.func.functional_call(g.module, weights, args) for args in [(x, hx), (x,)]]
    return found, g.call()


def mapped(g: Given):
    """Torch maps two of the cells over an extra axis, and has no rule for the others."""
    return attempt(torch.vmap(g.module), torch.stack([g.x, 2 * g.x, -g.x, 0 * g.x]))


def hooks_of_a_call(g: Given):
    """Hooks see the arguments as the caller wrote them, and the result, once for each call."""
    seen = []

    def see(_, args, options, *result):
        seen.append((len(args), sorted(options), args, options, result))

    g.module.register_forward_pre_hook(see, with_kwargs=True)
    g.module.register_forward_hook(see, with_kwargs=True)
    every = nn.modules.module.register_module_forward_hook(lambda *_: seen.append("everywhere"))
    try:
        g.call()
        g.module(g.x, hx=g.hx)
        g.module(input=g.x, hx=g.hx)
    finally:
        every.remove()
    assert len(seen) == 12
    return seen


def hooks_that_change_a_call(g: Given):
    """A pre-hook mends the input before a check sees it; a hook replaces the result, or sees failures."""
    failed = []
    g.module.register_forward_hook(lambda *_: failed.append("failed"), always_call=True)
    refused = attempt(g.module, g.x[..., :-1])
    first = g.module.register_forward_pre_hook(lambda _, args: (args[0].movedim(0, -1),))
    mended = g.module(g.x.movedim(-1, 0))
    first.remove()
    g.module.register_forward_hook(lambda *_: "replaced")
    return refused, failed, mended, g.module(g.x)


def hooks_of_gradients(g: Given):
    """Full backward hooks see the gradients, and the state keeps its type on the way."""
    seen = []
    g.module.register_full_backward_pre_hook(lambda _, out: seen.append(out))
    g.module.register_full_backward_hook(lambda _, *both: seen.append(both))
    x = g.x.clone().requires_grad_()
    result = g.module(x)
    total(result).backward()
    assert len(seen) == 2
    assert g.name != "LSTM" or isinstance(result[1], rnnkit.LSTMState) == (g.kind is rnnkit.LSTM)
    return seen, x.grad


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # of vmap
@table(vars())
def test_a_use(check):
    """What comes out of a use is the same for torch's module and for ours."""
    check()


@six
def test_skip_init(name):
    """It draws no random number for ours, and takes our layers, though not torch's."""
    g = given(name, 1)
    before = torch.get_rng_state()
    made = nn.utils.skip_init(g.kind, INPUT, HIDDEN)

    assert torch.equal(torch.get_rng_state(), before)
    made.load_state_dict(g.module.state_dict())
    same(g.call(), g.call(made))
