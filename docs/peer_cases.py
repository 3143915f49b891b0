"""Pairs of models in folders of files, for the tools that ``docs/peers.py`` compares.

A file has ``model(nn, fixed)``, which returns a dictionary of ``net``, ``inputs`` and
``options``; or classes ``Wrong`` and ``Right``, and ``told(caller, model)``, which calls
``caller.verify`` as ``rnnkit.verify``.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn


@dataclass(frozen=True)
class Subject:
    """A model, what it is called with, and what is known of its axes."""

    model: nn.Module
    inputs: tuple[Any, ...]
    options: dict[str, Any]


class Pair(NamedTuple):
    """A mistake, its name or link, and what makes the wrong model and the right one."""

    name: str
    wrong: Callable[[], Subject]
    right: Callable[[], Subject]


class Called(nn.Module):
    """A model that is called by a function, for tools that call it themselves."""

    def __init__(self, model: nn.Module, call: Callable[..., Any], kwargs: dict[str, Any]) -> None:
        """Wrap it."""
        super().__init__()
        self.model = model
        self.call = call
        self.kwargs = kwargs

    def forward(self, *inputs: Any) -> Any:
        """Call it as the function does."""
        return self.call(self.model, *inputs, **self.kwargs)


class Listener:
    """What a file calls ``verify`` by: it keeps what it is given."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.subject: Subject | None = None

    def verify(self, model: nn.Module, *inputs: Any, **options: Any) -> None:
        """Keep a model, its inputs and the options; a call becomes a part of the model."""
        call = options.pop("call", None)
        kwargs = options.pop("kwargs", None)
        if call is not None or kwargs:
            model = Called(model, call or _called, dict(kwargs or {}))
        self.subject = Subject(model, inputs, options)


def _called(model: nn.Module, *inputs: Any, **kwargs: Any) -> Any:
    return model(*inputs, **kwargs)


def pairs_in(folder: Path) -> Iterator[Pair]:
    """Yield the pair of each file of a folder that has one."""
    sys.path.insert(0, str(folder))
    for path in sorted(folder.glob("[a-z0-9]*.py")):
        text = path.read_text("utf-8")
        if "def model(" in text or "class Right" in text:
            yield Pair(path.stem, lambda p=path: _made(p, False), lambda p=path: _made(p, True))


def _made(path: Path, is_right: bool) -> Subject:
    """Make one model of a file, the same one each time."""
    spec: Any = importlib.util.spec_from_file_location(path.stem, path)
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    heard = Listener()
    if hasattr(module, "model"):
        made = module.model(nn, is_right)
        heard.verify(made["net"], *made["inputs"], **made["options"])
    else:
        kind = module.Right if is_right else module.Wrong
        module.told(heard, kind())
    if heard.subject is None:
        message = f"{path} verifies nothing"
        raise ValueError(message)
    return heard.subject
