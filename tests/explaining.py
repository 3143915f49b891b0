"""The code that explains what is wrong with a call: a right call enters none of it."""

import contextlib
import re
import sys
from collections.abc import Iterator
from types import CodeType

#: Functions of that code, by file and name.
EXPLAINING = re.compile(
    r"/rnnkit/(_base/(message|errors)|_checks/(diagnosis|steps|causes/.*))\.py:\w"
    r"|/rnnkit/.*:_?(refus|diagnose|explain|fix_|goes_to_torch)"
)


@contextlib.contextmanager
def entered() -> Iterator[set[str]]:
    """Collect the functions that explain, of those that are entered."""
    codes = set[CodeType]()
    before = sys.getprofile()
    # Not settrace, which coverage uses.
    sys.setprofile(lambda frame, *_: codes.add(frame.f_code))
    found = set[str]()
    yield found
    sys.setprofile(before)
    names = [f"{code.co_filename}:{code.co_name}" for code in codes]
    found.update(filter(EXPLAINING.search, names))


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Check that a right call, run within, enters no code that explains: the guards answer."""
    with entered() as found:
        yield
    assert not found
