"""How copies end: none is left when verify is done, at most one is alive before, none makes a sound."""

import functools
import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import rnnkit
from rnnkit._diagnostics.copies import Pristine
from rnnkit._diagnostics.isolation import session
from rnnkit._diagnostics.outputs import Given
from tests.covering import covers
from tests.diagnostics.models_of_users import Holder, numbers

X = numbers(5, 7, 3)
LENGTHS = [7, 5, 4, 3, 2]


class Net(nn.Module):
    """A layer, a norm and a head; a test may add what refers back to it."""

    def __init__(self, mixes: Callable[[Tensor], Tensor] = lambda y: y):
        """Make them."""
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 4)
        self.mixes = mixes
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """Compute."""
        y: Tensor = self.head(self.norm(self.gru(x)[0].mT).mT)
        return self.mixes(y)

    def step(self, x: Tensor, _: Any) -> tuple[Tensor, None]:
        """Compute, without a state."""
        return self(x), None

    def keep(self, *args: Any):
        """Keep what a hook is given."""
        self.seen.append(args[-1])

    @functools.lru_cache  # noqa: B019 - as people do it
    def mask(self, steps: int) -> Tensor:
        """Make a mask once."""
        return torch.ones(steps, steps).tril()


def hooked(net: Net):
    """Hook a part by a method of the whole."""
    net.head.register_forward_hook(net.keep)


def trained(net: Net):
    """Give it a trainer that refers to it, as Lightning does, with an optimizer."""
    optimizer = torch.optim.Adam(net.parameters())
    net(X).sum().backward()
    optimizer.step()
    net.trainer = SimpleNamespace(net=net, optimizer=optimizer)
    net.trainer.loop = SimpleNamespace(trainer=net.trainer)


def cached(net: Net):
    """Let a cache of its class refer to it, and to each copy that runs."""

    def mask(module: Any, _: Any):
        module.mask(3)

    net.register_forward_pre_hook(mask)


#: What people add to a model that keeps copies alive, if nobody ends them.
ADDED: dict[str, Callable[[Net], Any]] = {
    "nothing": lambda _: None,
    "a hook": hooked,
    "a method": lambda net: setattr(net, "act", net.keep),
    "a parent": lambda net: setattr(net.head, "parents", [net]),
    "a trainer": trained,
    "a cache": cached,
    "a parametrization": lambda net: parametrizations.weight_norm(net.head),
    "a weak reference": lambda net: setattr(net.head, "parent", weakref.ref(net)),
}


def not_streaming(net: Net):
    """Stream the net, which returns no state."""
    with pytest.raises(AssertionError, match="streaming"):
        rnnkit.testing.assert_streams(net.step, X)


#: Ways to look at a model, and to find something, or nothing.
LOOKS: dict[str, Callable[[Net], Any]] = {
    "verify": lambda net: rnnkit.verify(net, X, raises=False),
    "causal": lambda net: rnnkit.verify(net, X, causal=True, raises=False),
    "streaming": lambda net: rnnkit.verify(net, X, streaming=True, raises=False),
    "lengths": lambda net: rnnkit.verify(net, X, lengths=LENGTHS, raises=False),
    "other axes": lambda net: rnnkit.verify(net, X, batch_dim=1, raises=False),
    "an axis that is not there": lambda net: rnnkit.verify(net, X, out_seq_dim=7),
    "call": lambda net: rnnkit.verify(net, X, call=lambda m, x: m(x), raises=False),
    "trace": lambda net: rnnkit.trace(net, X),
    "map": lambda net: rnnkit.dependency_map(net, X, dim=1),
    "a map of no axis": lambda net: rnnkit.dependency_map(net, X, out_dim=7),
    "assert_streams": not_streaming,
}


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[weakref.ref[Any]]]:
    """Collect weak references to the modules and the weights of copies, without the collector."""
    made: list[weakref.ref[Any]] = []
    first = Pristine.__init__
    later = Pristine.copy

    def begin(self: Pristine, model: nn.Module):
        first(self, model)
        add(self.private)

    def again(self: Pristine) -> nn.Module:
        return add(later(self))

    def add(model: nn.Module) -> nn.Module:
        made.extend(map(weakref.ref, (*model.modules(), *model.parameters())))
        return model

    monkeypatch.setattr(Pristine, "__init__", begin)
    monkeypatch.setattr(Pristine, "copy", again)
    gc.collect()
    gc.disable()
    yield made
    gc.enable()


