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

    def __init__(self, act: Callable[[Any], None], leak: bool = False, fail: bool = False) -> None:
        """Make a state of each kind."""
        super().__init__()
        self.act, self.leak, self.fail = act, leak, fail
        self.norm = nn.BatchNorm1d(FEATURE)
        self.drop = nn.Dropout(0.5)
        self.gru = nn.GRU(FEATURE, 6, batch_first=True)
        self.register_buffer("buffer", numbers(2))
        self.kept = nn.Parameter(numbers(2), requires_grad=False)
        self.tensor = numbers(2)
        self.pair = (numbers(2), numbers(2))
        self.tensors = [numbers(2)]
        self.nested = {"a": [[numbers(2)], {"b": 1}]}
        self.queue = deque([1, 2], maxlen=3)
        self.array = np.ones(2)
        self.names = {"a"}
        self.other = SimpleNamespace(count=0, tensor=numbers(2))
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        """Run; change what there is to change."""
        self.act(self)
        if self.fail and len(x) < BATCH:
            message = "no"
            raise KeyError(message)
        normal = self.norm(x.transpose(1, 2)).transpose(1, 2)
        y: Tensor = self.gru(self.drop(normal))[0]
        return y.flip(0) if self.leak else y


def statistics(m: Any) -> None:
    """Update the running statistics in spite of eval mode."""
    m.norm.train()
    m.norm(numbers(2, FEATURE, 4))


ACTS: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda m: None,  # noqa: ARG005
    "statistics": statistics,
    "a mode": lambda m: m.drop.train(),
    "a number": lambda m: setattr(m, "count", m.count + 1),
    "a new attribute": lambda m: setattr(m, "extra", 1),
    "an attribute less": lambda m: m.__dict__.pop("extra", None) or m.__dict__.pop("names", None),
    "a new module": lambda m: setattr(m, "extra", nn.Linear(2, 2)),
    "a new buffer": lambda m: m.register_buffer("extra", numbers(2)),
    "a replaced buffer": lambda m: setattr(m, "buffer", m.buffer + 1),
    "a buffer in place": lambda m: m.buffer.add_(1),
    "a buffer's data": lambda m: m.buffer.data.add_(1),
    "a parameter in place": lambda m: m.kept.add_(1),
    "a parameter's data": lambda m: m.kept.data.add_(1),
    "a weight in place": torch.no_grad()(lambda m: m.gru.bias_hh_l0.add_(1)),
    "a replaced tensor": lambda m: setattr(m, "tensor", m.tensor + 1),
    "a longer tensor": lambda m: setattr(m, "tensor", torch.cat([m.tensor, m.tensor])),
    "a tensor in place": lambda m: m.tensor.add_(1),
    "a tensor's data": lambda m: m.tensor.data.add_(1),
    "a replaced pair": lambda m: setattr(m, "pair", (m.tensor, m.tensor)),
    "a pair in place": lambda m: m.pair[1].add_(1),
    "a list": lambda m: m.tensors.append(m.tensor),
    "an item of a list": lambda m: m.tensors.__setitem__(0, m.tensor + 1),
    "an item of a list in place": lambda m: m.tensors[0].add_(1),
    "a list in a dictionary": lambda m: m.nested["a"][0].append(1),
    "a dictionary in a list": lambda m: m.nested["a"][1].clear(),
    "a tensor in a list in a dictionary": lambda m: m.nested["a"][0][0].add_(1),
    "a queue": lambda m: m.queue.append(3),
    "a set": lambda m: m.names.add("b"),
    "an array": lambda m: m.array.__iadd__(1),
    "a number of an object": lambda m: setattr(m.other, "count", 1),
    "a tensor of an object": lambda m: m.other.tensor.add_(1),
    "random numbers": lambda m: (torch.rand(1), random.random(), np.random.rand()),  # noqa: ARG005, S311, NPY002
    "a seed": lambda m: (torch.manual_seed(0), random.seed(0), np.random.seed(0)),  # noqa: ARG005, NPY002
}


