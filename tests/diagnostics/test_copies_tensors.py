"""Copies of tensors of every kind, on a graph or off it."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.utils.prune
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from rnnkit._diagnostics.isolation import Given, session
from tests.diagnostics.held import Holder, X, twice


def fake() -> Tensor:
    """Make a tensor without numbers."""
    with FakeTensorMode():
        return torch.ones(3)


def inference() -> Tensor:
    """Make a tensor that counts no versions."""
    with torch.inference_mode():
        return torch.ones(3)


def quantized() -> Tensor:
    """Make a tensor of few bits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)


def compressed() -> Tensor:
    """Make a tensor in rows of numbers that are not zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.eye(3).to_sparse_csr()


def freed() -> Tensor:
    """Make a tensor whose memory was given back."""
    tensor = torch.ones(1000)
    tensor.untyped_storage().resize_(0)
    return tensor


KINDS: dict[str, Callable[[], Tensor]] = {
    "fake": fake,
    "inference": inference,
    "meta": lambda: torch.ones(3, device="meta"),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "compressed": compressed,
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "mkldnn": lambda: torch.ones(3).to_mkldnn(),
    "quantized": quantized,
    "conjugate": lambda: torch.ones(3, dtype=torch.complex64).conj(),
    "expanded": lambda: torch.zeros(2, 1).expand(2, 3),
    "part of much": lambda: torch.zeros(2**21)[:3],
    "freed": freed,
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("as_parameter", [False, True])
def test_tensors_of_all_kinds(name: str, as_parameter: bool) -> None:
    """A tensor of any kind is copied, as a parameter and beside, and none ends the process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensor = KINDS[name]()
        held = nn.Parameter(tensor, requires_grad=False) if as_parameter else tensor
        model = Holder(held=held)
        with session(model) as opened:
            copy: Any = opened.pristine.copy()[0]
            opened.run(Given((X,), {}))

    assert copy.held is not held
    assert held.is_nested or copy.held.shape == held.shape
    assert copy.held.layout is held.layout
    assert type(copy.held) is type(held)


class Tagged(nn.Parameter):
    """A parameter of somebody's own class."""


def test_parameter_of_a_class() -> None:
    """A parameter keeps its class, its attributes, and whether it wants a gradient."""
    weight = Tagged(torch.ones(3), requires_grad=False)
    weight.tag = "a"
    model = Holder(held=weight, plain=torch.ones(3, requires_grad=True))
    with session(model) as opened:
        copy: Any = opened.pristine.copy()[0]

    assert type(copy.held) is Tagged
    assert copy.held.tag == "a"
    assert not copy.held.requires_grad
    assert copy.plain.requires_grad


def prepared(kind: str) -> nn.Module:
    """Make a part with a tensor that hangs on a graph."""
    part: Any = nn.Linear(3, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "normalised":
            nn.utils.weight_norm(part)
        elif kind == "pruned":
            torch.nn.utils.prune.l1_unstructured(part, "weight", 1)
        elif kind == "parametrized":
            part = nn.LSTM(3, 3)
            nn.utils.parametrizations.weight_norm(part, "weight_hh_l0")
        elif kind == "cached":
            part.held = nn.GRU(3, 3)(X)[1]
        elif kind == "spectral":
            nn.utils.parametrizations.spectral_norm(part)
    part(X)
    return part


@pytest.mark.parametrize("kind", ["normalised", "pruned", "parametrized", "cached", "spectral"])
def test_tensors_on_a_graph(kind: str) -> None:
    """A tensor that hangs on a graph, which Python refuses to copy, is copied without that."""
    part = prepared(kind)
    model = Holder(lambda m: m.part(X)[0].sum(), part=part)
    twice(model)
    part(X)[0].sum().backward()

    assert next(part.parameters()).grad is not None
