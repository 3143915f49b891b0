"""The guard of the constructors: whether the values of options fit, and what is meant by others."""

import functools
import inspect
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple, NoReturn, TypeAlias, cast

import torch

from rnnkit._base.errors import ArgumentError
from rnnkit._base.keywords import FunctionT, fix_of_keyword
from rnnkit._base.message import brief, call, refuse, wanted, warn
from rnnkit._checks.other_names import fixes_of_names

Device: TypeAlias = torch.device | str | int | None


class ValueRule(NamedTuple):
    """The values that fit, in code and in words, torch's sentence for others, and their type."""

    fits: Callable[[Any], bool]
    expected: str
    sentence: str
    type: str = ""

    def as_taken(self, value: Any) -> Any:
        """Return a value that fits as torch's constructor takes it."""
        if self.type == "int":
            return operator.index(value)  # a NumPy count would make torch's own type check fail
        if self.type == "bool" and is_flag(value):
            return bool(value)
        return value


def check_count(
    argument: str, value: Any, *, code: str, least: int = 0, fix: str | Sequence[str] = ()
) -> None:
    """Refuse ``value`` unless it is an integer from ``least`` on, or a size that is left open.

    ``argument`` is written in the message with its function before it, as in "unroll: steps".
    """
    is_int = isinstance(value, (Integral, torch.SymInt)) and not isinstance(value, bool)
    number: Any = value  # not its index, which would fix it in an exported program
    if not is_int or number < least:
        sentence = f"{argument} must be an integer of at least {least}, got {brief(value)}"
        refuse(ArgumentError, argument.rsplit(maxsplit=1)[-1], sentence, fix=fix, code=code)


def is_index(value: Any) -> bool:
    """Return whether a value stands for an integer, as a 0-d tensor of integers does."""
    try:
        return not isinstance(value, bool) and operator.index(value) is not None
    except (TypeError, ValueError, RuntimeError):
        return False


def is_flag(value: Any) -> bool:
    """Return whether a value is true or false, also as 0 and 1, and as NumPy's."""
    return type(value).__name__ in ("bool", "bool_", "int") and value in (0, 1)


def _integers_from(least: int, expected: str, sentence: str) -> ValueRule:
    """Return the rule of integers from ``least`` on."""

    def fits(value: Any) -> bool:
        return is_index(value) and operator.index(value) >= least

    return ValueRule(fits, expected, sentence, "int")


NONLINEARITIES = ("tanh", "relu")
COUNT = _integers_from(1, "an integer of at least 1", "{name} must be greater than zero")
# torch asks isinstance(..., int) of the two sizes of a layer, and counts with all others.
SIZE = COUNT._replace(fits=lambda value: isinstance(value, Integral) and COUNT.fits(value))
FLAG = ValueRule(lambda value: isinstance(value, bool), "True or False", "", "bool")
RULES = {
    "input_size": SIZE,
    "hidden_size": SIZE,
    "num_layers": COUNT,
    "proj_size": _integers_from(
        0,
        "an integer from 0 (no projection) to hidden_size - 1",
        "proj_size should be a positive integer or zero to disable projections",
    ),
    "bias": FLAG,
    "batch_first": FLAG,
    "bidirectional": FLAG,
    "state_batch_first": FLAG,
    "dropout": ValueRule(
        lambda p: isinstance(p, Real) and not isinstance(p, bool) and 0 <= float(p) <= 1,
        "a float from 0 to 1",
        "dropout should be a number in range [0, 1] "
        "representing the probability of an element being zeroed",
    ),
    "nonlinearity": ValueRule(
        lambda name: name in NONLINEARITIES,
        "'tanh' or 'relu'",
        "Unknown nonlinearity {value}. Select from 'tanh' or 'relu'.",
    ),
}

# No value fits: it is read where a projection is not narrower than the hidden state.
NARROWER = ValueRule(
    lambda _: False,
    "an integer below hidden_size",
    "proj_size has to be smaller than hidden_size",
)

# A cell computes without features (only its state) and without a hidden state; layers do not.
CELL_SIZE = _integers_from(0, "an integer of at least 0", "{name} must not be negative")
# torch's own tests construct RNNCell(10, 20, 'relu'), a cell with bias: a warning.
CELL_BIAS = FLAG._replace(fits=lambda value: is_flag(value) or value in NONLINEARITIES)
CELL_RULES = RULES | {
    "input_size": CELL_SIZE,
    "hidden_size": CELL_SIZE,
    "bias": CELL_BIAS,
    # Without a projection, torch's kernel would read beyond the weights of a cell that has one.
    "proj_size": COUNT,
}


