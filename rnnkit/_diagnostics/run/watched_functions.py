"""Watch the functions that a model calls: a mode that starts and ends as a hook does."""

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from rnnkit._base.callers import user_frame


class FunctionCall(NamedTuple):
    """A call of a function of torch's, with its arguments by position and by keyword."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        """What the function is called."""
        return getattr(self.func, "__name__", "")

    @property
    def given(self) -> list[Any]:
        """All that the function is given, in one list."""
        return pytree.tree_leaves((self.args, self.kwargs))

    def run(self) -> Any:
        """Return what the function returns."""
        return self.func(*self.args, **self.kwargs)

    def argument(self, place: int, name: str) -> Any:
        """Return the argument at a position, or else by keyword; None if it was not given."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name)

    def run_with(self, place: int, name: str, other: Any) -> Any:
        """Return what the function returns for another value of one argument.

        The argument is told by its position and its keyword.
        """
        args = [*self.args]
        if len(args) > place:
            args[place] = other
            return self.func(*args, **self.kwargs)
        return self.func(*args, **{**self.kwargs, name: other})

    def in_words(self) -> str:
        """Write the call for a message with the sizes that it is given: ``view(2, -1)``."""
        known = {"getitem": "indexing x[...]", "get": "an attribute", "setitem": "x[...] = ..."}
        name = self.name.strip("_")
        sizes = [str(value) for value in pytree.tree_leaves(self.args) if type(value) is int]
        named = self.kwargs.items()
        sizes += [f"{k}={v}" for k, v in named if type(v) is int and not k.startswith("_")]
        return known.get(name, f"{name}({', '.join(sizes)})" if sizes else name)


class FunctionWatch(TorchFunctionMode):
    """A mode of torch that sees each function that a run calls, such as ``torch.cat``.

    It starts when hooks are put on a model, by :meth:`watch`, and is its own handle, which
    :meth:`remove` ends.
    """

    def watch(self, model: torch.nn.Module) -> list[Any]:  # noqa: ARG002 - as any watch
        """Start; return the handles that the run has to remove at its end, which is this object."""
        self.__enter__()  # type: ignore[no-untyped-call]
        return [self]

    def remove(self) -> None:
        """Stop."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pass a call of a function of torch's to ``on_call``, ``input`` as the first argument."""
        named = dict(kwargs or {})
        if not args and "input" in named:  # every function of torch takes it first
            args = (named.pop("input"),)
        return self.on_call(FunctionCall(func, args, named))

    @abstractmethod
    def on_call(self, call: FunctionCall) -> Any:
        """Return what a call returns: of ``call.run()``, or of something that runs in its place."""


def user_place() -> str:
    """Return the file name and line of the user's code that is running, such as ``model.py:12``."""
    frame = user_frame()
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
