"""Whose code called: the nearest frame that is no library's."""

import sys
from types import FrameType

#: Packages whose frames stand between a user's code and what it called.
LIBRARIES = ("torch", "jaxtyping", "beartype", "rnnkit")


def user_frame() -> FrameType:
    """Return the nearest frame of a user's code; the outermost one if there is none."""
    frame = sys._getframe(1)  # noqa: SLF001 - there is no public way
    while frame.f_back is not None and _is_library(frame):
        frame = frame.f_back
    return frame


def _is_library(frame: FrameType) -> bool:
    # What beartype has written has the user's globals, and a name that is no file's.
    if frame.f_code.co_filename.startswith("<@beartype"):
        return True
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in LIBRARIES
