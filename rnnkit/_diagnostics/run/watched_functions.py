"""Watch the functions that a model calls: a mode that starts and ends as a hook does."""

import re
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from rnnkit._base.callers import user_frame

#: Runs a function with its arguments by position and by name, or something in its place.
Run = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class FunctionWatch(TorchFunctionMode):
    """A mode that a run starts as a watch, and ends as the handle of a hook."""

    def watch(self, _: torch.nn.Module) -> list[Any]:
        """Start; the run ends it by removing what is returned."""
        self.__enter__()  # type: ignore[no-untyped-call]
        return [self]

    def remove(self) -> None:
        """Stop."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]


class Replacing(FunctionWatch):
    """Runs something else wherever the model calls one function at one place."""

    def __init__(self, name: str, text: str | None, place: str, run: Run) -> None:
        """Take the function, the call in words unless any will do, its place, and what runs."""
        super().__init__()
        self._name = name
        self._text = text
        self._place = place
        self._run = run

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, or something in its place."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name != self._name or user_place() != self._place:
            return func(*args, **kwargs)
        if self._text not in (None, call_in_words(name, args, kwargs)):
            return func(*args, **kwargs)
        return self._run(func, args, kwargs)


def user_place() -> str:
    """Return the file and line of the user's code that called."""
    return place_of(user_frame())


def place_of(frame: FrameType) -> str:
    """Return the file and line that a frame is at."""
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def without_part(call: str, size: int, whole: int) -> str:
    """Write a call in words without the size of a part of a batch, which the caller never gave."""
    return call if size == whole else re.sub(rf"\b{size}\b", "batch", call)


def call_in_words(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Write a call with the sizes and axes that it is given."""
    known = {"getitem": "indexing x[...]", "get": "an attribute", "setitem": "x[...] = ..."}
    name = name.strip("_")
    sizes = [str(value) for value in pytree.tree_leaves(args) if type(value) is int]
    sizes += [f"{k}={v}" for k, v in kwargs.items() if type(v) is int and not k.startswith("_")]
    return known.get(name, f"{name}({', '.join(sizes)})" if sizes else name)
