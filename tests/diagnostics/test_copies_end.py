"""The end of copies: none is left when a look is over, at most one is alive before, none runs its end."""

import functools
import gc
import weakref
from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import rnnkit
from rnnkit._diagnostics.run import copies as copying
from rnnkit._diagnostics.run.events import Recorder
from rnnkit._diagnostics.run.isolation import session
from tests.covering import covers
from tests.diagnostics.models_of_users import (
    GIVEN,
    LOOKS,
    Holder,
    layered,
    numbers,
    reported,
    twice,
)

X = numbers(5, 7, 3)


class Net(Holder):
    """A model with a head, which may mix samples; a test adds what refers back to it."""

    mixes = False

    def __init__(self, act=lambda _: None, **held):
        """Make it."""
        super().__init__(act, **held)
        self.head = nn.Linear(6, 6)

    def forward(self, x):
        """Compute."""
        y = self.head(super().forward(x))
        return y + y.mean(0) if self.mixes else y

    def step(self, x, _):
        """Compute, without a state."""
        return self(x), None

    def keep(self, *args):
        """Keep what a hook is given."""
        self.seen = args[-1]

    @functools.lru_cache  # noqa: B019 - as people do it
    def mask(self):
        """Make a mask once."""
        return torch.ones(6)


def trained(net):
    """Give it a trainer that refers to it, as Lightning does, with an optimizer."""
    optimizer = torch.optim.Adam(net.parameters())
    net(X).sum().backward()
    optimizer.step()
    net.trainer = SimpleNamespace(net=net, optimizer=optimizer)
    net.trainer.loop = SimpleNamespace(trainer=net.trainer)


#: What people add to a model that keeps copies alive, if nobody ends them.
ADDED = {
    "nothing": lambda _: None,
    "a hook": lambda net: net.head.register_forward_hook(net.keep),
    "a method": lambda net: setattr(net, "kept", net.keep),
    "a parent": lambda net: setattr(net.head, "parents", [net]),
    "a trainer": trained,
    "a cache": lambda net: setattr(net, "act", lambda m: m.mask()),
    "a parametrization": lambda net: parametrizations.weight_norm(net.head),
    "a weak reference": lambda net: setattr(net.head, "parent", weakref.ref(net)),
}


def not_streaming(net):
    """Stream the net, which returns no state."""
    with pytest.raises(AssertionError, match="streaming"):
        rnnkit.testing.assert_streams(net.step, X)


def verifying(**options):
    """Return what verifies a net with options."""
    return lambda net: reported(net, X, **options)


#: Ways to look at a model, and to find something, or nothing.
WAYS = {
    "verify": verifying(),
    "causal": verifying(causal=True),
    "streaming": verifying(streaming=True),
    "lengths": verifying(lengths=[7, 5, 4, 3, 2]),
    "other axes": verifying(batch_dim=1),
    "an axis that is not there": verifying(out_seq_dim=7),
    "call": verifying(call=lambda m, x: m(x)),
    "trace": lambda net: rnnkit.trace(net, X),
    "map": lambda net: rnnkit.dependency_map(net, X, dim=1),
    "a map of no axis": lambda net: rnnkit.dependency_map(net, X, out_dim=7),
    "assert_streams": not_streaming,
}


@pytest.fixture(autouse=True)
def _alone():
    """Let the collector see only what the test makes: the rest of the process is a million objects."""
    gc.freeze()


@pytest.fixture
def _without_collector():
    """Let nothing collect what is in a cycle."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def copies(monkeypatch, _without_collector):
    """Collect weak references to the modules and the weights of copies."""
    made = []
    read = copying.read

    def noted(*written):
        copied, parts = read(*written)
        made.extend(map(weakref.ref, (*copied.modules(), *copied.parameters())))
        return copied, parts

    monkeypatch.setattr(copying, "read", noted)
    return made


def alive(made):
    """Return the weights, and the modules that are not empty, which are still there."""
    there = [one() for one in made]
    return [one for one in there if isinstance(one, Tensor) or (one is not None and vars(one))]


@covers(2, look=WAYS, added=ADDED, mixes=(False, True))
def test_no_copy_is_left(look, added, mixes, copies):
    """No weight of a copy is left when a look is over, whatever it found and the model holds."""
    net = Net(mixes=mixes)
    ADDED[added](net)
    with suppress(rnnkit.ArgumentError):
        WAYS[look](net)

    assert copies
    assert alive(copies) == []


@pytest.mark.usefixtures("_without_collector")
def test_no_object_is_left():
    """Copies of a model that refers to nothing around it are gone, the objects themselves."""

    class Mine(Net):
        """A class that nobody else has."""

    net = Mine()
    for look in WAYS.values():
        with suppress(rnnkit.ArgumentError):
            look(net)
        assert [one for one in gc.get_objects() if type(one) is Mine] == [net]


def test_error_keeps_no_copy(copies):
    """An error that is caught, and the findings of a report, keep no copy alive."""
    net = Net(mixes=True)
    with pytest.raises(rnnkit.LeakError, match="batch") as error:
        rnnkit.verify(net, X)
    assert alive(copies) == []
    report = reported(net, X)
    assert alive(copies) == []
    with pytest.raises(rnnkit.ArgumentError) as refused:
        rnnkit.dependency_map(net, X, out_dim=7)

    assert alive(copies) == []
    assert error.value.probe == report.findings[0].probe == "batch"
    assert refused.value.argument == "out_dim"


def test_error_of_the_model_leads_to_its_copy():
    """An error of the model's own leads a debugger to a copy that has all that it had."""
    model = Holder(lambda m: m.gru.missing)
    with pytest.raises(AttributeError) as error:
        rnnkit.verify(model, X)
    seen = [entry.frame.f_locals for entry in error.traceback]

    assert isinstance([names["m"] for names in seen if "m" in names][-1].gru, nn.GRU)


