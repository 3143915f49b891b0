"""The guard of the constructors: refuses an argument before torch sees it, and says why."""

import functools
import inspect
import math
import operator
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple, NoReturn, TypeAlias, TypeVar, cast

import torch

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, call, refusal, wanted, warn
from rnnkit._checks.names import hint
from rnnkit._checks.objects import cells_of

InitT = TypeVar("InitT", bound=Callable[..., None])

#: What a constructor takes as ``device``.
Device: TypeAlias = torch.device | str | int | None

#: torch counts in 64 bits.
LARGEST = 2**63


class Rule(NamedTuple):
    """The values that fit, in code and in words, torch's sentence for others, and its type's name.

    A count has the type ``int``, a flag ``bool``; torch has a sentence for values of other types.
    """

    fits: Callable[[Any], bool]
    expected: str
    sentence: str
    type: str = ""


def is_batch_size(value: Any) -> bool:
    """Return whether a value is a number of samples: an int from 0, or one that is left open."""
    is_int = isinstance(value, (Integral, torch.SymInt)) and not isinstance(value, bool)
    number: Any = value  # not its index, which would fix it in an exported program
    return is_int and 0 <= number < LARGEST


def is_index(value: Any) -> bool:
    """Return whether a value stands for an integer, as a 0-d tensor of integers does."""
    if isinstance(value, bool) or getattr(value, "dtype", None) is torch.bool:
        return False
    try:
        operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def is_truth(value: Any) -> bool:
    """Return whether a value is True or False, 1 or 0, or NumPy's own True or False."""
    return (isinstance(value, Integral) or type(value).__module__ == "numpy") and value in (0, 1)


def _is_device(value: Any) -> bool:
    try:
        return value is None or torch.device(value) is not None
    except (RuntimeError, ValueError, OverflowError, TypeError):
        return False


def _is_dtype(dtype: Any) -> bool:
    real = isinstance(dtype, torch.dtype) and (dtype.is_floating_point or dtype.is_complex)
    return dtype is None or dtype is float or real  # torch takes Python's own float for float64


def _count(least: int, expected: str, sentence: str, kind: Any = object) -> Rule:
    def fits(value: Any) -> bool:
        is_int = is_index(value) and isinstance(value, kind)
        return is_int and least <= operator.index(value) < LARGEST

    return Rule(fits, expected, sentence, "int")


ONE = "an int from 1", "{name} must be greater than zero"
# torch asks isinstance(..., int) of the two sizes of a layer, and counts with all others.
SIZE = _count(1, *ONE, Integral)
FLAG = Rule(lambda value: isinstance(value, bool), "True or False", "", "bool")
# fmt: off
RULES = {
    "input_size": SIZE,
    "hidden_size": SIZE,
    "num_layers": _count(1, *ONE),
    "proj_size": _count(0, "an int from 0 (no projection) to hidden_size - 1",
                        "proj_size should be a positive integer or zero to disable projections"),
    **dict.fromkeys(["bias", "batch_first", "bidirectional", "state_batch_first"], FLAG),
    "dropout": Rule(lambda p: isinstance(p, Real) and p is not True and p is not False
                    and 0 <= float(p) <= 1,
                    "a float from 0 to 1", "dropout should be a number in range [0, 1] "
                    "representing the probability of an element being zeroed"),
    "nonlinearity": Rule(lambda name: name in ("tanh", "relu"), "'tanh' or 'relu'",
                         "Unknown nonlinearity '{value}'. Select from 'tanh' or 'relu'."),
    "dtype": Rule(_is_dtype, "torch.float32, torch.float64, torch.bfloat16 or torch.float16",
                  "{name} should be a floating-point torch.dtype, got: {value}"),
    "device": Rule(_is_device, "for example 'cpu', 'cuda' or 'cuda:1'",
                   "{name} should be a torch.device or its name, got: {value}"),
}
# fmt: on

NARROWER = Rule(lambda _: False, "an int below hidden_size, or 0 for no projection",
                "proj_size has to be smaller than hidden_size")  # fmt: skip

# A cell computes without features (only its state) and without a hidden state; layers do not.
CELL_SIZE = _count(0, "an int from 0", "{name} must not be negative")
CELL_RULES = RULES | {"input_size": CELL_SIZE, "hidden_size": CELL_SIZE}


