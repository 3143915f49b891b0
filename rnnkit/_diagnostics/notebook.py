"""Reports, traces and maps in a notebook: their text, with what is wrong in red."""

from collections.abc import Callable
from html import escape

#: Readable on a white page and on a dark one.
RED = "#e0485c"


def as_html(text: str, is_wrong: Callable[[str], bool]) -> str:
    """Return a text as it is, in the colors of the page; lines that are wrong are red."""
    lines = [
        f'<span style="color:{RED}">{escape(line)}</span>' if is_wrong(line) else escape(line)
        for line in text.splitlines()
    ]
    body = "\n".join(lines)
    return f'<pre style="white-space:pre;overflow-x:auto">{body}</pre>'
