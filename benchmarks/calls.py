"""What a checked call costs beside torch's own."""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from benchmarks.report import Table, budget
from benchmarks.subjects import state, trio
from benchmarks.timing import Effort, Timing, compare

LAYERS = ("RNN", "LSTM", "GRU")
CELLS = ("RNNCell", "LSTMCell", "GRUCell")


class Workload(NamedTuple):
    """Sizes that are called, and the most that rnnkit may take of torch's time there."""

    kinds: tuple[str, ...]
    name: str
    sizes: tuple[int, ...]
    budget: float


WORKLOADS = (
    Workload(LAYERS, "T=1 B=1 H=8", (1, 1, 8), 1.02),
    Workload(LAYERS, "T=50 B=32 H=128", (50, 32, 128), 1.00),
    Workload(CELLS, "B=4 H=16", (4, 16), 1.06),
)


def tables(effort: Effort) -> list[Table]:
    """Each kind of module at each size, with and without a state, with and without gradients."""
    rows: list[tuple[str, ...]] = []
    short: list[tuple[str, ...]] = []
    for work in WORKLOADS:
        ratios = []
        for kind, given, grad in itertools.product(work.kinds, (False, True), (False, True)):
            timings = measure(kind, work.sizes, effort, given=given, grad=grad)
            ours = timings["rnnkit"]
            ratios.append(ours.ratio)
            rows.append(
                (
                    kind,
                    work.name,
                    "given" if given else "zeros",
                    "yes" if grad else "no",
                    *(f"{1e6 * timings[name].seconds:.1f}" for name in ("torch", "rnnkit")),
                    f"{ours.ratio:.3f} ±{ours.spread:.3f}",
                    budget(ours.ratio, work.budget, spread=ours.spread),
                    f"{timings['naive'].ratio:.2f}",
                    f"{timings['torch again'].ratio:.3f}",
                )
            )
        mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
        short.append((work.name, f"{mean:.3f}", f"{max(ratios):.3f}", budget(mean, work.budget)))
    return [
        Table(
            "Checked calls",
            "Microseconds a call, and times relative to torch.nn's. 'naive' is a subclass whose\n"
            "forward is annotated and jaxtyped. 'torch/torch' is a second module of torch's own\n"
            "class: its distance from 1 is what this table cannot tell. ± is half the width of\n"
            "the 95 % confidence interval; 'unclear' is what noise alone may have put over its\n"
            "budget.",
            (
                *("module", "size", "state", "grad", "torch", "rnnkit", "rnnkit/torch", "budget"),
                *("naive/torch", "torch/torch"),
            ),
            rows,
        ),
        Table(
            "Checked calls, in short",
            "rnnkit's time relative to torch.nn's over the rows of one size.",
            ("size", "geometric mean", "worst", "budget"),
            short,
        ),
    ]


def measure(
    kind: str, sizes: tuple[int, ...], effort: Effort, *, given: bool, grad: bool
) -> dict[str, Timing]:
    """Time one kind of module at one size: torch's, rnnkit's and the hand-checked one."""
    torch.manual_seed(0)
    hidden = sizes[-1]
    modules = trio(kind, hidden, hidden)
    twin = type(modules.torch)(hidden, hidden)
    twin.load_state_dict(modules.torch.state_dict(), assign=True)
    arguments: tuple[object, ...] = (torch.randn(sizes),)
    if given:
        arguments += (state(kind, *((1, *sizes[1:]) if kind in LAYERS else sizes)),)

    def call(module: nn.Module) -> Callable[[], object]:
        return lambda: module(*arguments)

    with torch.set_grad_enabled(grad):
        return compare(
            {
                "torch": call(modules.torch),
                "rnnkit": call(modules.rnnkit),
                "naive": call(modules.naive),
                "torch again": call(twin),
            },
            effort,
        )
