"""What a case of the corpus is, and how one is written."""

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


#: Makes a model with the layers of ``torch.nn`` or ``rnnkit.nn``; of a pair the wrong or the right.
Make = Callable[[ModuleType, bool], Subject]


@dataclass(frozen=True)
class Case:
    """A pair of a mistake and its right twin, or a model that is right.

    Attributes:
        name: of the function that makes it.
        make: makes it.
        probe: what finds the mistake; empty if nothing does.
        ask: the probe has to be asked for.
        missed: why nothing finds it.
        is_pair: whether there is a wrong one.
        is_judged: whether any dependency of the right one can be judged.
        seeds: how many draws of the weights have the same outcome, which the tests try.
        file: the file of the corpus that it stands in.
    """

    name: str
    make: Make
    probe: str = ""
    ask: bool = False
    missed: str = ""
    is_pair: bool = True
    is_judged: bool = True
    seeds: int = 1
    file: str = ""


#: All cases, in the order of their files.
CASES: list[Case] = []


def mistake(probe: str = "", *, ask: bool = False, missed: str = "") -> Callable[[Make], Make]:
    """Register a pair, and by which probe it is found, or why it is missed."""

    def register(make: Make) -> Make:
        CASES.append(Case(make.__name__, make, probe, ask, missed, file=file_of(make)))
        return make

    return register


def right(make: Callable[[ModuleType], Subject]) -> Callable[[ModuleType], Subject]:
    """Register a model that is right."""
    CASES.append(Case(make.__name__, lambda nn, _: make(nn), is_pair=False, file=file_of(make)))
    return make


def file_of(function: Any) -> str:
    """Return the file of the corpus that a function stands in."""
    return str(function.__module__).rpartition(".")[2]
