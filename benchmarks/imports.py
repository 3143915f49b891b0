"""What ``import rnnkit`` costs a program that imports torch anyway."""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

from benchmarks.report import Table, budget
from benchmarks.timing import Effort, spread

LIMIT = 50.0

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
    with tempfile.TemporaryDirectory() as compiled:
        # As in an installed package: rnnkit is compiled at its first import alone.
        bytecode = {"PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        environment = {**os.environ, **bytecode}
        _import(environment)
        runs = [_import(environment) for _ in range(effort.processes)]
    torch, beyond, collecting = zip(*runs, strict=True)
    limit = budget(1e3 * statistics.median(beyond), LIMIT, "ms", 1e3 * spread(beyond))
    return [
        Table(
            "Import",
            f"Milliseconds by `perf_counter`, median of {effort.processes} fresh interpreters.",
            ("what", "milliseconds", "budget"),
            [
                ("torch", _shown(torch), ""),
                ("rnnkit beyond torch", _shown(beyond), limit),
                ("of it the garbage collector", _shown(collecting), ""),
            ],
        )
    ]


def _import(environment: Mapping[str, str]) -> list[float]:
    done = subprocess.run(  # noqa: S603  # what runs is this interpreter and the text above
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        check=True,
        text=True,
        env=environment,
    )
    return [float(number) for number in done.stdout.split()]


def _shown(times: Sequence[float]) -> str:
    return f"{1e3 * statistics.median(times):.1f} ±{1e3 * spread(times):.1f}"