def held(model: nn.Module) -> Any:
    """Write down what a model holds, by value and by identity, and its modes."""
    names = set(model.__dict__)
    mine = {
        name: (id(value), copy.deepcopy(value))
        for name, value in model.__dict__.items()
        if name in {"tensor", "pair", "tensors", "nested", "queue", "array", "names", "other"}
    }
    tensors = {
        name: (id(tensor), tensor.clone(), id(tensor.grad), tensor.requires_grad)
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]
    }
    modules = {
        name: (
            id(module),
            module.training,
            list(module._forward_hooks.items()),
            list(module._forward_pre_hooks.items()),
        )
        for name, module in model.named_modules()
    }
    return names, mine, tensors, modules, getattr(model, "count", 0)


def chance() -> Any:
    """Write down where the random numbers stand."""
    # With jaxtyping's hook on, beartype draws from Python's numbers at each of its checks.
    python = None if hasattr(rnnkit, "jaxtyping") else random.getstate()
    return torch.get_rng_state(), python, np.random.get_state()  # noqa: NPY002


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


def prepared(act: str, **options: bool) -> Stateful:
    """Make a model that was trained for a step, with hooks, and modes that differ."""
    model = Stateful(lambda m: None, **options)  # noqa: ARG005
    model(X).sum().backward()
    model.norm.eval()
    model.gru.weight_hh_l0.requires_grad_(False)
    model.gru.register_forward_hook(lambda *_: None)
    model.gru.register_forward_pre_hook(lambda *_: None)
    model.act = ACTS[act]
    return model


def verified(model: nn.Module) -> None:
    """Verify, whatever is found."""
    with suppress(rnnkit.LeakError):
        rnnkit.verify(model, X)


SISTERS: dict[str, Callable[..., Any]] = {
    "verify": verified,
    "dependency_map": lambda model: rnnkit.dependency_map(model, X),
    "trace": lambda model: rnnkit.trace(model, X),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("sister", SISTERS)
def test_the_model_is_left_as_it_was(sister: str, act: str) -> None:
    """Whatever a model changes while it runs is put back."""
    model = prepared(act)
    before, numbers_before = held(model), chance()

    SISTERS[sister](model)

    assert_equal(before, held(model))
    assert_equal(numbers_before, chance())


@pytest.mark.parametrize("act", ACTS)
def test_the_model_is_left_after_a_finding(act: str) -> None:
    """It is put back after a LeakError, too."""
    model = prepared(act, leak=True)
    before, numbers_before = held(model), chance()

    with pytest.raises(rnnkit.LeakError):
        rnnkit.verify(model, X)

    assert_equal(before, held(model))
    assert_equal(numbers_before, chance())


@pytest.mark.parametrize("sister", ["dependency_map", "trace", "verify"])
@pytest.mark.parametrize("act", ["a tensor in place", "a list", "random numbers", "statistics"])
def test_the_model_is_left_after_its_exception(sister: str, act: str) -> None:
    """It is put back after an exception of its own, too."""
    model = prepared(act, fail=True)
    before, numbers_before = held(model), chance()

    with pytest.raises(KeyError):
        getattr(rnnkit, sister)(model, X[:2])

    assert_equal(before, held(model))
    assert_equal(numbers_before, chance())


def test_a_state_that_a_gradient_reaches() -> None:
    """A state that still hangs on a graph is the same tensor, with the same gradients, later."""
    model = prepared("nothing")
    kept = model.gru(X)[1]
    model.tensor = kept

    rnnkit.verify(model, X)
    kept.sum().backward()

    assert model.tensor is kept


def test_the_input_is_left() -> None:
    """A model that writes into what it is given does not write into what the caller gave."""
    x = X.clone().requires_grad_()
    before = x.detach().clone()
    model = prepared("nothing")
    model.register_forward_pre_hook(lambda _, args: (args[0].mul_(2),))
    for act in (rnnkit.verify, rnnkit.dependency_map):
        act(model, x)

        assert_equal(before, x.detach())
        assert x.grad is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_modes_of_gradients(mode: Any) -> None:
    """It runs in each mode of gradients, and leaves that as it was."""
    model = prepared("nothing")
    with mode():
        state = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        for sister in SISTERS.values():
            sister(model)

        assert state == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())


def test_buffer_of_inference_mode() -> None:
    """A buffer made in inference mode, which counts no versions, is no obstacle."""
    model = prepared("nothing")
    with torch.inference_mode():
        model.register_buffer("mean", numbers(2))

    assert "batch" in rnnkit.verify(model, X).checked
