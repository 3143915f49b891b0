"""Measure what each path over a padded batch costs, and write the table that chooses by it.

    python -m benchmarks.fit_choice            # this CPU, and this CPU made small; some minutes

Sizes are drawn at random, once for all: none is one of the sizes that the benchmark shows. For each
kind of layer, with gradients and without, the formula of ``rnnkit._kernels.choice`` is fitted to
the times of each path so that the relative errors are small. A CPU is made small by the settings of
torch and of oneDNN, in a process of its own.
"""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import mul
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.timing import Effort, compare
from rnnkit._kernels import choice, costs, paths
from rnnkit._kernels.lengths import Lengths
from rnnkit._kernels.pieces import pieces_of
from rnnkit._kernels.stack import Direction, Stack

#: What a process is told, by the name of the CPU that it then takes this one for.
CPUS: dict[str, dict[str, str]] = {
    "native": {},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    "DEFAULT": {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
}

#: By the kind that the table knows, what torch calls it and in which dtype it is measured.
KINDS = {
    "LSTM": ("LSTM", torch.float32),
    "LSTM by steps": ("LSTM", torch.float64),
    "GRU": ("GRU", torch.float32),
    "RNN": ("RNN_TANH", torch.float32),
}
GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1}

#: From which to which the sizes are drawn, evenly on a logarithmic scale. Of a batch of one nothing
#: is padding, and torch's packed kernel takes another way.
RANGES = {"batch": (2, 128), "seq": (6, 400), "input_size": (8, 256), "hidden_size": (16, 256)}
#: Multiplications of a pass that is still timed.
LARGEST = 4e8


class Size(NamedTuple):
    """One call that is measured."""

    batch: int
    seq: int
    input_size: int
    hidden_size: int
    #: The share of steps that are valid, about.
    fill: float
    #: The share of steps before which a sample starts again.
    rate: float


