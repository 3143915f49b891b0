"""Whose code called: the nearest frame outside of the libraries."""

import sys
from types import FrameType

#: rnnkit, and the packages whose frames may stand around each of its functions.
OURS = ("rnnkit", "jaxtyping", "beartype")


def user_frame() -> FrameType:
    """Return the nearest frame of a user's code; the outermost one if there is none."""
    frame = sys._getframe(1)  # noqa: SLF001 - there is no public way
    while frame.f_back is not None and _is_of(frame, ("torch", *OURS)):
        frame = frame.f_back
    return frame


def end_at_refusal(error: BaseException) -> None:
    """Let a traceback end in the function that refuses a user's call, not in how it does so.

    It is cut, in place, one frame below the last one that is not rnnkit's or a type checker's.
    """
    last = here = error.__traceback__
    while here is not None:
        if not _is_of(here.tb_frame, OURS):
            last = here
        here = here.tb_next
    if last is not None and last.tb_next is not None:
        last.tb_next.tb_next = None


def _is_of(frame: FrameType, packages: tuple[str, ...]) -> bool:
    """Return whether a frame runs code of one of these packages, or what beartype has made."""
    # beartype's functions have the user's globals, and this instead of a file's name.
    is_beartype = frame.f_code.co_filename.startswith("<@beartype")
    module = str(frame.f_globals.get("__name__", ""))
    return is_beartype or module.partition(".")[0] in packages
