"""Where a class of ours stands in for torch's: containers, users' subclasses, torch's own name."""

import copy
from typing import Generic

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

import rnnkit
from tests.copies import COPIES
from tests.strategies import CELLS, LAYERS, tensors_of
from tests.torch.interop import HIDDEN, INPUT, SPACES, Given, attempt, given, same, six, table


def in_containers(g: Given):
    """Containers have torch's names of parameters, print the same and give the same."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(INPUT, INPUT), g.module)
    many = nn.ModuleDict({"one": g.module, "many": nn.ModuleList([g.twin(g.kind)])})
    assert isinstance(g.module, getattr(nn, g.name))
    return model(g.x), repr(model), list(many.state_dict()), repr(g.twin(g.kind, 3, 4, bias=False))


def subclassed(g: Given):
    """A user's class, with a constructor, a forward and parameters of its own."""

    class Own(g.kind):  # type: ignore[name-defined]
        def __init__(self, width, scale, *, bias):
            super().__init__(INPUT, hidden_size=width, bias=bias)
            self.scale = scale
            self.first, self.second = (nn.Parameter(torch.randn(2)) for _ in range(2))

        def forward(self, input, hx=None):
            return super().forward(self.scale * input, hx)

    own = [g.twin(Own, HIDDEN, 0.5, bias=bias) for bias in (False, True)]
    return [g.call(module) for one in own for module in (one, copy.deepcopy(one))]


def overridden_checks(g: Given):
    """A check that a user's class or mixin puts in torch's place is called as torch calls it."""
    called = []
    if g.name in CELLS:
        return None
    for method in ("check_input", "check_hidden_size", "check_forward_args"):

        def check(*args, method=method):
            called.append((method, len(args)))

        mixin = type("Mixin", (), {method: check})
        for kind in (g.own(**{method: check}), type("Own", (mixin, g.kind), {})):
            g.call(kind(INPUT, HIDDEN))
    assert len(called) >= 2 * 2 * 3
    return called


def weights_beside_a_check(g: Given):
    """A weight that draws random numbers draws them once in a call, beside a user's check, too."""
    module = g.twin(g.own(check_input=lambda *_: None))
    nn.utils.parametrize.register_parametrization(module, g.weights[1], nn.Dropout(0.3))
    torch.manual_seed(2)
    return module(g.x), module(g.packed) if g.name in LAYERS else None


def body_of_torch(g: Given):
    """A forward that is torch's body is checked by torch's checks, and refuses what they refuse."""
    module = g.twin(g.own(forward=SPACES[0][g.name].forward))
    wrong = torch.randn(1, 1, HIDDEN) if g.name in LAYERS else torch.randn(1, HIDDEN)
    hx = (wrong, wrong) if "LSTM" in g.name else wrong
    return g.call(module), attempt(module, g.x, hx)


def odd_sizes(g: Given):
    """Without features, without a hidden state."""
    if g.name in LAYERS:
        return None
    return [g.twin(g.kind, *sizes)(torch.ones(2, sizes[0])) for sizes in ((3, 0), (0, 4), (0, 0))]


def in_place_of_torchs(g: Given):
    """`torch.nn.LSTM = rnnkit.LSTM` gives checked modules, and no call goes round in circles."""
    with pytest.MonkeyPatch.context() as patch:
        (space,) = (space for space in SPACES if space[g.name] is g.kind)
        for name, kind in space.items():
            patch.setattr(nn, name, kind)
            patch.setattr(nn.modules.rnn, name, kind)
        made = g.twin(getattr(nn, g.name))
        copied = [make(made) for make in COPIES]
        return [g.call(one) for one in (made, *copied)], attempt(made, g.x[..., :-1])


@pytest.mark.filterwarnings("ignore:.*a cell computes nothing:UserWarning")
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
@table(vars())
def test_a_use(check):
    """What comes out of a use is the same for torch's class and for ours."""
    check()


@six
def test_all_that_is_ours_has_public_names(name):
    """Beside torch's names a class of ours has the public ones and ``__rnnkit__`` alone."""
    ours = getattr(rnnkit, name)
    theirs = getattr(nn, name)
    added = {key for key in dir(ours) if key not in dir(theirs)}
    public = {"axes", "initial_state", "__rnnkit__", "__prepare_scriptable__"}
    if name in LAYERS:
        public |= {"state_batch_first", "step", "cells", "last_hidden", "split_state"}
    # The last of these is Python's own, once an object of the class was copied.
    python = {*dir(Generic), "__orig_bases__", "__parameters__", "__slotnames__"}
    assert added - python == public


@six
@pytest.mark.parametrize("where", ["class", "class, later", "instance"])
def test_a_module_asks_for_its_own_first_state(name, where):
    """Each kind of call begins from the state that a subclass, or an instance, gives; so does None."""
    g = given(name, 1)

    def ones(module, batch_size):
        return pytree.tree_map(torch.ones_like, g.kind.initial_state(module, batch_size))

    kind = g.own(initial_state=ones) if where == "class" else g.own()
    module = g.twin(kind)
    if where == "class, later":
        kind.initial_state = ones
    elif where == "instance":
        module.initial_state = lambda batch_size: ones(module, batch_size)
    first = ones(module, g.x.shape[-2])

    same(module(g.x), module(g.x, first))
    same(module(g.x[..., 0, :]), module(g.x[..., 0, :], ones(module, None)))
    if "LSTM" in name:
        same(module(g.x, (g.hx[0], None)), module(g.x, (g.hx[0], first[1])))
    if name in CELLS:
        output, _ = rnnkit.unroll(module, g.x[None])
        torch.testing.assert_close(output[0], tensors_of(module(g.x, first))[0])
    else:
        same(module(g.packed), module(g.packed, first))
        same(module.step(g.x[0]), module.step(g.x[0], first))
