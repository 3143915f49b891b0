"""Where torch's compiler must not look: a layer that stays out of its graphs."""

from collections.abc import Callable
from types import CodeType
from typing import Any, ParamSpec, TypeVar

import torch
from torch.compiler import is_compiling

from rnnkit._base.torch_tools import is_exporting

P = ParamSpec("P")
R = TypeVar("R")

#: torch's private names for how frames of a code run; a torch without them compiles more frames.
_FRAMES: Any = getattr(getattr(torch._C, "_dynamo", None), "eval_frame", None)  # noqa: SLF001
_NAMES = ("_FrameAction", "_FrameExecStrategy", "set_code_exec_strategy")
CAN_SKIP = all(hasattr(_FRAMES, name) for name in _NAMES)


def is_left_out_of_graph() -> bool:
    """Return whether the compiler that traces this call leaves recurrent layers out of its graphs.

    It does so with default settings. torch 2.15 still traces the ``forward`` of a subclass, with a
    stand-in for the layer, and takes some attributes for None that are not.
    """
    if not is_compiling() or is_exporting() or not CAN_SKIP:
        return False
    config: Any = torch._dynamo.config  # noqa: SLF001
    return not getattr(config, "allow_rnn", False)


def outside_of_graphs(reason: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator: torch's compiler runs the function, and all that it calls, as it is.

    ``torch.compiler.disable`` does that as well, and imports the compiler, which takes seconds.
    Where a full graph is asked for, torch's error gives the reason.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        marked: Any = function
        marked._torchdynamo_disable = True  # noqa: SLF001 - the graph ends before a call
        marked._torchdynamo_disable_msg = reason  # noqa: SLF001
        _skip_frames(marked.__code__, below=True)
        return function

    return decorate


def only_in_graphs(function: Callable[P, R]) -> Callable[P, R]:
    """Let torch's compiler take a function into its caller's graph, and not compile it alone.

    It is a decorator, and returns the function itself, marked.
    """
    wrapped: Any = function
    _skip_frames(wrapped.__code__, below=False)
    return function


def _skip_frames(code: CodeType, *, below: bool) -> None:
    """Tell torch's compiler to compile no frame of this code; ``below``: nor any that it calls.

    A torch without the private names for it compiles them: nothing happens here.
    """
    if CAN_SKIP:
        action = _FRAMES._FrameAction  # noqa: SLF001
        inner = action.SKIP if below else action.DEFAULT
        strategy = _FRAMES._FrameExecStrategy(action.SKIP, inner)  # noqa: SLF001
        _FRAMES.set_code_exec_strategy(code, strategy)
