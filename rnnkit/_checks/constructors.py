"""The guard of the constructors: refuses an argument before torch sees it, and says why."""

import functools
import inspect
import math
import operator
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, Concatenate, NoReturn, ParamSpec, SupportsIndex, TypeVar, cast

import torch

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, call, refusal, wanted, warn
from rnnkit._checks.cell_errors import refuse_second_cell
from rnnkit._checks.names import hint
from rnnkit._checks.rules import CELL_RULES, FLAG, RULES, Rule, is_truth

Arguments = ParamSpec("Arguments")
Module = TypeVar("Module")
InitT = TypeVar("InitT", bound=Callable[..., None])

#: Of the rules: what counts are read as.
COUNTS = (Integral, SupportsIndex)


def checked_arguments(
    init: Callable[Concatenate[Module, Arguments], None],
) -> Callable[Concatenate[Module, Arguments], None]:
    """Check a constructor's arguments before torch sees them; keep its signature for tools."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def checked_init(self: Module, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        name = type(self).__name__
        written = functools.partial(call, name, args, kwargs)
        bound = _bind(signature, self, args, kwargs)
        rules = RULES if "batch_first" in signature.parameters else CELL_RULES
        for argument, value in bound.arguments.items():
            rule = rules.get(argument)
            if rules is CELL_RULES and argument == "bias" and is_truth(value):
                bound.arguments[argument] = bool(value)
                continue
            if rule is None or _is_nonlinearity_as_bias(rules, argument, value):
                continue
            if not rule.is_kind(value) or not rule.fits(value):
                _refuse(name, rule, argument, value, written)
            if rule.kind in COUNTS:
                # A NumPy count would make torch's own type check fail.
                bound.arguments[argument] = operator.index(value)
        _check_projection(bound.arguments, written)
        _warn_of_misplaced(name, list(signature.parameters)[1:], args, kwargs)
        if bound.arguments["hidden_size"] == 0:  # of a cell: layers refuse it
            message = "a cell without hidden features computes nothing. Write hidden_size from 1."
            warn("hidden-size-zero", f"{written()}: {message}", stacklevel=2)
        init(*bound.args, **bound.kwargs)

    return checked_init  # type: ignore[return-value]  # mypy: wraps() keeps self's name


def known_arguments(init: InitT) -> InitT:
    """Refuse arguments that a constructor does not have, and leave the others to it."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def checked_init(self: object, *args: Any, **kwargs: Any) -> None:
        _bind(signature, self, args, kwargs)
        init(self, *args, **kwargs)

    return cast("InitT", checked_init)


