"""Keywords that a function does not have: refused with the name that it does have."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, ParamSpec, TypeVar

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refuse

P = ParamSpec("P")
R = TypeVar("R")


def known_keywords(
    code: str,
    other_names: Mapping[str, str],
    check: Callable[[str, Any], None] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that refuses unknown keywords, with a fix for some ``other_names``.

    ``check`` gets the name and the value of each keyword that is known.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        known = [name for name in inspect.signature(function).parameters if name != "self"]

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name, value in kwargs.items():
                if name not in known:
                    fix = fix_of_keyword(name, value, known, other_names)
                    refuse_keyword(function.__name__, name, known, fix, code)
                if check is not None:
                    check(name, value)
            return function(*args, **kwargs)

        return checked

    return decorate


def fix_of_keyword(
    name: str, value: Any, known: Sequence[str], other_names: Mapping[str, str]
) -> str:
    """Write what is meant by an unknown keyword: our name of it, the nearest one, or a sentence."""
    close = difflib.get_close_matches(name, known, 1)
    meant = other_names.get(name) or next(iter(close), f"leave {name} out")
    if meant not in known:
        return meant
    written = brief(value) if isinstance(value, str | int | float) else name
    return f"{meant}={written}"


def refuse_keyword(function: str, name: str, known: Sequence[str], fix: str, code: str) -> NoReturn:
    """Refuse a keyword that a function does not have."""
    sentence = f"{function}() got an unexpected keyword argument {name!r}"
    headline = f"it takes {', '.join(known)}"
    refuse(ArgumentError, name, sentence, headline, fix=fix, code=code)
