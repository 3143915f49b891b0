"""Copies of a model: what they have of their own, and what in common."""

import functools
import threading
import types
import warnings
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.utils.prune
from torch import Tensor, nn

import rnnkit
from rnnkit._diagnostics import pristine
from rnnkit._diagnostics.isolation import EscapedError, Given, session
from tests.diagnostics.held import Holder, X, twice


def test_weights_are_in_common() -> None:
    """Copies have the weights in common, in memory of their own; each its own parameters."""
    model = Holder()
    with session(model) as opened:
        one, other = (opened.pristine.copy()[0] for _ in range(2))
    for mine, first, second in zip(*(m.parameters() for m in (model, one, other)), strict=True):
        assert torch.equal(mine, first)
        assert first.data_ptr() == second.data_ptr() != mine.data_ptr()
        assert first is not second
        assert type(first) is nn.Parameter


def test_memory_stays_one() -> None:
    """Weights that share one piece of memory share one in a copy, with what else is there."""
    flat = torch.randn(12)
    model = Holder(held=flat)
    model.part = nn.Linear(3, 4, bias=False)
    model.part.weight.data = flat.view(4, 3)
    with session(model) as opened:
        copy: Any = opened.pristine.copy()[0]
    assert copy.part.weight.data_ptr() == copy.held.data_ptr() != flat.data_ptr()


def test_small_weight_of_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small weight that is in data is copied without the rest."""
    monkeypatch.setattr(pristine, "DATA", 100)
    model = Holder()
    model.part = nn.Linear(3, 4, bias=False)
    model.part.weight.data = torch.zeros(2**20)[:12].view(4, 3)
    with session(model) as opened:
        copy: Any = opened.pristine.copy()[0]
    assert copy.part.weight.untyped_storage().nbytes() == 48


WRITES: dict[str, Callable[[Any], Any]] = {
    "weights": lambda m: m.gru.bias_hh_l0.add_(1),
    "data of weights": lambda m: m.gru.bias_hh_l0.data.add_(1),
    "large tensor": lambda m: m.large.add_(1),
    "data of a large tensor": lambda m: m.large.data.add_(1),
    "buffer": lambda m: m.buffer.add_(1),
    "sometimes": lambda m: m.unused.add_(1) if next(COUNT) % 2 else None,
}
COUNT = iter(range(1000))


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written(name: str) -> None:
    """What a run writes, by whatever way, the next one finds as it was."""
    model = Holder(
        lambda m: [WRITES[name](m), m.large.sum() + m.buffer.sum()][1],
        large=torch.zeros(2**18 + 1),
        unused=nn.Parameter(torch.ones(3)),
        buffer=nn.Buffer(torch.ones(3)),
    )
    before = {key: value.clone() for key, value in model.state_dict().items()}
    twice(model)

    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not model.large.any()


def partial() -> Holder:
    """Make a model with a partial function of itself."""
    model = Holder()
    model.act = functools.partial(lambda m, _: m.gru(X)[0], model)
    return model


def bound() -> Holder:
    """Make a model with a method of its own in a table."""
    model = Holder()
    model.table = {"run": model.gru.forward, model.gru: 1}
    model.act = lambda m: m.table["run"](X)[0] * m.table[m.gru]
    return model


def weakly() -> Holder:
    """Make a model that knows itself by a weak reference."""
    model = Holder(lambda m: m.me().gru(X)[0])
    model.me = weakref.ref(model)
    return model


def replaced() -> Holder:
    """Make a model whose forward was replaced by a method of another function."""

    def forward(self: Any, x: Tensor) -> Any:
        return self.gru(x)[0] * 2

    model = Holder()
    model.forward = types.MethodType(forward, model)
    return model


def ringed() -> Holder:
    """Make a model with an object that holds a compiled wrapper of a module around it."""
    model = Holder(lambda m: m.gru.trainer.model(X)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.gru.trainer = SimpleNamespace(model=torch.compile(nn.Sequential(model.gru)))
    return model


@pytest.mark.parametrize("make", [partial, bound, replaced, weakly, ringed])
def test_ways_back(make: Any) -> None:
    """What leads back to the model leads to the copy in a copy."""
    twice(make())


def test_closure_over_the_model() -> None:
    """A closure is not copied: a model that calls itself by way of one is not run."""
    model = Holder()
    model.fn = lambda t: model.gru(t)[0]
    model.act = lambda m: m.fn(X)
    called: list[int] = []
    model.gru.register_forward_hook(lambda *_: called.append(1))
    with session(model) as opened, pytest.raises(EscapedError, match=r"calls model\.gru, and not"):
        opened.run(Given((X,), {}))

    assert called == []


def test_closure_that_a_later_run_reaches() -> None:
    """A way past the copy is noticed in whichever run it is taken, and whatever is raised then."""
    model = Holder()
    hidden = nn.GRU(3, 6)
    model.hidden = [hidden]

    def act(m: Any) -> Any:
        m.runs.append(1)
        if len(m.runs) < 3:
            return None
        try:
            return hidden(X)
        except rnnkit.ArgumentError as error:
            raise KeyError from error

    model.act, model.runs = act, [1]
    with session(model) as opened:
        opened.run(Given((X,), {}))
        with pytest.raises(EscapedError, match="calls a GRU of the model"):
            opened.run(Given((X,), {}), on=opened.last)


def test_ways_past_the_copy() -> None:
    """A model that calls itself by way of a global is not run, and that is said."""
    model = GLOBAL["model"] = Holder(lambda m: GLOBAL["model"].gru(X)[0])  # noqa: ARG005
    with session(model) as opened, pytest.raises(EscapedError, match=r"calls model\.gru, and not"):
        opened.run(Given((X,), {}))
    with session(model) as opened, pytest.raises(EscapedError):
        opened.attempt(Given((X,), {}))

    def swallow(_: Any) -> None:
        try:
            GLOBAL["model"](X)
        except rnnkit.ArgumentError:
            return

    model.act = swallow
    with session(model) as opened, pytest.raises(EscapedError, match="calls the model itself"):
        opened.run(Given((X,), {}))


GLOBAL: dict[str, Any] = {}


@pytest.mark.unhooked("beartype draws what it looks at of a list: a run more")
def test_other_threads_may_run_it() -> None:
    """Another thread may run the model itself meanwhile."""
    model = Holder()

    def act(_: Any) -> None:
        thread = threading.Thread(target=lambda: outputs.append(GLOBAL["model"].gru(X)))
        thread.start()
        thread.join()

    outputs: list[Any] = []
    GLOBAL["model"] = model
    model.act = act
    twice(model)

    assert len(outputs) == 2
