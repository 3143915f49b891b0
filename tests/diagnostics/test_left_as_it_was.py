"""A model, its input, and random numbers are left as they were, whatever the model does as it runs."""

import os
import pickle
import random
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnkit
from rnnkit._diagnostics.isolation import sources
from rnnkit._diagnostics.outputs import equal
from tests.diagnostics.models_of_users import Holder, Model, gru, numbers, twice

X = numbers(4, 7, 3)
LOOKS: list[Callable[..., Any]] = [rnnkit.verify, rnnkit.dependency_map, rnnkit.trace]
#: Probes that take long.
SLOW = ["alone", "use", "memory"]


@dataclass(slots=True)
class Slots:
    """A state in slots."""

    h: Any = 0


class Counts(SimpleNamespace):
    """An object that copies itself."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Copy it."""
        return Counts(**vars(self))


class Table(dict[str, int]):
    """A mapping of a user's class, with an attribute."""

    h = 0


class Everything(nn.Module):
    """A model with everything that can change while it runs, that was trained for a step."""

    def __init__(self, act: Callable[[Any], Any]):
        """Make a state of each kind, train, add a hook, and turn modes."""
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.gru = nn.GRU(3, 6, batch_first=True)
        self.kept = nn.Parameter(numbers(2), requires_grad=False)
        self.buffer = nn.Buffer(numbers(2))
        self.tensor = numbers(2)
        self.on_a_graph = self.gru(X)[1]
        self.expanded = torch.zeros(2, 1).expand(2, 3)
        self.array = np.zeros(3)
        self.count = 0
        self.mapping = {"a": 1}
        self.lines = [1]
        self.pair = ([1], 2)
        self.queue = deque([1])
        self.words = {1}
        self.table = Table(a=1)
        self.slots = Slots()
        self.itself = Counts(h=0)
        self.nested = SimpleNamespace(a=[[numbers(2)], Counts(h=0)], teacher=nn.Linear(2, 2))
        self.own = torch.Generator().manual_seed(0)
        self.numpys = np.random.default_rng(0)
        self.pythons = random.Random(0)  # noqa: S311
        self.act: Callable[[Any], Any] = lambda _: None
        self(X).sum().backward()
        self.norm.eval()
        self.gru.weight_hh_l0.requires_grad = False
        self.gru.register_forward_hook(print_nothing)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Change what there is to change; run; add what acting returns, if it is a number."""
        acted = self.act(self)
        y: Tensor = self.gru(self.drop(self.norm(x.mT).mT))[0]
        return y + acted.detach().sum() if isinstance(acted, Tensor) else y


def print_nothing(*_: Any):
    """Do nothing, as a hook."""


def statistics(m: Any):
    """Update the running statistics in spite of eval mode."""
    m.norm.train()
    m.norm(numbers(2, 3, 4))


def leak(m: Any):
    """Change something, and mix the samples."""
    m.count += 1
    m.gru.batch_first = False


def fail(m: Any):
    """Change something, and fail."""
    m.tensor.add_(1)
    m.lines.append(1)
    raise KeyError


#: What a run does to what the model holds.
ACTS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda _: None,
    "statistics": statistics,
    "a leak": leak,
    "a failure": fail,
    "a mode": lambda m: m.gru.eval(),
    "a number": lambda m: setattr(m, "count", m.count + 1),
    "a new attribute": lambda m: setattr(m, "extra", 1),
    "an attribute less": lambda m: m.__dict__.pop("count", None),
    "a new module": lambda m: setattr(m, "extra", nn.Linear(2, 2)),
    "a new buffer": lambda m: m.register_buffer("extra", numbers(2)),
    "a replaced buffer": lambda m: setattr(m, "buffer", m.buffer + 1),
    "a buffer": lambda m: m.buffer.add_(1),
    "a parameter": lambda m: m.kept.add_(1),
    "a weight": torch.no_grad()(lambda m: m.gru.bias_hh_l0.add_(1)),
    "a tensor": lambda m: m.tensor.add_(1),
    "a tensor's data": lambda m: m.tensor.data.add_(1),
    "a tensor's memory and shape": lambda m: setattr(m.tensor, "data", torch.ones(5)),
    "a tensor on a graph": lambda m: m.on_a_graph.add_(1),
    "an expanded tensor": lambda m: m.expanded[:, 0].add_(1),
    "an array": lambda m: m.array.fill(1),
    "a mapping": lambda m: m.mapping.update(b=2),
    "a list": lambda m: m.lines.append(2),
    "a list in a tuple": lambda m: m.pair[0].append(2),
    "a deque": lambda m: m.queue.append(2),
    "a set": lambda m: m.words.add(2),
    "a mapping's attribute": lambda m: setattr(m.table, "h", 1),
    "a slot": lambda m: setattr(m.slots, "h", 1),
    "what copies itself": lambda m: setattr(m.itself, "h", 1),
    "an object in a list": lambda m: setattr(m.nested.a[1], "h", 1),
    "a tensor in a list": lambda m: m.nested.a[0][0].add_(1),
    "a generator": lambda m: torch.randn(1, generator=m.own),
    "numpy's generator": lambda m: torch.tensor(m.numpys.random()),
    "python's generator": lambda m: torch.tensor(m.pythons.random()),
    "random numbers": lambda _: (torch.rand(1), random.random(), np.random.rand()),  # noqa: S311, NPY002
    "a seed": lambda _: (torch.manual_seed(0), random.seed(0), np.random.seed(0)),  # noqa: NPY002
}


def act(name: str, m: Any) -> Any:
    """Do what has this name."""
    return ACTS[name](m)


def held(model: Any) -> list[Any]:
    """Write down what a model holds: by value, with the memory of tensors, and by identity."""
    generator = model.own.get_state().tolist()
    grads = [weight.grad for weight in model.parameters()]
    values = pickle.dumps({**vars(model), "own": generator, "grads": grads})
    return [values, [(name, *map(id, vars(part).values())) for name, part in model.named_modules()]]


@pytest.mark.unhooked("beartype draws from Python's numbers")
@pytest.mark.parametrize("name", ACTS)
def test_the_model_is_left_as_it_was(name: str):
    """Each run starts alike, and model and chance stay as they were, also after an exception."""
    model = Everything(partial(act, name))
    before = held(model)
    chance = [source.get_state() for source in sources().values()]
    with suppress(KeyError):
        assert twice(model).pristine.shared == []
        assert name != "a failure"
    for look in LOOKS:
        with suppress(rnnkit.LeakError, KeyError):
            look(model, X)
            assert name != "a failure"
            assert name != "a leak" or look is not rnnkit.verify

        assert held(model) == before
        assert equal(chance, [source.get_state() for source in sources().values()])
        assert not nn.modules.module._has_any_global_hook()  # type: ignore[no-untyped-call]
    model.on_a_graph.sum().backward()


def test_what_cannot_be_compared_is_left():
    """A sparse tensor is copied, too."""
    sparse = torch.eye(3).to_sparse()
    twice(Holder(lambda m: m.sparse.mul_(2).to_dense().sum(), sparse=sparse))

    assert torch.equal(sparse.to_dense(), torch.eye(3))


def test_the_input_is_left():
    """A model that writes into what it is given does not write into what the caller gave."""
    x = X.clone().requires_grad_()
    model = Model(lambda m, x: m.gru(x.mul_(2)), gru=gru())
    rnnkit.trace(model, x.detach())
    for look in (rnnkit.verify, rnnkit.dependency_map):
        look(model, x)

        assert torch.equal(X, x)
        assert x.grad is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_modes_of_gradients(mode: Any):
    """It runs in each mode of gradients, on a buffer of inference mode too, and leaves that mode."""
    model = Everything(print_nothing)
    with torch.inference_mode():
        model.register_buffer("mean", numbers(2))
    with mode():
        state = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        for look in LOOKS:
            look(model, X)

        assert state == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())


class Interrupt:
    """Raises KeyboardInterrupt after so many lines of Python."""

    def __init__(self, lines: int):
        """Count down from there."""
        self.left = lines

    def __call__(self, *_: Any) -> Any:
        """Count a line."""
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self

    def during(self, model: nn.Module) -> int:
        """Run verify; return how many lines are left."""
        trace = sys.gettrace()
        sys.settrace(self)
        try:
            rnnkit.verify(model, X[:2], skip=SLOW)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(trace)
        return self.left


def interrupt_anywhere():
    """Interrupt verify at random lines: the model is as it was, to the last bit."""
    torch.set_num_threads(1)
    torch.manual_seed(2026)
    model = Everything(print_nothing).train()
    before = held(model)
    Interrupt(-1).during(model)  # what is done once in a process
    most = -Interrupt(-1).during(model)
    generator = random.Random(1)  # noqa: S311
    for _ in range(200):
        assert Interrupt(generator.randint(1, most * 9 // 10)).during(model) <= 0
        torch.nn.modules.module._global_forward_pre_hooks.clear()  # of one in the last line
    assert held(model) == before


@pytest.mark.slow
@pytest.mark.unhooked("a trace function is for the lines of the package, not of its checks")
def test_interrupted_anywhere():
    """Wherever it is interrupted, the model is as it was.

    In a process of its own: an interrupt in torch's lines may leave torch's modes switched off.
    """
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(  # noqa: S603 - this file
        [sys.executable, __file__],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    interrupt_anywhere()
