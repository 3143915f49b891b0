"""Measure what each path over a padded batch costs, and write the table that chooses by it.

    python -m benchmarks.fit_choice            # this CPU, and this CPU made small; some minutes

Sizes are drawn at random, once for all: none is one of the sizes that the benchmark shows. For each
kind of layer, with gradients and without, the formula of ``rnnkit._kernels.choice`` is fitted to
the times of each path so that the relative errors are small. A CPU is made small by the settings of
torch and of oneDNN, in a process of its own. MKL stays as it is.

CPUs of one name differ in what large weights cost beside everything else. ``--beside`` writes
costs between those measured and those of the table as it is, which was fitted on another CPU: the
choice is then good on both. Those measured count twice.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from operator import mul
from pathlib import Path
from typing import Any

import torch

from benchmarks.path_calls import KINDS, Call, Size, made, run, sizes
from benchmarks.timing import Effort, compare
from rnnkit._kernels import choice, costs
from rnnkit._kernels.pieces import pieces_of

#: What a process is told, by the name of the CPU that it then takes this one for.
CPUS: dict[str, dict[str, str]] = {
    choice.names_of_cpu()[0]: {},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    "DEFAULT": {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
}

#: Paths that run the kernel of another one.
KERNELS = {
    choice.BLANK: choice.PADDED,
    choice.PACKED + choice.OF_PIECES: choice.PACKED,
    choice.ROWS + choice.OF_PIECES: choice.ROWS,
}


def measured(kind: str, size: Size, effort: Effort, *, gradients: bool) -> dict[str, list[float]]:
    """Return for each path its terms in the formula, and the seconds it took."""
    call = made(kind, size, gradients=gradients)
    ways = [(path, resets) for path in (choice.PACKED, choice.ROWS) for resets in (False, True)]
    ways += [(choice.PADDED, False), (choice.STEPS, True)]
    if kind.startswith("LSTM"):
        ways.append((choice.BLANK, True))
    calls = {way: run(call, way[0], resets=way[1]) for way in ways}
    timings = compare(calls, effort)
    return {
        path + choice.OF_PIECES * (resets and path in {choice.ROWS, choice.PACKED}): [
            *terms(_computed(kind, path, size), *done(call, path, resets=resets)),
            timings[path, resets].seconds * 1e9,
        ]
        for path, resets in ways
    }


def done(call: Call, path: str, *, resets: bool) -> tuple[int, int]:
    """Return how many steps and rows a path computes."""
    values: Any = call.lengths.values
    seq, batch = call.reset.shape
    if path == choice.PADDED:
        return max(values), max(values) * batch
    if path == choice.STEPS:
        return seq, seq * batch
    if path == choice.BLANK:
        longest = seq + int(call.reset[1:].sum(0).max())
        return longest, longest * batch
    if resets:
        pieces = pieces_of(torch.full((batch,), seq), call.reset)
        return int(pieces.steps[0]), seq * batch
    return max(values), sum(values)


def _computed(kind: str, path: str, size: Size) -> Size:
    return size._replace(hidden_size=choice.computed_units(kind, path, size.hidden_size))


def terms(size: Size, steps: int, rows: int) -> list[float]:
    """Return what the costs of a path are multiplied by."""
    hidden = size.hidden_size
    weights = hidden * (size.input_size + hidden)
    return [
        *(1.0, weights),
        *(steps, steps * hidden * hidden),
        *(rows * hidden, rows * weights),
    ]


def fitted(rows: Mapping[str, list[list[float]]]) -> dict[str, tuple[list[float], float]]:
    """Fit costs, none below zero, to measured times; return each path's, and its typical error.

    Paths that run the same kernel have their own costs of a call and of a row's numbers, which are
    brought to the kernel in another way; all else they share, or few large sizes would say for each
    what its weights cost.
    """
    found: dict[str, tuple[list[float], float]] = {}
    for kernel in dict.fromkeys(KERNELS.get(path, path) for path in rows):
        paths = [path for path in rows if KERNELS.get(path, path) == kernel]
        table = [
            [
                *(call * one for one in own),
                *(row * one for one in own),
                *(call_weights, step, step_weights, row_weights, time),
            ]
            for own, path in zip(torch.eye(len(paths)).tolist(), paths, strict=True)
            for call, call_weights, step, step_weights, row, row_weights, time in rows[path]
        ]
        costs, errors = _least(torch.tensor(table, dtype=torch.float64))
        call_weights, step, step_weights, row_weights = costs[-4:]
        for place, (path, each) in enumerate(zip(paths, errors.chunk(len(paths)), strict=True)):
            call, row = costs[place], costs[len(paths) + place]
            path_costs = [call, call_weights, step, step_weights, row, row_weights]
            found[path] = path_costs, float(each.median())
    return found


def _least(table: torch.Tensor) -> tuple[list[float], torch.Tensor]:
    """Return what the columns are multiplied by to be nearest to the last; and how far each is."""
    scaled = table[:, :-1] / table[:, -1:]
    norms = scaled.norm(dim=0)
    columns = scaled / norms
    # Plain numbers: a small tensor would take ten times as long.
    square: list[list[float]] = (columns.T @ columns).tolist()
    wanted: list[float] = columns.sum(dim=0).tolist()
    best = [0.0] * len(wanted)
    for _ in range(5000):
        for place, (line, want) in enumerate(zip(square, wanted, strict=True)):
            best[place] = max(0.0, best[place] + want - sum(map(mul, line, best)))
    x = torch.tensor(best, dtype=torch.float64)
    return [float(f"{cost:.3g}") for cost in x / norms], (columns @ x - 1).abs()


def fitted_together(
    rows: dict[str, list[list[float]]],
) -> dict[str, tuple[list[float], float]]:
    """Fit all paths, less what made the machine slow or fast for all of them at one size.

    At each size the paths took turns: what they took beside each other is known far better than
    how long they took.
    """
    slowness = [1.0] * len(next(iter(rows.values())))
    found: dict[str, tuple[list[float], float]] = {}
    for _ in range(4):
        misses: list[list[float]] = [[] for _ in slowness]
        scaled = {
            path: [
                [*factors, time / slow]
                for (*factors, time), slow in zip(each, slowness, strict=True)
            ]
            for path, each in rows.items()
        }
        found = fitted(scaled)
        for path, each in rows.items():
            for miss, (*factors, time) in zip(misses, each, strict=True):
                miss.append(time / sum(map(mul, found[path][0], factors)))
        slowness = [statistics.median(miss) for miss in misses]
    return found


def between(
    rows: dict[str, list[list[float]]],
    here: Mapping[str, Sequence[float]],
    there: Mapping[str, Sequence[float]],
) -> dict[str, list[float]]:
    """Fit costs to what lies between two CPUs at each size, however much faster one of them is.

    What is measured here counts twice: the other machine may have been busy.
    """
    middle: dict[str, list[list[float]]] = {path: [] for path in rows}
    for size in zip(*rows.values(), strict=True):
        factors = {path: row[:-1] for path, row in zip(rows, size, strict=True)}
        ours, theirs = (
            {path: sum(map(mul, each[path], terms)) for path, terms in factors.items()}
            for each in (here, there)
        )
        slower = statistics.geometric_mean(theirs[path] / ours[path] for path in rows)
        for path, terms in factors.items():
            middle[path].append([*terms, math.cbrt(ours[path] ** 2 * theirs[path] / slower)])
    return {path: each for path, (each, _) in fitted(middle).items()}


def fit(
    effort: Effort, number: int, table: Mapping[tuple[str, bool, str], Sequence[float]]
) -> dict[str, list[float]]:
    """Measure and fit all kinds on the CPU of this process, beside the costs of another one."""
    found: dict[str, list[float]] = {}
    for kind in KINDS:
        for gradients in (False, True):
            rows: dict[str, list[list[float]]] = {}
            for size in sizes(number):
                for path, row in measured(kind, size, effort, gradients=gradients).items():
                    rows.setdefault(path, []).append(row)
            fits = fitted_together(rows)
            for path, (each, error) in fits.items():
                print(f"{kind:14}{gradients!s:6}{path:17}{each} {error:.0%}", file=sys.stderr)
            best = {path: each for path, (each, _) in fits.items()}
            if table:
                theirs = {path: table[kind, gradients, path] for path in rows}
                best = between(rows, best, theirs)
            found |= {f"{kind}|{gradients}|{path}": each for path, each in best.items()}
    return found


def written(tables: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Write the module that holds the tables."""
    lines = [
        '"""What a path costs, in nanoseconds; written by ``python -m benchmarks.fit_choice``."""',
        "",
        "#: For a call, its weights, a step, its weights, a row's numbers and its weights.",
        "Costs = tuple[float, float, float, float, float, float]",
        "",
        "#: By the CPU, as ``choice`` names it; by kind, whether there are gradients, path.",
        "COSTS: dict[str, dict[tuple[str, bool, str], Costs]] = {",
    ]
    for name, table in sorted(tables.items()):
        lines.append(f'    "{name}": {{')
        for key, each in table.items():
            kind, gradients, path = key.split("|")
            numbers = ", ".join(f"{cost:g}" for cost in each)
            lines.append(f'        ("{kind}", {gradients}, "{path}"): ({numbers}),')
        lines.append("    },")
    return "\n".join([*lines, "}", ""])


