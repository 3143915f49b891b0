"""What is said when a mistake is made: the first error or warning, or silence."""

import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What came of a run: its first error or warning, if any, and what it returned.

    Attributes:
        kind: the name of the class of what was said; empty if nothing was.
        text: the message.
        value: what the run returned; ``None`` if it raised.
    """

    kind: str = ""
    text: str = ""
    value: Any = None

    def __str__(self) -> str:
        """Write what was said."""
        return f"{self.kind}: {self.text}" if self.kind else "silence"


def listen(run: Callable[[], Any]) -> Outcome:
    """Run something and note what is said."""
    value = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = run()
        except (NameError, SyntaxError):  # of the mistake's author
            raise
        except Exception as error:  # noqa: BLE001  whatever is raised is what is to be shown
            # Below the line, jaxtyping lists all there is, right or wrong.
            return Outcome(type(error).__name__, str(error).partition("\n-----")[0])
    said = ((warning.category.__name__, str(warning.message)) for warning in caught)
    return Outcome(*next(said, ("", "")), value)


def listen_apart(number: int, seed: int) -> Outcome:
    """Make a mistake by torch's layers in a process of its own, which it may end."""
    command = [sys.executable, "-m", "rnnkit", "--namespace", "torch.nn"]
    command += ["--mistake", str(number), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode < 0:
        return Outcome(signal.Signals(-done.returncode).name, "no message; the process is dead")
    lines = done.stderr.strip().splitlines()
    return Outcome(*lines[-1].split(": ", 1)) if done.returncode and lines else Outcome()
