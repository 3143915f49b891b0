"""How copies of objects end: none closes what is the user's, and none makes a sound."""

import copy
import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

import rnnkit
from tests.diagnostics.models_of_users import Holder, numbers, twice

X = numbers(5, 7, 3)

ENDED: list[Any] = []


class Opens:
    """An object that closes what it has opened, when it ends."""

    def __init__(self, owner: Any = None):
        """Open it."""
        self.owner = owner
        self.is_open = True
        self.count = 0

    def __del__(self):
        """Close it."""
        ENDED.append(self.is_open)


class Copied(Opens):
    """An object that copies itself, and fails when it has made half of it."""

    def __deepcopy__(self, memo: Any) -> Any:
        """Fail, with something half-made."""
        half = Copied.__new__(Copied)
        half.count = copy.deepcopy(sys, memo)
        return half


class Restored(Opens):
    """An object that refuses the state of another one."""

    def __setstate__(self, state: Any):
        """Refuse."""
        raise TypeError(state)


class Reduced(Opens):
    """An object that a function builds."""

    def __reduce__(self) -> Any:
        """Build it."""
        return Reduced, (self.owner,)


class OpenMapping(dict[str, int]):
    """A mapping with an end, that refuses items."""

    def __setitem__(self, key: str, value: int):
        """Refuse."""
        raise TypeError(key, value)

    def __del__(self):
        """Say so."""
        ENDED.append(self)


class OpenModule(nn.Linear):
    """A module with an end."""

    def __init__(self):
        """Make it."""
        super().__init__(3, 6)
        self.is_open = True

    def __del__(self):
        """Close what it has opened."""
        ENDED.append(self.is_open)


REGISTERED: list[type] = []


class Registers(Opens):
    """A class that registers those that are made of it."""

    def __init_subclass__(cls):
        """Register it."""
        REGISTERED.append(cls)


#: Objects with an end, of a model.
ENDS: dict[str, Callable[[nn.Module], Any]] = {
    "object": lambda _: Opens(),
    "profiler": lambda model: Opens(weakref.proxy(model)),
    "copies itself": lambda _: Copied(),
    "refuses a state": lambda _: Restored(),
    "built": lambda _: Reduced(),
    "mapping": lambda _: OpenMapping(a=1),
    "module": lambda _: OpenModule(),
    "registers": lambda _: Registers(),
}


@pytest.mark.parametrize("name", ENDS)
def test_copies_end_without_a_sound(name: str, monkeypatch: pytest.MonkeyPatch):
    """No copy runs ``__del__``: what is the user's stays open, and nothing half-made complains."""
    heard: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    gc.collect()  # what another test has left
    ENDED.clear()
    model = Holder(lambda m: setattr(m.held, "count", 1))
    model.held = ENDS[name](model)
    for look in (rnnkit.verify, rnnkit.trace, rnnkit.dependency_map):
        look(model, X)
    gc.collect()

    assert heard == []
    assert ENDED == []
    assert REGISTERED == []
    assert isinstance(twice(model).last.held, type(model.held))
    del model
    gc.collect()
    assert len(ENDED) == 1


def test_proxy_that_an_object_has_leads_to_the_copy():
    """An object with an end runs the copy of the model that it is a copy of."""
    model = Holder(lambda m: m.held.owner.gru(numbers(4, 7, 3))[0])
    model.held = Opens(weakref.proxy(model))
    twice(model)


def test_object_with_an_end_is_copied():
    """An object with an end is copied as any other, under the name of its class."""
    model = Holder(lambda m: setattr(m.held[0], "count", m.held[0].count + 1))
    model.held = [Opens([model]), Opens()]
    opened: Any = twice(model)
    one, other = opened.last.held

    assert (model.held[0].count, one.count, other.count) == (0, 1, 0)
    assert one.owner[0] is opened.last
    assert type(one) is type(other)
    assert (type(one).__name__, type(one).__module__) == ("Opens", __name__)
    assert opened.pristine.shared == []
