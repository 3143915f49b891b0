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

import sys
from typing import Any


class RnnkitError(Exception):
    """Base of everything that rnnkit raises.

    Attributes:
        argument: the parameter that was wrong, as the caller writes it.
        code: the name of the error, such as ``"state-batch"``; empty if it was raised without one.
    """

    def __init__(self, message: str, argument: str = "", *, code: str = "", **facts: Any) -> None:
        """Keep beside the text which argument it was, the code, and what a subclass has more."""
        super().__init__(message)
        self.argument: str = argument
        self.code: str = code
        vars(self).update(facts)


class ArgumentError(RnnkitError, ValueError, TypeError, RuntimeError):
    """An argument has the wrong type or value."""


class ShapeError(RnnkitError, ValueError, RuntimeError):
    """A tensor does not have the expected shape.

    Attributes:
        expected: the expected sizes; ``None`` where any size is right.
        actual: the sizes that arrived; empty if no tensor arrived.
    """

    expected: tuple[int | None, ...] = ()
    actual: tuple[int, ...] = ()


class LayoutError(ShapeError):
    """A tensor's axes are in another order than the module reads them."""


class LengthsError(ShapeError):
    """``lengths`` are not one count of steps for each sample."""


class StateError(ShapeError, TypeError):
    """A hidden state is not what this module carries."""


class CellError(RnnkitError, RuntimeError):
    """A cell has no initial state, or did not return the samples' state at a step of a sequence.

    Attributes:
        step: the step, counted from 0 in the order of the input.
    """

    step: int = 0


class DtypeError(RnnkitError, ValueError, RuntimeError):
    """A tensor has another dtype than the module's weights, or than the input."""


class DeviceError(RnnkitError, ValueError, RuntimeError):
    """A tensor is on another device than the module's weights, or than the input."""


class LeakError(RnnkitError, AssertionError):
    """An output depends on what it must not depend on, or not on what it should.

    Attributes:
        probe: the probe of :func:`rnnkit.verify` that found it; it is also the code.
        module: qualified name of the first module where it shows; empty if it shows in none, in
            the model itself, or if the probe looks for none (alone, padding, memory, repeatable).
    """

    def __init__(self, message: str, probe: str = "", module: str = "") -> None:
        """Keep what was found beside the text."""
        super().__init__(message, "model", code=probe)
        self.probe: str = probe
        self.module: str = module


class RnnkitWarning(UserWarning):
    """A call that torch computes, and that hardly anyone means.

    Attributes:
        code: the name of the warning, such as ``"bias-by-position"``.
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

    def hides(caught: Any) -> bool:
        return caught is not None and isinstance(caught.value, RnnkitError)

    for name, module in list(sys.modules.items()):
        if name.startswith("rnnkit."):
            # pytest calls it with what was raised.
            vars(module)["__tracebackhide__"] = hides
