"""What a refusal says: torch's sentence, what was called, aligned rows, the fix.

A fix that reshapes is tried on the shape before it is offered; on numbers alone, since a compiler
may be tracing.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from rnnkit._base.errors import RnnkitWarning

#: A row of a message: a label and a text.
Row = tuple[str, str]
Rows = list[Row]

LABEL_WIDTH = 10
BRIEF_LENGTH = 40

#: From where an int is not printed.
LARGEST = 10**BRIEF_LENGTH

#: How long a line of a message may become; what is longer was made so by a caller's value.
LINE_LENGTH = 240

#: How long a module or a call may become as it is written in a message.
CALL_LENGTH = 160


def refusal(
    error: Callable[..., Exception],
    argument: str,
    sentence: str,
    headline: str = "",
    *rows: Row,
    code: str,
    facts: tuple[Any, ...] = (),
    source: Exception | None = None,
) -> NoReturn:
    """Raise an error whose message is composed of these parts.

    Args:
        error: the class to raise.
        argument: the parameter that was wrong, as the caller writes it.
        sentence: torch's, where it has one.
        headline: what was called, and what is wrong with it.
        *rows: expected and got, evidence, fix.
        code: which refusal this is, as the page "Errors" lists them.
        facts: what the class keeps beside text and argument: of a ShapeError the sizes.
        source: torch's own error, which a traceback then shows too.
    """
    text = compose(sentence, headline, [*rows, more(code)])
    raise error(text, argument, *facts, code=code) from source


def more(code: str) -> Row:
    """Return the last row of every message, which can be typed."""
    return ("more", f"python -m rnnkit explain {code}")


def warn(code: str, text: str, stacklevel: int) -> None:
    """Warn the caller's line, with the command that explains it below the text."""
    message = "\n".join([text, *aligned([more(code)])])
    warnings.warn(RnnkitWarning(message, code), stacklevel=stacklevel + 1)


class Cause(NamedTuple):
    """What a diagnosis has found: the arguments of :func:`refusal`, not yet raised."""

    code: str
    error: Callable[..., Exception]
    argument: str
    sentence: str
    headline: str
    rows: tuple[Row, ...]
    facts: tuple[Any, ...] = ()


def raise_for(cause: Cause | None) -> None:
    """Raise what a diagnosis has found; return if it has found nothing, and the call goes on."""
    if cause is not None:
        code, error, argument, sentence, headline, rows, facts = cause
        refusal(error, argument, sentence, headline, *rows, code=code, facts=facts)


def compose(sentence: str, headline: str, rows: Iterable[Row]) -> str:
    """Join the parts of a message, one row a line; a part that is empty is left out.

    >>> print(compose("torch's sentence", "LSTM(3, 4): what is wrong", [("fix", "what to type")]))
    torch's sentence
      LSTM(3, 4): what is wrong
      fix       what to type
    """
    head = [sentence, f"  {headline}"] if headline else [sentence]
    return "\n".join(bounded(line, LINE_LENGTH) for line in [*head, *aligned(rows)])


