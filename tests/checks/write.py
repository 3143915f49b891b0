"""Writes ``messages.txt`` and ``rnnkit/errors.md``: ``python -m tests.checks.write``, ``nox -s errors``."""

import pathlib
from functools import cache

import rnnkit
from tests.checks.outcome import kind, of_torch, said
from tests.checks.table import ROWS, TOPICS, Call, Row
from tests.checks.typist import LEFT, typed

MESSAGES = pathlib.Path(__file__).parent / "messages.txt"
PAGE = pathlib.Path(str(rnnkit.__file__)).parent / "errors.md"


@cache
def answer(call: Call) -> rnnkit.RnnkitError | rnnkit.RnnkitWarning:
    """Return what rnnkit says to a call of the table."""
    found = said(call.program)
    assert found is not None, call.program
    return found


def entry(call: Call) -> str:
    """Return a call and all that is said to it, as ``messages.txt`` has it."""
    ours = answer(call)
    theirs = kind(of_torch(call.program), ours) if asks_torch(call) else "is not asked"
    head = f"{type(ours).__name__}({getattr(ours, 'argument', '')}), torch {theirs}"
    return f">>> {call.program.replace(chr(10), chr(10) + '... ')}\n{head}\n{ours}\n"


def asks_torch(call: Call) -> bool:
    """Return whether torch's modules may run a call: it has no names of ours, and is safe."""
    return call.is_safe and "rnnkit." not in call.program and "pack" not in call.program


def fixed(call: Call) -> str:
    """Return the first program that the message makes of a call and that runs; empty if none."""
    ours = answer(call)
    found = typed(call.program, str(ours), getattr(ours, "argument", ""))
    return next((one for _, programs in found for one in programs if runs(one)), "")


def runs(program: str) -> bool:
    """Return whether a program runs, and rnnkit says nothing."""
    try:
        return said(program, **LEFT) is None
    except Exception:  # noqa: BLE001 - a fix may be typed in the wrong place
        return False


def section(row: Row) -> str:
    """Return a code's section: why, a call, the message, and the call made right."""
    call = row.calls[0]
    parts = [
        f"### {row.code}",
        row.why,
        f"```python\n{call.program}\n```",
        f"```text\n{answer(call)}\n```",
    ]
    if right := call.right or fixed(call):
        parts += ["Right:", f"```python\n{right}\n```"]
    return "\n\n".join(parts)


def messages_of(row: Row) -> str:
    """Return a code's section of ``messages.txt``."""
    return f"## {row.code}\n\n" + "\n".join(map(entry, row.calls))


def page() -> str:
    """Return the text of ``errors.md``."""
    rows = {row.code: row for row in ROWS}
    topics = [
        [f"## {topic}", *(section(rows[code]) for code in codes)] for topic, codes in TOPICS.items()
    ]
    return "\n\n".join(part for topic in topics for part in topic) + "\n"


if __name__ == "__main__":
    MESSAGES.write_text("\n".join(map(messages_of, ROWS)), "utf-8")
    PAGE.write_text(page(), "utf-8")
