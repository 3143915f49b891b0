"""``lengths=`` beside the pack and pad that a careful user writes, and beside a padded layer."""

import itertools
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.growth import Sizes, growth
from benchmarks.passes import PASSES, SHAPES, KernelPath, Shape, calls, cases
from benchmarks.report import Table, budget
from benchmarks.subjects import pair
from benchmarks.timing import Effort, Timing, compare

KINDS = ("LSTM", "GRU")
#: The most that each may be of packing by hand, without gradients and with them.
EVERYWHERE = {False: 1.0, True: 0.8}
ON_AVERAGE = 0.4
PACKED = 1.05

#: A layer that people train. A call of it takes seconds, so a comparison gets longer.
LARGE: Shape = (128, 100, 512, 512)
LONGER = 40

#: How lengths are spread: evenly from 1 to seq, or most of them short and a few long.
SPREADS = {"even": 0.5, "skewed": 0.25}

BASE = Sizes(batch=16, seq=50, hidden=64, fill=0.5)
VARIED = {
    "batch": (1, 4, 16, 64, 256),
    "seq": (10, 50, 250),
    "hidden": (16, 64, 256),
    "fill": (0.1, 0.25, 0.5, 0.75, 1.0),
}


def tables(effort: Effort) -> list[Table]:
    """Mixed lengths over the grid, their mean, a large layer, packed input, and growth."""
    return [*_mixed(effort), _large(effort), _packed(effort), _growth(effort.brief())]


def _mixed(effort: Effort) -> list[Table]:
    rows: list[tuple[str, ...]] = []
    short: list[tuple[str, ...]] = []
    for (passes, backward), (spread, fill) in itertools.product(PASSES.items(), SPREADS.items()):
        ratios = []
        limits = []
        for shape, kind, directions in itertools.product(SHAPES[: effort.sizes], KINDS, (1, 2)):
            paths = made(kind, shape, fill=fill, directions=directions, backward=backward)
            timings = compare(paths, effort)
            ours = timings["lengths"]
            padded = timings["padded"]
            ratios.append(ours.ratio)
            limits.append(padded.ratio)
            rows.append(
                (
                    *(passes, spread, str(shape), kind, str(directions)),
                    *(f"{1e3 * timings[name].seconds:.2f}" for name in ("pack", "lengths")),
                    *(str(ours), budget(ours.ratio, EVERYWHERE[backward], spread=ours.spread)),
                    str(padded),
                )
            )
        mean = statistics.geometric_mean(ratios)
        limit = budget(mean, ON_AVERAGE) if backward else ""
        padded_mean = statistics.geometric_mean(limits)
        short.append(
            (passes, spread, f"{mean:.2f}", limit, f"{max(ratios):.2f}", f"{padded_mean:.2f}")
        )
    return [
        Table(
            "Mixed lengths",
            "Lengths are spread evenly from 1 to seq, or are skewed (mostly short).\n"
            "'padded' also computes the padding.",
            ("passes", "lengths", "lengths/pack", "budget", "worst", "padded/pack"),
            short,
        ),
        Table(
            "Mixed lengths, one by one",
            "Times are milliseconds.",
            (
                *("passes", "spread", "batch, seq, input, hidden", "layer", "directions"),
                *("pack", "lengths", "lengths/pack", "budget", "padded/pack"),
            ),
            rows,
        ),
    ]


def _large(effort: Effort) -> Table:
    effort = effort._replace(seconds=LONGER * effort.seconds)
    shape = LARGE if effort.sizes is None else SHAPES[0]
    rows: list[tuple[str, ...]] = []
    for kind in KINDS:
        paths = made(kind, shape, fill=SPREADS["even"], directions=1, backward=True)
        timings = compare({name: paths[name] for name in ("pack", "lengths")}, effort)
        seconds = (f"{timings[name].seconds:.2f}" for name in ("pack", "lengths"))
        rows.append((str(shape), kind, *seconds, str(timings["lengths"])))
    return Table(
        "Mixed lengths, a large layer",
        f"Times are seconds per training step; each comparison runs for {effort.seconds:g} s.",
        ("batch, seq, input, hidden", "layer", "pack", "lengths", "lengths/pack"),
        rows,
    )


