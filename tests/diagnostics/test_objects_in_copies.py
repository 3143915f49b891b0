"""Objects in a copy of a model: what leads back to the model leads to the copy.

A way to the model itself, past the copy, is refused.
"""

import types
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from weakref import proxy, ref

import pytest
import torch
from torch import nn
from torch.testing._internal.two_tensor import TwoTensor

import rnnkit
from rnnkit._diagnostics.probes.table import PROBES
from rnnkit._diagnostics.run.copies import Pristine
from rnnkit._diagnostics.run.isolation import EscapedError, session
from rnnkit._diagnostics.run.outputs import named_leaves
from tests.diagnostics.models_of_users import GIVEN, LOOKS, Holder, X, reported, twice

OTHER = nn.Linear(3, 6)


class Late(SimpleNamespace):
    """An object that weak references lead to."""


def replaced(self, x):
    """Stand for a model's forward."""
    return self.gru(x)[0] * 2


def check(holds):
    """Check what holds in a copy."""
    assert holds


def check_late(m):
    """Check that weak references lead to the copy of what the model has."""
    reference, stand_in = m.held["then"]
    assert reference() is m.late is m.held["first"]
    assert stand_in.__class__ is Late
    stand_in.calls = 1
    assert m.late.calls == 1


#: Ways from what a model holds back to the model, that lead to the copy in a copy.
BACK = {
    "trainer": (
        lambda m: SimpleNamespace(strategy=SimpleNamespace(model=m)),
        lambda m: check(m.held.strategy.model is m),
    ),
    "wrapper": (
        lambda m: SimpleNamespace(model=nn.Sequential(m)),
        lambda m: check(m.held.model[0] is m),
    ),
    "partial": (lambda m: partial(lambda m, x: m.gru(x)[0], m), lambda m: m.held(X)),
    "method": (lambda m: {"run": m.gru.forward, m.gru: 1}, lambda m: m.held["run"](X)[0]),
    "module as a key": (lambda m: {m.gru: 1}, lambda m: m.gru.bias_hh_l0[0] * m.held[m.gru]),
    "weak reference": (ref, lambda m: m.held().gru(X)[0]),
    "weak reference elsewhere": (lambda _: ref(OTHER), lambda m: m.held()(X)),
    "weak proxy": (
        lambda m: SimpleNamespace(owner=proxy(m)),
        lambda m: m.held.owner.gru(X)[0],
    ),
    "weak proxy in a tuple": (lambda m: (proxy(m.gru),), lambda m: m.held[0](X)[0]),
    "weak reference in a part that comes first": (
        lambda m: setattr(m.gru, "peers", (ref(m.late_part),)),
        lambda m: m.gru.peers[0]()(X),
    ),
    "weak proxy elsewhere": (lambda _: [proxy(OTHER)], lambda m: m.held[0](X)),
    "weak proxy of nothing": (lambda _: [proxy(nn.GRU(3, 6))], lambda m: m.gru(X)[0]),
    "weak references to an object": (
        lambda m: {"first": m.late, "then": [ref(m.late), proxy(m.late)]},
        check_late,
    ),
    "weak references before their object": (
        lambda m: {"then": [ref(m.late), proxy(m.late)], "first": m.late},
        check_late,
    ),
    "forward": (lambda m: types.MethodType(replaced, m), lambda m: m.held(X)),
}


@pytest.mark.parametrize("name", BACK)
def test_ways_back(name):
    """What leads back to the model leads to the copy in a copy."""
    hold, act = BACK[name]
    model = Holder(act)
    model.held = None  # in front of what it refers to
    model.late = Late()
    model.late_part = nn.Linear(3, 6)
    model.held = hold(model)
    twice(model)


class Same(nn.Linear):
    """A module that returns itself for a copy, such as a teacher that nobody wants twice."""

    def __deepcopy__(self, memo):
        """Return itself."""
        return self


GLOBAL = {}


def swallowing(_):
    """Run the model, and go on if that is refused."""
    try:
        GLOBAL["model"](X)
    except rnnkit.ArgumentError as error:
        raise KeyError from error


#: Ways to the model itself that no copy can turn, and the module that each calls.
PAST = {
    "part": (lambda _: GLOBAL["model"].gru(X), r"calls model\.gru, and not"),
    "caught": (swallowing, "calls the model itself"),
    "unregistered": (lambda _: GLOBAL["model"].hidden[0](X), "calls a GRU of the model"),
    "its own copy": (lambda m: m.same(X), r"calls model\.same, and not"),
    "late": (lambda m: m.runs and GLOBAL["model"].hidden[0](X), "calls a GRU of the model"),
}


def run_again(opened):
    """Run a model, and one copy again."""
    opened.run(GIVEN)
    opened.last.runs = [1]
    opened.run(GIVEN, on=opened.last)