def sizes(number: int, seed: int = 1) -> list[Size]:
    """Draw sizes, the same ones in every process."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    drawn: list[Size] = []
    while len(drawn) < number:
        batch, seq, input_size, hidden_size = (
            round(math.exp(draw.uniform(math.log(low), math.log(high))))
            for low, high in RANGES.values()
        )
        if batch * seq * hidden_size * (input_size + hidden_size) * 4 < LARGEST:
            shares = draw.uniform(0.15, 0.95), math.exp(draw.uniform(math.log(0.004), -2))
            drawn.append(Size(batch, seq, input_size, hidden_size, *shares))
    return drawn


class Call(NamedTuple):
    """A call of one layer in one direction, and what its two kinds of pieces come to."""

    stack: Stack
    input: Tensor
    state: tuple[Tensor, ...]
    lengths: Lengths
    reset: Tensor


def made(kind: str, size: Size, *, gradients: bool) -> Call:
    """Make the weights and the input of a call."""
    mode, dtype = KINDS[kind]
    torch.manual_seed(0)
    rows, hidden = GATES[mode] * size.hidden_size, size.hidden_size
    bound = hidden**-0.5
    shapes = (rows, size.input_size), (rows, hidden), (rows,), (rows,)
    weights = [
        torch.empty(shape, dtype=dtype).uniform_(-bound, bound).requires_grad_(gradients)
        for shape in shapes
    ]
    input = torch.randn(size.seq, size.batch, size.input_size, dtype=dtype)
    state = torch.zeros(1, size.batch, hidden, dtype=dtype)
    even = (torch.randperm(size.batch) + 1) / size.batch
    counts = (size.seq * even ** (1 / size.fill - 1)).round().long().clamp(min=1)
    return Call(
        Stack([[Direction(mode, weights, bias=True, training=True)]]),
        input.requires_grad_(gradients),
        (state,) * (2 if mode == "LSTM" else 1),
        Lengths(counts, counts.tolist(), size.seq),
        _resets(size),
    )


def _resets(size: Size) -> Tensor:
    reset = torch.rand(size.seq, size.batch) < size.rate
    reset[size.seq // 2, 0] = True  # one at least
    return reset


@contextmanager
def forced(path: str) -> Iterator[None]:
    """Let every call take one path; over the padding in one group."""
    only = (choice.PADDED, path) if path == choice.BLANK else (path,)
    usual = choice.paths_of, choice.grouped
    # Not by a mock, which takes as long as a short call.
    choice.paths_of = lambda *_, **__: only
    choice.grouped = lambda values, *_: [(0, len(values))]
    try:
        yield
    finally:
        choice.paths_of, choice.grouped = usual


def run(call: Call, path: str | None, *, resets: bool) -> Callable[[], object]:
    """Return the call on a path, or on the one that is chosen; both passes if it has gradients."""
    lengths, reset = (None, call.reset) if resets else (call.lengths, None)
    leaves = [call.input, *call.stack.directions[0].weights]

    def once() -> object:
        output, _ = paths.run(call.stack, call.input, call.state, lengths, reset)
        if call.input.requires_grad:
            return torch.autograd.grad(output.sum(), leaves)
        return output

    def on_the_path() -> object:
        with torch.set_grad_enabled(call.input.requires_grad):
            if path is None:
                return once()
            with forced(path):
                return once()

    return on_the_path


def measured(kind: str, size: Size, effort: Effort, *, gradients: bool) -> dict[str, list[float]]:
    """Return for each path its terms in the formula, and the seconds it took."""
    call = made(kind, size, gradients=gradients)
    ways = [(choice.PADDED, False), (choice.PACKED, False), (choice.PACKED, True)]
    ways.append((choice.STEPS, True))
    if gradients:
        ways += [(choice.ROWS, False), (choice.ROWS, True)]
    if kind.startswith("LSTM"):
        ways.append((choice.BLANK, True))
    calls = {way: run(call, way[0], resets=way[1]) for way in ways}
    timings = compare(calls, effort)
    return {
        path + choice.OF_PIECES * (resets and path in {choice.ROWS, choice.PACKED}): [
            *terms(size, *done(call, path, resets=resets)),
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


def terms(size: Size, steps: int, rows: int) -> list[float]:
    """Return what the costs of a path are multiplied by."""
    hidden = size.hidden_size
    return [
        1.0,
        *(steps, steps * hidden * hidden),
        *(rows * hidden, rows * hidden * (size.input_size + hidden)),
    ]


def fitted(rows: list[list[float]]) -> tuple[list[float], float]:
    """Fit costs, none below zero, to measured times; return them, and their typical error."""
    table = torch.tensor(rows, dtype=torch.float64)
    scaled = table[:, :-1] / table[:, -1:]
    norms = scaled.norm(dim=0)
    columns = scaled / norms
    # Plain numbers: a tensor of five would take ten times as long.
    square: list[list[float]] = (columns.T @ columns).tolist()
    wanted: list[float] = columns.sum(dim=0).tolist()
    best = [0.0] * len(wanted)
    for _ in range(5000):
        for place, (line, want) in enumerate(zip(square, wanted, strict=True)):
            best[place] = max(0.0, best[place] + want - sum(map(mul, line, best)))
    x = torch.tensor(best, dtype=torch.float64)
    errors = (columns @ x - 1).abs()
    return [float(f"{cost:.3g}") for cost in x / norms], float(errors.median())


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
        for path, each in rows.items():
            scaled = [
                [*factors, time / slow]
                for (*factors, time), slow in zip(each, slowness, strict=True)
            ]
            found[path] = fitted(scaled)
            for miss, (*factors, time) in zip(misses, each, strict=True):
                miss.append(time / sum(map(mul, found[path][0], factors)))
        slowness = [statistics.median(miss) for miss in misses]
    return found


def fit(effort: Effort, number: int) -> dict[str, list[float]]:
    """Measure and fit all kinds on the CPU of this process."""
    found: dict[str, list[float]] = {}
    for kind in KINDS:
        for gradients in (False, True):
            rows: dict[str, list[list[float]]] = {}
            for size in sizes(number):
                for path, row in measured(kind, size, effort, gradients=gradients).items():
                    rows.setdefault(path, []).append(row)
            for path, (each, error) in fitted_together(rows).items():
                found[f"{kind}|{gradients}|{path}"] = each
                print(f"{kind:14}{gradients!s:6}{path:17}{each} {error:.0%}", file=sys.stderr)
    return found


def written(tables: dict[str, dict[str, list[float]]]) -> str:
    """Write the module that holds the tables."""
    lines = [
        '"""What a path costs, in nanoseconds; written by ``python -m benchmarks.fit_choice``."""',
        "",
        "#: For a call, a step, a step's weights, a row's numbers and a row's weights.",
        "Costs = tuple[float, float, float, float, float]",
        "",
        "#: By the CPU's capability as torch names it; by kind, whether there are gradients, path.",
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
    parser.add_argument("--here", action="store_true", help="only print what this process finds")
    parser.add_argument("--seconds", type=float, default=0.25, help="for each size")
    parser.add_argument("--sizes", type=int, default=40, help="how many")
    options = parser.parse_args()
    effort = Effort(seconds=options.seconds, block=2e-3)
    if options.here:
        name = torch.backends.cpu.get_cpu_capability()
        print(json.dumps({name: fit(effort, options.sizes)}))
        return
    tables: dict[str, dict[str, list[float]]] = {}
    for environment in CPUS.values():
        result = subprocess.run(  # noqa: S603 - this file, again
            [
                *(sys.executable, "-m", "benchmarks.fit_choice", "--here"),
                *(f"--seconds={options.seconds}", f"--sizes={options.sizes}"),
            ],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        tables |= json.loads(result.stdout)
    Path(costs.__file__).write_text(written(tables))


if __name__ == "__main__":
    main()
