"""Copies of a model: what each has by itself, what they share, and what leads past them."""

import gc
import random
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.utils.prune
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.data import DataLoader, Dataset, TensorDataset

import rnnkit
from rnnkit._diagnostics import copies
from rnnkit._diagnostics.copies import Pristine
from rnnkit._diagnostics.isolation import session
from rnnkit._diagnostics.outputs import Given
from tests.diagnostics.models_of_users import Holder, numbers, twice

X = numbers(4, 7, 3)


def inference() -> Tensor:
    """Make a tensor that counts no versions."""
    with torch.inference_mode():
        return torch.ones(3)


def fake() -> Tensor:
    """Make a tensor without numbers."""
    with FakeTensorMode():
        return torch.ones(3)


def freed() -> Tensor:
    """Make a tensor whose memory was given back."""
    tensor = torch.ones(1000)
    tensor.untyped_storage().resize_(0)
    return tensor


TENSORS: dict[str, Callable[[], Tensor]] = {
    "fake": fake,
    "inference": inference,
    "meta": lambda: torch.ones(3, device="meta"),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "compressed": lambda: torch.eye(3).to_sparse_csr(),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "mkldnn": lambda: torch.ones(3).to_mkldnn(),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "conjugate": lambda: torch.ones(3, dtype=torch.complex64).conj(),
    "expanded": lambda: torch.zeros(2, 1).expand(2, 3),
    "part of much": lambda: torch.zeros(2**21)[:3],
    "not a number": lambda: torch.full((3,), torch.nan),
    "on a graph": lambda: nn.GRU(3, 3)(X)[1],
    "freed": freed,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TENSORS)
def test_tensors_of_all_kinds(name: str):
    """A tensor of any kind is copied, as a parameter and beside, and none ends the process."""
    for as_parameter in (False, True):
        tensor = TENSORS[name]()
        held = nn.Parameter(tensor, requires_grad=False) if as_parameter else tensor
        copy: Any = twice(Holder(held=held)).last

        assert (copy.held is held) == (name == "freed")
        assert held.is_nested or copy.held.shape == held.shape
        assert copy.held.layout is held.layout
        assert type(copy.held) is type(held)


class Tagged(nn.Parameter):
    """A parameter of a user's class."""


def test_weights_are_in_common():
    """Copies share the weights, in memory of their own; each has its own parameters."""
    tagged = Tagged(torch.ones(3), requires_grad=False)
    tagged.tag = "a"
    memory = torch.zeros(4)
    model = Holder(tagged=tagged, plain=torch.ones(3, requires_grad=True), memory=memory)
    model.view = memory[1:]
    model.same = model.gru.weight_hh_l0
    pristine = Pristine(model)
    one, other = (pristine.copy() for _ in range(2))
    for mine, first, second in zip(*(m.parameters() for m in (model, one, other)), strict=True):
        assert torch.equal(mine, first)
        assert first.data_ptr() == second.data_ptr() != mine.data_ptr()
        assert first is not second
        assert type(first) is type(mine)
    copy: Any = one
    assert (copy.tagged.tag, copy.tagged.requires_grad, copy.plain.requires_grad) == ("a", 0, 1)
    assert copy.same is copy.gru.weight_hh_l0
    assert copy.view.add_(1).sum() == copy.memory.sum() == 3
    assert not memory.any()


COUNT = iter(range(1000))

