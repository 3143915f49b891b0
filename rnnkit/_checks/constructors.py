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
    parameters = list(signature.parameters)[1:]
    is_cell = "batch_first" not in parameters
    rules = CELL_RULES if is_cell else RULES

    @functools.wraps(init)
    def checked_init(self: Module, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        name = type(self).__name__
        bound = _bind(signature, self, args, kwargs)
        given = bound.arguments
        for argument, value in given.items():
            rule = rules.get(argument)
            if is_cell and argument == "bias" and is_truth(value):
                given[argument] = bool(value)
            # torch's own tests construct RNNCell(10, 20, 'relu'), a cell with bias: a warning.
            elif rule is not None and not (is_cell and argument == "bias" and _is_mode(value)):
                if not rule.is_kind(value) or not rule.fits(value):
                    _refuse(name, rule, argument, value, call(name, args, kwargs))
                if rule.kind in COUNTS:
                    # A NumPy count would make torch's own type check fail.
                    given[argument] = operator.index(value)
        hidden_size, proj_size = given["hidden_size"], given.get("proj_size")
        if proj_size and proj_size >= hidden_size:
            sentence = "proj_size has to be smaller than hidden_size"
            row = ("proj_size", wanted(f"less than hidden_size={hidden_size}", f"{proj_size}"))
            fix = ("fix", f"proj_size={hidden_size - 1} or less, or 0 for no projection")
            written, code = call(name, args, kwargs), "option-projection"
            refusal(ArgumentError, "proj_size", sentence, written, row, fix, code=code)
        _warn_of_misplaced(name, parameters, args, kwargs)
        if hidden_size == 0:  # of a cell: layers refuse it
            message = "a cell without hidden features computes nothing. Write hidden_size from 1."
            warn("hidden-size-zero", f"{call(name, args, kwargs)}: {message}", stacklevel=2)
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
    signature: inspect.Signature, module: object, args: Any, kwargs: Mapping[str, object]
) -> inspect.BoundArguments:
    """Bind arguments to a constructor, or explain why they do not fit its parameters."""
    try:
        return signature.bind(module, *args, **kwargs)
    except TypeError as error:
        reason = str(error)
    name, known = type(module).__name__, list(signature.parameters)[1:]
    if "reverse_cells" in known and len(args) > 1:
        refuse_second_cell(args)
    unknown = next((key for key in kwargs if key not in known), "")
    sentence = f"{name}.__init__() {'got ' if reason.startswith('multiple') else ''}{reason}"
    fix = f"{name}({', '.join(known[: 1 if 'reverse_cells' in known else 3])}, ...)"
    if unknown:
        fix = hint(name, unknown, kwargs[unknown], known)
    if unknown == "proj_size":
        sentence = "proj_size argument is only supported for LSTM, not RNN or GRU"
    written, row = call(name, args, kwargs), ("fix", fix)
    return refusal(ArgumentError, unknown, sentence, written, row, code="option-unknown")


def check_option(argument: str, value: Any) -> Any:
    """Check that an option of a Recurrent is what layers take under this name."""
    rule = RULES[argument]
    if not rule.is_kind(value) or not rule.fits(value):
        _refuse("Recurrent", rule, argument, value, call("Recurrent", (), {argument: value}))
    return value


def _refuse(name: str, rule: Rule, argument: str, value: object, written: str) -> NoReturn:
    sentence = rule.wrong_value if rule.is_kind(value) else rule.wrong_kind
    shown = value if isinstance(value, str | int | float) else brief(value)
    sentence = sentence.format(name=argument, kind=type(value).__name__, value=shown)
    rows = [
        (argument, wanted(rule.expected, brief(value))),
        ("fix", _fix(name, rule, argument, value)),
    ]
    refusal(ArgumentError, argument, sentence, written, *rows, code="option-value")


def _fix(name: str, rule: Rule, argument: str, value: Any) -> str:
    known = isinstance(value, str) and isinstance(getattr(torch, value, None), torch.dtype)
    number = _number(value)
    whole = None if number is None or rule.kind not in COUNTS else int(number)
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
    if argument == "dtype" and known:
        return f"dtype=torch.{value}"
    if isinstance(value, bool) and argument in {"num_layers", "hidden_size", "input_size"}:
        return f"pass options by name: {name}(..., batch_first={value}) or bias={value}"
    if argument == "dropout" and number is not None and 0 <= number <= 1:
        return f"dropout={number:g}"
    if whole is not None and whole != number:
        return f"{argument}=int(...), or // instead of / where it is computed"
    if whole is not None and rule.fits(whole):
        return f"{argument}={whole}"
    return f"{argument}: {rule.expected}"


def _number(value: Any) -> float | None:
    """Return the number that a number or a string is; None for a bool."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return number if math.isfinite(number) else None


def _is_mode(value: object) -> bool:
    return isinstance(value, str) and value in ("tanh", "relu")


def _warn_of_misplaced(
    name: str, parameters: list[str], args: tuple[object, ...], named: Mapping[str, object]
) -> None:
    """Warn of a last argument that is taken for bias: True, or a nonlinearity."""
    place = parameters.index("bias")
    value = args[place] if len(args) > place else None
    last = len(args) == place + 1 and "batch_first" not in named and "batch_first" in parameters
    text = ""
    if value is True and last:
        text = (
            "the last argument is bias, which is True anyway, not batch_first. "
            "Write batch_first=True if the input is (batch, seq, feature), or drop it."
        )
    elif _is_mode(value):
        advice = f"Write nonlinearity={value!r}" if "nonlinearity" in parameters else "Drop it"
        text = f"the argument {value!r} is bias, and counts as True. {advice}."
    if text:
        warn("bias-by-position", f"{call(name, args, {})}: {text}", stacklevel=3)
