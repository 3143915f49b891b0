"""The guard of the constructors, and what is meant by names that a call does not have."""

import difflib
import functools
import inspect
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple, NoReturn, TypeAlias, TypeVar, cast

import torch

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import BRIEF_LENGTH, bounded, brief, call, refusal, wanted, warn
from rnnkit._checks.objects import cells_of

InitT = TypeVar("InitT", bound=Callable[..., None])

Device: TypeAlias = torch.device | str | int | None


class ValueRule(NamedTuple):
    """The values that fit, in code and in words, torch's sentence for others, type and fix."""

    fits: Callable[[Any], bool]
    expected: str
    sentence: str
    type: str = ""
    fix: str = ""  # if it is not what is expected

    def as_taken(self, value: Any) -> Any:
        """Return a value that fits as torch's constructor takes it."""
        if self.type == "int":
            return operator.index(value)  # a NumPy count would make torch's own type check fail
        if self.type == "bool" and is_flag(value):
            return bool(value)
        return value


def is_batch_size(value: Any) -> bool:
    """Return whether a value is a number of samples: an integer from 0 on, or an open size."""
    is_int = isinstance(value, (Integral, torch.SymInt)) and not isinstance(value, bool)
    number: Any = value  # not its index, which would fix it in an exported program
    return is_int and number >= 0


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
        "Unknown nonlinearity '{value}'. Select from 'tanh' or 'relu'.",
    ),
}

OF_LAYERS = [*RULES.values()]

# No value fits: it is read where a projection is not narrower than the hidden state.
NARROWER = ValueRule(
    lambda _: False,
    "an integer below hidden_size, or 0 for no projection",
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
}

# Without a projection, torch's kernel would read beyond the weights of a cell that has one.
CELL_NARROWER = NARROWER._replace(
    expected="an integer from 1 to hidden_size - 1",
    fix="proj_size from 1 to hidden_size - 1, or rnnkit.LSTMCell, which has no projection",
)
CELL_RULES["proj_size"] = CELL_NARROWER._replace(
    fits=COUNT.fits, sentence=COUNT.sentence, type="int"
)

#: What people call an argument that no similar name has; the second name is that of a step's.
MEANT = {
    "units": "hidden_size",
    "activation": "nonlinearity",
    "batch_first": "state_batch_first",
    "axis": "dim",
    "hx": "state",
    "input": "x_t",
    **dict.fromkeys(["x", "xs", "inputs", "input_", "inp", "data", "sequence", "x_t"], "input"),
    **dict.fromkeys(["state", "states", "hidden", "hidden_state", "initial_state"], "hx"),
    **dict.fromkeys(["h", "h0", "h_0", "h_n", "hc", "carry", "init_state", "prev_state"], "hx"),
    **dict.fromkeys(["seq_lens", "sequence_length"], "lengths"),
}
CELL_STATES = {"c", "c0", "c_0", "cx", "cell", "cell_state"}

#: What to do about an option that exists elsewhere only; of Keras first.
ADVICE = {
    "return_sequences": "leave it out: output, state = {run}) returns every step",
    "return_state": "leave it out: output, state = {run}) returns the state too",
    "go_backwards": "rnnkit.unroll(cell, input, reverse=True)",
    "stateful": "leave it out: output, hx = {run}, hx) passes the state along",
    "recurrent_dropout": "leave it out: torch's kernels have none between steps",
    "proj_size": "leave proj_size out, or follow {owner} by torch.nn.Linear",
    "nonlinearity": "leave {name} out: {owner} has fixed activations, "
    "RNN and RNNCell accept nonlinearity=",
}
#: How a function is called that is no method of a layer.
RUNS = {"unroll": "rnnkit.unroll(cell, input"}
#: The options of a layer that no cell has.
OF_LAYER = ("batch_first", "bidirectional", "num_layers")
OF_RECURRENT = {
    "bidirectional": "reverse_cells=[...], the cell of each layer's backward direction",
    "num_layers": "cells=[...], the cell of each layer",
}


def hints(owner: str, name: str, value: Any, known: Sequence[str], steps: int = 0) -> list[str]:
    """Write what is meant by a name that its owner does not have; ``steps`` is a mask's axis."""
    shown = bounded(name, BRIEF_LENGTH)
    meant = _meant_by(name, known)
    if "reverse_cells" in known and name in OF_RECURRENT:
        return [OF_RECURRENT[name]]
    if "hx" in known and name in CELL_STATES:
        return [f"hx=(h, {shown}), the pair as one argument"]
    if "mask" in name and {"lengths", "reset"} <= {*known} and getattr(value, "ndim", 2) > 1:
        return hints_of_mask(shown, value, steps)
    if name == "batch_first" and meant in known:
        return [f"leave {name} out, or {meant}=True for the states of a layer that has it"]
    if name in OF_LAYER and "hidden_size" in known:
        return [f"leave {name} out: a cell is one layer, in one direction, for one step"]
    if meant in ADVICE and meant not in known:
        return [ADVICE[meant].format(owner=owner, name=name, run=RUNS.get(owner, "layer(input"))]
    close = [meant] if meant in known else difflib.get_close_matches(shown, known)
    if not close:
        return [f"leave {shown} out"]
    written = brief(value) if isinstance(value, str | int | float) else shown
    return [f"{close[0]}={written}"]


