"""What each argument of a constructor may be, and torch's sentence if it is not."""

import operator
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple, SupportsIndex, TypeAlias

import torch

#: What a constructor takes as ``device``.
Device: TypeAlias = torch.device | str | int | None

#: torch counts in 64 bits.
LARGEST = 2**63


class Rule(NamedTuple):
    """The type of an argument, the values that fit, and torch's sentences for the others."""

    kind: Any
    fits: Callable[[Any], bool]
    wrong_kind: str
    wrong_value: str
    expected: str

    def is_kind(self, value: object) -> bool:
        """Return whether a value is of the type; a bool is not a number."""
        if self.kind is SupportsIndex:
            return is_index(value)
        return isinstance(value, self.kind) and isinstance(value, bool) == (self.kind is bool)


def is_batch_size(value: Any) -> bool:
    """Return whether a value is a number of samples: an int from 0, or one that is left open."""
    is_int = isinstance(value, (Integral, torch.SymInt)) and not isinstance(value, bool)
    number: Any = value  # not its index, which would fix it in an exported program
    return is_int and 0 <= number < LARGEST


def is_device(value: Any) -> bool:
    """Return whether torch knows a device of this name or number."""
    try:
        torch.device(value)
    except (RuntimeError, ValueError, OverflowError):
        return False
    return True


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


def _is_dtype(dtype: Any) -> bool:
    is_tensors = isinstance(dtype, torch.dtype) and (dtype.is_floating_point or dtype.is_complex)
    return dtype in (None, float) or is_tensors  # torch takes Python's own float for float64


def _count(least: int, expected: str, wrong_value: str, kind: Any = SupportsIndex) -> Rule:
    def fits(value: Any) -> bool:
        return least <= operator.index(value) < LARGEST

    return Rule(kind, fits, "{name} should be of type int, got: {kind}", wrong_value, expected)


ONE = "an int from 1", "{name} must be greater than zero"
# torch asks isinstance(..., int) of the two sizes of a layer, and counts with all others.
SIZE = _count(1, *ONE, Integral)
FLAG_KIND = "{name} should be of type bool, got: {kind}"
FLAG = Rule(bool, lambda _: True, FLAG_KIND, "", "True or False")
DROPOUT = (
    "dropout should be a number in range [0, 1] representing the probability of an element "
    "being zeroed"
)
NONLINEARITY = "Unknown nonlinearity '{value}'. Select from 'tanh' or 'relu'."
DTYPE = "{name} should be a floating-point torch.dtype, got: {value}"
DEVICE = "{name} should be a torch.device or its name, got: {value}"
DTYPES = "torch.float32, torch.float64, torch.bfloat16 or torch.float16"
PROJECTION = "proj_size should be a positive integer or zero to disable projections"

# fmt: off
RULES = {
    "input_size": SIZE,
    "hidden_size": SIZE,
    "num_layers": _count(1, *ONE),
    "proj_size": _count(0, "an int from 0 (no projection) to hidden_size - 1", PROJECTION),
    **dict.fromkeys(["bias", "batch_first", "bidirectional", "state_batch_first"], FLAG),
    "dropout": Rule(Real, lambda p: 0 <= p <= 1, DROPOUT, DROPOUT, "a float from 0 to 1"),
    "nonlinearity": Rule(str, lambda name: name in {"tanh", "relu"},
                         NONLINEARITY, NONLINEARITY, "'tanh' or 'relu'"),
    "dtype": Rule(torch.dtype | type | None, _is_dtype, DTYPE, DTYPE, DTYPES),
    "device": Rule(Device, lambda device: device is None or is_device(device),
                   DEVICE, DEVICE, "for example 'cpu', 'cuda' or 'cuda:1'"),
}
# fmt: on

# A cell computes without features (only its state) and without a hidden state; layers do not.
CELL_SIZE = _count(0, "an int from 0", "{name} must not be negative")
CELL_RULES = RULES | {"input_size": CELL_SIZE, "hidden_size": CELL_SIZE}
