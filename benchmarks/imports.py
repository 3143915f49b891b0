"""What ``import rnnkit`` costs a program that imports torch anyway."""

import statistics
import subprocess
import sys

from benchmarks.report import Table, budget
from benchmarks.timing import Effort

LIMIT = 100.0
STEPS = ("torch", "jaxtyping, beartype", "rnnkit")

# The clock runs inside the interpreter: the import of torch, ten times as long and as noisy, would
# drown the difference between two whole processes. The collector has a clock of its own because it
# walks over all that torch made, at whichever import happens to make the last object it waits for.
PROGRAM = """
import gc
from time import perf_counter
collecting = 0.0
def watch(phase, info):
    global collecting
    collecting += perf_counter() if phase == "stop" else -perf_counter()
for step in {steps!r}:
    start = perf_counter()
    exec("import " + step)
    print(perf_counter() - start)
    if step == "torch":
        gc.callbacks.append(watch)
print(collecting)
"""


def tables(effort: Effort) -> list[Table]:
    """Import torch, what rnnkit needs besides, and rnnkit, in fresh interpreters."""
    runs = [_import() for _ in range(effort.processes)]
    torch, needed, itself, collecting = (
        f"{1e3 * statistics.median(times):.1f}" for times in zip(*runs, strict=True)
    )
    beyond = 1e3 * statistics.median(needed + itself for _, needed, itself, _ in runs)
    return [
        Table(
            "Import",
            f"Milliseconds, median of {effort.processes} fresh interpreters. The garbage\n"
            "collector's part goes to whatever import comes at its time, most of it for torch's\n"
            "objects.",
            ("what", "milliseconds", "budget"),
            [
                ("torch", torch, ""),
                ("jaxtyping and beartype after torch", needed, ""),
                ("rnnkit after these", itself, ""),
                ("rnnkit beyond torch", f"{beyond:.1f}", budget(beyond, LIMIT, "ms")),
                ("of it the garbage collector", collecting, ""),
            ],
        )
    ]


def _import() -> list[float]:
    program = PROGRAM.format(steps=STEPS)
    done = subprocess.run(  # noqa: S603  # what runs is this interpreter and the text above
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    return [float(line) for line in done.stdout.split()]
