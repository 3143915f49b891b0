"""Cases in short: the forward of a model; its parts, inputs and options are in the decorator.

``m.right`` tells the right one of a pair from the wrong one, in a forward; among the options of a
part, ``RIGHT`` is True in the right one, and ``WRONG`` in the wrong one. What is no class of
``torch.nn`` is a function that makes it. A forward that reads ``m.gru``, ``m.lstm`` or ``m.cell``
has the usual one of ``USUAL``, in front of its other parts, unless its decorator names another.
"""

from collections.abc import Callable
from functools import partial
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

    def made(self, nn, is_right):
        """Make it."""
        told = {id(RIGHT): is_right, id(WRONG): not is_right}
        options = {name: told.get(id(value), value) for name, value in self.options.items()}
        make = getattr(nn, self.kind) if isinstance(self.kind, str) else self.kind
        return make(*self.args, **options)


def part(kind, *args, **options):
    """Return a part of any class of ``torch.nn``, or of a function."""
    return Part(kind, args, options)


def _layer(kind, width=3, hidden=6, **options):
    return Part(kind, (width, hidden), {"batch_first": True, **options})


def _cell(kind, width=3, hidden=6):
    return Part(kind, (width, hidden), {})


gru, lstm = (partial(_layer, kind) for kind in ("GRU", "LSTM"))
gru_cell, lstm_cell = (partial(_cell, kind) for kind in ("GRUCell", "LSTMCell"))
linear = partial(part, "Linear")
embedding = partial(part, "Embedding")

#: A layer that takes the samples for steps in the wrong one of a pair, and one that reads later steps.
MIXES_IF_WRONG = gru(batch_first=RIGHT)
READS_ALL_IF_WRONG = gru(bidirectional=WRONG)

#: Parts that a forward has without naming them, if it reads them itself.
USUAL = {"gru": gru(), "lstm": lstm(), "cell": gru_cell()}


def drawn(*shape, tokens=0):
    """Return what draws an input of numbers, or of so many kinds of tokens, for each seed anew."""
    return lambda: (torch.randint(0, tokens, shape) if tokens else torch.randn(shape),)


#: Arguments of ``verify``; what else a case names is a part of its model.
OPTIONS = {
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
}


def read_by(forward, parts):
    """Return those parts that a function itself reads."""
    return {name: value for name, value in parts.items() if name in forward.__code__.co_names}


def modules_of(told, nn, is_right):
    """Make the parts of a model that a case tells."""
    return {
        name: value.made(nn, is_right) if isinstance(value, Part) else value()
        for name, value in told.items()
        if name not in OPTIONS
    }


def options_of(told, inputs):
    """Return the options of ``verify`` that a case tells, some of which follow from the inputs."""
    options = {name: value for name, value in told.items() if name in OPTIONS}
    return {name: value(*inputs) if callable(value) else value for name, value in options.items()}


def asked_by(probe):
    """Return the option that asks for a probe, if it runs only where it is asked for."""
    return dict.fromkeys({"causal", "streaming"} & {probe}, True)


def pair(probe="", *, missed="", **told):
    """Register a forward that is right or wrong by ``m.right``, or by its parts; return it."""
    return _entry({"probe": probe, "missed": missed}, **asked_by(probe) | told)


def fine(**told):
    """Register a forward that is right, or of which nothing can be judged; return it."""
    return _entry({"is_pair": False}, **told)


def _entry(facts, *, inputs=(X,), name="", judged=True, seeds=1, **told):
    def register(forward):
        usual = {part: made for part, made in read_by(forward, USUAL).items() if part not in told}

        def make(nn, is_right):
            made = model(forward, **modules_of(usual | told, nn, is_right), right=is_right)
            given = inputs() if callable(inputs) else inputs
            return Subject(made, given, options_of(told, given))

        more = {"is_judged": judged, "seeds": seeds, "file": forward.__module__.rpartition(".")[2]}
        CASES.append(Case(name or forward.__name__, make, **facts, **more))
        return forward

    return register
