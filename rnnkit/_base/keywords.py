"""Keywords that a function does not have: refused with the name that it does have."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import NoReturn, ParamSpec, TypeVar

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import refusal

P = ParamSpec("P")
R = TypeVar("R")


def known_keywords(
    code: str, ours: Mapping[str, str]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that refuses unknown keywords; ``ours`` has our name of other names."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        names = [*inspect.signature(function).parameters]

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                if name not in names:
                    _refuse_keyword(function.__name__, name, names, ours, code)
            return function(*args, **kwargs)

        return call

    return decorate


def _refuse_keyword(
    function: str, name: str, names: list[str], ours: Mapping[str, str], code: str
) -> NoReturn:
    """Say which keyword is meant, by its other name or by its letters; else list all of them."""
    close = difflib.get_close_matches(name, names, 1)
    fix = f"one of {', '.join(names)}"
    if name in ours:
        fix = ours[name]
    elif close:
        fix = f"{close[0]}="
    sentence = f"{function}() got an unexpected keyword argument '{name}'"
    refusal(ArgumentError, name, sentence, fix=fix, code=code)