def checked_arguments(init: FunctionT) -> FunctionT:
    """Return a constructor that checks its arguments before torch sees them.

    A decorator of ``__init__``: it keeps the signature for tools, and passes values on as torch
    takes them. The rules are a layer's if it has ``batch_first``, else a cell's.
    """
    signature = inspect.signature(init)
    parameters = list(signature.parameters)[1:]
    rules = RULES if "batch_first" in parameters else CELL_RULES

    @functools.wraps(init)
    def checked_init(self: object, *args: Any, **kwargs: Any) -> None:
        name = type(self).__name__
        bound = _bind(signature, self, args, kwargs)
        arguments = bound.arguments
        for argument, value in arguments.items():
            rule = rules.get(argument)
            if rule is None:
                continue
            if not rule.fits(value):
                refuse_value(rule, argument, value, call(name, args, kwargs))
            arguments[argument] = rule.as_taken(value)
        width = arguments.get("proj_size", 0)
        if width and width >= arguments["hidden_size"]:
            refuse_value(NARROWER, "proj_size", width, call(name, args, kwargs))
        _warn_of_misplaced(name, parameters, args, kwargs)
        if arguments.get("hidden_size", 1) == 0:  # of a cell: layers refuse it
            message = "with hidden_size=0 a cell computes nothing. Use a hidden_size of at least 1."
            warn("hidden-size-zero", f"{call(name, args, kwargs)}: {message}", stacklevel=2)
        init(*bound.args, **bound.kwargs)

    return cast("FunctionT", checked_init)


def _bind(
    signature: inspect.Signature, module: object, args: Any, kwargs: Mapping[str, object]
) -> inspect.BoundArguments:
    """Bind a constructor's arguments to its parameters, or refuse them and say why.

    ``module`` is the object under construction, whose class the message names.
    """
    try:
        return signature.bind(module, *args, **kwargs)
    except TypeError as error:
        reason = str(error)
    name = type(module).__name__
    _, *parameters = signature.parameters.values()
    known = [parameter.name for parameter in parameters]
    unknown = next((key for key in kwargs if key not in known), "")
    if unknown:
        elsewhere = {option: f"leave {option} out" for option in RULES}  # other classes have it
        names = elsewhere | fixes_of_names(known)
        fix = fix_of_keyword(unknown, kwargs[unknown], known, names)
    else:
        required = [each.name for each in parameters if each.default is inspect.Parameter.empty]
        fix = f"{name}({', '.join(required)}, ...)"
    sentence = f"{name}.__init__() {'got ' if reason.startswith('multiple') else ''}{reason}"
    if unknown == "proj_size":
        sentence = "proj_size argument is only supported for LSTM, not RNN or GRU"
    written = call(name, args, kwargs)
    return refuse(ArgumentError, unknown, sentence, written, fix=fix, code="option-unknown")


def refuse_value(rule: ValueRule, argument: str, value: Any, written: str) -> NoReturn:
    """Refuse ``argument=value``, which breaks a rule of constructors, and write what may be meant.

    ``written`` is the whole call as the caller wrote it.
    """
    sentence = rule.sentence
    is_number = is_index(value) and not isinstance(value, torch.Tensor)
    if rule.type == "bool" or (rule.type == "int" and not is_number):
        sentence = f"{argument} should be of type {rule.type}, got: {type(value).__name__}"
    refuse(
        ArgumentError,
        argument,
        sentence.format(name=argument, value=brief(value)),
        written,
        (argument, wanted(rule.expected, brief(value))),
        fix=_fix_of_value(rule, argument, value),
        code="option-value",
    )


def _fix_of_value(rule: ValueRule, argument: str, value: Any) -> str:
    """Write what to type for ``argument=value``, which breaks a rule: what it may mean."""
    if argument == "bias" and isinstance(value, float) and 0 < value < 1:
        return f"dropout={value}, which is passed by name"
    if rule.type == "bool" and isinstance(value, int):
        return f"{argument}={bool(value)}"
    if rule.type == "int" and isinstance(value, bool):
        option = "batch_first" if argument == "num_layers" else "bias"
        return f"pass {argument} as a number, and options by name, such as {option}={value}"
    number = _number_of(value, rule)
    return f"{argument}={number}" if rule.fits(number) else f"set {argument} to {rule.expected}"


def _number_of(value: Any, rule: ValueRule) -> Any:
    """Return the number that a value is, as in "0.5"; an int if the rule wants one; NaN if none."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return math.nan
    return int(number) if rule.type == "int" and number.is_integer() else number


def _warn_of_misplaced(
    name: str, parameters: list[str], args: tuple[object, ...], named: Mapping[str, object]
) -> None:
    """Warn of a value by position that is taken for bias: a last True, or a nonlinearity's name.

    ``name`` is the class, and ``parameters`` are its constructor's; ``named`` are keyword
    arguments. A last True is probably meant as ``batch_first``, if the class has it and the call
    does not name it.
    """
    place = parameters.index("bias") if "bias" in parameters else len(args)
    value = args[place] if len(args) > place else None
    is_last = len(args) == place + 1 and "batch_first" in {*parameters} - {*named}
    if value is True and is_last:
        text = (
            "the last argument is bias, not batch_first. Write batch_first=True, or leave it out."
        )
    elif value in NONLINEARITIES:
        advice = f"Write nonlinearity={value!r}" if "nonlinearity" in parameters else "Drop it"
        text = f"{value!r} is passed as bias, and counts as True. {advice}."
    else:
        return
    warn("bias-by-position", f"{call(name, args, {})}: {text}", stacklevel=3)
