"""A line on a terminal, for what takes long."""

import sys
import time

#: So many seconds pass in silence.
PATIENCE = 2.0


class Progress:
    """Says on a terminal how many steps are done, and how long the rest may take.

    Nothing is written to a file. Use it as a context: the line is gone afterwards.
    """

    def __init__(self, caller: str, total: int) -> None:
        """Begin."""
        self.caller, self.total, self.count = caller, total, 0
        self._start, self._shown = time.monotonic(), False

    def __enter__(self) -> "Progress":  # noqa: PYI034 - beartype reads Self on classes only
        """Begin."""
        return self

    def step(self) -> None:
        """Count a step, and write the line."""
        self.count += 1
        passed, stream = time.monotonic() - self._start, sys.stderr
        # A program without a console has no stderr.
        if passed > PATIENCE and stream is not None and stream.isatty():
            rest = passed / self.count * (self.total - self.count)
            runs = f"{self.count} of {self.total} runs, about {rest:.0f} s left"
            stream.write(f"\r{self.caller}: {runs}\x1b[K")
            stream.flush()
            self._shown = True

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
