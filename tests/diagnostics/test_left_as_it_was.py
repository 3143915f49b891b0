"""A model, its input, and random numbers are left as they were, whatever the model does as it runs."""

import os
import pickle
import random
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnkit
from rnnkit._diagnostics.run.isolation import random_sources
from rnnkit._diagnostics.run.outputs import equal
from tests.diagnostics.models_of_users import (
    LOOKS,
    Holder,
    X,
    gru,
    layered,
    numbers,
    reported,
    twice,
)


@dataclass(slots=True)
class Slots:
    """A state in slots."""

    h: object = 0


class Counts(SimpleNamespace):
    """An object that copies itself."""

    def __deepcopy__(self, memo):
        """Copy it."""
        return Counts(**vars(self))


class Options:
    """An object that looks all its attributes up in a dictionary of its own."""

    def __init__(self):
        """Keep none."""
        self.held = {"h": 0}

    def __getattr__(self, name):
        """Look it up; an object without a dictionary looks for that forever."""
        return self.held[name]


class Table(dict[str, int]):
    """A mapping of a user's class, with an attribute that it reads when it takes an item."""

    h = 0

    def __init__(self, most=9, **items):
        """Take how many items it may have."""
        self.most = most
        super().__init__(**items)

    def __setitem__(self, key, value):
        """Take an item."""
        assert len(self) < self.most
        super().__setitem__(key, value)


class Everything(nn.Module):
    """A model with everything that can change while it runs, that was trained for a step."""

    def __init__(self, act):
        """Make a state of each kind, train, add a hook, and turn modes."""
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.gru = gru()
        self.kept = nn.Parameter(numbers(2), requires_grad=False)
        self.buffer = nn.Buffer(numbers(2))
        self.tensor = numbers(2)
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
        self.options = Options()
        self.nested = SimpleNamespace(
            a=[[numbers(2)], SimpleNamespace(h=0)], teacher=nn.Linear(2, 2)
        )
        self.own = torch.Generator().manual_seed(0)
        self.numpys = np.random.default_rng(0)
        self.pythons = random.Random(0)  # noqa: S311
        self.act = nothing
        self.optimizer = torch.optim.Adam(self.parameters())
        self(X).sum().backward()
        self.optimizer.step()
        self.on_a_graph = self.gru(X)[1]
        self.norm.eval()
        self.gru.weight_hh_l0.requires_grad = False
        self.gru.register_forward_hook(nothing)
        self.act = act

    def forward(self, x):
        """Change what there is to change; run; add what acting returns, if it is a number."""
        acted = self.act(self)
        y = self.gru(self.drop(self.norm(x.mT).mT))[0]
        return y + acted if isinstance(acted, Tensor) else y


def nothing(*_):
    """Change nothing."""


def attributes(m):
    """Change attributes, parts and modes."""
    vars(m).pop("array", None)
    m.count += 1
    m.extra = 1
    m.buffer = m.buffer + 1
    m.register_buffer("new", numbers(2))
    m.part = nn.Linear(2, 2)
    m.gru.eval()
    m.norm.requires_grad_(False)
    m.norm.train()
    m.norm(numbers(2, 3, 4))


def tensors(m):
    """Write tensors; return what they hold by then."""
    written = [m.buffer, m.kept, m.tensor, m.nested.a[0][0], m.on_a_graph, m.expanded[:, 0]]
    for x in written:
        x.add_(1)
    total = torch.stack([x.detach().sum() for x in written]).sum()
    m.tensor.data.add_(1)
    m.nested.a[0][0].data = torch.ones(5)
    return total


def objects(m):
    """Change what objects hold."""
    m.array.fill(1)
    m.mapping.update(b=2)
    m.lines.append(2)
    m.pair[0].append(2)
    m.queue.append(2)
    m.words.add(2)
    m.table.h = 1
    m.slots.h = 1
    m.itself.h = 1
    m.options.held["h"] = 1
    m.nested.a[1].h = 1


def own_generators(m):
    """Draw from generators of the model."""
    return torch.randn(1, generator=m.own) + m.numpys.random() + m.pythons.random()