def attempt_again(opened):
    """Run a model if it does not refuse, and watch it."""

    def watch(model):
        model.runs = [1]
        return []

    opened.attempt(GIVEN)
    opened.attempt(GIVEN, watch=watch)


@pytest.mark.parametrize("name", PAST)
def test_ways_past_the_copy(name):
    """A model that calls its own modules past the copy is not run, in whichever run it does."""
    act, match = PAST[name]
    model = GLOBAL["model"] = Holder(act, hidden=[nn.GRU(3, 6)], same=Same(3, 6), runs=[])
    called = []
    for module in model.modules():
        module.register_forward_hook(lambda module, *_: called.append(module))
    for run in (run_again, attempt_again):
        with session(model) as opened, pytest.raises(EscapedError, match=match):
            run(opened)

    assert not {*called} & {*model.modules()}


def test_way_past_the_copy_is_said():
    """A model that calls itself by way of what a closure holds is not judged, as the head line says."""
    model = Holder()
    held = [model]
    model.act = lambda _: held[0].gru(X)
    report = rnnkit.verify(model, X)

    assert not report.judged
    assert "could be checked: forward calls model.gru, and not its copy" in str(report)
    for look in LOOKS[1:]:
        with pytest.raises(rnnkit.ArgumentError, match="a closure, a global or a weak") as caught:
            look(model, X)
        assert caught.value.code == "model-escaped"
        assert str(caught.value).endswith("\n  more      python -m rnnkit explain model-escaped")


def test_a_function_that_closes_over_modules():
    """A function that a model holds is copied with the modules that it closes over, and only then."""
    model = Holder()
    layer = model.gru
    gain = [2.0]
    model.act = lambda _, scale=1.0, *, more=0.0: layer(X)[0] * scale * gain[0] + more
    model.plain = lambda x: x
    copied = twice(model).pristine

    assert reported(Holder(model.act, gru=layer), X).judged
    act = copied.private.act
    assert act is not model.act
    assert {cell.cell_contents for cell in act.__closure__ if cell.cell_contents is not gain} == {
        copied.private.gru
    }
    assert copied.private.plain is model.plain


def deep(wrap):
    """Nest something a hundred deep."""
    held = None
    for _ in range(100):
        held = wrap(held)
    return held


class Linked(SimpleNamespace):
    """An object that refers to the next one."""


@dataclass(slots=True)
class Slotted:
    """An object that refers to the next one by a slot."""

    held: object


#: What nests something one deeper.
NESTS = {
    "dict": lambda x: {"in": x},
    "list": lambda x: [x],
    "list of dicts": lambda x: [{"in": x}],
    "object": lambda x: Linked(held=x),
    "slot": Slotted,
}


@pytest.mark.parametrize("name", NESTS)
def test_what_is_nested_deep(name):
    """What is nested deep in a model is copied, and a finding about another attribute names that."""
    model = Holder(lambda m: [setattr(m, "calls", m.calls + 1), torch.ones(1) * m.calls][1])
    model.held = deep(NESTS[name])
    model.calls = 0
    others = [probe for probe in PROBES if probe != "repeatable"]
    found = reported(model, X, skip=others).findings
    rnnkit.trace(model, X)
    rnnkit.dependency_map(model, X)

    assert "the model keeps model.calls from call to call" in str(found[0])
    assert model.calls == 0


def test_what_tensors_hold():
    """What a tensor holds, in its class or in attributes, is copied with it."""
    inner = torch.zeros(3)
    weight = nn.Parameter(torch.ones(3))
    weight.mask = torch.zeros(3)
    model = Holder(inner=TwoTensor(inner, inner.clone()), weight=weight)
    model.scaled = nn.Parameter(TwoTensor(torch.ones(3), torch.ones(3)))
    weight.owner = model
    pristine = Pristine(model)
    one, other = (pristine.copy() for _ in range(2))
    for x in (one, other):
        held = x
        assert held.weight.owner is held
        held.weight.mask.add_(1)
        with torch.no_grad():
            held.inner.add_(1)
            held.scaled.a.add_(1)
        assert held.weight.mask.sum() == held.inner.a.sum() == 3

    assert not inner.any()
    assert not weight.mask.any()
    assert model.scaled.a.sum() == 3


def test_more_tensors_than_a_state_has_are_one_axis():
    """Three in a tuple may be the members of a state; four of one shape, or two in a list, are not."""
    assert len(named_leaves((X,) * 3, stack=True)) == 3
    assert [leaf.shape[0] for _, leaf in named_leaves((X,) * 4, stack=True)] == [4]
    assert [leaf.shape[0] for _, leaf in named_leaves([X] * 2, stack=True)] == [2]
