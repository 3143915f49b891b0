"""What a refusal says: torch's sentence, what was called, aligned rows, the fix."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import RnnkitError, RnnkitWarning

#: A row of a message: a label and a text.
Row = tuple[str, str]

LABEL_WIDTH = 10
#: The most characters of a value, of a module or a call, and of a line.
BRIEF_LENGTH = 40
CALL_LENGTH = 160
LINE_LENGTH = 240


def refuse(
    error: type[RnnkitError],
    argument: str,
    sentence: str,
    headline: str = "",
    *rows: Row,
    code: str,
    evidence: str = "",
    fix: str | Sequence[str] = (),
    source: Exception | None = None,
    **facts: Any,
) -> NoReturn:
    """Raise an error whose message is composed of these parts.

    ``argument`` is the parameter that is wrong, as the caller writes it. ``sentence`` is torch's,
    where it has one; ``headline`` is what was called, and what is wrong with it. Each of ``rows``
    is a label and a text; ``fix`` is the last row, or a row for each of several, the second of them
    without a label. ``code`` is the error's name, whose explanation the row after it offers, and
    ``source`` the exception that caused it. ``facts`` becomes attributes of the error: a ShapeError
    has the sizes ``expected`` and ``actual``, a CellError the ``step``.
    """
    fixes = [fix] if isinstance(fix, str) else fix
    lines = [sentence]
    if headline:
        lines.append(f"  {headline}")
    below = [*rows]
    if evidence:
        below.append(("evidence", evidence))
    below += zip(["fix", *[""] * len(fixes)], fixes, strict=False)
    lines += aligned([*below, more(code)])
    text = "\n".join(bounded(line, LINE_LENGTH) for line in lines)
    # In no variable: the error would hold this frame, and by it all that its callers hold.
    raise error(text, argument, code=code, **facts) from source


def more(code: str) -> Row:
    """Return the last row of every message, which can be typed."""
    return ("more", f"python -m rnnkit explain {code}")


def warn(code: str, text: str, stacklevel: int) -> None:
    """Issue an RnnkitWarning, with the command that explains it below the text.

    ``stacklevel`` is that of ``warnings.warn`` for the function that calls this one.
    """
    message = "\n".join([text, *aligned([more(code)])])
    warnings.warn(RnnkitWarning(message, code), stacklevel=stacklevel + 1)


def bounded(text: str, length: int) -> str:
    """Cut what is longer, and show that it was cut.

    >>> bounded("seven..", 7), bounded("eight...", 7)
    ('seven..', 'eigh...')
    """
    return text if len(text) <= length else f"{text[: length - 3]}..."


def aligned(rows: Iterable[Row], least: int = LABEL_WIDTH) -> list[str]:
    """Lay out rows of a label and a text, one a line, the texts below each other.

    ``least`` is the fewest characters that the column of labels takes.
    """
    rows = list(rows)
    width = max([least, *(len(label) + 2 for label, _ in rows)])
    return [f"  {label.ljust(width)}{text}" for label, text in rows]


def wanted(expected: str, actual: str) -> str:
    """Write what was expected beside what came."""
    return f"expected {expected}    got {actual}"


def brief(value: object) -> str:
    """Name a value in a few words: a tensor by its shape, a number or a text by its cut ``repr``.

    Most other values are named by their type, with an article: ``a list``.
    """
    if isinstance(value, Tensor):
        return "a nested Tensor" if value.is_nested else f"a Tensor of shape {tuple(value.shape)}"
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    if isinstance(value, type):
        return f"the type {bounded(value.__name__, BRIEF_LENGTH)}"
    if isinstance(value, str | int | float | None):
        return bounded(repr(value), BRIEF_LENGTH)
    if isinstance(value, tuple | list | dict) and not value:
        return f"an empty {type(value).__name__}"
    name = bounded(type(value).__name__, BRIEF_LENGTH)
    return f"{'an' if name.startswith(('ndarray', 'LSTM', 'RNN', *'aeioAEIO')) else 'a'} {name}"


def count(number: int, one: str, many: str) -> str:
    """Write a number with its noun."""
    return f"{number} {one if number == 1 else many}"


def call(name: str, args: Iterable[object], kwargs: Mapping[str, object]) -> str:
    """Write a call as the caller wrote it, each value in a few words; a long one is cut."""
    parts = [brief(value) for value in args]
    parts += [f"{key}={brief(value)}" for key, value in kwargs.items()]
    return bounded(f"{name}({', '.join(parts)})", CALL_LENGTH)
