"""What ``import rnnkit`` costs a program that imports torch anyway."""

import statistics
import subprocess
import sys

from benchmarks.report import Table, budget
from benchmarks.timing import Effort

LIMIT = 100.0
STEPS = ("torch", "jaxtyping, beartype", "rnnkit")

# The clock runs inside the interpreter: the import of torch, ten times as long and as noisy, would
# drown the difference between two whole processes.
PROGRAM = """
from time import perf_counter
for step in {steps!r}:
    start = perf_counter()
    exec("import " + step)
    print(perf_counter() - start)
"""


def tables(effort: Effort) -> list[Table]:
    """Import torch, what rnnkit needs besides, and rnnkit, in fresh interpreters."""
    runs = [_import() for _ in range(effort.processes)]
    torch, needed, itself = (1e3 * statistics.median(times) for times in zip(*runs, strict=True))
    beyond = 1e3 * statistics.median(sum(times[1:]) for times in runs)
    return [
        Table(
            "Import",
            f"Milliseconds, median of {effort.processes} fresh interpreters.",
            ("what", "milliseconds", "budget"),
            [
                ("torch", f"{torch:.1f}", ""),
                ("jaxtyping and beartype after torch", f"{needed:.1f}", ""),
                ("rnnkit after these", f"{itself:.1f}", ""),
                ("rnnkit beyond torch", f"{beyond:.1f}", budget(beyond, LIMIT, "ms")),
            ],
        )
    ]


def _import() -> list[float]:
    program = PROGRAM.format(steps=STEPS)
    done = subprocess.run(  # noqa: S603  # what runs is this interpreter and the text above
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    return [float(line) for line in done.stdout.split()]