#: So many numbers has the parameter that is counted.
COUNTED = 1237
PEAK = {}


def count(m):
    """Count the copies of a weight that are alive, by dtype; compute with it."""
    weights = [x for x in gc.get_objects() if type(x) is nn.Parameter and x.numel() == COUNTED]
    for dtype in {x.dtype for x in weights}:
        places = {x.data_ptr() for x in weights if x.dtype is dtype}
        PEAK[dtype] = max(PEAK.get(dtype, 0), len(places))
    return m.wide.sum()


def count_and_write(m):
    """Count the copies of a weight, and write it."""
    total = count(m)
    m.wide.data.mul_(1.5)
    return total


@pytest.mark.parametrize("name", WAYS)
def test_one_copy_of_the_weights(name):
    """Beside the model's own, there is one copy of the weights, and a wider one for the judge."""
    PEAK.clear()
    with suppress(rnnkit.ArgumentError):
        WAYS[name](Net(count, wide=nn.Parameter(torch.ones(COUNTED))))

    assert PEAK[torch.float32] == 2
    assert PEAK.get(torch.float64, 1) == 1


def test_weights_that_are_written():
    """A run that writes weights has them by itself, and those of the run before are given back."""
    PEAK.clear()
    with session(Net(count_and_write, wide=nn.Parameter(torch.ones(COUNTED)))) as opened:
        for _ in range(4):
            opened.run(GIVEN)

    assert PEAK[torch.float32] == 3


def test_weights_are_not_written_down():
    """A search for a leak copies what functions return, but no weight that a loop transposes."""

    def loop(m, x):
        h = x[:, 0]
        for x_t in x.unbind(1):
            h = torch.tanh(x_t + h @ m.part.weight.t())
        return h

    recorder = Recorder(functions=True)
    with session(layered(loop, part=nn.Linear(3, 3))) as opened:
        opened.run(GIVEN, watch=recorder.watch)
    names = [event.name for event in recorder.events]

    assert names.count("tanh") == X.shape[1]
    assert "t" not in names


ENDED = []


class Opens:
    """An object that closes what it has opened, when it ends."""

    count = 0

    def __init__(self, owner=None):
        """Open it."""
        self.owner = owner

    def __del__(self):
        """Close it."""
        ENDED.append(self)


class Reduced(Opens):
    """An object that a function builds."""

    def __reduce__(self):
        """Build it."""
        return Reduced, (self.owner,)


class OpenMapping(dict[str, int]):
    """A mapping with an end."""

    __del__ = Opens.__del__


class OpenModule(nn.Linear):
    """A module with an end."""

    __del__ = Opens.__del__


REGISTERED = []


class Registers(Opens):
    """A class that registers those that are made of it."""

    def __init_subclass__(cls):
        """Register it."""
        REGISTERED.append(cls)


#: Objects with an end, of a model.
ENDS = {
    "object": lambda _: Opens(),
    "profiler": lambda model: Opens(weakref.proxy(model)),
    "built": lambda _: Reduced(),
    "mapping": lambda _: OpenMapping(a=1),
    "module": lambda _: OpenModule(3, 6),
    "registers": lambda _: Registers(),
}


@pytest.mark.parametrize("name", ENDS)
def test_copies_end_without_a_sound(name):
    """No copy runs ``__del__``: what is the user's stays open, and nothing half-made complains."""
    ENDED.clear()
    model = Holder(lambda m: setattr(m.held, "count", 1))
    model.held = ENDS[name](model)
    for look in LOOKS:
        look(model, *GIVEN.args)
    gc.collect()

    assert ENDED == []
    assert REGISTERED == []
    assert isinstance(twice(model).last.held, type(model.held))
    del model
    gc.collect()
    assert len(ENDED) == 1


def test_object_with_an_end_is_copied():
    """An object with an end is copied as any other, under the name of its class."""

    def act(m):
        m.held[0].count += 1
        return m.held[1].owner.gru(*GIVEN.args)[0]

    model = Holder(act)
    model.held = [Opens([model]), Opens(weakref.proxy(model))]
    opened = twice(model)
    one, other = opened.last.held

    assert (model.held[0].count, one.count, other.count) == (0, 1, 0)
    assert one.owner[0] is opened.last
    assert type(one) is type(other)
    assert (type(one).__name__, type(one).__module__) == ("Opens", __name__)
    assert opened.pristine.shared == []
