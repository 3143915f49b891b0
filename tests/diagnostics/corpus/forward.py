"""Cases in short: the forward of a model; its parts, inputs and options are in the decorator.

``m.right`` tells the right one of a pair from the wrong one, in a forward; among the options of a
part, ``RIGHT`` is True in the right one, and ``WRONG`` in the wrong one. What is no class of
``torch.nn`` is a function that makes it.
"""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import torch

from tests.diagnostics.corpus.case import CASES, Case, Subject
from tests.diagnostics.models_of_users import X, model

RIGHT = object()
WRONG = object()


class Part(NamedTuple):
    """A module of a model, made when the library, and which one of a pair, are known."""

    kind: str | Callable[..., torch.nn.Module]
    args: tuple[Any, ...]
    options: dict[str, Any]

    def made(self, nn: ModuleType, is_right: bool) -> torch.nn.Module:
        """Make it."""
        told = {id(RIGHT): is_right, id(WRONG): not is_right}
        args = [told.get(id(value), value) for value in self.args]
        options = {name: told.get(id(value), value) for name, value in self.options.items()}
        make = getattr(nn, self.kind) if isinstance(self.kind, str) else self.kind
        module: torch.nn.Module = make(*args, **options)
        return module


def part(kind: Any, *args: Any, **options: Any) -> Part:
    """Return a part of any class of ``torch.nn``, or of a function."""
    return Part(kind, args, options)


def _layer(kind: str, width: int = 3, hidden: int = 6, **options: Any) -> Part:
    return Part(kind, (width, hidden), {"batch_first": True, **options})


def _cell(kind: str, width: int = 3, hidden: int = 6) -> Part:
    return Part(kind, (width, hidden), {})


gru, lstm, rnn = (partial(_layer, kind) for kind in ("GRU", "LSTM", "RNN"))
gru_cell, lstm_cell = (partial(_cell, kind) for kind in ("GRUCell", "LSTMCell"))
linear = partial(part, "Linear")
embedding = partial(part, "Embedding")


def drawn(*shape: int, tokens: int = 0) -> Callable[[], tuple[torch.Tensor]]:
    """Return what draws an input of numbers, or of so many kinds of tokens, for each seed anew."""
    return lambda: (torch.randint(0, tokens, shape) if tokens else torch.randn(shape),)


#: Arguments of ``verify``; what else a case names is a part of its model.
OPTIONS = {
    *[
        "batch_dim",
        "seq_dim",
        "out_seq_dim",
        "causal",
        "lookahead",
        "reset",
        "streaming",
        "lengths",
        "pad",
        "other",
        "skip",
        "kwargs",
    ]
}


def pair(probe: str = "", *, missed: str = "", **told: Any) -> Callable[[Any], Any]:
    """Register a forward that is right or wrong by ``m.right``, or by its parts; return it."""
    return _entry({"probe": probe, "missed": missed}, **told)


def fine(**told: Any) -> Callable[[Any], Any]:
    """Register a forward that is right, or of which nothing can be judged; return it."""
    return _entry({"is_pair": False}, **told)


def _entry(
    facts: dict[str, Any],
    *,
    inputs: Any = (X,),
    name: str = "",
    judged: bool = True,
    seeds: int = 1,
    **told: Any,
) -> Callable[[Any], Any]:
    options = {key: value for key, value in told.items() if key in OPTIONS}
    parts = {key: value for key, value in told.items() if key not in OPTIONS}

    def register(forward: Any) -> Any:
        def make(nn: ModuleType, is_right: bool) -> Subject:
            made = {
                key: value.made(nn, is_right) if isinstance(value, Part) else value()
                for key, value in parts.items()
            }
            given = inputs() if callable(inputs) else inputs
            told = {k: v(*given) if callable(v) else v for k, v in options.items()}
            return Subject(model(forward, **made, right=is_right), given, told)

        more = {"is_judged": judged, "seeds": seeds, "file": forward.__module__.rpartition(".")[2]}
        CASES.append(Case(name or forward.__name__, make, **facts, **more))
        return forward

    return register
