"""Whose code is named as the caller's: no library's, and none that a library has written."""

import sys

from beartype import beartype

from rnnkit._base.callers import user_frame


def test_what_beartype_writes_is_no_users_code() -> None:
    """Behind a function that beartype has wrapped stands the one who called it."""
    assert beartype(user_frame)() is sys._getframe()
