"""What cannot be copied is refused by its name, or shared: a run never writes what is the user's."""

import gc
import pickle
import random
import re
import signal
import sys
import threading
from types import SimpleNamespace
from unittest.mock import Mock
from weakref import WeakValueDictionary

import numpy as np
import pytest
import torch
from inline_snapshot import snapshot
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import rnnkit
from rnnkit._diagnostics.run import copies
from rnnkit._diagnostics.run.isolation import session
from rnnkit._diagnostics.run.uncopied import UncopiedError, tensors_in
from tests.diagnostics.models_of_users import GIVEN, LOOKS, Holder, X, twice


class NoCopy(Tensor):
    """A tensor that refuses to be copied."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        """Refuse to copy it."""
        if func in (Tensor.clone, Tensor.__deepcopy__):
            raise RuntimeError
        return super().__torch_function__(func, types, args, kwargs or {})


class Refuses:
    """An object that refuses to be copied, and holds something."""

    def __init__(self, held=None):
        """Keep it."""
        self.held = held

    def __reduce_ex__(self, protocol):
        """Refuse."""
        raise TypeError(protocol)


class SlotsRefuse(Refuses):
    """One that has a slot for what it holds, and one for nothing yet."""

    __slots__ = ("empty", "inner")

    def __init__(self, inner):
        """Keep it."""
        self.inner = inner


class Single(SimpleNamespace):
    """A class with one object only."""

    only = None

    def __new__(cls, **_):
        """Return the object."""
        if cls.only is None:
            cls.only = super().__new__(cls)
        return cls.only


class FailedError(Exception):
    """An error that its class does not make again: the constructor wants more."""

    def __init__(self, what, step):
        """Keep both."""
        super().__init__(what)
        self.step = step


class Closes(SimpleNamespace):
    """An object that has an end, and that its class makes again."""

    def __del__(self):
        """Close what it has opened."""


class Frozen(dict):
    """A mapping that refuses to be written, and so to be copied."""

    def __setitem__(self, key, value):
        """Refuse."""
        raise TypeError(key, value)


class Sharded(nn.Linear):
    """A module that refuses to be copied."""

    def __deepcopy__(self, memo):
        """Refuse."""
        message = "no deepcopy"
        raise TypeError(message)


def having(held, name, value):
    """Give something an attribute, and return it."""
    setattr(held, name, value)
    return held


#: What a model holds a tensor in, and what the message calls that.
REFUSED = {
    "object": (Refuses, "model.held (Refuses)"),
    "object in an object": (
        lambda x: SimpleNamespace(a=[{"b": Refuses(SimpleNamespace(c=(x,)))}]),
        "model.held.a[0]['b'] (Refuses)",
    ),
    "slot": (SlotsRefuse, "model.held (SlotsRefuse)"),
    "weak value": (lambda x: WeakValueDictionary(a=x), "model.held.data['a'] (KeyedRef)"),
    "module in an object": (lambda _: Refuses([nn.Linear(3, 3)]), "model.held (Refuses)"),
    "single object": (lambda x: Single(held=x), "model.held (Single)"),
    "end": (lambda x: Closes(held=x), "model.held (Closes)"),
    "mapping": (lambda x: Frozen(a=x), "the model holds what"),
    "thread": (lambda x: having(threading.local(), "held", x), "model.held (_local)"),
    "module": (lambda _: Sharded(3, 3), "model.held (Sharded)"),
    "module in a list": (lambda _: [Sharded(3, 3)], "model.held[0] (Sharded)"),
    "tensor": (NoCopy, "model.held (NoCopy)"),
    "buffer": (lambda x: nn.Buffer(NoCopy(x)), "model.held (NoCopy)"),
    "parameter": (lambda x: nn.ParameterList([NoCopy(x)]), "model.held.0 (NoCopy)"),
    "tensor in a tuple": (lambda x: {1: (NoCopy(x),)}, "model.held[1][0] (NoCopy)"),
    "attribute of a tensor": (
        lambda x: having(torch.ones(3), "mask", NoCopy(x)),
        "model.held.mask (NoCopy)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_tensors_is_not_shared(name):
    """A model whose tensor is in something that cannot be copied is refused, which is named."""
    hold, called = REFUSED[name]
    tensor = torch.zeros(3, 3)
    held = hold(tensor)
    model = Holder(lambda _: tensor.add_(1).sum(), held=held)
    if isinstance(held, nn.Module):
        held.train()
    for look in LOOKS:
        with pytest.raises(rnnkit.ArgumentError) as error:
            look(model, X)
        first = str(error.value).partition("\n")[0]
        assert first.startswith(called)
        assert first.endswith("cannot be copied, but rnnkit runs only copies of a model")
        assert error.value.code == "model-uncopied"

    assert model.held is held
    assert not tensor.any()
    assert all(module.training for module in model.modules())


def test_module_that_cannot_be_copied():
    """A module that refuses to be copied is named, with what to do."""
    inner = nn.Sequential(nn.Linear(3, 3), nn.Sequential(Sharded(3, 3)))
    for model, name in ((inner, "model.1.0"), (Sharded(3, 3), "the model")):
        with pytest.raises(rnnkit.ArgumentError) as error, session(model):
            pass

        assert str(error.value).splitlines()[:3] == [
            f"{name} (Sharded) cannot be copied, but rnnkit runs only copies of a model",
            "  TypeError: no deepcopy",
            "  fix       pass the model as it was before it was wrapped or sharded",
        ]


def test_memory_that_runs_out(monkeypatch):
    """If there is no memory for a copy, at first or later, no run is tried on the model's own."""
    model = Holder(lambda m: m.cache.add_(1).sum())
    model.register_buffer("cache", torch.zeros(500))
    left = 0

    def clone(tensor, *args, **options):
        nonlocal left
        left -= tensor.numel() == 500
        if left < 0:
            message = "DefaultCPUAllocator: can't allocate memory"
            raise RuntimeError(message)
        return twin(tensor, *args, **options)

    twin = copies._copied_tensor
    monkeypatch.setattr(copies, "_copied_tensor", clone)
    for left in range(9):  # noqa: B007 - the clone counts on
        with pytest.raises(rnnkit.ArgumentError, match=r"can't allocate memory") as error:
            rnnkit.verify(model, X)

    assert not model.cache.any()
    assert str(error.value) == snapshot("""\
model.cache (Tensor) cannot be copied, but rnnkit runs only copies of a model
  RuntimeError: DefaultCPUAllocator: can't allocate memory
  fix       use a plain tensor instead, or a smaller model if memory has run out
  more      python -m rnnkit explain model-uncopied\
""")


