"""The guard of the constructors: what each argument may be, and the sentence if it is not.

torch checks half of these, each in its own way, and some at the first call only. Its sentences
stand first where it has one.
"""

import difflib
import functools
import inspect
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import torch

from rnnkit._errors import ArgumentError
from rnnkit._message import brief, call, compose, wanted

Arguments = ParamSpec("Arguments")
Module = TypeVar("Module")

#: What a constructor takes as ``device``.
Device: TypeAlias = torch.device | str | int | None


@dataclass(frozen=True)
class Rule:
    """What one argument may be.

    ``kind`` is the type it must have and ``fits`` the values of that type which will do;
    ``wrong_kind`` and ``wrong_value`` are torch's sentences, with ``{name}``, ``{kind}`` and
    ``{value}`` filled in.
    """

    kind: Any
    fits: Callable[[Any], bool]
    wrong_kind: str
    wrong_value: str
    expected: str

    def is_kind(self, value: object) -> bool:
        """Say whether a value is of the type; a bool counts as a number nowhere."""
        # Half of the time that this package takes to import would be beartype's.
        from beartype.door import is_bearable  # noqa: PLC0415

        return is_bearable(value, self.kind) and isinstance(value, bool) == (self.kind is bool)


def _is_device(value: Any) -> bool:
    try:
        torch.device(value)
    except RuntimeError:
        return False
    return True


def _anything(_: object) -> bool:
    return True


def _count(least: int, expected: str, wrong_value: str) -> Rule:
    return Rule(
        kind=Integral,
        fits=lambda value: operator.index(value) >= least,
        wrong_kind="{name} should be of type int, got: {kind}",
        wrong_value=wrong_value,
        expected=expected,
    )


SIZE = _count(1, "an int, 1 or more", "{name} must be greater than zero")
FLAG = Rule(
    bool, _anything, "{name} should be of type bool, got: {kind}", "", expected="True or False"
)
DROPOUT = (
    "dropout should be a number in range [0, 1] representing the probability of an element "
    "being zeroed"
)
NONLINEARITY = "Unknown nonlinearity '{value}'. Select from 'tanh' or 'relu'."
DTYPE = "{name} should be a floating-point torch.dtype, got: {value}"
DEVICE = "{name} should be a torch.device or its name, got: {value}"

RULES = {
    "input_size": SIZE,
    "hidden_size": SIZE,
    "num_layers": SIZE,
    "proj_size": _count(
        0,
        "an int from 0 (no projection) to hidden_size - 1",
        "proj_size should be a positive integer or zero to disable projections",
    ),
    "bias": FLAG,
    "batch_first": FLAG,
    "bidirectional": FLAG,
    "state_batch_first": FLAG,
    "dropout": Rule(Real, lambda p: 0 <= p <= 1, DROPOUT, DROPOUT, "a float from 0 to 1"),
    "nonlinearity": Rule(
        str, lambda name: name in {"tanh", "relu"}, NONLINEARITY, NONLINEARITY, "'tanh' or 'relu'"
    ),
    "dtype": Rule(
        torch.dtype | None,
        lambda dtype: dtype is None or dtype.is_floating_point or dtype.is_complex,
        DTYPE,
        DTYPE,
        "torch.float32, torch.float64, torch.bfloat16 or torch.float16",
    ),
    "device": Rule(
        Device,
        lambda device: device is None or _is_device(device),
        DEVICE,
        DEVICE,
        "for example 'cpu', 'cuda' or 'cuda:1'",
    ),
}

# A cell computes with input_size=0 (the hidden state alone); torch's layers refuse it.
CELL_RULES = RULES | {"input_size": _count(0, "an int, 0 or more", "{name} must not be negative")}


