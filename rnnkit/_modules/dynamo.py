"""Where torch's compiler must not look: a layer that stays out of its graphs."""

from collections.abc import Callable
from typing import Any

import torch
from torch.compiler import is_compiling

from rnnkit._base.keywords import FunctionT
from rnnkit._base.torch_tools import is_exporting

#: torch's private module for how frames of a code run.
_FRAMES: Any = torch._C._dynamo.eval_frame  # noqa: SLF001  # pyright: ignore[reportAttributeAccessIssue]


def is_left_out_of_graph() -> bool:
    """Return whether the compiler that traces this call leaves recurrent layers out of its graphs.

    It does so with default settings. torch 2.15 still traces the ``forward`` of a subclass, with a
    stand-in for the layer, and takes some attributes for None that are not.
    """
    if not is_compiling() or is_exporting():
        return False
    return not torch._dynamo.config.allow_rnn  # noqa: SLF001


def outside_of_graphs(reason: str) -> Callable[[FunctionT], FunctionT]:
    """Return a decorator: torch's compiler runs the function, and all that it calls, as it is.

    ``torch.compiler.disable`` does that as well, and imports the compiler, which takes seconds.
    Where a full graph is asked for, torch's error gives the reason.
    """

    def decorate(function: FunctionT) -> FunctionT:
        marked: Any = function
        marked._torchdynamo_disable = True  # noqa: SLF001 - the graph ends before a call
        marked._torchdynamo_disable_msg = reason  # noqa: SLF001
        _skip_frames(function, below=True)
        return function

    return decorate


def only_in_graphs(function: FunctionT) -> FunctionT:
    """Let torch's compiler take a function into its caller's graph, and not compile it alone.

    It is a decorator, and returns the function itself, marked.
    """
    _skip_frames(function, below=False)
    return function


def _skip_frames(function: Any, *, below: bool) -> None:
    """Tell torch's compiler to compile no frame of a function; ``below``: nor any that it calls."""
    action = _FRAMES._FrameAction  # noqa: SLF001
    inner = action.SKIP if below else action.DEFAULT
    strategy = _FRAMES._FrameExecStrategy(action.SKIP, inner)  # noqa: SLF001
    _FRAMES.set_code_exec_strategy(function.__code__, strategy)