def test_memory_that_runs_out_is_no_refusal_of_the_model():
    """A run that finds no memory for its copy says nothing of the inputs, so an attempt raises."""
    with session(Holder()) as opened:
        opened.fresh = Mock(side_effect=UncopiedError("no memory", "model"))
        with pytest.raises(UncopiedError):
            opened.attempt(GIVEN)


def test_object_whose_class_makes_no_other():
    """An object that its class returns again is left as it was."""
    Single.only = None
    held = Single()
    held.counts = [0]
    model = Holder(lambda m: m.held.counts, held=held)
    twice(model)

    assert model.held is held
    assert held.counts == [0]


SHARED = {
    "lock": threading.Lock,
    "file": lambda: sys.__stderr__,
    "generator": lambda: (k for k in range(3)),
    "loader": lambda: DataLoader([1, 2]),
    "data set": Dataset,
    "tensors": lambda: TensorDataset(X),
    "loader's iterator": lambda: iter(DataLoader(TensorDataset(X))),
    "system": random.SystemRandom,
    "object": Refuses,
    "error": lambda: FailedError("step", 3),
    "large": lambda: torch.zeros(1000),
}


@pytest.mark.parametrize("name", SHARED)
def test_what_is_shared(name, monkeypatch):
    """What cannot be copied or is data is shared, and each look names it; what holds it is not."""
    monkeypatch.setattr(copies, "DATA", 500)
    held = SHARED[name]()
    outer = SimpleNamespace(held=held, count=0, small=np.zeros(3))
    model = Holder(lambda m: setattr(m.outer, "count", 1 / (m.outer.held is held)), outer=outer)
    for look in LOOKS:
        found = look(model, X)
        gc.collect()

        assert "not copied, but shared with the model: held" in found.notes
        assert pickle.loads(pickle.dumps(found)).notes == found.notes
        assert all(f"note  {note}" in str(found) for note in found.notes)
    assert outer.count == 0


def test_what_is_not_worth_a_word():
    """What nobody can change is shared without a word."""
    held = [len, X.dtype, 1j, np, torch.Size([1]), range(3), torch.tanh, nn.Linear]
    held += [re.compile("a"), signal.SIGINT]

    assert twice(Holder(held=held, key={torch.float32: nn.GRU})).pristine.shared == []


def test_what_holds_itself_is_looked_into_once():
    """An object that cannot be copied may lead back to itself."""
    held = [X]
    held.append(held)

    assert tensors_in(held) == [X]
