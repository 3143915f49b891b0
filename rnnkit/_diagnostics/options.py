"""The arguments of ``verify``: what each may be, and what others call them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal

#: Names of arguments that other libraries use, and what to type for ``verify``.
OTHER_NAMES = {
    "dim": "batch_dim= is the axis of the samples, seq_dim= that of the steps",
    "axis": "batch_dim= is the axis of the samples, seq_dim= that of the steps",
    "batch_axis": "batch_dim=",
    "batch_first": "batch_dim=0 for (batch, seq, ...), or batch_dim=1",
    "time_major": "batch_dim=1 for (seq, batch, ...), or batch_dim=0",
    "seq_axis": "seq_dim=",
    "time_dim": "seq_dim=",
    "time_axis": "seq_dim=",
    "only": "skip=, with the probes to leave out",
    "probes": "skip=, with the probes to leave out",
    "exclude": "skip=",
    "ignore": "skip=",
    "mask": "lengths=mask.sum(1)",
    "inputs": "verify(model, *inputs): they are given by position",
    "forward": "call=",
    "fn": "call=",
}


class ArgumentRule(NamedTuple):
    """An argument, what came for it, whether that is right, and what it may be."""

    name: str
    value: Any
    is_right: bool
    text: str


def is_one_of(value: Any, *choices: Any) -> bool:
    """Return whether a value is one of some; tensors and arrays would compare number by number."""
    return isinstance(value, bool | int | str) and value in choices


def rules_of_call(kwargs: Any, call: Any) -> list[ArgumentRule]:
    """Return what the arguments may be that say how a model is called."""
    has_names = isinstance(kwargs, Mapping) and all(isinstance(key, str) for key in kwargs)
    is_right = call is None or callable(call)
    return [
        ArgumentRule(
            "kwargs", kwargs, kwargs is None or has_names, "a dict of inputs by name, or None"
        ),
        ArgumentRule("call", call, is_right, "a function of the model and the inputs"),
    ]


def check_call(kwargs: Any, call: Any) -> None:
    """Refuse an argument that has the wrong type, of those that say how a model is called."""
    _check(rules_of_call(kwargs, call))


def check_options(probes: Sequence[str], **given: Any) -> None:
    """Refuse an argument of ``verify`` that has the wrong type or value."""
    skip = given["skip"]
    are_probes = isinstance(skip, list | tuple | set | frozenset) and all(
        is_one_of(probe, *probes) for probe in skip
    )
    lookahead = given["lookahead"]
    rules = [
        *rules_of_call(given["kwargs"], given["call"]),
        ArgumentRule(
            "out_seq_dim",
            given["out_seq_dim"],
            isinstance(given["out_seq_dim"], int | None),
            "an axis, or None",
        ),
        ArgumentRule(
            "causal",
            given["causal"],
            is_one_of(given["causal"], False, True, "strict", "others"),
            "a bool, 'strict' or 'others'",
        ),
        ArgumentRule(
            "lookahead",
            lookahead,
            isinstance(lookahead, int) and lookahead >= 0,
            "0 or more steps",
        ),
        ArgumentRule(
            "streaming",
            given["streaming"],
            is_one_of(given["streaming"], False, True),
            "a bool",
        ),
        ArgumentRule(
            "reset",
            given["reset"],
            isinstance(given["reset"], int | str | None),
            "an input's position or keyword",
        ),
        ArgumentRule(
            "pad", given["pad"], is_one_of(given["pad"], "post", "pre"), "'post' or 'pre'"
        ),
        ArgumentRule(
            "other",
            given["other"],
            isinstance(given["other"], list | tuple | None),
            "a list of inputs, or None",
        ),
        ArgumentRule("skip", skip, are_probes, f"a list of {', '.join(probes)}"),
        ArgumentRule("raises", given["raises"], is_one_of(given["raises"], False, True), "a bool"),
    ]
    _check(rules, probes)


def _check(rules: Sequence[ArgumentRule], probes: Sequence[str] = ()) -> None:
    for rule in rules:
        if not rule.is_right:
            text = f"{rule.name} is {rule.text}, got {_came(rule, probes)}"
            refusal(ArgumentError, rule.name, text, code="verify-argument")


def _came(rule: ArgumentRule, probes: Sequence[str]) -> str:
    """Name what came; of a list of probes, the one that is unknown."""
    if rule.name == "skip" and isinstance(rule.value, list | tuple | set | frozenset):
        unknown = [one for one in rule.value if not is_one_of(one, *probes)]
        return brief(unknown[0])
    return brief(rule.value)
