"""What a model holds and changes while it runs: each run starts alike, and the model stays as it was."""

import functools
import random
import types
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnkit
from rnnkit._diagnostics.isolation import EscapedError, Session, session
from rnnkit._diagnostics.outputs import Given, equal
from tests.diagnostics.models_of_users import Holder, numbers, twice

X = numbers(4, 7, 3)


@dataclass(slots=True)
class Slots:
    """A state in slots."""

    h: Any = 0


class Counts:
    """An object that copies itself."""

    def __init__(self, h: int):
        """Keep a count."""
        self.h = h

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Copy it."""
        return Counts(self.h)


class Table(dict[str, int]):
    """A mapping of a user's class, with an attribute."""

    h = 0


def advance(held: Any):
    """Advance a count in an attribute."""
    held.h += 1


def swap(held: Tensor):
    """Give a tensor other memory and another shape."""
    held.data = torch.ones(5)


def as_number(done: Any) -> Any:
    """Make a number of a tensor."""
    return done.detach().to_dense().sum() if isinstance(done, Tensor) else None


#: What a model holds, what a run does to it, and how to read it if it cannot be compared.
HELD: dict[str, tuple[Any, ...]] = {
    "tensor": (lambda: torch.zeros(3), lambda x: x.add_(1)),
    "other memory": (lambda: torch.zeros(3), swap),
    "expanded": (lambda: torch.zeros(2, 1).expand(2, 3), lambda x: x[:, 0].add_(1)),
    "sparse": (lambda: torch.eye(3).to_sparse(), lambda x: x.mul_(2), Tensor.to_dense),
    "on a graph": (
        lambda: torch.ones(3, requires_grad=True) * 2,
        lambda x: x.add_(1),
        torch.detach,
    ),
    "buffer": (lambda: nn.Buffer(torch.zeros(3)), lambda x: x.add_(1)),
    "array": (lambda: np.zeros(3), lambda x: x.fill(1)),
    "dict": (lambda: {"a": 1}, lambda x: x.update(b=2)),
    "tuple": (lambda: ([1], 2), lambda x: x[0].append(2)),
    "deque": (lambda: deque([1]), lambda x: x.append(2), list),
    "list": (lambda: [1], lambda x: x.append(2)),
    "set": (lambda: {1}, lambda x: x.add(2), sorted),
    "table": (lambda: Table(a=1), advance, vars),
    "slots": (Slots, advance, lambda x: x.h),
    "copies itself": (lambda: Counts(0), advance, lambda x: x.h),
    "nested": (
        lambda: SimpleNamespace(inner=[SimpleNamespace(h=0)], teacher=nn.Linear(2, 2)),
        lambda x: advance(x.inner[0]),
        lambda x: x.inner[0].h,
    ),
    "generator": (
        lambda: torch.Generator().manual_seed(0),
        lambda x: torch.randn(1, generator=x),
        torch.Generator.get_state,
    ),
    "numpy's generator": (
        lambda: np.random.default_rng(0),
        lambda x: torch.tensor(x.random()),
        lambda x: x.bit_generator.state,
    ),
    "python's generator": (
        lambda: random.Random(0),  # noqa: S311
        lambda x: torch.tensor(x.random()),
        random.Random.getstate,
    ),
}


@pytest.mark.parametrize("name", HELD)
def test_what_a_run_leaves(name: str):
    """What a model holds is the same in each run, with its own numbers, and stays as it was."""
    make, act, *reads = HELD[name]
    read = reads[0] if reads else lambda held: held
    model = Holder(lambda m: as_number(act(m.held)), held=make())
    held = model.held
    opened = twice(model)

    assert model.held is held
    assert equal(read(held), read(make()))
    assert opened.pristine.shared == []
    assert opened.last.held is not held


def test_trainer():
    """An object that holds the model is copied with all that it holds."""
    for wrap in (lambda m: m, nn.Sequential):
        trainer = SimpleNamespace(step=0, logger=SimpleNamespace(lines=[]))
        model = Holder(lambda m: m.trainer.logger.lines.append("a line"), trainer=trainer)
        trainer.strategy = SimpleNamespace(model=wrap(model))
        last: Any = twice(model).last

        assert trainer.logger.lines == []
        assert last.trainer.strategy.model in (last, last.trainer.strategy.model)
        assert last in [*last.trainer.strategy.model.modules()]


def test_random_numbers_are_put_back():
    """Random numbers are seeded and put back where a run draws any, and left alone elsewhere."""
    model = Holder(lambda m: torch.rand(1))  # noqa: ARG005
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    assert twice(model).drawn >= {"torch"}
    model.act = lambda _: torch.tensor(np.random.rand())  # noqa: NPY002
    assert twice(model).drawn >= {"numpy.random"}
    assert equal(before, (torch.get_rng_state(), random.getstate(), np.random.get_state()))  # noqa: NPY002


class RefusesModule(nn.Linear):
    """A module that cannot be copied, as a sharded one."""

    def __deepcopy__(self, memo: Any) -> Any:
        """Refuse."""
        message = "no deepcopy"
        raise AssertionError(message)