def bounded(text: str, length: int) -> str:
    """Cut what is longer, and show that it was cut."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def aligned(rows: Iterable[Row], least: int = LABEL_WIDTH) -> list[str]:
    """Lay out rows of a label and a text, one a line, the texts below each other."""
    rows = list(rows)
    width = max([least, *(len(label) + 2 for label, _ in rows)])
    return [f"  {label.ljust(width)}{text}" for label, text in rows]


def wanted(expected: str, actual: str) -> str:
    """Say what was expected beside what came."""
    return f"expected {expected}    got {actual}"


def brief(value: object) -> str:
    """Name a value without printing what a tensor holds, in a few words however large it is."""
    if isinstance(value, Tensor):
        if value.is_nested:
            return "a nested Tensor"
        return f"a Tensor of shape {tuple(value.shape)}"
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    if isinstance(value, type):
        return f"the type {bounded(value.__name__, BRIEF_LENGTH)}"
    if isinstance(value, str | int | float | None):
        # Python prints no int of more than 4,300 digits.
        large = isinstance(value, int) and abs(value) >= LARGEST
        return "a huge int" if large else bounded(repr(value), BRIEF_LENGTH)
    if isinstance(value, tuple | list | dict) and not value:
        return f"an empty {type(value).__name__}"
    name = bounded(type(value).__name__, BRIEF_LENGTH)
    return f"{'an' if name[0] in 'aeiouAEIOU' or name == 'ndarray' else 'a'} {name}"


def count(number: int, one: str, many: str) -> str:
    """Write a number with its noun."""
    return f"{number} {one if number == 1 else many}"


def call(name: str, args: Iterable[object], kwargs: Mapping[str, object]) -> str:
    """Write a call as the caller wrote it."""
    parts = [brief(value) for value in args]
    parts += [f"{key}={brief(value)}" for key, value in kwargs.items()]
    return bounded(f"{name}({', '.join(parts)})", CALL_LENGTH)


Shape = tuple[int, ...]

#: What is typed after the name, and what it makes of a shape; None where it makes nothing.
Fix = tuple[str, Callable[[Shape], Shape | None]]


def _squeeze(axis: int) -> Callable[[Shape], Shape | None]:
    return lambda s: (*s[:axis], *s[axis + 1 :]) if len(s) > axis and s[axis] == 1 else None


def _unsqueeze(axis: int) -> Callable[[Shape], Shape | None]:
    return lambda s: (*s[:axis], 1, *s[axis:]) if len(s) >= axis else None


PLAIN: tuple[Fix, ...] = (
    *((f".squeeze({axis})", _squeeze(axis)) for axis in range(4)),
    (".unsqueeze(0)", _unsqueeze(0)),
    (".unsqueeze(-1)", lambda s: (*s, 1)),
    (".unsqueeze(1)", _unsqueeze(1)),
    (".t()", lambda s: s[::-1] if len(s) == 2 else None),
    (".transpose(0, 1).contiguous()", lambda s: (s[1], s[0], *s[2:]) if len(s) > 1 else None),
    (".flatten(0, 1)", lambda s: (math.prod(s[:2]), *s[2:]) if len(s) > 1 else None),
    ("[-1], if the last one is meant", lambda s: s[1:] if s else None),
)


def reshaped(name: str, shape: Sequence[int], want: Sequence[int | None]) -> str | None:
    """Return the expression that makes ``shape`` the wanted one; None if no short one does.

    >>> reshaped("hx", (5, 4), (1, 5, 4))
    'hx.unsqueeze(0)'
    >>> reshaped("hx", (2, 1, 4), (2, 5, 4))
    'hx.repeat(1, 5, 1), if all start from the same values'
    """
    for text, fix in (*PLAIN, *_repeating(want)):
        result = fix(tuple(shape))
        if result is not None and len(result) == len(want) and _fits(result, want):
            return name + text
    return None


def _fits(shape: Shape, want: Sequence[int | None]) -> bool:
    return all(one in (size, None) for size, one in zip(shape, want, strict=True))


def _repeating(want: Sequence[int | None]) -> list[Fix]:
    """Return the fixes that give every layer, or every sample, the same state."""
    fixes: list[Fix] = []
    for axis, size in enumerate(want[:-1]):
        if size is not None and size > 1:
            times = [size if place == axis else 1 for place in range(len(want))]
            repeat = f".repeat({', '.join(map(str, times))})"
            same = ", if all start from the same values"
            fixes.append((repeat + same, _repeat(times, None)))
            fixes.append((f".unsqueeze({axis}){repeat}{same}", _repeat(times, axis)))
    return fixes


def _repeat(times: list[int], new_axis: int | None) -> Callable[[Shape], Shape | None]:
    def result(shape: Shape) -> Shape | None:
        if new_axis is not None:
            shape = (*shape[:new_axis], 1, *shape[new_axis:])
        if len(shape) > len(times):
            return None
        # torch repeats over axes that it adds in front.
        full = (*[1] * (len(times) - len(shape)), *shape)
        return tuple(size * by for size, by in zip(full, times, strict=True))

    return result
