"""What a checked call costs beside torch's own."""

import itertools
import statistics
from functools import partial
from typing import NamedTuple

import torch

from benchmarks.growth import Sizes, growth
from benchmarks.report import Table, budget
from benchmarks.subjects import sharing, state, trio
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
    Workload(LAYERS, "seq 1, batch 1, hidden 8", (1, 1, 8), 1.02),
    Workload(LAYERS, "seq 50, batch 32, hidden 128", (50, 32, 128), 1.00),
    Workload(CELLS, "batch 4, hidden 16", (4, 16), 1.06),
)

BASE = Sizes(batch=4, seq=5, hidden=32)
VARIED = {"batch": (1, 4, 16, 64, 256), "seq": (1, 5, 20, 100), "hidden": (8, 32, 128, 512)}


def tables(effort: Effort) -> list[Table]:
    """Each kind of module at each size, with and without state and gradients; and growth."""
    rows: list[tuple[str, ...]] = []
    short: list[tuple[str, ...]] = []
    for work in WORKLOADS:
        ratios = []
        naive = []
        for kind, given, grad in itertools.product(work.kinds, (False, True), (False, True)):
            timings = measure(kind, work.sizes, effort, given=given, grad=grad)
            ours = timings["rnnkit"]
            ratios.append(ours.ratio)
            naive.append(timings["naive"].ratio)
            rows.append(
                (
                    *(kind, work.name, "given" if given else "zeros", "yes" if grad else "no"),
                    *(f"{1e6 * timings[name].seconds:.1f}" for name in ("torch", "rnnkit")),
                    *(str(ours), budget(ours.ratio, work.budget, spread=ours.spread)),
                    *(str(timings[name]) for name in ("naive", "torch again")),
                )
            )
        mean = statistics.geometric_mean(ratios)
        limit = work.budget
        numbers = (mean, max(ratios), statistics.geometric_mean(naive))
        short.append((work.name, *(f"{one:.2f}" for one in numbers), budget(mean, limit)))
    return [
        Table(
            "Checked calls",
            "'naive' is torch's module, annotated with jaxtyping.",
            ("size", "rnnkit/torch", "worst", "naive/torch", "budget"),
            short,
        ),
        Table(
            "Checked calls, one by one",
            "Times are microseconds per call.",
            (
                *("module", "size", "state", "grad", "torch", "rnnkit", "rnnkit/torch", "budget"),
                *("naive/torch", "torch/torch"),
            ),
            rows,
        ),
        _growth(effort.brief()),
    ]


def _growth(effort: Effort) -> Table:
    def timed(kind: str, sizes: Sizes) -> Timing | str:
        if kind in CELLS and sizes.seq != BASE.seq:
            return ""
        seq = (sizes.seq,) if kind in LAYERS else ()
        shape = (*seq, sizes.batch, sizes.hidden)
        return measure(kind, shape, effort, given=True, grad=True)["rnnkit"]

    return growth(
        "Checked calls as sizes grow",
        "The time of rnnkit divided by torch's, with a state and gradients.",
        *(effort, BASE, VARIED, (*LAYERS, *CELLS), timed),
    )


def measure(
    kind: str, sizes: tuple[int, ...], effort: Effort, *, given: bool, grad: bool
) -> dict[str, Timing]:
    """Time one kind of module at one size: torch's, rnnkit's and the hand-checked one."""
    torch.manual_seed(0)
    hidden = sizes[-1]
    modules = trio(kind, hidden, hidden)
    _, twin = sharing(modules.torch, type(modules.torch)(hidden, hidden))
    arguments: tuple[object, ...] = (torch.randn(sizes),)
    if given:
        arguments += (state(kind, *((1, *sizes[1:]) if kind in LAYERS else sizes)),)

    makes = {**modules._asdict(), "torch again": twin}
    with torch.set_grad_enabled(grad):
        return compare({name: partial(make, *arguments) for name, make in makes.items()}, effort)
