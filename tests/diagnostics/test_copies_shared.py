"""What copies of a model share with it: what cannot be copied, or is too large."""

import io
import random
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.utils.prune
from torch import nn
from torch.utils.data import DataLoader

import rnnkit
from rnnkit._diagnostics import pristine
from rnnkit._diagnostics.isolation import session
from tests.diagnostics.held import Frozen, Holder, twice

SHARED: dict[str, Callable[[], Any]] = {
    "lock": threading.Lock,
    "file": io.StringIO,
    "generator": lambda: (k for k in range(3)),
    "loader": lambda: DataLoader([1, 2]),
    "system": random.SystemRandom,
    "mapping": lambda: Frozen({"a": 1}),
}


@pytest.mark.parametrize("name", SHARED)
def test_what_is_shared(name: str) -> None:
    """What cannot be copied is shared, and the session says what."""
    held = SHARED[name]()
    model = Holder(lambda m: None if m.held is held else 1 / 0, held=held, outer=[{"a": held}])

    assert twice(model).pristine.shared == ["held"]


def test_modules_of_python_are_shared() -> None:
    """A module of Python's is no part of a model, and not worth a word."""
    assert twice(Holder(held=np)).pristine.shared == []


def test_data_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors and arrays that are larger than the model are data, and not copied."""
    monkeypatch.setattr(pristine, "DATA", 100)
    held = torch.zeros(1000)
    array = np.zeros(1000)
    model = Holder(held=held, part=SimpleNamespace(array=array, small=np.zeros(3)))
    with session(model) as opened:
        copy: Any = opened.pristine.copy()[0]

    assert copy.held.data_ptr() == held.data_ptr()
    assert copy.part.array is array
    assert copy.part.small is not model.part.small
    assert opened.pristine.shared == ["held", "array"]


class Refuses(nn.Linear):
    """A module that cannot be copied, as a sharded one."""

    def __deepcopy__(self, memo: Any) -> Any:
        """Refuse."""
        message = "no deepcopy"
        raise AssertionError(message)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: nn.Sequential(nn.Linear(3, 3), nn.Sequential(Refuses(3, 3))), "model.1.0"),
        (lambda: Refuses(3, 3), "the model"),
    ],
)
def test_module_that_cannot_be_copied(make: Any, name: str) -> None:
    """A module that refuses to be copied is named, with what to do."""
    with pytest.raises(rnnkit.ArgumentError) as error, session(make()):
        pass

    assert str(error.value) == (
        f"{name} (Refuses) cannot be copied, and the model itself is never run: no deepcopy; "
        "give the model as it was before it was wrapped or sharded"
    )