def test_module_that_cannot_be_copied():
    """A module that refuses to be copied is named, with what to do."""
    inner = nn.Sequential(nn.Linear(3, 3), nn.Sequential(RefusesModule(3, 3)))
    for model, name in ((inner, "model.1.0"), (RefusesModule(3, 3), "the model")):
        with pytest.raises(rnnkit.ArgumentError) as error, session(model):
            pass

        assert str(error.value).splitlines()[:3] == [
            f"{name} (RefusesModule) cannot be copied, and the model itself is never run",
            "  AssertionError: no deepcopy",
            "  fix       give the model as it was before it was wrapped or sharded",
        ]


def replaced(self: Any, x: Tensor) -> Any:
    """Stand for a model's forward."""
    return self.gru(x)[0] * 2


#: Ways from what a model holds back to the model, that lead to the copy in a copy.
BACK: dict[str, tuple[Any, Any]] = {
    "partial": (lambda m: functools.partial(lambda m, x: m.gru(x)[0], m), lambda m: m.held(X)),
    "method": (lambda m: {"run": m.gru.forward, m.gru: 1}, lambda m: m.held["run"](X)[0]),
    "module as a key": (lambda m: {m.gru: 1}, lambda m: m.gru.bias_hh_l0[0] * m.held[m.gru]),
    "weak reference": (weakref.ref, lambda m: m.held().gru(X)[0]),
    "weak reference elsewhere": (lambda _: weakref.ref(OTHER), lambda m: m.held()(X)),
    "weak proxy": (
        lambda m: SimpleNamespace(owner=weakref.proxy(m)),
        lambda m: m.held.owner.gru(X)[0],
    ),
    "weak proxy in a tuple": (lambda m: (weakref.proxy(m.gru),), lambda m: m.held[0](X)[0]),
    "weak reference in a part that comes first": (
        lambda m: setattr(m.gru, "peers", (weakref.ref(m.late_part),)),
        lambda m: m.gru.peers[0]()(X),
    ),
    "weak proxy elsewhere": (lambda _: [weakref.proxy(OTHER)], lambda m: m.held[0](X)),
    "weak proxy of nothing": (lambda _: [weakref.proxy(nn.GRU(3, 6))], lambda m: m.gru(X)[0]),
    "weak references met before": (
        lambda m: {"first": [weakref.ref(m.late), weakref.proxy(m.late)], "then": m.late},
        lambda m: m.late(m.held["first"][0]() is m.late is m.held["then"], m.held["first"][1]),
    ),
    "forward": (lambda m: types.MethodType(replaced, m), lambda m: m.held(X)),
}
OTHER = nn.Linear(3, 6)


class Late:
    """An object that a weak reference leads to before the model does."""

    def __call__(self, is_same: bool, proxy: Any) -> Tensor:
        """Check what weak references led to, in a copy."""
        assert is_same
        assert proxy.__class__ is Late
        proxy.calls = 1
        assert self.calls == 1  # type: ignore[attr-defined]
        return torch.ones(1)


@pytest.mark.parametrize("name", BACK)
def test_ways_back(name: str):
    """What leads back to the model leads to the copy in a copy."""
    hold, act = BACK[name]
    model = Holder(act)
    model.held = None  # in front of what it refers to
    model.late = Late()
    model.late_part = nn.Linear(3, 6)
    model.held = hold(model)
    twice(model)


def swallowing(model: nn.Module):
    """Run a model, and go on if that is refused."""
    try:
        model(X)
    except rnnkit.ArgumentError as error:
        raise KeyError from error


#: Ways to the model itself that no copy can turn: what each holds, and the module that it calls.
PAST: dict[str, tuple[Callable[[Any], Callable[..., Any]], str]] = {
    "closure": (lambda model: lambda _: model.gru(X), r"calls model\.gru, and not"),
    "global": (lambda _: lambda _: GLOBAL["model"].gru(X), r"calls model\.gru, and not"),
    "caught": (lambda _: lambda _: swallowing(GLOBAL["model"]), "calls the model itself"),
    "unregistered": (lambda model: lambda _: model.hidden[0](X), "calls a GRU of the model"),
    "late": (lambda model: lambda m: m.runs and model.hidden[0](X), "calls a GRU of the model"),
}
GLOBAL: dict[str, Any] = {}


@pytest.mark.parametrize("name", PAST)
def test_ways_past_the_copy(name: str):
    """A model that calls its own modules past the copy is not run, in whichever run it does."""
    make, match = PAST[name]
    model = GLOBAL["model"] = Holder(hidden=[nn.GRU(3, 6)], runs=[])
    called: list[nn.Module] = []
    for module in model.modules():
        module.register_forward_hook(lambda module, *_: called.append(module))
    model.act = make(model)
    run: Callable[[Session], Any]
    for run in (run_again, attempt_again):
        with session(model) as opened, pytest.raises(EscapedError, match=match):
            run(opened)

    assert not {*called} & {*model.modules()}


def run_again(opened: Session):
    """Run a model, and one copy again."""
    opened.run(Given((X,), {}))
    opened.last.runs = [1]
    opened.run(Given((X,), {}), on=opened.last)


def attempt_again(opened: Session):
    """Run a model if it does not refuse, and watch it."""
    opened.attempt(Given((X,), {}))
    opened.attempt(Given((X,), {}), watch=lambda model: [setattr(model, "runs", [1])][:0])
