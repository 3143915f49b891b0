"""A cell of one's own under torch's compiler: seconds to compile, and time by the eager loop's."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import rnnkit
from benchmarks.compiling import cpu_seconds
from benchmarks.report import Table
from benchmarks.timing import Effort, compare, quiet

#: Batch, input, hidden.
SIZES = ((8, 16, 32), (32, 64, 128))
#: The loop that is traced makes a graph for each number, and takes minutes for the last.
STEPS = (10, 40, 160)
TRACED_STEPS = STEPS[:2]


class NormedCell(nn.Module):
    """An LSTM cell with a layer norm of its gates."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        """Make the weights."""
        super().__init__()
        self.hidden_size = hidden_size
        self.linear = nn.Linear(input_size + hidden_size, 4 * hidden_size)
        self.norm = nn.LayerNorm(4 * hidden_size)

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Begin with zeros."""
        h = self.linear.weight.new_zeros(batch_size, self.hidden_size)
        return h, h.clone()

    def forward(self, x: Tensor, hx: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Run one step."""
        h, c = hx
        gates = self.norm(self.linear(torch.cat([x, h], -1)))
        i, f, g, o = gates.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


Run = Callable[[Tensor], Any]


def cell_alone(cell: NormedCell) -> Run:
    """Compile the cell, and run it in the eager loop."""
    alone = copy.deepcopy(cell)
    alone.compile()
    return partial(rnnkit.unroll, alone)


def blocks_of_ten(cell: NormedCell) -> Run:
    """Compile ten steps at a time."""
    return partial(rnnkit.unroll, copy.deepcopy(cell), block=10)


def traced_loop(cell: NormedCell) -> Run:
    """Compile the loop as a whole."""
    return torch.compile(partial(rnnkit.unroll, copy.deepcopy(cell)), fullgraph=True)


WAYS: dict[str, Callable[[NormedCell], Run]] = {
    "the cell by itself": cell_alone,
    "block=10": blocks_of_ten,
    "the whole loop": traced_loop,
}


def tables(effort: Effort) -> list[Table]:
    """Each way at each size, beside the loop that is not compiled."""
    cases = [
        (way, size, steps)
        for way in WAYS
        for size in SIZES
        for steps in (TRACED_STEPS if way == "the whole loop" else STEPS)
    ]
    rows = [_row(*case, effort) for case in cases[: None if effort.seconds else 1]]
    table = Table(
        "Own cells, compiled",
        "unroll runs an LSTM cell with layer normalisation. 'seconds' is the time of the first\n"
        "call with gradients plus the time of the first call without. The last two columns have\n"
        "the time of a call divided by the time of the uncompiled loop.",
        ("compiled", "batch, input, hidden", "steps", "seconds", "training", "no gradients"),
        rows,
    )
    return [table]


def _row(way: str, size: tuple[int, int, int], steps: int, effort: Effort) -> tuple[str, ...]:
    batch, width, hidden = size
    torch.manual_seed(0)
    cell = NormedCell(width, hidden)
    x = torch.randn(steps, batch, width)

    def train(run: Run) -> None:
        run(x)[0].square().sum().backward()

    def call(run: Run) -> None:
        with torch.no_grad():
            run(x)

    torch._dynamo.reset()  # noqa: SLF001 - it has no public name
    one = torch._inductor.config.patch(compile_threads=1)  # noqa: SLF001
    fresh: Any = torch._inductor.utils.fresh_cache  # noqa: SLF001
    eager = partial(rnnkit.unroll, cell)
    with quiet(), one, fresh():
        torch.compile(torch.sin)(x)  # what inductor compiles once for all
        compiled = WAYS[way](cell)
        start = cpu_seconds()
        train(compiled)
        call(compiled)
        took = cpu_seconds() - start
        timings = [
            compare({"eager": partial(use, eager), "compiled": partial(use, compiled)}, effort)
            for use in (train, call)
        ]
    ratios = [str(timing["compiled"]) for timing in timings]
    return (way, ", ".join(map(str, size)), str(steps), f"{took:.0f}", *ratios)
