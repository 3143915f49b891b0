"""What a model is called with, by the names of its arguments, and by the fields of dataclasses."""

import dataclasses
import inspect
import operator
from collections.abc import Callable
from typing import Any

from torch.utils import _pytree as pytree

from rnnkit._diagnostics.run.outputs import Given, is_one_leaf

#: Calls a model with what is given.
Call = Callable[..., Any]


def bound_to(model: Any, call: Call | None, given: Given) -> inspect.BoundArguments:
    """Return inputs by the names of the arguments that take them; nothing if these are unknown.

    They are the arguments of ``call``, the user's way to call the model, or else of its forward.
    """
    try:
        found = inspect.signature(call or model.forward)
        first = 1 if call else 0  # a call takes the model before its inputs
        own = [*found.parameters.values()][first:]
        return found.replace(parameters=own).bind(*given.args, **given.kwargs)
    except (TypeError, ValueError):
        return inspect.Signature().bind()


def with_fields(given: Given, call: Call | None) -> tuple[Given, Call | None]:
    """Return inputs with a dictionary for each dataclass, and a ``call`` that puts those back.

    ``call(model, *inputs)`` is the user's way to call the model, or None. So each field of a
    dataclass is an input of its own, as the values of a dictionary are.
    """
    if not any(map(_is_dataclass, pytree.tree_leaves(given, is_leaf=_is_dataclass))):
        return given, call

    def with_dataclasses(model: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the model with dataclasses in place of the dictionaries of their fields."""
        whole = pytree.tree_map(_put_back, given, Given(args, kwargs), is_leaf=_is_kept)
        return (call or operator.call)(model, *whole.args, **whole.kwargs)

    return pytree.tree_map(_fields_of, given, is_leaf=_is_kept), with_dataclasses


def _is_dataclass(value: Any) -> bool:
    """Return whether a value is an instance of a dataclass."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _is_kept(value: Any) -> bool:
    """Return whether a value stays whole: a dataclass, or what is one leaf of the inputs."""
    return _is_dataclass(value) or is_one_leaf(value)


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
