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
# drown the difference between two whole processes.
PROGRAM = """
from time import perf_counter
start = perf_counter()
import torch
between = perf_counter()
import rnnkit
print(between - start, perf_counter() - between)
"""


def tables(effort: Effort) -> list[Table]:
    """Import torch, then rnnkit, in fresh interpreters."""
    with tempfile.TemporaryDirectory() as compiled:
        # As in an installed package: rnnkit is compiled only at its first import.
        bytecode = {"PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        environment = {**os.environ, **bytecode}
        _import(environment)
        runs = [_import(environment) for _ in range(effort.processes)]
    torch, beyond = zip(*runs, strict=True)
    limit = budget(1e3 * statistics.median(beyond), LIMIT, "ms", 1e3 * spread(beyond))
    return [
        Table(
            "Import",
            f"Measured in {effort.processes} fresh interpreters.",
            ("what", "milliseconds", "budget"),
            [
                ("torch", _shown(torch), ""),
                ("rnnkit beyond torch", _shown(beyond), limit),
            ],
        )
    ]


def _import(environment: Mapping[str, str]) -> list[float]:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)  # noqa: S603 - the text above
    return [float(number) for number in done.stdout.split()]


def _shown(times: Sequence[float]) -> str:
    return f"{1e3 * statistics.median(times):.1f} ±{1e3 * spread(times):.1f}"
