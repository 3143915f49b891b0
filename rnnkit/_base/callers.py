"""Whose code called: the nearest frame outside of the libraries."""

import sys
from types import FrameType

#: Packages whose frames stand between a user's code and what rnnkit runs.
LIBRARIES = ("torch", "rnnkit", "jaxtyping", "beartype")


def user_frame() -> FrameType:
    """Return the nearest frame of a user's code; the outermost one if there is none."""
    frame = sys._getframe(1)  # noqa: SLF001 - there is no public way
    while frame.f_back is not None:
        # beartype's functions have the user's globals, and this instead of a file's name.
        is_beartype = frame.f_code.co_filename.startswith("<@beartype")
        module = str(frame.f_globals.get("__name__", ""))
        if not is_beartype and module.partition(".")[0] not in LIBRARIES:
            break
        frame = frame.f_back
    return frame
