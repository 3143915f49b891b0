"""What ``import rnnkit`` costs a program that imports torch anyway."""

import statistics
import subprocess
import sys

from benchmarks.report import Table, budget
from benchmarks.timing import Effort

LIMIT = 100.0

# The clock runs inside the interpreter: the import of torch, ten times as long and as noisy, would
# drown the difference between two whole processes. The collector has a clock of its own because it
# walks over all that torch made, in whichever import happens to make the last object it waits for.
PROGRAM = """
import gc
from time import perf_counter

collecting = 0.0

def watch(phase, info):
    global collecting
    collecting += perf_counter() if phase == "stop" else -perf_counter()

start = perf_counter()
import torch
between = perf_counter()
gc.callbacks.append(watch)
import rnnkit
print(between - start, perf_counter() - between, collecting)
"""


def tables(effort: Effort) -> list[Table]:
    """Import torch, then rnnkit, in fresh interpreters."""
    runs = [_import() for _ in range(effort.processes)]
    torch, beyond, collecting = (
        1e3 * statistics.median(times) for times in zip(*runs, strict=True)
    )
    return [
        Table(
            "Import",
            f"Milliseconds, median of {effort.processes} fresh interpreters.",
            ("what", "milliseconds", "budget"),
            [
                ("torch", f"{torch:.1f}", ""),
                ("rnnkit beyond torch", f"{beyond:.1f}", budget(beyond, LIMIT, "ms")),
                ("of it the garbage collector", f"{collecting:.1f}", ""),
            ],
        )
    ]


def _import() -> list[float]:
    done = subprocess.run(  # noqa: S603  # what runs is this interpreter and the text above
        [sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True
    )
    return [float(number) for number in done.stdout.split()]
