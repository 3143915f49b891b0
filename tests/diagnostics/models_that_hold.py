"""Models that hold things, and change them while they run."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from tests.diagnostics.models_of_users import FEATURE, HIDDEN, Model


def made(act: Callable[[Any], Any], **attributes: Any) -> Model:
    """Make a model with attributes, which does something to them at each run."""

    def compute(m: Any, x: Tensor) -> Tensor:
        act(m)
        return m.gru(x)[0]

    model = Model(compute, gru=nn.GRU(FEATURE, HIDDEN, batch_first=True))
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def starting(state: Callable[[Any, int], Tensor], **attributes: Any) -> Model:
    """Make a model that starts from a state which it finds somewhere."""

    def compute(m: Any, x: Tensor) -> Tensor:
        return m.gru(x, state(m, len(x)))[0]

    model = Model(compute, gru=nn.GRU(FEATURE, HIDDEN, batch_first=True))
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def refuse(*_: Any, **__: Any) -> Any:
    """Refuse, as a frozen container does."""
    message = "frozen"
    raise TypeError(message)
