"""What each argument of a constructor may be, and the sentence if it is not.

torch checks half of these, each in its own way, and some at the first call only. Its sentences
stand where it has one.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, SupportsIndex, TypeAlias

import torch

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
        if self.kind is SupportsIndex:
            return is_index(value)
        from beartype.door import is_bearable  # noqa: PLC0415

        return is_bearable(value, self.kind) and isinstance(value, bool) == (self.kind is bool)


def is_batch_size(value: Any) -> bool:
    """Return whether a value is a number of samples: an int from 0, or one that is left open."""
    is_int = isinstance(value, (Integral, torch.SymInt)) and not isinstance(value, bool)
    number: Any = value  # not its index, which would fix it in an exported program
    return is_int and 0 <= number < LARGEST


def is_device(value: Any) -> bool:
    """Say whether torch knows a device of this name or number."""
    try:
        torch.device(value)
    except (RuntimeError, ValueError, OverflowError):
        return False
    return True


def is_index(value: Any) -> bool:
    """Say whether a value stands for an integer, as a 0-d tensor of integers does."""
    if isinstance(value, bool) or getattr(value, "dtype", None) is torch.bool:
        return False
    try:
        operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def is_truth(value: Any) -> bool:
    """Say whether a value is True or False, 1 or 0, or NumPy's own True or False."""
    return (isinstance(value, Integral) or type(value).__module__ == "numpy") and value in (0, 1)


def _count(least: int, expected: str, wrong_value: str, kind: Any = Integral) -> Rule:
    return Rule(
        kind=kind,
        fits=lambda value: least <= operator.index(value) < LARGEST,
        wrong_kind="{name} should be of type int, got: {kind}",
        wrong_value=wrong_value,
        expected=expected,
    )


#: torch counts in 64 bits.
LARGEST = 2**63
SIZE = _count(1, "an int from 1", "{name} must be greater than zero")
# torch asks isinstance(..., int) of the two sizes of a layer, and counts with all others.
COUNT = _count(1, SIZE.expected, SIZE.wrong_value, SupportsIndex)

FLAG = Rule(
    bool, lambda _: True, "{name} should be of type bool, got: {kind}", "", expected="True or False"
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
    "num_layers": COUNT,
    "proj_size": _count(
        0,
        "an int from 0 (no projection) to hidden_size - 1",
        "proj_size should be a positive integer or zero to disable projections",
        SupportsIndex,
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
        torch.dtype | type | None,
        # torch takes Python's own float for float64.
        lambda dtype: (
            dtype in (None, float)
            or (isinstance(dtype, torch.dtype) and (dtype.is_floating_point or dtype.is_complex))
        ),
        DTYPE,
        DTYPE,
        "torch.float32, torch.float64, torch.bfloat16 or torch.float16",
    ),
    "device": Rule(
        Device,
        lambda device: device is None or is_device(device),
        DEVICE,
        DEVICE,
        "for example 'cpu', 'cuda' or 'cuda:1'",
    ),
}

# A cell computes without features (the hidden state alone) and without a hidden state; torch's
# layers refuse both.
CELL_SIZE = _count(0, "an int from 0", "{name} must not be negative", SupportsIndex)
CELL_RULES = RULES | {"input_size": CELL_SIZE, "hidden_size": CELL_SIZE}