#: What a run writes into: weights, and tensors that are so large that runs share them.
WRITES: dict[str, Callable[[Any], Any]] = {
    "weights": lambda m: m.gru.bias_hh_l0.add_(1),
    "data of weights": lambda m: m.gru.bias_hh_l0.data.add_(1),
    "large tensor": lambda m: m.large.add_(1),
    "data of a large tensor": lambda m: m.large.data.add_(1),
    "sometimes": lambda m: m.unused.add_(1) if next(COUNT) % 2 else None,
    "in training": lambda m: [m.gru.bias_hh_l0.data.add_(1)] if m.training else None,
    "before it fails": lambda m: (m.gru.bias_hh_l0.add_(1), 1 / (next(COUNT) % 2)),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written(name: str):
    """What a run writes into what runs share, by whatever way, the next one finds as it was."""
    model = Holder(
        lambda m: [WRITES[name](m), m.large.sum()][1],
        large=torch.zeros(2**18 + 1),
        unused=nn.Parameter(torch.ones(3)),
    )
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with session(model) as opened:
        runs = [opened.attempt(Given((X,), {})) for _ in range(3)]
        with opened.watched(), torch.no_grad(), suppress(ZeroDivisionError):
            opened.pristine.copy().train()(X)
        runs += [opened.attempt(Given((X,), {})) for _ in range(2)]
    first, *rest = [run[0] for run in runs if run is not None]

    assert rest
    assert all(torch.equal(first, other) for other in rest)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not model.large.any()


def test_nothing_is_written():
    """The first run counts if it writes and draws nothing, also where weights are NaN."""
    model = Holder()
    model.gru.bias_hh_l0.data[0] = torch.nan
    with session(model) as opened:
        opened.run(Given((X,), {}))
    assert opened.passes == 1


#: What makes a layer hold a tensor on a graph, which Python refuses to copy.
ON_A_GRAPH: dict[str, Callable[[nn.Module], Any]] = {
    "normalised": nn.utils.weight_norm,
    "pruned": lambda part: torch.nn.utils.prune.l1_unstructured(part, "weight", 1),
    "parametrized": nn.utils.parametrizations.weight_norm,
    "spectral": nn.utils.parametrizations.spectral_norm,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ON_A_GRAPH)
def test_modules_with_tensors_on_a_graph(kind: str):
    """Such a module is copied, and its graph stays with the model."""
    part = nn.Linear(3, 3)
    ON_A_GRAPH[kind](part)
    part(X)
    twice(Holder(lambda m: m.part(X).sum(), part=part))
    part(X).sum().backward()

    assert next(part.parameters()).grad is not None


def test_optimizer_inside():
    """An optimizer that a model holds writes copies."""
    model = Holder()
    model.optimizer = torch.optim.Adam(model.parameters())
    model(X).sum().backward()
    model.optimizer.step()

    def act(m: Any):
        with torch.enable_grad():
            m.optimizer.zero_grad()
            m.gru(X)[0].sum().backward()
        m.gru.requires_grad_(requires_grad=False)
        m.optimizer.step()

    model.act = act
    weight = model.gru.weight_hh_l0
    before = weight.detach().clone()
    grad = weight.grad
    twice(model)

    assert torch.equal(weight, before)
    assert weight.grad is grad
    assert weight.requires_grad
    assert model.optimizer.state[weight]["step"] == 1


class Frozen(dict[str, int]):
    """A mapping that refuses to be written, and so to be copied."""

    def __setitem__(self, key: str, value: int):
        """Refuse."""
        raise TypeError(key, value)


class Refuses:
    """An object that refuses to be copied."""

    def __deepcopy__(self, memo: Any) -> Any:
        """Refuse."""
        raise TypeError


class Recordings(Dataset[int]):
    """Data, as torch has it."""


SHARED: dict[str, Callable[[], Any]] = {
    "lock": threading.Lock,
    "file": lambda: sys.__stderr__,
    "generator": lambda: (k for k in range(3)),
    "loader": lambda: DataLoader([1, 2]),  # type: ignore[arg-type]
    "data set": Recordings,
    "tensors": lambda: TensorDataset(X),
    "loader's iterator": lambda: iter(DataLoader(TensorDataset(X))),
    "system": random.SystemRandom,
    "mapping": lambda: Frozen({"a": 1}),
    "object": Refuses,
    "large": lambda: torch.zeros(1000),
}


@pytest.mark.parametrize("name", SHARED)
def test_what_is_shared(name: str, monkeypatch: pytest.MonkeyPatch):
    """What cannot be copied or is data is shared, and the report names it; what holds it is not."""
    monkeypatch.setattr(copies, "DATA", 500)
    held = SHARED[name]()
    outer = SimpleNamespace(held=held, count=0, small=np.zeros(3))
    model = Holder(lambda m: setattr(m.outer, "count", 1 / (m.outer.held is held)), outer=outer)
    report = rnnkit.verify(model, X)
    gc.collect()

    assert "not copied, but shared with the model: held" in report.notes
    assert outer.count == 0


def test_what_is_not_worth_a_word():
    """What nobody can change is shared without a word."""
    held = [len, X.dtype, 1j, np, torch.Size([1]), range(3), torch.tanh, nn.Linear]

    assert twice(Holder(held=held, key={torch.float32: nn.GRU})).pristine.shared == []
