"""``verify`` and its sisters leave the model, and the numbers that are random, as they were."""

import copy
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, SEQ, numbers

X = numbers(BATCH, SEQ, FEATURE)


class Stateful(nn.Module):
    """A model with everything that can change while it runs."""

    def __init__(self, act: Callable[[Any], Any]) -> None:
        """Make a state of each kind, train for a step, add hooks, and turn modes."""
        super().__init__()
        self.act: Callable[[Any], Any] = lambda _: None
        self.norm, self.drop = nn.BatchNorm1d(FEATURE), nn.Dropout(0.5)
        self.gru = nn.GRU(FEATURE, 6, batch_first=True)
        self.register_buffer("buffer", numbers(2))
        self.kept = nn.Parameter(numbers(2), requires_grad=False)
        self.tensor, self.pair = numbers(2), (numbers(2), numbers(2))
        self.nested = {"a": [[numbers(2)], {"b": 1}]}
        self.queue, self.names, self.array = deque([1, 2], maxlen=3), {"a"}, np.ones(2)
        self.other = SimpleNamespace(count=0, tensor=numbers(2))
        self.count = 0
        self(X).sum().backward()
        self.norm.eval()
        self.gru.weight_hh_l0.requires_grad_(requires_grad=False)
        self.gru.register_forward_hook(lambda *_: None)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Change what there is to change; run."""
        self.act(self)
        normal = self.norm(x.transpose(1, 2)).transpose(1, 2)
        y: Tensor = self.gru(self.drop(normal))[0]
        return y


def statistics(m: Any) -> None:
    """Update the running statistics in spite of eval mode."""
    m.norm.train()
    m.norm(numbers(2, FEATURE, 4))


def leak(m: Any) -> None:
    """Change something, and mix the samples."""
    m.count += 1
    m.gru.batch_first = False


def fail(m: Any) -> None:
    """Change something, and fail."""
    m.tensor.add_(1)
    m.nested["a"].append(1)
    raise KeyError


ACTS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda m: m,
    "statistics": statistics,
    "a leak": leak,
    "a failure": fail,
    "a mode": lambda m: m.drop.train(),
    "a number": lambda m: setattr(m, "count", m.count + 1),
    "a new attribute": lambda m: setattr(m, "extra", 1),
    "an attribute less": lambda m: m.__dict__.pop("names", None),
    "a new module": lambda m: setattr(m, "extra", nn.Linear(2, 2)),
    "a new buffer": lambda m: m.register_buffer("extra", numbers(2)),
    "a replaced buffer": lambda m: setattr(m, "buffer", m.buffer + 1),
    "a buffer's data": lambda m: m.buffer.data.add_(1),
    "a parameter in place": lambda m: m.kept.add_(1),
    "a weight in place": torch.no_grad()(lambda m: m.gru.bias_hh_l0.add_(1)),
    "a replaced tensor": lambda m: setattr(m, "tensor", m.tensor + 1),
    "a tensor's data": lambda m: m.tensor.data.add_(1),
    "a replaced pair": lambda m: setattr(m, "pair", (m.tensor, m.tensor)),
    "a pair in place": lambda m: m.pair[1].add_(1),
    "a list in a dictionary": lambda m: m.nested["a"][0].append(1),
    "a dictionary in a list": lambda m: m.nested["a"][1].clear(),
    "a tensor in a list": lambda m: m.nested["a"][0][0].add_(1),
    "a queue": lambda m: m.queue.append(3),
    "a set": lambda m: m.names.add("b"),
    "an array": lambda m: m.array.__iadd__(1),
    "a number of an object": lambda m: setattr(m.other, "count", 1),
    "a tensor of an object": lambda m: m.other.tensor.add_(1),
    "random numbers": lambda m: (torch.rand(1), random.random(), np.random.rand()),  # noqa: ARG005, S311, NPY002
    "a seed": lambda m: (torch.manual_seed(0), random.seed(0), np.random.seed(0)),  # noqa: ARG005, NPY002
}
HELD = ("tensor", "pair", "nested", "queue", "array", "names", "other", "count")


def held(model: nn.Module) -> Any:
    """Write down what a model holds, by value and by identity, its modes and hooks, and chance."""
    mine = {name: (id(model.__dict__[name]), copy.deepcopy(model.__dict__[name])) for name in HELD}
    tensors = {
        name: (id(tensor), tensor.clone(), id(tensor.grad), tensor.requires_grad)
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]
    }
    modules = {
        name: (id(module), module.training, list(module._forward_hooks.items()))
        for name, module in model.named_modules()
    }
    # With jaxtyping's hook on, beartype draws from Python's numbers at each of its checks.
    python = None if hasattr(rnnkit, "jaxtyping") else random.getstate()
    chance = torch.get_rng_state(), python, np.random.get_state()  # noqa: NPY002
    return list(model.__dict__), mine, tensors, modules, chance


def assert_equal(before: Any, after: Any) -> None:
    """Two notes say the same."""
    if isinstance(before, Tensor):
        torch.testing.assert_close(after, before, rtol=0, atol=0, equal_nan=True)
    elif isinstance(before, np.ndarray):
        np.testing.assert_array_equal(before, after)
    elif isinstance(before, SimpleNamespace):
        assert_equal(vars(before), vars(after))
    elif isinstance(before, dict):
        assert list(before) == list(after)
        assert_equal(list(before.values()), list(after.values()))
    elif isinstance(before, list | tuple | deque):
        assert len(before) == len(after)
        for one, other in zip(before, after, strict=True):
            assert_equal(one, other)
    else:
        assert before == after


@pytest.mark.parametrize("sister", ["verify", "dependency_map", "trace"])
def test_the_model_is_left_as_it_was(sister: str) -> None:
    """Whatever a model changes while it runs is put back, also after a finding or an exception."""
    for name, act in ACTS.items():
        model = Stateful(act)
        before = held(model)
        with suppress(rnnkit.LeakError, KeyError):
            getattr(rnnkit, sister)(model, X)
            assert name != "a failure"
            assert name != "a leak" or sister != "verify"

        assert_equal(before, held(model))


def test_a_state_that_a_gradient_reaches() -> None:
    """A state that still hangs on a graph is the same tensor, with the same gradients, later."""
    model = Stateful(ACTS["nothing"])
    model.tensor = kept = model.gru(X)[1]
    rnnkit.verify(model, X)
    kept.sum().backward()

    assert model.tensor is kept


def test_the_input_is_left() -> None:
    """A model that writes into what it is given does not write into what the caller gave."""
    x = X.clone().requires_grad_()
    before, model = x.detach().clone(), Stateful(ACTS["nothing"])
    model.register_forward_pre_hook(lambda _, args: (args[0].mul_(2),))
    for act in (rnnkit.verify, rnnkit.dependency_map):
        act(model, x)

        assert_equal(before, x.detach())
        assert x.grad is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_modes_of_gradients(mode: Any) -> None:
    """It runs in each mode of gradients, on a buffer of inference mode too, and leaves that mode."""
    model = Stateful(ACTS["nothing"])
    with torch.inference_mode():
        model.register_buffer("mean", numbers(2))
    with mode():
        state = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        for sister in (rnnkit.verify, rnnkit.dependency_map, rnnkit.trace):
            sister(model, X)

        assert state == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
