"""The table of what rnnkit refuses and warns of: the page of errors, and further calls beside it.

``rnnkit/errors.md`` has a section for each code: a sentence that says why it happens, a call, the
message, and the call made right. ``calls.md`` has further calls. A call is lines that run with
``rnnkit``, ``torch`` and ``nn``, the last of them wrong. Write the sentences and the calls by hand;
``nox -s errors`` writes the messages.
"""

import pathlib
import re
from typing import NamedTuple

import rnnkit

PAGE = pathlib.Path(str(rnnkit.__file__)).parent / "errors.md"
FURTHER = pathlib.Path(__file__).parent / "calls.md"

#: What stands above a block, or in a section, of ``calls.md``.
RIGHT = "Right:"
UNSAFE = "May end the process with torch's modules:"
FIRST_UNSAFE = "The call of the page may end the process with torch's modules."
NEEDS = re.compile(r"^Needs (.+)\.$", re.MULTILINE)

BLOCK = re.compile(r"(?:^([^\n]+:)\n\n)?^```python\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


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


def sections(text: str, level: str) -> dict[str, str]:
    """Split a page by the codes in its headings."""
    parts = re.split(rf"^{level} ([a-z-]+)\n\n", text, flags=re.MULTILINE)[1:]
    bodies = [re.sub(r"\n\n## .*", "", part, flags=re.DOTALL).strip() for part in parts[1::2]]
    return dict(zip(parts[::2], bodies, strict=True))


def calls_in(section: str) -> list[Call]:
    """Return the calls of a section: its blocks, each with the right one that follows."""
    calls: list[Call] = []
    for above, program in BLOCK.findall(section):
        if above == RIGHT:
            calls[-1] = calls[-1]._replace(right=program)
        else:
            calls.append(Call(program, "", is_safe=above != UNSAFE))
    return calls


def rows() -> list[Row]:
    """Return the table, in the order of the page."""
    further = sections(FURTHER.read_text("utf-8"), "##")
    found: list[Row] = []
    for code, section in sections(PAGE.read_text("utf-8"), "###").items():
        more = further.get(code, "")
        [first] = calls_in(section)
        first = first._replace(is_safe=FIRST_UNSAFE not in more)
        [needs] = NEEDS.findall(more) or [""]
        why = section.partition("\n")[0]
        found.append(Row(code, why, (first, *calls_in(more)), needs))
    return found


ROWS = rows()
CALLS = [(row, call) for row in ROWS for call in row.calls]
