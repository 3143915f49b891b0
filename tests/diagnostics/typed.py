"""A wrong model, the words of its finding, and the model after its fix was typed: how one is registered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tests.diagnostics.corpus.forward import OPTIONS, Part
from tests.diagnostics.models_of_users import model, numbers


@dataclass(frozen=True)
class Typed:
    """A wrong model, the words of its finding, and the inputs of some samples and steps."""

    compute: Callable[..., Tensor]
    probe: str
    words: tuple[str, ...]
    given: Callable[[int, int], tuple[Tensor, ...]]
    told: dict[str, Any]

    def make(self, way: str) -> nn.Module:
        """Make one of the three models, with the same weights."""
        torch.manual_seed(5)
        parts = {
            name: one.made(nn, False) for name, one in self.told.items() if isinstance(one, Part)
        }
        return model(self.compute, way=way, **parts)

    def options(self, inputs: tuple[Tensor, ...]) -> dict[str, Any]:
        """Return the options of ``verify``, some of which follow from the inputs."""
        told = {name: value for name, value in self.told.items() if name in OPTIONS}
        return {name: value(*inputs) if callable(value) else value for name, value in told.items()}


FIXES: list[Typed] = []


def sequences(batch, seq):
    """Return samples of steps."""
    return (numbers(batch, seq, 3),)


def typed(probe: str, *words: str, given: Any = sequences, **told: Any) -> Callable[[Any], Any]:
    """Register a forward, and the probe and the words of its finding; return it."""

    def register(compute: Any) -> Any:
        FIXES.append(Typed(compute, probe, words, given, told))
        return compute

    return register