def main() -> None:
    """Measure on this CPU, whole and made small, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--here", metavar="CPU", help="only print what this process finds")
    parser.add_argument("--seconds", type=float, default=0.25, help="for each size")
    parser.add_argument("--sizes", type=int, default=40, help="how many")
    parser.add_argument("--beside", action="store_true", help="let the table count, too")
    options = parser.parse_args()
    effort = Effort(seconds=options.seconds, block=2e-3)
    if options.here:
        table = costs.COSTS.get(options.here, {}) if options.beside else {}
        print(json.dumps(fit(effort, options.sizes, table)))
        return
    tables: dict[str, Mapping[str, Sequence[float]]] = {
        name: {
            f"{kind}|{gradients}|{path}": each for (kind, gradients, path), each in table.items()
        }
        for name, table in costs.COSTS.items()
    }
    for name, environment in CPUS.items():
        result = subprocess.run(  # noqa: S603 - this file, again
            [
                *(sys.executable, "-m", "benchmarks.fit_choice", f"--here={name}"),
                *(f"--seconds={options.seconds}", f"--sizes={options.sizes}"),
                *(["--beside"] if options.beside else []),
            ],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        tables[name] = json.loads(result.stdout)
    Path(costs.__file__).write_text(written(tables))


if __name__ == "__main__":
    main()
