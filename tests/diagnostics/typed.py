"""A wrong model, the words of its finding, and the model after its fix was typed: how one is registered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tests.diagnostics.corpus.forward import asked_by, gru, gru_cell, linear, modules_of, read_by
from tests.diagnostics.models_of_users import model, numbers


@dataclass(frozen=True)
class Typed:
    """A wrong model, the words of its finding, and the inputs of some samples and steps."""

    compute: Callable[..., Tensor]
    probe: str
    words: tuple[str, ...]
    given: Callable[[int, int], tuple[Tensor, ...]]
    told: dict[str, Any]

    def make(self, way):
        """Make one of the three models, with the same weights."""
        torch.manual_seed(5)
        return model(self.compute, way=way, **modules_of(self.told, nn, is_right=False))


FIXES: list[Typed] = []
#: Parts that a forward has without naming them, if it reads them itself.
USUAL = {"rnn": gru(), "cell": gru_cell(), "head": linear(6, 4)}


def sequences(batch, seq):
    """Return samples of steps."""
    return (numbers(batch, seq, 3),)


def typed(probe, *words, given=sequences, **told):
    """Register a forward, and the probe and the words of its finding; return it."""

    def register(compute):
        usual = read_by(compute, USUAL)
        FIXES.append(Typed(compute, probe, words, given, asked_by(probe) | usual | told))
        return compute

    return register