def _bind(
    signature: inspect.Signature,
    module: object,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> inspect.BoundArguments:
    try:
        return signature.bind(module, *args, **kwargs)
    except TypeError as error:
        reason = str(error)
    known = list(signature.parameters)[1:]
    if "reverse_cells" in known and len(args) > 1:
        refuse_second_cell(args)
    return _refuse_unbound(type(module).__name__, known, args, kwargs, reason)


def check_option(argument: str, value: Any) -> Any:
    """Check that an option of a Recurrent is what layers take under this name."""
    rule = RULES[argument]
    if not rule.is_kind(value) or not rule.fits(value):
        written = functools.partial(call, "Recurrent", (), {argument: value})
        _refuse("Recurrent", rule, argument, value, written)
    return value


def _refuse_unbound(
    name: str,
    known: list[str],
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    reason: str,
) -> NoReturn:
    unknown = next((key for key in kwargs if key not in known), "")
    sentence = f"{name}.__init__() {'got ' if reason.startswith('multiple') else ''}{reason}"
    fix = f"{name}({', '.join(known[: 1 if 'reverse_cells' in known else 3])}, ...)"
    if unknown:
        fix = hint(name, unknown, kwargs[unknown], known)
    if unknown == "proj_size":
        sentence = "proj_size argument is only supported for LSTM, not RNN or GRU"
    headline = call(name, args, kwargs)
    refusal(ArgumentError, unknown, sentence, headline, ("fix", fix), code="option-unknown")


def _refuse(
    name: str, rule: Rule, argument: str, value: object, written: Callable[[], str]
) -> NoReturn:
    sentence = rule.wrong_value if rule.is_kind(value) else rule.wrong_kind
    shown = value if isinstance(value, str | int | float) else brief(value)
    refusal(
        ArgumentError,
        argument,
        sentence.format(name=argument, kind=type(value).__name__, value=shown),
        written(),
        (argument, wanted(rule.expected, brief(value))),
        ("fix", _fix(name, rule, argument, value)),
        code="option-value",
    )


def _fix(name: str, rule: Rule, argument: str, value: Any) -> str:
    known = isinstance(value, str) and isinstance(getattr(torch, value, None), torch.dtype)
    number = _number(value)
    if isinstance(value, torch.dtype):
        return f"by name: dtype={value}"
    if isinstance(value, torch.device):
        return f"by name: device={value.type!r}"
    if rule is FLAG and isinstance(value, str):
        return f"a string counts as true whatever it says: {argument}=True or {argument}=False"
    if argument == "bias" and isinstance(value, float) and 0 < value < 1:
        return f"by name: dropout={value}"
    if rule is FLAG:
        return f"{argument}={bool(value) if isinstance(value, int) else 'True or False'}"
    if argument == "dtype":
        return f"dtype=torch.{value}" if known else f"dtype={rule.expected}"
    if isinstance(value, bool) and argument in {"num_layers", "hidden_size", "input_size"}:
        return f"pass options by name: {name}(..., batch_first={value}) or bias={value}"
    if argument == "dropout" and number is not None and 0 <= number <= 1:
        return f"dropout={number:g}"
    if (
        number is None
        or rule.kind not in COUNTS
        or (number == int(number) and not rule.fits(int(number)))
    ):
        return f"{argument}: {rule.expected}"
    if number == int(number):
        return f"{argument}={int(number)}"
    return f"{argument}=int(...), or // in place of / where it is computed"


def _number(value: Any) -> float | None:
    """Return the number that a number or a string is; None for a bool."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return number if math.isfinite(number) else None


def _check_projection(arguments: Mapping[str, Any], written: Callable[[], str]) -> None:
    hidden_size, proj_size = arguments["hidden_size"], arguments.get("proj_size")
    if proj_size and proj_size >= hidden_size:
        refusal(
            ArgumentError,
            "proj_size",
            "proj_size has to be smaller than hidden_size",
            written(),
            ("proj_size", wanted(f"less than hidden_size={hidden_size}", f"{proj_size}")),
            ("fix", f"proj_size={hidden_size - 1} or less, or 0 for no projection"),
            code="option-projection",
        )


def _is_nonlinearity_as_bias(rules: Mapping[str, Rule], argument: str, value: object) -> bool:
    # torch takes RNNCell(10, 20, 'relu') for a cell with bias, and its own tests construct such
    # cells: a warning, no refusal.
    return (
        rules is CELL_RULES
        and argument == "bias"
        and (isinstance(value, str) and value in ("tanh", "relu"))
    )


def _warn_of_misplaced(
    name: str, parameters: list[str], args: tuple[object, ...], named: Mapping[str, object]
) -> None:
    place = parameters.index("bias")
    if len(args) <= place:
        return
    written = call(name, args, {})
    last = len(args) == place + 1 and "batch_first" not in named
    if args[place] is True and last and "batch_first" in parameters:
        warn(
            "bias-by-position",
            f"{written}: the last argument is bias, which is True anyway, not batch_first. "
            f"Write batch_first=True if the input is (batch, seq, feature), or drop it.",
            stacklevel=3,
        )
    elif args[place] in ("tanh", "relu"):
        has = "nonlinearity" in parameters
        advice = f"Write nonlinearity={args[place]!r}" if has else "Drop it"
        warn(
            "bias-by-position",
            f"{written}: the argument {args[place]!r} is bias, and counts as True. {advice}.",
            stacklevel=3,
        )