def _meant_by(name: str, known: Sequence[str]) -> str:
    """Return what people call by a name, as a step calls it if nothing else does."""
    meant = MEANT.get(name, name)
    return meant if meant in known else MEANT.get(meant, meant)


def hints_of_mask(shown: str, mask: Any, steps: int) -> list[str]:
    """Write what is meant by a mask over the steps, which are on the axis ``steps``."""
    total = f"{shown}.sum({steps})"
    if isinstance(mask, torch.Tensor) and mask.is_floating_point():
        total += ".long()"
    return [
        f"lengths={total}, if it is true on valid steps",
        f"reset={shown}, if it is true where a sample starts again",
    ]


def checked_arguments(init: InitT) -> InitT:
    """Check a constructor's arguments before torch sees them; keep its signature for tools."""
    signature = inspect.signature(init)
    parameters = list(signature.parameters)[1:]
    is_cell = "batch_first" not in parameters
    rules = CELL_RULES if is_cell else RULES
    narrower = CELL_NARROWER if is_cell else NARROWER

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
                refuse_value(name, rule, argument, value, call(name, args, kwargs))
            arguments[argument] = rule.as_taken(value)
        width = arguments.get("proj_size", 0)
        if width and width >= arguments["hidden_size"]:
            refuse_value(name, narrower, "proj_size", width, call(name, args, kwargs))
        _warn_of_misplaced(name, parameters, args, kwargs)
        if arguments.get("hidden_size", 1) == 0:  # of a cell: layers refuse it
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
    name = type(module).__name__
    known = list(signature.parameters)[1:]
    unknown = next((key for key in kwargs if key not in known), "")
    sentence = f"{name}.__init__() {'got ' if reason.startswith('multiple') else ''}{reason}"
    required = ["cells"] if "reverse_cells" in known else known[:3]
    fix = f"{name}({', '.join(required)}, ...)"
    if unknown:
        (fix,) = hints(name, unknown, kwargs[unknown], known)
    elif "reverse_cells" in known and len(args) > 1:
        cells_of(args[0], "cells")
        fix = "rnnkit.Recurrent([a, b]), where b reads the output of a; or reverse_cells=b"
    if unknown == "proj_size":
        sentence = "proj_size argument is only supported for LSTM, not RNN or GRU"
    written = call(name, args, kwargs)
    return refusal(ArgumentError, unknown, sentence, written, fix=fix, code="option-unknown")


def refuse_value(name: str, rule: ValueRule, argument: str, value: Any, written: str) -> NoReturn:
    """Refuse a value, and write what is meant by it."""
    sentence = rule.sentence
    is_number = is_index(value) and not isinstance(value, torch.Tensor)
    if rule.type == "bool" or (rule.type == "int" and not is_number):
        sentence = f"{argument} should be of type {rule.type}, got: {type(value).__name__}"
    shown = value if isinstance(value, str | int | float) else brief(value)
    refusal(
        ArgumentError,
        argument,
        sentence.format(name=argument, value=shown),
        written,
        (argument, wanted(rule.expected, brief(value))),
        fix=_fix_of_value(name, rule, argument, value),
        code="option-value",
    )


def _fix_of_value(name: str, rule: ValueRule, argument: str, value: Any) -> str:
    """Write what is meant by a value that does not fit."""
    if argument == "bias" and isinstance(value, float) and 0 < value < 1:
        return f"dropout={value}, given by name"
    if rule.type == "bool" and isinstance(value, str):
        return f"a string counts as true whatever it says: {argument}=True or {argument}=False"
    if rule.type == "bool":
        return f"{argument}={bool(value) if isinstance(value, int) else 'True or False'}"
    if isinstance(value, bool) and rule.type == "int":
        return _by_name(name, rule, value)
    number = _number_of(value, rule)
    if rule.fits(number):
        return f"{argument}={number}"
    return rule.fix or f"{argument}: {rule.expected}"


def _number_of(value: Any, rule: ValueRule) -> Any:
    """Return the number that a value is, as in "0.5"; NaN of anything else."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return math.nan
    return int(number) if rule.type == "int" and number.is_integer() else number


def _by_name(name: str, rule: ValueRule, value: bool) -> str:
    """Write how True or False is passed, which came instead of a size."""
    if rule in OF_LAYERS:  # a cell has no layout
        return f"pass options by name: {name}(..., batch_first={value}) or bias={value}"
    return f"pass options by name: {name}(..., bias={value})"


def _warn_of_misplaced(
    name: str, parameters: list[str], args: tuple[object, ...], named: Mapping[str, object]
) -> None:
    """Warn of a last argument that is taken for bias: True, or a nonlinearity."""
    place = parameters.index("bias") if "bias" in parameters else len(args)
    value = args[place] if len(args) > place else None
    is_last = len(args) == place + 1 and "batch_first" in {*parameters} - {*named}
    if value is True and is_last:
        text = "the last argument is bias, not batch_first. Write batch_first=True, or drop it."
    elif value in NONLINEARITIES:
        advice = f"Write nonlinearity={value!r}" if "nonlinearity" in parameters else "Drop it"
        text = f"the argument {value!r} is bias, and counts as True. {advice}."
    else:
        return
    warn("bias-by-position", f"{call(name, args, {})}: {text}", stacklevel=3)
