"""The arguments of ``verify``: what each may be, and what others call them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

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


class Expected(NamedTuple):
    """What an argument may be.

    Attributes:
        is_right: whether the value that came for it is that.
        text: what it may be, in words.
    """

    is_right: bool
    text: str


def is_one_of(value: Any, *choices: Any) -> bool:
    """Return whether a value equals one of some; a tensor or an array does not."""
    return isinstance(value, bool | int | str) and value in choices


def _expected_of_call(kwargs: Any, call: Any) -> dict[str, Expected]:
    """Return by name what the two arguments may be that say how a model is called."""
    has_names = isinstance(kwargs, Mapping) and all(isinstance(key, str) for key in kwargs)
    return {
        "kwargs": Expected(kwargs is None or has_names, "a dict of inputs with str keys, or None"),
        "call": Expected(call is None or callable(call), "a function of the model and the inputs"),
    }


def check_call(kwargs: Any, call: Any) -> None:
    """Refuse ``kwargs`` or ``call``, which say how a model is called, if the type is wrong."""
    _check(_expected_of_call(kwargs, call), {"kwargs": kwargs, "call": call})


def check_options(probes: Sequence[str], **given: Any) -> None:
    """Refuse an argument of ``verify`` that has the wrong type or value.

    ``given`` has all arguments by name, and ``probes`` the names that ``skip`` may have.
    """
    lookahead = given["lookahead"]
    unknown = _unknown_probes(given["skip"], probes)
    expected = _expected_of_call(given["kwargs"], given["call"]) | {
        "out_seq_dim": Expected(isinstance(given["out_seq_dim"], int | None), "an integer or None"),
        "causal": Expected(
            is_one_of(given["causal"], False, True, "strict", "others"),
            "True, False, 'strict' or 'others'",
        ),
        "lookahead": Expected(
            isinstance(lookahead, int) and lookahead >= 0, "an integer of at least 0"
        ),
        "streaming": Expected(is_one_of(given["streaming"], False, True), "True or False"),
        "reset": Expected(
            isinstance(given["reset"], int | str | None), "the position or keyword of an input"
        ),
        "pad": Expected(is_one_of(given["pad"], "post", "pre"), "'post' or 'pre'"),
        "other": Expected(
            isinstance(given["other"], list | tuple | None), "a list of inputs, or None"
        ),
        "skip": Expected(unknown == [], f"a list of names from {', '.join(probes)}"),
        "raises": Expected(is_one_of(given["raises"], False, True), "True or False"),
    }
    _check(expected, given | {"skip": unknown[0] if unknown else None})


def _unknown_probes(skip: Any, probes: Sequence[str]) -> list[Any]:
    """Return the members of ``skip`` that are no probe; itself if it is no list or set."""
    if not isinstance(skip, list | tuple | set | frozenset):
        return [skip]
    return [one for one in skip if not is_one_of(one, *probes)]


def _check(expected: Mapping[str, Expected], given: Mapping[str, Any]) -> None:
    """Refuse the first argument of ``given``, by name, that is not what is expected of it."""
    for name, one in expected.items():
        if not one.is_right:
            text = f"{name} must be {one.text}, got {brief(given[name])}"
            refuse(ArgumentError, name, text, code="verify-argument")
