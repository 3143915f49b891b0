"""What a caller tells of inputs: an axis, or a value for each of them."""

import operator
from collections.abc import Mapping
from typing import Any

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal
from rnnkit._diagnostics.run.outputs import Given


def by_input(argument: str, passed: Any, given: Given) -> dict[int | str | None, Any]:
    """Return what was passed for each input, by position or keyword; by None, for all of them."""
    if not isinstance(passed, Mapping):
        return {} if passed is None or passed is False else {None: passed}
    names = [*range(len(given.args)), *given.kwargs]
    if not passed or not set(passed) <= set(names):
        message = f"{argument} takes inputs from {names}, got {', '.join(map(brief, passed))}"
        refusal(ArgumentError, argument, message, code="verify-argument")
    return {name: passed[name] for name in names if name in passed}


def axis_of(given: Any) -> int:
    """Return an axis as an int."""
    try:
        return operator.index(given)
    except TypeError:
        message = f"an axis is an int, got {brief(given)}"
        return refusal(ArgumentError, "inputs", message, code="verify-argument")
