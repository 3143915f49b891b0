"""Writes ``messages.txt``, and the messages in ``rnnkit/errors.md``: ``nox -s errors``."""

import pathlib
from functools import cache

from tests.checks.outcome import kind, of_torch, said
from tests.checks.table import PAGE, ROWS

MESSAGES = pathlib.Path(__file__).parent / "messages.txt"


@cache
def answer(call):
    """Return what rnnkit says to a call of the table."""
    found = said(call.program)
    assert found is not None, call.program
    return found


def entry(call):
    """Return a call and all that is said to it, as ``messages.txt`` has it."""
    ours = answer(call)
    theirs = kind(of_torch(call.program), ours) if asks_torch(call) else "is not asked"
    head = f"{type(ours).__name__}({getattr(ours, 'argument', '')}), torch {theirs}"
    return f">>> {call.program.replace(chr(10), chr(10) + '... ')}\n{head}\n{ours}\n"


def asks_torch(call):
    """Return whether torch's modules may run a call: it has no names of ours, and is safe."""
    return call.is_safe and "rnnkit." not in call.program and "pack" not in call.program


def messages_of(row):
    """Return a code's section of ``messages.txt``."""
    return f"## {row.code}\n\n" + "\n".join(map(entry, row.calls))


def page():
    """Return the text of ``errors.md``, with the messages of its calls."""
    text = PAGE.read_text("utf-8")
    for row in ROWS:
        start = text.index(f"### {row.code}\n")
        begin = text.index("```text\n", start)
        end = text.index("\n```\n", begin)
        text = f"{text[:begin]}```text\n{answer(row.calls[0])}{text[end:]}"
    return text


if __name__ == "__main__":
    MESSAGES.write_text("\n".join(map(messages_of, ROWS)), "utf-8")
    PAGE.write_text(page(), "utf-8")
