"""``unroll`` over a cell beside torch's layer of the same size, and beside a loop in Python."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import rnnkit
from benchmarks.lengths import SHAPES, passes
from benchmarks.report import Table, budget
from benchmarks.timing import Effort, compare

KINDS = ("RNN", "LSTM", "GRU")
LIMIT = 1.05


def tables(effort: Effort) -> list[Table]:
    """Each kind of cell at each size, in one pass and in both."""
    rows: list[tuple[str, ...]] = []
    for backward, shape, kind in itertools.product((False, True), SHAPES, KINDS):
        timings = compare(calls(kind, shape, backward=backward), effort)
        ours = timings["unroll"]
        rows.append(
            (
                "forward + backward" if backward else "forward",
                str(shape),
                kind,
                *(f"{1e3 * timings[name].seconds:.2f}" for name in ("layer", "unroll")),
                f"{ours.ratio:.3f} ±{ours.spread:.3f}",
                budget(ours.ratio, LIMIT, spread=ours.spread),
                f"{timings['loop'].ratio:.1f}",
                f"{timings['unfused'].ratio:.1f}",
            )
        )
    return [
        Table(
            "Unrolled cells",
            "Milliseconds, and times relative to torch's layer of one direction. 'loop' calls\n"
            "torch's cell step by step; unfused, unroll does the same with rnnkit's.",
            (
                *("passes", "batch, seq, input, hidden", "cell", "layer", "unroll"),
                *("unroll/layer", "budget", "loop/layer", "unfused/layer"),
            ),
            rows,
        )
    ]


def calls(
    kind: str, shape: tuple[int, int, int, int], *, backward: bool
) -> dict[str, Callable[[], object]]:
    """Return the roads over the same weights: the layer, unroll, and two loops over cells."""
    torch.manual_seed(0)
    batch, seq, input_size, hidden_size = shape
    layer: nn.Module = getattr(nn, kind)(input_size, hidden_size)
    weights = {name.removesuffix("_l0"): weight for name, weight in layer.state_dict().items()}
    theirs: nn.Module = getattr(nn, f"{kind}Cell")(input_size, hidden_size)
    ours: Any = getattr(rnnkit, f"{kind}Cell")(input_size, hidden_size)
    for cell in (theirs, ours):
        cell.load_state_dict(weights, assign=True)
    x = torch.randn(seq, batch, input_size)

    def loop() -> tuple[Tensor, Any]:
        hx = None
        outputs = []
        for x_t in x:
            hx = theirs(x_t, hx)
            outputs.append(hx if isinstance(hx, Tensor) else hx[0])
        return torch.stack(outputs), hx

    roads: dict[str, tuple[nn.Module, Callable[[], tuple[Tensor, Any]]]] = {
        "layer": (layer, lambda: layer(x)),
        "unroll": (ours, lambda: rnnkit.unroll(ours, x)),
        "loop": (theirs, loop),
        "unfused": (ours, lambda: rnnkit.unroll(ours, x, fused=False)),
    }
    return {
        name: passes(run, module, x, backward=backward) for name, (module, run) in roads.items()
    }
