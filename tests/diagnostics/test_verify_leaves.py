"""``verify`` and its sisters leave the model, and the numbers that are random, as they were."""

import copy
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, SEQ, numbers

X = numbers(BATCH, SEQ, FEATURE)
SISTERS = (rnnkit.verify, rnnkit.dependency_map, rnnkit.trace)


class Stateful(nn.Module):
    """A model with everything that can change while it runs."""

    def __init__(self, act: Callable[[Any], Any]):
        """Make a state of each kind, train for a step, add hooks, and turn modes."""
        super().__init__()
        self.act: Callable[[Any], Any] = lambda _: None
        self.norm = nn.BatchNorm1d(FEATURE)
        self.drop = nn.Dropout(0.5)
        self.gru = nn.GRU(FEATURE, 6, batch_first=True)
        self.register_buffer("buffer", numbers(2))
        self.kept = nn.Parameter(numbers(2), requires_grad=False)
        self.tensor = numbers(2)
        self.nested = {"a": [[numbers(2)], {"b": 1}]}
        self.count = 0
        self(X).sum().backward()
        self.norm.eval()
        self.gru.weight_hh_l0.requires_grad = False
        self.gru.register_forward_hook(lambda *_: None)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Change what there is to change; run."""
        self.act(self)
        normal = self.norm(x.transpose(1, 2)).transpose(1, 2)
        y: Tensor = self.gru(self.drop(normal))[0]
        return y


def statistics(m: Any):
    """Update the running statistics in spite of eval mode."""
    m.norm.train()
    m.norm(numbers(2, FEATURE, 4))


def leak(m: Any):
    """Change something, and mix the samples."""
    m.count += 1
    m.gru.batch_first = False


def fail(m: Any):
    """Change something, and fail."""
    m.tensor.add_(1)
    m.nested["a"].append(1)
    raise KeyError


ACTS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda m: m,
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
    "a parameter in place": lambda m: m.kept.add_(1),
    "a weight in place": torch.no_grad()(lambda m: m.gru.bias_hh_l0.add_(1)),
    "a tensor's data": lambda m: m.tensor.data.add_(1),
    "a dictionary in a list": lambda m: m.nested["a"][1].clear(),
    "random numbers": lambda m: (torch.rand(1), random.random(), np.random.rand()),  # noqa: ARG005, S311, NPY002
    "a seed": lambda m: (torch.manual_seed(0), random.seed(0), np.random.seed(0)),  # noqa: ARG005, NPY002
}


def held(model: nn.Module) -> list[Any]:
    """Write down what a model holds, by value and by identity, its modes and hooks, and chance."""
    own = [model.tensor, model.nested, model.count, *model.parameters(), *model.buffers()]
    tensors = [(id(x), id(x.grad), x.requires_grad) for x in pytree.tree_leaves(own[3:])]
    modules = [
        (name, id(module), module.training, list(vars(module)), list(module._forward_hooks.items()))
        for name, module in model.named_modules()
    ]
    # With jaxtyping's hook on, beartype draws from Python's numbers at each of its checks.
    python = None if hasattr(rnnkit, "jaxtyping") else random.getstate()
    numpy: Any = np.random.get_state()  # noqa: NPY002
    values = pytree.tree_leaves([own, torch.get_rng_state(), torch.tensor(numpy[1])])
    copied = [x.tolist() if isinstance(x, Tensor) else copy.copy(x) for x in values]
    return [id(model.tensor), id(model.nested), tensors, modules, python, copied]


@pytest.mark.parametrize("sister", SISTERS)
def test_the_model_is_left_as_it_was(sister: Any):
    """Whatever a model changes while it runs is put back, also after a finding or an exception."""
    for name, act in ACTS.items():
        model = Stateful(act)
        before = held(model)
        with suppress(rnnkit.LeakError, KeyError):
            sister(model, X)
            assert name != "a failure"
            assert name != "a leak" or sister is not rnnkit.verify

        assert before == held(model)
        assert not nn.modules.module._has_any_global_hook()  # type: ignore[no-untyped-call]


def test_a_state_that_a_gradient_reaches():
    """A state that still hangs on a graph is the same tensor, with the same gradients, later."""
    model = Stateful(ACTS["nothing"])
    model.tensor = kept = model.gru(X)[1]
    rnnkit.verify(model, X)
    kept.sum().backward()

    assert model.tensor is kept


def test_the_input_is_left():
    """A model that writes into what it is given does not write into what the caller gave."""
    x = X.clone().requires_grad_()
    model = Stateful(ACTS["nothing"])
    model.register_forward_pre_hook(lambda _, args: (args[0].mul_(2),))
    rnnkit.trace(model, x.detach())
    for act in SISTERS[:2]:
        act(model, x)

        assert torch.equal(X, x)
        assert x.grad is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_modes_of_gradients(mode: Any):
    """It runs in each mode of gradients, on a buffer of inference mode too, and leaves that mode."""
    model = Stateful(ACTS["nothing"])
    with torch.inference_mode():
        model.register_buffer("mean", numbers(2))
    with mode():
        state = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        for sister in SISTERS:
            sister(model, X)

        assert state == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
