"""What a model holds in containers and objects is put back before each run, and at the end."""

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import rnnkit
from tests.diagnostics.models_of_users import BATCH, FEATURE, HIDDEN, SEQ, numbers
from tests.diagnostics.models_that_hold import made, refuse, starting

X = numbers(BATCH, SEQ, FEATURE)


def frozen(kind: type, content: Any) -> Any:
    """Make a container whose own class refuses every change, and most ways to read it."""
    names = ("update", "clear", "copy", "append", "extend", "add", "__setitem__", "__iter__")
    namespace = {name: refuse for name in names if hasattr(kind, name)}
    base = kind(content)
    container = type(f"Frozen{kind.__name__}", (kind,), {})(base)
    container.__class__ = type(f"Frozen{kind.__name__}", (kind,), namespace)
    return container


CONTENT: dict[type, Any] = {
    dict: {"a": 1},
    OrderedDict: {"a": 1, "b": 2},
    list: [1],
    set: {1},
    deque: [1],
}


def listed(kind: Any, container: Any) -> list[Any]:
    """Return what is in a container, read past its own class."""
    return list(kind.items(container) if issubclass(kind, dict) else kind.__iter__(container))


@pytest.mark.parametrize("kind", CONTENT, ids=lambda kind: kind.__name__)
def test_container_that_refuses(kind: type) -> None:
    """A container whose class refuses changes, and so to be copied, is shared and left alone."""
    held = frozen(kind, CONTENT[kind])
    before = listed(kind, held)
    model = made(lambda m: None if m.held is held else 1 / 0, held=held)

    report = rnnkit.verify(model, X)

    assert report.notes == ["not copied, but shared with the model: held"]
    assert model.held is held
    assert listed(kind, held) == before


def test_order_of_a_dictionary() -> None:
    """The order of keys is put back, too."""
    held = OrderedDict(a=1, b=2)
    rnnkit.verify(made(lambda m: m.held.move_to_end("a"), held=held), X)

    assert list(held) == ["a", "b"]


def test_attributes_of_a_container() -> None:
    """What a container of somebody's own kind has as attributes is put back."""
    held = type("Held", (dict,), {})()
    held.count = 0
    rnnkit.verify(made(lambda m: setattr(m.held, "count", m.held.count + 1), held=held), X)

    assert held.count == 0


@dataclass(slots=True)
class Slots:
    """A state in slots."""

    h: Any = None
    parts: Any = None


class Called:
    """A state in an object that can be called."""

    def __init__(self) -> None:
        """Keep nothing."""
        self.h: Any = None

    def __call__(self) -> Any:
        """Return the state."""
        return self.h


@pytest.mark.parametrize("kind", [Slots, Called])
def test_state_in_an_object(kind: Any) -> None:
    """A state in slots, or in an object that can be called, is as it was."""

    def state(m: Any, size: int) -> Tensor:
        h = torch.zeros(1, size, HIDDEN) if m.held.h is None else m.held.h[:, :size]
        m.held.h = h + 1
        return h

    model = starting(state, held=kind())

    assert "batch" in rnnkit.verify(model, X, skip=["repeatable"]).checked
    assert model.held.h is None


def test_slots() -> None:
    """A slot that was empty is empty again; a list in a slot has its members again."""
    held = Slots(parts=[1])
    del held.h

    def act(m: Any) -> None:
        m.held.h = 1
        m.held.parts.append(2)

    rnnkit.verify(made(act, held=held), X)

    assert not hasattr(held, "h")
    assert held.parts == [1]


class Holder:
    """An object that holds things."""

    def __init__(self, **attributes: Any) -> None:
        """Take attributes."""
        vars(self).update(attributes)


def test_nested_objects() -> None:
    """A state that is deep in objects of the model is put back."""
    inner = Holder(count=0)
    model = made(
        lambda m: setattr(m.outer.inner, "count", m.outer.inner.count + 1),
        outer=Holder(inner=inner, again=[inner]),
    )
    rnnkit.verify(model, X)

    assert inner.count == 0


@pytest.mark.parametrize("wrapped", [False, True])
def test_trainer(wrapped: bool) -> None:
    """Of an object that holds the model, all that it holds is copied with it."""

    def act(m: Any) -> None:
        m.trainer.step += 1
        m.trainer.logger.lines.append("a line")

    trainer = Holder(step=0, logger=Holder(lines=[]))
    model = made(act, trainer=trainer)
    trainer.strategy = Holder(model=nn.Sequential(model) if wrapped else model)
    report = rnnkit.verify(model, X)

    assert trainer.step == 0
    assert trainer.logger.lines == []
    assert report.notes == []


def test_other_modules_of_an_object() -> None:
    """An object that holds another module only is the model's own."""
    held = Holder(teacher=nn.Linear(2, 2), inner=Holder(count=0))
    model = made(lambda m: setattr(m.held.inner, "count", 1), held=held, also=[held])
    rnnkit.verify(model, X)

    assert held.inner.count == 0


class Dear(Tensor):
    """A tensor that is too large to copy."""

    clone = refuse

    def numel(self) -> int:
        """Pretend."""
        return 10**12


class Recordings(Dataset[Tensor]):
    """Data, as torch has it."""

    count = 0


def test_data_is_not_copied() -> None:
    """Data that an object holds beside a small model is not copied; nor is a data set touched."""
    held = Holder(data=torch.zeros(3).as_subclass(Dear), recordings=Recordings())

    def act(m: Any) -> None:
        m.held.recordings.count += 1

    report = rnnkit.verify(made(act, held=held), X)

    assert held.recordings.count == report.passes


def test_array_of_data_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """An array that is larger than the model, and is in an object, is data as well."""
    monkeypatch.setattr("rnnkit._diagnostics.pristine.DATA", 3)
    model = made(lambda m: m.held.data.fill(1), held=Holder(data=np.zeros(1000)))
    rnnkit.verify(model, X)

    assert model.held.data.all()
