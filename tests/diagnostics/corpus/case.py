"""What a case of the corpus is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Subject:
    """A model, what it is called with, and the options that ``verify`` needs for it."""

    model: nn.Module
    inputs: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A pair of a mistake and its correct twin, or a model that is right.

    ``make`` takes ``torch.nn`` or ``rnnkit.nn``, and whether the right one is wanted. ``probe``
    finds the mistake; ``missed`` says why nothing does. ``is_judged``: whether any dependency of the right one can be judged. ``seeds``: how many draws
    of the weights have the same outcome, which the tests try.
    """

    name: str
    make: Callable[[ModuleType, bool], Subject]
    probe: str = ""
    missed: str = ""
    is_pair: bool = True
    is_judged: bool = True
    seeds: int = 1
    file: str = ""


#: All cases, in the order of their files.
CASES: list[Case] = []
