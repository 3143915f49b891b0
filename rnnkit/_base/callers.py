"""Whose code called: the nearest frame that is no library's."""

import sys
from types import FrameType

#: rnnkit, and what may stand around each of its functions.
OURS = ("rnnkit", "jaxtyping", "beartype")

#: Packages whose frames stand between a user's code and what it called.
LIBRARIES = ("torch", *OURS)


def user_frame() -> FrameType:
    """Return the nearest frame of a user's code; the outermost one if there is none."""
    return _behind(sys._getframe(1), LIBRARIES)  # noqa: SLF001 - there is no public way


def calling_frame() -> FrameType:
    """Return the nearest frame that is none of rnnkit's, nor of what checks annotations for it."""
    return _behind(sys._getframe(1), OURS)  # noqa: SLF001


def _behind(frame: FrameType, packages: tuple[str, ...]) -> FrameType:
    while frame.f_back is not None and _is_of(frame, packages):
        frame = frame.f_back
    return frame


def _is_of(frame: FrameType, packages: tuple[str, ...]) -> bool:
    # What beartype has written has the user's globals, and a name that is no file's.
    if frame.f_code.co_filename.startswith("<@beartype"):
        return True
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in packages