def _packed(effort: Effort) -> Table:
    rows: list[tuple[str, ...]] = []
    for (passes, backward), shape, kind in itertools.product(
        PASSES.items(), SHAPES[: effort.sizes], ("RNN", *KINDS)
    ):
        timings = compare(packed_calls(kind, shape, backward=backward), effort)
        ours = timings["rnnkit"]
        limit = budget(ours.ratio, PACKED, spread=ours.spread)
        again = str(timings["torch again"])
        rows.append((passes, str(shape), kind, str(ours), limit, again))
    return Table(
        "Packed calls",
        "The input is packed.",
        ("passes", "batch, seq, input, hidden", "layer", "rnnkit/torch", "budget", "torch/torch"),
        rows,
    )


def packed_calls(kind: str, shape: Shape, *, backward: bool) -> dict[str, Callable[[], object]]:
    """Return the calls of torch's layer and of rnnkit's, with the same packed input."""
    torch.manual_seed(0)
    batch, seq, input_size, hidden_size = shape
    theirs, ours = pair(kind, input_size, hidden_size)
    x = torch.randn(seq, batch, input_size)
    packed = pack_padded_sequence(x, lengths_of(batch, seq, 0.5), enforce_sorted=False)
    modules = {"torch": theirs, "rnnkit": ours, "torch again": theirs}
    paths = {
        name: KernelPath(module, lambda module=module: module(packed)[0].data)  # type: ignore[misc]
        for name, module in modules.items()
    }
    return calls(paths, backward=backward)


def _growth(effort: Effort) -> Table:
    columns = cases(KINDS)

    def timed(column: str, sizes: Sizes) -> Timing:
        kind, backward = columns[column]
        shape = (sizes.batch, sizes.seq, sizes.hidden, sizes.hidden)
        paths = made(kind, shape, fill=sizes.fill, directions=1, backward=backward)
        return compare({name: paths[name] for name in ("pack", "lengths")}, effort)["lengths"]

    return growth(
        "Mixed lengths as sizes grow",
        "The time with lengths= divided by the time with packing; 'fill' is the mean length "
        "divided by seq.",
        *(effort, BASE, VARIED, list(columns), timed),
    )


def made(
    kind: str, shape: Shape, *, fill: float, directions: int, backward: bool
) -> dict[str, Callable[[], object]]:
    """Return the three paths over the same weights: packed by hand, lengths, over the padding."""
    torch.manual_seed(0)
    batch, seq, input_size, hidden_size = shape
    theirs, ours = pair(kind, input_size, hidden_size, bidirectional=directions == 2)
    lengths = lengths_of(batch, seq, fill)
    x = torch.randn(seq, batch, input_size)

    def pack() -> tuple[Tensor, Any]:
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        output, state = theirs(packed)
        output, _ = pad_packed_sequence(output, total_length=seq)
        return output, state

    paths = {
        "pack": KernelPath(theirs, pack),
        "lengths": KernelPath(ours, lambda: ours(x, lengths=lengths)),
        "padded": KernelPath(theirs, lambda: theirs(x)),
    }
    return calls(paths, x, backward=backward)


def lengths_of(batch: int, seq: int, fill: float) -> Tensor:
    """Return lengths from 1 to ``seq``, in no order, the longest of them ``seq``.

    They are spread evenly for a fill of a half, mostly short below it, mostly long above it;
    their mean comes near to ``fill * seq`` in a large batch.
    """
    even = (torch.randperm(batch) + 1) / batch
    return (seq * even ** (1 / fill - 1)).round().long().clamp(min=1)
