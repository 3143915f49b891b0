"""Inputs in dataclasses: their fields are told apart as those of a dictionary are."""

import dataclasses
from collections.abc import Callable
from typing import Any

from rnnkit._diagnostics.run.outputs import Given

#: Calls a model with what is given.
Call = Callable[..., Any]


def with_fields(given: Given, call: Call | None) -> tuple[Given, Call | None]:
    """Return inputs with a dictionary for each dataclass, and a ``call`` that puts those back.

    ``call(model, *inputs)`` is the user's way to call the model, or None. So each field of a
    dataclass is an input of its own, as the values of a dictionary are.
    """
    args, kwargs = given
    if not any(map(_is_dataclass, (*args, *kwargs.values()))):
        return given, call
    run = call or _run

    def with_dataclasses(model: Any, *other: Any, **named: Any) -> Any:
        """Call the model with dataclasses in place of the dictionaries of their fields."""
        whole = [_put_back(one, fields) for one, fields in zip(args, other, strict=True)]
        by_name = {name: _put_back(kwargs[name], fields) for name, fields in named.items()}
        return run(model, *whole, **by_name)

    fields = {name: _fields_of(value) for name, value in kwargs.items()}
    return Given(tuple(map(_fields_of, args)), fields), with_dataclasses


def _run(model: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a model without a user's own ``call``."""
    return model(*args, **kwargs)


def _is_dataclass(value: Any) -> bool:
    """Return whether a value is an instance of a dataclass."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _fields_of(value: Any) -> Any:
    """Return the fields of a dataclass by name, and anything else as it is."""
    if not _is_dataclass(value):
        return value
    return {one.name: getattr(value, one.name) for one in dataclasses.fields(value) if one.init}


def _put_back(whole: Any, fields: Any) -> Any:
    """Return the dataclass ``whole`` with the values of ``fields``.

    If ``whole`` is no dataclass, return ``fields``.
    """
    return dataclasses.replace(whole, **fields) if _is_dataclass(whole) else fields
