"""What callers of ``verify``, ``dependency_map`` and ``assert_streams`` pass beside the inputs."""

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, SupportsIndex

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal
from rnnkit._diagnostics.outputs import Given

#: What each argument is: its class, or all its values; and how a message puts that.
KINDS: dict[str, tuple[Any, str]] = {
    "batch_dim": (SupportsIndex, "an int"),
    "dim": (SupportsIndex, "an int"),
    "seq_dim": (SupportsIndex | Mapping | None, "an int, or a dictionary of ints by input"),
    "out_dim": (SupportsIndex | None, "an int or None"),
    "out_seq_dim": (SupportsIndex | None, "an int or None"),
    "causal": ((True, False, "strict", "others"), "True, False, 'strict' or 'others'"),
    "lookahead": (range(2**31), "how many later steps a step may read, 0 or more"),
    "reset": (int | str | None, "the position or the keyword of the input with the flags"),
    "streaming": (bool, "True or False"),
    "pad": (("post", "pre"), "'post' or 'pre'"),
    "other": (tuple | list | None, "a second batch, a tuple of inputs like the first ones"),
    "call": (Callable | NoneType, "a function, as lambda model, *inputs: model.encode(*inputs)"),
    "kwargs": (Mapping | None, 'a dictionary of inputs by name, as {"mask": mask}'),
}


def check_arguments(**given: Any) -> None:
    """Check that each argument is of its kind."""
    for argument, value in given.items():
        kind, text = KINDS[argument]
        if not (value in kind if isinstance(kind, tuple | range) else isinstance(value, kind)):
            message = f"{argument} is {text}, got {brief(value)}"
            refusal(ArgumentError, argument, message, code="verify-argument")


def by_input(argument: str, passed: Any, given: Given) -> dict[int | str | None, Any]:
    """Return what was passed for each input, by position or keyword; by None, for all of them."""
    if not isinstance(passed, Mapping):
        return {} if passed is None or passed is False else {None: passed}
    names = [*range(len(given.args)), *given.kwargs]
    if not passed or not set(passed) <= set(names):
        message = f"{argument} takes inputs from {names}, got {list(passed)}"
        refusal(ArgumentError, argument, message, code="verify-argument")
    return {name: passed[name] for name in names if name in passed}


def counts_of(lengths: Any) -> list[int]:
    """Return lengths as a list of integers; an empty one if they are something else."""
    each = lengths.tolist() if hasattr(lengths, "tolist") else lengths
    if isinstance(each, list) and all(isinstance(n, list) and len(n) == 1 for n in each):
        each = [n[0] for n in each]  # (batch, 1), as a collate function may leave them
    fits = isinstance(each, list | tuple) and not any(isinstance(n, bool) for n in each)
    return [int(n) for n in each if isinstance(n, SupportsIndex)] if fits else []
