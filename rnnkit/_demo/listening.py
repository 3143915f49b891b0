"""Run code and catch its first error or warning."""

import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple


class Outcome(NamedTuple):
    """The class and the text of a run's first error or warning, if any, and what it returned."""

    kind: str = ""
    text: str = ""
    value: Any = None

    def __str__(self) -> str:
        """Return the error or warning as Python prints it."""
        return f"{self.kind}: {self.text}" if self.kind else "silence"


def listen(run: Callable[[], Any]) -> Outcome:
    """Run something until its first error or warning; return that, or its value."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return Outcome(value=run())
        except (NameError, SyntaxError):  # a fault of whoever wrote the mistake
            raise
        except Exception as error:  # noqa: BLE001  each error is to be shown
            # Below the line, jaxtyping lists every argument.
            return Outcome(type(error).__name__, str(error).partition("\n-----")[0])


def listen_in_child(*arguments: str) -> Outcome:
    """Run ``python -m rnnkit`` with these arguments in a child process, which may crash."""
    command = [sys.executable, "-m", "rnnkit", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode < 0:
        return Outcome(signal.Signals(-done.returncode).name, "no message; the process crashed")
    lines = done.stderr.strip().splitlines()
    return Outcome(*lines[-1].split(": ", 1)) if done.returncode and lines else Outcome()
