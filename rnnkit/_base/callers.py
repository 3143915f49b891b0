"""Whose code called: the nearest frame outside of the libraries."""

import sys
from types import FrameType

#: rnnkit, and the packages whose frames may stand around each of its functions.
OURS = ("rnnkit", "jaxtyping", "beartype")


def user_frame() -> FrameType:
    """Return the nearest frame of a user's code; the outermost one if there is none."""
    return _behind(sys._getframe(1), ("torch", *OURS))  # noqa: SLF001 - there is no public way


def calling_frame() -> FrameType:
    """Return the nearest frame outside of rnnkit, and of what checks annotations for it."""
    return _behind(sys._getframe(1), OURS)  # noqa: SLF001


def _behind(frame: FrameType, packages: tuple[str, ...]) -> FrameType:
    while frame.f_back is not None:
        # beartype's functions have the user's globals, and this instead of a file's name.
        is_beartype = frame.f_code.co_filename.startswith("<@beartype")
        module = str(frame.f_globals.get("__name__", ""))
        if not is_beartype and module.partition(".")[0] not in packages:
            break
        frame = frame.f_back
    return frame
