"""``python -m rnnkit explain CODE``: a section of the page of errors that the package has."""

import difflib
import importlib.util
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

USAGE = "usage: python -m rnnkit explain [CODE]"


def explain(arguments: Sequence[str]) -> None:
    """Print the section of a code, or list the codes; exit with what to type for another name."""
    page = (Path(__file__).parent / "errors.md").read_text("utf-8")
    sections = dict(re.findall(r"(?ms)^### (\S+)\n\n(.*?)\n*(?=^##|\Z)", page))
    if len(arguments) > 1 or any(one.startswith("-") for one in arguments):
        sys.exit(USAGE)
    elif not arguments:
        entries = re.findall(r"(?m)^## (.+)|^### (\S+)\n\n(.+)", page)
        lines = (f"\n{title}" if title else f"  {code:<22}{text}" for title, code, text in entries)
        print("\n".join(lines).strip())
    elif arguments[0] in sections:
        _show(arguments[0], sections[arguments[0]])
    else:
        near = difflib.get_close_matches(arguments[0], sections, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"{USAGE}, which lists the codes."
        sys.exit(f"No error has the code {arguments[0]!r}; {hint}")


def _show(code: str, section: str) -> None:
    if sys.stdout.isatty() and importlib.util.find_spec("rich") and not os.environ.get("NO_COLOR"):
        from rich.console import Console  # noqa: PLC0415 - an optional extra
        from rich.markdown import Markdown  # noqa: PLC0415

        Console().print(Markdown(f"**{code}**\n\n{section}"))
    else:
        blocks = re.split(r"(?m)^```.*\n?", section)
        blocks[1::2] = [textwrap.indent(block, "    ") for block in blocks[1::2]]
        print(f"{code}\n\n{''.join(blocks)}")