def checked_arguments(init: InitT) -> InitT:
    """Check a constructor's arguments before torch sees them; keep its signature for tools."""
    signature = inspect.signature(init)
    parameters = list(signature.parameters)[1:]
    is_cell = "batch_first" not in parameters
    rules = CELL_RULES if is_cell else RULES

    @functools.wraps(init)
    def checked_init(self: object, *args: Any, **kwargs: Any) -> None:
        name = type(self).__name__
        bound = _bind(signature, self, args, kwargs)
        given = bound.arguments
        for argument, value in given.items():
            rule = rules.get(argument)
            if is_cell and argument == "bias" and is_truth(value):
                given[argument] = bool(value)
            # torch's own tests construct RNNCell(10, 20, 'relu'), a cell with bias: a warning.
            elif rule is not None and not (is_cell and argument == "bias" and _is_mode(value)):
                if not rule.fits(value):
                    _refuse(name, rule, argument, value, call(name, args, kwargs))
                if rule.type == "int":
                    # A NumPy count would make torch's own type check fail.
                    given[argument] = operator.index(value)
        if given.get("proj_size", 0) >= given.get("hidden_size", 1) > 0:
            _refuse(name, NARROWER, "proj_size", given["proj_size"], call(name, args, kwargs))
        _warn_of_misplaced(name, parameters, args, kwargs)
        if given.get("hidden_size", 1) == 0:  # of a cell: layers refuse it
            message = "a cell without hidden features computes nothing. Write hidden_size from 1."
            warn("hidden-size-zero", f"{call(name, args, kwargs)}: {message}", stacklevel=2)
        init(*bound.args, **bound.kwargs)

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
    unknown = next((key for key in kwargs if key not in known), "")
    sentence = f"{name}.__init__() {'got ' if reason.startswith('multiple') else ''}{reason}"
    fix = f"{name}({', '.join(known[: 1 if 'reverse_cells' in known else 3])}, ...)"
    if unknown:
        fix = hint(name, unknown, kwargs[unknown], known)
    elif "reverse_cells" in known and len(args) > 1:
        cells_of(args[0], "cells")
        fix = "rnnkit.Recurrent([a, b]), where b reads the output of a; or reverse_cells=b"
    if unknown == "proj_size":
        sentence = "proj_size argument is only supported for LSTM, not RNN or GRU"
    written, row = call(name, args, kwargs), ("fix", fix)
    return refusal(ArgumentError, unknown, sentence, written, row, code="option-unknown")


def _refuse(name: str, rule: Rule, argument: str, value: Any, written: str) -> NoReturn:
    """Refuse a value, and write what is meant by it."""
    sentence, kind, fix = rule.sentence, type(value).__name__, f"{argument}: {rule.expected}"
    if rule is FLAG or (rule.type == "int" and not is_index(value)):
        sentence = f"{argument} should be of type {rule.type}, got: {kind}"
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        number = math.nan
    meant: Any = number if rule.type == "" or not math.isfinite(number) else int(number)
    if isinstance(value, torch.dtype | torch.device):
        fix = f"by name: {kind}={repr(value.type) if isinstance(value, torch.device) else value}"
    elif argument == "bias" and isinstance(value, float) and 0 < value < 1:
        fix = f"by name: dropout={value}"
    elif rule is FLAG and isinstance(value, str):
        fix = f"a string counts as true whatever it says: {argument}=True or {argument}=False"
    elif rule is FLAG:
        fix = f"{argument}={bool(value) if isinstance(value, int) else 'True or False'}"
    elif argument == "dtype" and isinstance(getattr(torch, f"{value}", None), torch.dtype):
        fix = f"dtype=torch.{value}"
    elif isinstance(value, bool) and argument in {"num_layers", "hidden_size", "input_size"}:
        fix = f"pass options by name: {name}(..., batch_first={value}) or bias={value}"
    elif rule.type == "int" and math.isfinite(number) and meant != number:
        fix = f"{argument}=int(...), or // instead of / where it is computed"
    elif math.isfinite(number) and rule.fits(meant):
        fix = f"{argument}={meant}"
    shown = value if isinstance(value, str | int | float) else brief(value)
    rows = [(argument, wanted(rule.expected, brief(value))), ("fix", fix)]
    sentence = sentence.format(name=argument, value=shown)
    refusal(ArgumentError, argument, sentence, written, *rows, code="option-value")


def _is_mode(value: object) -> bool:
    return isinstance(value, str) and value in ("tanh", "relu")


def _warn_of_misplaced(
    name: str, parameters: list[str], args: tuple[object, ...], named: Mapping[str, object]
) -> None:
    """Warn of a last argument that is taken for bias: True, or a nonlinearity."""
    place = parameters.index("bias") if "bias" in parameters else len(args)
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