def alive(made: list[weakref.ref[Any]]) -> int:
    """Return how many weights, and modules that are not empty, are still there."""
    return sum(
        bool((one() is not None and vars(one())) or isinstance(one(), Tensor)) for one in made
    )


@covers(2, look=LOOKS, added=ADDED, mixes=("nothing", "samples"))
def test_no_copy_is_left(look: str, added: str, mixes: str, copies: list[weakref.ref[Any]]):
    """No weight of a copy is left when a look is over, whatever it found and the model holds."""
    net = Net(lambda y: y + y.mean(0) if mixes == "samples" else y).eval()
    ADDED[added](net)
    with suppress(rnnkit.ArgumentError):
        LOOKS[look](net)

    assert copies
    assert alive(copies) == 0


def test_no_object_is_left():
    """Copies of a model that refers to nothing around it are gone, the objects themselves."""

    class Mine(nn.GRU):
        """A class that nobody else has."""

    net = Mine(3, 4, batch_first=True)
    gc.collect()
    gc.disable()
    try:
        for name, look in LOOKS.items():
            with suppress(rnnkit.ArgumentError):
                look(net if name != "assert_streams" else Net())  # type: ignore[arg-type]
            assert [one for one in gc.get_objects() if type(one) is Mine] == [net]
    finally:
        gc.enable()


def test_error_keeps_no_copy(copies: list[weakref.ref[Any]]):
    """An error that is caught, and the findings of a report, keep no copy alive."""
    net = Net(lambda y: y + y.mean(0)).eval()
    with pytest.raises(rnnkit.LeakError) as error:
        rnnkit.verify(net, X)
    assert alive(copies) == 0
    report = rnnkit.verify(net, X, raises=False)
    assert alive(copies) == 0
    with pytest.raises(rnnkit.ArgumentError) as refused:
        rnnkit.dependency_map(net, X, out_dim=7)

    assert alive(copies) == 0
    assert (error.value.probe, report.findings[0].probe, refused.value.argument) == (
        "batch",
        "batch",
        "out_dim",
    )


def test_error_of_the_model_leads_to_its_copy():
    """An error of the model's own leads a debugger to a copy that has all that it had."""
    model = Holder(lambda m: m.gru.missing)
    with pytest.raises(AttributeError) as error:
        rnnkit.verify(model, X)
    frame = error.traceback[-2].frame
    while "m" not in frame.f_locals:
        frame = error.traceback[-3].frame

    assert isinstance(frame.f_locals["m"].gru, nn.GRU)


#: So many numbers has the parameter that is counted.
COUNTED = 1237


class Counts(nn.Module):
    """A model with a weight, of which a run counts the copies by dtype."""

    def __init__(self, act: Callable[[Any], Any] = lambda _: None):
        """Make the weight."""
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.wide = nn.Parameter(torch.ones(COUNTED) / COUNTED)
        self.act = act

    def step(self, x: Tensor, _: Any) -> tuple[Tensor, None]:
        """Compute, without a state."""
        return self(x), None

    def forward(self, x: Tensor) -> Tensor:
        """Count, and compute."""
        weights = [x for x in gc.get_objects() if type(x) is nn.Parameter and x.numel() == COUNTED]
        for dtype in {x.dtype for x in weights}:
            places = {x.data_ptr() for x in weights if x.dtype is dtype}
            PEAK[dtype] = max(PEAK.get(dtype, 0), len(places))
        self.act(self)
        y: Tensor = self.gru(x)[0] * self.wide.sum()
        return y


PEAK: dict[torch.dtype, int] = {}


@pytest.mark.parametrize("name", LOOKS)
def test_one_copy_of_the_weights(name: str):
    """Beside the model's own, there is one copy of the weights, and a wider one for the judge."""
    PEAK.clear()
    with suppress(rnnkit.ArgumentError):
        LOOKS[name](Counts().eval())  # type: ignore[arg-type]

    assert PEAK[torch.float32] == 2
    assert PEAK.get(torch.float64, 1) == 1


def test_weights_that_are_written():
    """A run that writes weights has them by itself, and those of the run before are given back."""
    PEAK.clear()
    with session(Counts(lambda m: m.wide.data.mul_(1.5))) as opened:
        for _ in range(4):
            opened.run(Given((X,), {}))

    assert PEAK[torch.float32] == 3
