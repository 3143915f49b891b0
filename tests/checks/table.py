"""The table of what rnnkit refuses and warns of: tests, ``messages.txt`` and ``errors.md`` read it.

A row is a code, one sentence that says why it happens, and the calls that provoke it. A call is
lines that run with ``rnnkit``, ``torch`` and ``nn``, the last of them wrong, with ``; `` for their
ends. ``=>`` is followed by right lines where a fix is in words; ``unsafe:`` goes before a call that
may end the process with torch's modules; ``needs:`` in front of the sentence says what a message
needs of the machine.
"""

import re
from typing import NamedTuple

from tests.checks.rows import arguments, cells, inputs, leaks, lengths, models, states

#: The headings of ``errors.md``, in its order.
TOPICS: dict[str, dict[str, tuple[str, ...]]] = {
    "The input's layout": inputs.LAYOUT,
    "The input": inputs.INPUT,
    "The state": states.SIZES | states.STRUCTURE,
    "Lengths and masks": lengths.ROWS,
    "Other arguments of a call": arguments.CALLS,
    "Constructors": arguments.CONSTRUCTORS,
    "Cells": cells.CELLS,
    "rnnkit.states": cells.STATES,
    "Models": models.MODELS,
    "verify, dependency_map and trace": models.DIAGNOSTICS,
    "Warnings": leaks.WARNINGS,
    "Leaks": leaks.LEAKS,
}


class Call(NamedTuple):
    """A wrong call."""

    program: str
    right: str  # the same call made right; empty if the message says what to type
    is_safe: bool  # torch's modules refuse it or run, and do not end the process


class Row(NamedTuple):
    """A code, why it happens, the calls that provoke it, and what the machine needs."""

    code: str
    why: str
    calls: tuple[Call, ...]
    needs: str


def _row(code: str, texts: tuple[str, ...]) -> Row:
    needs = texts[0].removeprefix("needs: ") if texts[0].startswith("needs: ") else ""
    why, *calls = texts[1:] if needs else texts
    return Row(code, why, tuple(map(_call, calls)), needs)


def _call(text: str) -> Call:
    lines = text.removeprefix("unsafe: ").replace("; ", "\n")
    program, *right = re.split(r"\s=>\s", lines)
    return Call(program, *(right or [""]), not text.startswith("unsafe: "))


ROWS = [_row(code, texts) for rows in TOPICS.values() for code, texts in rows.items()]
CALLS = [(row, call) for row in ROWS for call in row.calls]
