"""What is nested deep in a model, and what its tensors hold, is copied, or refused in words."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing._internal.two_tensor import TwoTensor

import rnnkit
from rnnkit._diagnostics.probes.table import PROBES
from rnnkit._diagnostics.run.copies import Pristine
from rnnkit._diagnostics.run.outputs import named_leaves
from tests.diagnostics.models_of_users import Holder, X, reported


def deep(wrap):
    """Nest something deeper than Python nests calls."""
    held = None
    for _ in range(1500):
        held = wrap(held)
    return held


class Linked(SimpleNamespace):
    """An object that refers to the next one."""


@dataclass(slots=True)
class Slotted:
    """An object that refers to the next one by a slot."""

    held: Any


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
