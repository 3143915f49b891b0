"""Keywords that a function does not have: refused with the name that it does have."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar, cast

from torch import Tensor

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refuse

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def known_keywords(
    code: str,
    other_names: Mapping[str, str],
    check: Callable[[str, Any], None] | None = None,
) -> Callable[[FunctionT], FunctionT]:
    """Return a decorator: the function refuses keywords that it does not have.

    ``other_names`` maps names that people know from elsewhere to the function's own, or to a
    sentence that says what to do; the error proposes it. ``code`` is the error's name in
    ``errors.md``. ``check`` gets the name and the value of each keyword, in order to refuse a
    value. Arguments by position are not looked at.
    """

    def decorate(function: FunctionT) -> FunctionT:
        known = [name for name in inspect.signature(function).parameters if name != "self"]

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            for name, value in kwargs.items():
                if name not in known:
                    refuse_keyword(function.__name__, name, value, known, other_names, code)
                if check is not None:
                    check(name, value)
            return function(*args, **kwargs)

        return cast("FunctionT", checked)

    return decorate


def fix_of_keyword(
    name: str, value: Any, known: Sequence[str], other_names: Mapping[str, str]
) -> str:
    """Write how to repair an unknown keyword, as ``name=value`` or as a sentence.

    ``known`` is the names that the function has. ``other_names`` maps unknown ones to one of them
    or to a sentence; without an entry it is the known name that is spelled nearest, or advice to
    leave the keyword out. A value that is not written in a few characters is written as its name. A
    tensor is for the model, if the function passes ``kwargs`` to one.
    """
    if "kwargs" in known and isinstance(value, Tensor) and name not in other_names:
        return f"kwargs={{{name!r}: {name}}}, if the model takes it"
    close = difflib.get_close_matches(name, known, 1)
    meant = other_names.get(name) or next(iter(close), f"leave {name} out")
    if meant not in known:
        return meant
    written = brief(value) if isinstance(value, str | int | float) else name
    return f"{meant}={written}"


def refuse_keyword(
    function: str,
    name: str,
    value: Any,
    known: Sequence[str],
    other_names: Mapping[str, str],
    code: str,
) -> NoReturn:
    """Raise for the keyword ``name=value`` of a function that has only the ``known`` ones.

    ``function`` is its name, and ``code`` that of the error. ``other_names`` maps unknown names to
    a known one, or to a sentence: see ``fix_of_keyword``.
    """
    sentence = f"{function}() got an unexpected keyword argument {name!r}"
    headline = f"its arguments are {', '.join(known)}"
    fix = fix_of_keyword(name, value, known, other_names)
    refuse(ArgumentError, name, sentence, headline, fix=fix, code=code)
