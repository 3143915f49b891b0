"""Whose code called: the nearest frame outside of the libraries."""

import sys
from types import FrameType

#: Packages whose frames stand between a user's code and what rnnkit runs.
LIBRARIES = ("torch", "rnnkit", "jaxtyping", "beartype")


def user_frame() -> FrameType:
    """Return the nearest frame of a user's code; the outermost one if there is none."""
    frame = sys._getframe(1)  # noqa: SLF001 - there is no public way
    while frame.f_back is not None and _is_of_library(frame):
        frame = frame.f_back
    return frame


def _is_of_library(frame: FrameType) -> bool:
    """Return whether a frame runs code of one of the ``LIBRARIES``, or what beartype has made."""
    # beartype's functions have the user's globals, and this instead of a file's name.
    is_beartype = frame.f_code.co_filename.startswith("<@beartype")
    module = str(frame.f_globals.get("__name__", ""))
    return is_beartype or module.partition(".")[0] in LIBRARIES
