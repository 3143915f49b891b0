"""How a message is laid out: torch's sentence, what was called, aligned rows, the mend."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

LABEL_WIDTH = 10
BRIEF_LENGTH = 40


def compose(sentence: str, headline: str, rows: Iterable[tuple[str, str]]) -> str:
    """Join the parts of a message, one row a line.

    >>> print(compose("torch's sentence", "LSTM(3, 4): what is wrong", [("fix", "what to type")]))
    torch's sentence
      LSTM(3, 4): what is wrong
      fix       what to type
    """
    return "\n".join([sentence, f"  {headline}", *aligned(rows)])


def aligned(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Lay out rows of a label and a text, one a line, the texts below each other."""
    rows = list(rows)
    width = max(LABEL_WIDTH, *(len(label) + 2 for label, _ in rows))
    return [f"  {label.ljust(width)}{text}" for label, text in rows]


def wanted(expected: str, actual: str) -> str:
    """Say what was expected beside what came."""
    return f"expected {expected}    got {actual}"


def brief(value: object) -> str:
    """Name a value without printing what a tensor holds."""
    if isinstance(value, Tensor):
        return f"a Tensor of shape {tuple(value.shape)}"
    if isinstance(value, str | int | float | None):
        text = repr(value)
        return text if len(text) <= BRIEF_LENGTH else text[:BRIEF_LENGTH] + "..."
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    if isinstance(value, type):
        return f"the type {value.__name__}"
    if isinstance(value, tuple | list | dict) and not value:
        return f"an empty {type(value).__name__}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' or name == 'ndarray' else 'a'} {name}"


def count(number: int, one: str, many: str) -> str:
    """Write a number with its noun."""
    return f"{number} {one if number == 1 else many}"


def call(name: str, args: Iterable[object], kwargs: Mapping[str, object]) -> str:
    """Write a call as the caller wrote it."""
    parts = [brief(value) for value in args]
    parts += [f"{key}={brief(value)}" for key, value in kwargs.items()]
    return f"{name}({', '.join(parts)})"
