"""The arguments of ``verify``: what each may be, and what others call them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refuse

#: Names of arguments that other libraries use, and what to type for ``verify``.
OTHER_NAMES = {
    "dim": "batch_dim= is the axis of the samples, seq_dim= is the axis of the steps",
    "axis": "batch_dim= is the axis of the samples, seq_dim= is the axis of the steps",
    "batch_axis": "batch_dim",
    "batch_first": "batch_dim=0 for (batch, seq, ...), or batch_dim=1",
    "time_major": "batch_dim=1 for (seq, batch, ...), or batch_dim=0",
    "seq_axis": "seq_dim",
    "time_dim": "seq_dim",
    "only": "skip=, with the names of the probes to leave out",
    "mask": "lengths=mask.sum(1)",
}


#: What the arguments may be, by name: types or a few values, and the same in words.
EXPECTED: dict[str, tuple[Any, str]] = {
    "kwargs": (Mapping | None, "a dict of inputs with str keys, or None"),
    "call": ((Callable, type(None)), "a function of the model and the inputs"),
    "out_seq_dim": (int | None, "an integer or None"),
    "causal": ({False, True, "strict", "others"}, "True, False, 'strict' or 'others'"),
    "lookahead": (range(10**9), "an integer of at least 0"),
    "streaming": ({False, True}, "True or False"),
    "reset": (int | str | None, "the position or keyword of an input"),
    "pad": ({"post", "pre"}, "'post' or 'pre'"),
    "other": (list | tuple | None, "a list of inputs, or None"),
    "raises": ({False, True}, "True or False"),
}


def check_option(name: str, value: Any) -> None:
    """Refuse a wrong type or value of an argument of the table above; pass any other argument."""
    allowed, text = EXPECTED.get(name, (object, ""))
    if isinstance(allowed, set | range):
        is_right = isinstance(value, bool | int | str) and value in allowed
    else:
        is_right = isinstance(value, allowed)
    if name == "kwargs" and isinstance(value, Mapping):
        is_right = all(isinstance(key, str) for key in value)
    if not is_right:
        _refuse(name, text, value)


def checked_skip(skip: Any, probes: Sequence[str]) -> Collection[str]:
    """Return the names that ``skip`` has, one or several; refuse any that ``probes`` lacks."""
    names = skip if isinstance(skip, list | tuple | set | frozenset) else [skip]
    for name in names:
        if not isinstance(name, str) or name not in probes:
            _refuse("skip", f"a list of names from {', '.join(probes)}", name)
    return names


def _refuse(name: str, expected: str, value: Any) -> NoReturn:
    """Refuse the value of an argument, and say what is expected of it."""
    message = f"{name} must be {expected}, got {brief(value)}"
    refuse(ArgumentError, name, message, code="verify-argument")
