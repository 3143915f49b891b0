"""A recurrence as a record: its equations, and what computes them faster where that exists."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refuse


class Recurrence(NamedTuple):
    """A recurrence; without a function that is None its equations run, step by step."""

    #: torch's name.
    name: str
    #: How many gates a weight holds, one below the other.
    gates: int
    #: The equations: the state after a step, of the input's and of the state's part in all gates,
    #: ``(batch, gates * hidden)``, and of the state before it.
    step: Callable[[Any, Any, Any], Any]
    #: The option of an RNN that chooses it.
    nonlinearity: str = ""
    #: torch's function for one step.
    step_kernel: Any = None
    #: torch's function for all steps.
    kernel: Any = None
    #: The loop over packed rows, written out, and its derivative: ``gates``, ``derivatives``.
    forward: Any = None
    backward: Any = None
    #: Which way a feature pushes each gate on padding, and on a blank step: ``padded``.
    signs: tuple[tuple[int, ...], ...] = ()


#: Each by its name, as an operator takes it. ``_modules.cells``, which has the equations, fills it.
RECURRENCES: dict[str, Recurrence] = {}
BY_NONLINEARITY: dict[str, Recurrence] = {}


def known(recurrence: Recurrence) -> Recurrence:
    """Put the record of what a module computes into the tables, and return it.

    One table finds it by its name, and one by an RNN's nonlinearity.
    """
    RECURRENCES[recurrence.name] = recurrence
    if recurrence.nonlinearity:
        BY_NONLINEARITY[recurrence.nonlinearity] = recurrence
    return recurrence


def recurrence_of(module: Any) -> Recurrence | None:
    """Return what a layer or cell computes: the record of its equations and kernels.

    It belongs to the class, except of an RNN: there a layer's ``mode`` or a cell's ``nonlinearity``
    chooses it. None for a class that computes nothing by itself, or an unknown nonlinearity.
    """
    recurrence: Recurrence | None = module.__rnnkit__.recurrence
    if recurrence is None or not recurrence.nonlinearity:
        return recurrence
    if not isinstance(module, torch.nn.RNNBase):
        return BY_NONLINEARITY.get(module.nonlinearity)
    mode = module.mode
    if mode not in ("RNN_TANH", "RNN_RELU"):
        # torch's kernel of a different recurrence reads beyond the weights of this one.
        sentence = f"mode must be RNN_TANH or RNN_RELU, got {brief(mode)}"
        fix = "layer.mode = 'RNN_TANH'"
        refuse(ArgumentError, "mode", sentence, fix=fix, code="option-value")
    return RECURRENCES[mode]
