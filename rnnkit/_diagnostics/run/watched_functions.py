"""Watch the functions that a model calls: a mode that starts and ends as a hook does."""

import re
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from rnnkit._base.callers import user_frame


class FunctionCall(NamedTuple):
    """A call of a function of torch's, and what it is given by position and by name."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        """What the function is called."""
        return getattr(self.func, "__name__", "")

    def run(self) -> Any:
        """Return what the function returns."""
        return self.func(*self.args, **self.kwargs)

    def argument(self, place: int, name: str) -> Any:
        """Return an argument; None if it was not given."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name)

    def run_with(self, place: int, name: str, other: Any) -> Any:
        """Return what the function returns for another argument."""
        args = [*self.args]
        if len(args) > place:
            args[place] = other
            return self.func(*args, **self.kwargs)
        return self.func(*args, **{**self.kwargs, name: other})

    def in_words(self) -> str:
        """Write the call with the sizes and axes that it is given."""
        known = {"getitem": "indexing x[...]", "get": "an attribute", "setitem": "x[...] = ..."}
        name = self.name.strip("_")
        sizes = [str(value) for value in pytree.tree_leaves(self.args) if type(value) is int]
        named = self.kwargs.items()
        sizes += [f"{k}={v}" for k, v in named if type(v) is int and not k.startswith("_")]
        return known.get(name, f"{name}({', '.join(sizes)})" if sizes else name)


class FunctionWatch(TorchFunctionMode):
    """Sees each function that a run calls; starts as a watch, and ends as the handle of a hook."""

    def watch(self, model: torch.nn.Module) -> list[Any]:  # noqa: ARG002 - as any watch
        """Start; the run ends it by removing what is returned."""
        self.__enter__()  # type: ignore[no-untyped-call]
        return [self]

    def remove(self) -> None:
        """Stop."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Take a call from torch."""
        named = dict(kwargs or {})
        if not args and "input" in named:  # every function of torch takes it first
            args = (named.pop("input"),)
        return self.on_call(FunctionCall(func, args, named))

    @abstractmethod
    def on_call(self, call: FunctionCall) -> Any:
        """Return what a call of a function returns, or something in its place."""


def user_place() -> str:
    """Return the file and line of the user's code that called."""
    return place_of(user_frame())


def place_of(frame: FrameType) -> str:
    """Return the file and line that a frame is at."""
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def without_part(call: str, size: int, whole: int) -> str:
    """Write a call in words without the size of a part of a batch, which the caller never gave."""
    return call if size == whole else re.sub(rf"\b{size}\b", "batch", call)
