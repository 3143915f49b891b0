"""What rnnkit raises; imports nothing, so that everything may import it.

::

    RnnkitError
    ├── ArgumentError   ValueError, TypeError, RuntimeError
    ├── ShapeError      ValueError, RuntimeError
    │   ├── LayoutError
    │   ├── LengthsError
    │   └── StateError  TypeError
    ├── CellError       RuntimeError
    ├── DtypeError      ValueError, RuntimeError
    ├── DeviceError     ValueError, RuntimeError
    └── LeakError       AssertionError
    RnnkitWarning       UserWarning

The second bases are what torch raises at the same places, so that code written for torch
catches these too. Each refusal has a code, which says what was refused: the last line of the
message has the command that explains it, and ``errors.md`` has a section of that name.
"""

import operator
import sys
from typing import Any


class RnnkitError(Exception):
    """Base class of all errors that rnnkit raises: ``except rnnkit.RnnkitError`` catches them all.

    Attributes:
        argument: the name of the argument that was wrong, such as ``"hx"``.
        code: the name of the error, such as ``"state-batch"``. The shell command ``python -m rnnkit
            explain state-batch`` explains it. Empty if there is none.
    """

    def __init__(self, message: str, argument: str = "", *, code: str = "", **facts: Any) -> None:
        """Keep beside the text which argument it was, the code, and what a subclass has more."""
        super().__init__(message)
        self.argument: str = argument
        self.code: str = code
        vars(self).update(facts)


class ArgumentError(RnnkitError, ValueError, TypeError, RuntimeError):
    """An argument is unknown, or has the wrong type or value.

    It is also a ValueError, a TypeError and a RuntimeError, as torch raises for such an argument.
    """


class ShapeError(RnnkitError, ValueError, RuntimeError):
    """A tensor does not have the shape that the module expects.

    It is also a ValueError and a RuntimeError, as torch raises for such a tensor.

    Attributes:
        expected: the expected shape, such as ``(None, 5, 3)``; None stands for any size.
        actual: the shape that was passed. It is ``()`` for a tensor without axes, and also if no
            tensor was passed.
    """

    expected: tuple[int | None, ...] = ()
    actual: tuple[int, ...] = ()


class LayoutError(ShapeError):
    """A ShapeError: the axes of a tensor are in the wrong order, such as batch before seq."""


class LengthsError(ShapeError):
    """A ShapeError: ``lengths`` is not one integer from 0 to seq for each sample."""


class StateError(ShapeError, TypeError):
    """A ShapeError: a hidden state has the wrong structure or shape for the module or the batch."""


class CellError(RnnkitError, RuntimeError):
    """A cell returned something that is no state of the whole batch, or a state of another shape.

    Also, a cell changed its state in place, or has no ``initial_state`` where a call needs one. The
    error is raised by :func:`rnnkit.unroll` and :class:`rnnkit.Recurrent`, which call a cell at
    each step.

    Attributes:
        step: the step at which the cell was called; the first step of the input is 0.
    """

    step: int = 0


class DtypeError(RnnkitError, ValueError, RuntimeError):
    """The dtype of a tensor differs from the dtype of the module's weights, or of the input."""


class DeviceError(RnnkitError, ValueError, RuntimeError):
    """A tensor is not on the same device as the module's weights, or as the input."""


class LeakError(RnnkitError, AssertionError):
    """A mistake that ``verify`` found, such as an output that depends on a wrong part of the input.

    For example, the output depends on another sample, on a later step or on padding. In other
    mistakes it does not depend on an input that it should depend on, or differs from run to run.

    Attributes:
        probe: the name of the probe, the check of ``verify`` that found it, such as ``"batch"``.
            The attribute ``code`` has the same value.
        module: the name of the first module whose output shows the mistake, as in
            ``named_modules()``; empty if there is none, or if it is the model itself.
    """

    def __init__(self, message: str, probe: str = "", module: str = "") -> None:
        """Keep what was found beside the text."""
        super().__init__(message, "model", code=probe)
        self.probe: str = probe
        self.module: str = module


class RnnkitWarning(UserWarning):
    """A call that torch accepts, but that is very likely a mistake.

    Attributes:
        code: the name of the warning, such as ``"bias-by-position"``. The shell command ``python -m
            rnnkit explain bias-by-position`` explains it.
    """

    def __init__(self, message: str, code: str = "") -> None:
        """Keep the code beside the text."""
        super().__init__(message)
        self.code: str = code


for _kind in list(vars().values()):
    if isinstance(_kind, type) and issubclass(_kind, (RnnkitError, RnnkitWarning)):
        _kind.__module__ = "rnnkit"


def hide_frames() -> None:
    """Let pytest leave the frames of this package out of the traceback of its own errors.

    Each module of rnnkit that is loaded gets ``__tracebackhide__``, which pytest reads.
    """
    # pytest calls it with what was raised.
    hides = operator.methodcaller("errisinstance", RnnkitError)
    for name, module in list(sys.modules.items()):
        if name.startswith("rnnkit."):
            vars(module)["__tracebackhide__"] = hides