def checked(
    init: Callable[Concatenate[Module, Arguments], None],
) -> Callable[Concatenate[Module, Arguments], None]:
    """Check a constructor's arguments before torch sees them.

    The signature stays the constructor's own: ``torch.nn.utils.skip_init`` looks for ``device``
    in it.

    Raises:
        ArgumentError: when called, if an argument is missing, unknown, of another type or out
            of range.
    """
    signature = inspect.signature(init)

    @functools.wraps(init)
    def checked_init(self: Module, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        name = type(self).__name__
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError as error:
            raise _unbound(name, signature, args, kwargs, error) from None
        rules = RULES if "batch_first" in signature.parameters else CELL_RULES
        for argument, value in bound.arguments.items():
            rule = rules.get(argument)
            if rule is None or _is_nonlinearity_as_bias(rules, argument, value):
                continue
            if not rule.is_kind(value) or not rule.fits(value):
                raise _refusal(name, rule, argument, value, args, kwargs)
            if isinstance(value, Integral) and rule.kind is SIZE.kind:
                # A NumPy count would make torch's own type check fail.
                bound.arguments[argument] = operator.index(value)
        _check_projection(name, bound.arguments, args, kwargs)
        _warn_of_misplaced(name, list(signature.parameters)[1:], args)
        init(*bound.args, **bound.kwargs)

    return checked_init  # type: ignore[return-value]  # mypy: wraps() keeps self's name


def check_dropout(name: str, value: Any) -> float:
    """Hold a module's dropout to a probability.

    Raises:
        ArgumentError: if it is none.
    """
    rule = RULES["dropout"]
    if not rule.is_kind(value) or not rule.fits(value):
        raise _refusal(name, rule, "dropout", value, (), {"dropout": value})
    return float(value)


def _unbound(
    name: str,
    signature: inspect.Signature,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    error: TypeError,
) -> ArgumentError:
    known = list(signature.parameters)[1:]
    unknown = next((key for key in kwargs if key not in known), "")
    sentence = f"{name}.__init__() {error}"
    fix = f"{name}({', '.join(known)})"
    if unknown == "proj_size":
        sentence = "proj_size argument is only supported for LSTM, not RNN or GRU"
        fix = f"leave proj_size out, or follow {name} by torch.nn.Linear"
    elif unknown == "nonlinearity":
        fix = f"leave nonlinearity out: {name} has fixed ones, RNN and RNNCell take it"
    elif similar := difflib.get_close_matches(unknown, known, n=1):
        fix = f"{similar[0]}={brief(kwargs[unknown])}"
    return ArgumentError(compose(sentence, call(name, args, kwargs), [("fix", fix)]), unknown)


def _refusal(
    name: str,
    rule: Rule,
    argument: str,
    value: object,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> ArgumentError:
    sentence = rule.wrong_value if rule.is_kind(value) else rule.wrong_kind
    shown = value if isinstance(value, str | int | float) else brief(value)
    rows = [
        (argument, wanted(rule.expected, brief(value))),
        ("fix", _mend(name, rule, argument, value)),
    ]
    return ArgumentError(
        compose(
            sentence.format(name=argument, kind=type(value).__name__, value=shown),
            call(name, args, kwargs),
            rows,
        ),
        argument,
    )


def _mend(name: str, rule: Rule, argument: str, value: object) -> str:
    if isinstance(value, bool):
        return f"pass options by name: {name}(..., batch_first={value}) or bias={value}"
    if rule is FLAG and isinstance(value, str):
        return f"a string counts as true whatever it says: {argument}=True or {argument}=False"
    if rule is FLAG:
        return f"{argument}={bool(value)}"
    if isinstance(value, float) and argument != "dropout":
        return f"{argument}=int(...), or // in place of / where it is computed"
    if isinstance(value, float | int) and argument == "dropout" and 1 < value <= 100:
        return f"dropout={value / 100:g}"
    if isinstance(value, str) and value.strip().isdecimal():
        return f"{argument}={value.strip()}"
    return f"{argument}=... with {rule.expected}"


def _check_projection(
    name: str,
    arguments: Mapping[str, Any],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> None:
    hidden_size, proj_size = arguments["hidden_size"], arguments.get("proj_size", 0)
    if proj_size >= hidden_size:
        rows = [
            ("proj_size", wanted(f"less than hidden_size={hidden_size}", f"{proj_size}")),
            ("fix", f"proj_size={hidden_size - 1} or less, or 0 for no projection"),
        ]
        sentence = "proj_size has to be smaller than hidden_size"
        raise ArgumentError(compose(sentence, call(name, args, kwargs), rows), "proj_size")


def _is_nonlinearity_as_bias(rules: Mapping[str, Rule], argument: str, value: object) -> bool:
    # torch takes RNNCell(10, 20, 'relu') for a cell with bias, and its own tests construct such
    # cells: a warning, no refusal.
    return rules is CELL_RULES and argument == "bias" and value in ("tanh", "relu")


def _warn_of_misplaced(name: str, parameters: list[str], args: tuple[object, ...]) -> None:
    place = parameters.index("bias")
    if len(args) <= place:
        return
    written = call(name, args, {})
    last = len(args) == place + 1
    if args[place] is True and last and "batch_first" in parameters:
        warnings.warn(
            f"{written}: the last argument is bias, which is True anyway, not batch_first. "
            f"Write batch_first=True if the input is (batch, seq, feature), or drop it.",
            UserWarning,
            stacklevel=3,
        )
    elif args[place] in ("tanh", "relu"):
        has = "nonlinearity" in parameters
        advice = f"Write nonlinearity={args[place]!r}" if has else "Drop it"
        warnings.warn(
            f"{written}: the argument {args[place]!r} is bias, and counts as True. {advice}.",
            UserWarning,
            stacklevel=3,
        )
