"""``unroll`` over a cell beside torch's layer of the same size, and beside a loop in Python."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import rnnkit
from benchmarks.growth import Sizes, growth
from benchmarks.passes import PASSES, SHAPES, KernelPath, Shape, calls, cases
from benchmarks.report import Table, budget
from benchmarks.subjects import pair, sharing
from benchmarks.timing import Effort, Timing, compare

KINDS = ("RNN", "LSTM", "GRU")
LIMIT = 1.05

BASE = Sizes(batch=16, seq=50, hidden=64)
VARIED = {"batch": (1, 4, 16, 64, 256), "seq": (1, 10, 50, 250), "hidden": (16, 64, 256)}


def tables(effort: Effort) -> list[Table]:
    """Each kind of cell at each size, in one pass and in both; and growth."""
    rows: list[tuple[str, ...]] = []
    for (passes, backward), shape, kind in itertools.product(
        PASSES.items(), SHAPES[: effort.sizes], KINDS
    ):
        timings = compare(made(kind, shape, backward=backward), effort)
        ours = timings["unroll"]
        rows.append(
            (
                *(passes, str(shape), kind),
                *(f"{1e3 * timings[name].seconds:.2f}" for name in ("layer", "unroll")),
                *(str(ours), budget(ours.ratio, LIMIT, spread=ours.spread)),
                *(str(timings[name]) for name in ("loop", "unfused")),
            )
        )
    table = Table(
        "Unrolled cells",
        "Times are milliseconds. 'loop' calls torch's cells; 'unfused' calls rnnkit's.",
        (
            *("passes", "batch, seq, input, hidden", "cell", "layer", "unroll"),
            *("unroll/layer", "budget", "loop/layer", "unfused/layer"),
        ),
        rows,
    )
    return [table, _growth(effort.brief())]


def _growth(effort: Effort) -> Table:
    columns = cases(KINDS)

    def timed(column: str, sizes: Sizes) -> Timing:
        kind, backward = columns[column]
        paths = made(kind, (sizes.batch, sizes.seq, sizes.hidden, sizes.hidden), backward=backward)
        return compare({name: paths[name] for name in ("layer", "unroll")}, effort)["unroll"]

    return growth(
        "Unrolled cells as sizes grow",
        "The time of unroll divided by the layer's.",
        *(effort, BASE, VARIED, list(columns), timed),
    )


def made(kind: str, shape: Shape, *, backward: bool) -> dict[str, Callable[[], object]]:
    """Return the paths over the same weights: the layer, unroll, and two loops over cells."""
    torch.manual_seed(0)
    batch, seq, input_size, hidden_size = shape
    sizes = input_size, hidden_size
    layer, theirs, ours = sharing(getattr(nn, kind)(*sizes), *pair(f"{kind}Cell", *sizes))
    cell: Any = ours
    x = torch.randn(seq, batch, input_size)

    def loop() -> tuple[Tensor, Any]:
        hx = None
        outputs = []
        for x_t in x:
            hx = theirs(x_t, hx)
            outputs.append(hx if isinstance(hx, Tensor) else hx[0])
        return torch.stack(outputs), hx

    paths = {
        "layer": KernelPath(layer, lambda: layer(x)),
        "unroll": KernelPath(ours, lambda: rnnkit.unroll(cell, x)),
        "loop": KernelPath(theirs, loop),
        "unfused": KernelPath(ours, lambda: rnnkit.unroll(cell, x, fused=False)),
    }
    return calls(paths, x, backward=backward)
