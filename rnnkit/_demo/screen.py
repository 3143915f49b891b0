"""How the demonstration prints: on a terminal in colour and with a progress bar."""

import contextlib
import importlib.util
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

COLUMNS = 80
#: How far a message is set in below its label.
LABEL = 13


def _console() -> Any:
    """Return rich's console if rich is installed and a terminal is there to print on."""
    if not sys.stdout.isatty() or importlib.util.find_spec("rich") is None:
        return None
    from rich.console import Console  # noqa: PLC0415 - an optional extra

    return Console(width=COLUMNS, highlight=False, markup=False, emoji=False)


def say(text: str = "", style: str = "") -> None:
    """Print lines; on a terminal in a style of rich's, such as ``bold red``."""
    console = _console()
    if console is None or os.environ.get("NO_COLOR"):
        print(text, flush=True)
    else:
        console.print(text, style=style, soft_wrap=True)


def paragraph(label: str, text: str, style: str = "") -> None:
    """Print a text beside its label; its further lines keep their own columns."""
    first, *others = text.splitlines()
    filled = textwrap.fill(
        first, COLUMNS, initial_indent=f"   {label:<10}", subsequent_indent=" " * LABEL
    )
    lines = [filled]
    lines += [
        textwrap.fill(line, COLUMNS, initial_indent="   ", subsequent_indent=" " * (LABEL + 2))
        for line in others
    ]
    say("\n".join(lines), style)


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar while a net is trained; yield what prints a line, if any, after each epoch."""
    console = _console()
    if console is None:
        yield lambda line: say(line) if line else None
        return
    from rich.progress import Progress  # noqa: PLC0415 - an optional extra

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("training", total=total)

        def advance(line: str) -> None:
            if line:
                bar.console.print(line)
            bar.advance(task)

        yield advance