def train(m):
    """Train for a step by an optimizer that the model holds, which moves its weights."""
    before = m.gru.bias_hh_l0.detach().clone()
    with torch.enable_grad():
        m.optimizer.zero_grad()
        m.gru(X)[0].sum().backward()
    m.optimizer.step()
    assert not torch.equal(m.gru.bias_hh_l0, before)


def chance(_):
    """Draw from the process."""
    torch.rand(1)
    random.random()  # noqa: S311
    np.random.rand()  # noqa: NPY002


def leak(m):
    """Change something, and mix the samples."""
    m.count += 1
    m.gru.batch_first = False


def fail(m):
    """Change something, and fail."""
    m.tensor.add_(1)
    m.lines.append(1)
    raise KeyError


def held(model):
    """Write down what a model holds: by value, with the memory of tensors, and by identity."""
    generator = model.own.get_state().tolist()
    grads = [weight.grad for weight in model.parameters()]
    values = pickle.dumps({**vars(model), "own": generator, "grads": grads})
    return [values, [(name, *map(id, vars(part).values())) for name, part in model.named_modules()]]


def states_of_chance():
    """Return the states of the process's random numbers."""
    return [source.get_state() for source in random_sources().values()]


ACTS = [nothing, attributes, tensors, objects, own_generators, train, chance, leak, fail]


@pytest.mark.unhooked("beartype draws from Python's numbers")
@pytest.mark.parametrize("act", ACTS)
def test_the_model_is_left_as_it_was(act):
    """Each run starts alike, and model and chance stay as they were, also after an exception."""
    model = Everything(act)
    before = held(model)
    states = states_of_chance()
    with suppress(KeyError):
        assert twice(model).pristine.shared == []
        assert act is not fail
    for look in LOOKS:
        with suppress(rnnkit.LeakError, KeyError):
            look(model, X)
            assert act is not fail
            assert act is not leak or look is not rnnkit.verify

        assert held(model) == before
        assert equal(states, states_of_chance())
        assert not nn.modules.module._has_any_global_hook()
    model.on_a_graph.sum().backward()


def test_a_sparse_tensor_is_left():
    """A sparse tensor is copied, and compared with what a model holds after a run."""
    sparse = torch.eye(3).to_sparse()
    twice(Holder(lambda m: m.sparse.mul_(2).to_dense().sum(), sparse=sparse))
    found = reported(layered(keeps, graph=sparse, h=None), X)

    assert torch.equal(sparse.to_dense(), torch.eye(3))
    assert "the model keeps model.h from call to call" in str(found)


def keeps(m, x):
    """Mix the features by a sparse matrix, and keep the last state for the next call."""
    mixed = torch.stack([(m.graph @ sample.T).T for sample in x])
    output, h = m.gru(mixed, m.h)
    m.h = h.detach()
    return output


def test_the_input_is_left():
    """A model that writes into what it is given does not write into what the caller gave."""
    x = X.clone().requires_grad_()
    model = layered(lambda m, x: m.gru(x.mul_(2)))
    rnnkit.trace(model, x.detach())
    for look in (rnnkit.verify, rnnkit.dependency_map):
        look(model, x)

        assert torch.equal(X, x)
        assert x.grad is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_modes_of_gradients(mode):
    """It runs in each mode of gradients, on a buffer of inference mode too, and leaves that mode."""
    model = Everything(nothing)
    with torch.inference_mode():
        model.register_buffer("mean", numbers(2))
    with mode():
        state = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        for look in LOOKS:
            look(model, X)

        assert state == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())


def interrupted(model, left):
    """Interrupt verify after so many lines of Python; return how many are left."""

    def count(*_):
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return count

    sys.settrace(count)
    try:
        rnnkit.verify(model, X[:2], skip=["alone", "use", "memory"])
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    return left


def interrupt_anywhere():
    """Interrupt verify at random lines: the model is as it was, to the last bit."""
    torch.set_num_threads(1)
    torch.manual_seed(2026)
    model = Everything(nothing).train()
    before = held(model)
    interrupted(model, -1)  # what is done once in a process
    most = -interrupted(model, -1)
    generator = random.Random(1)  # noqa: S311
    for _ in range(50):
        assert interrupted(model, generator.randint(1, most * 9 // 10)) <= 0
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
