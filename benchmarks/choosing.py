"""How far the chosen path is from the best one, at sizes that the rule was not fitted on."""

import itertools
import math
import random
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

import rnnkit
from benchmarks.lengths import lengths_of
from benchmarks.passes import PASSES, KernelPath, calls
from benchmarks.report import Table, budget
from benchmarks.timing import Effort, compare
from rnnkit._kernels import choice

SEED = 2
NUMBER = 80
MEAN = 1.10
NEAR = 1.40
SHARE = 0.95

#: Layers, and in which dtype each is measured; in float64 there is no fast LSTM.
KINDS = (
    ("LSTM", torch.float32), ("LSTM", torch.float64), ("GRU", torch.float32), ("RNN", torch.float32)
)  # fmt: skip

#: From which to which the sizes are drawn, evenly on a logarithmic scale. Of a batch of one nothing
#: is padding, and torch's packed kernel takes another way.
RANGES = {"batch": (2, 128), "seq": (6, 400), "input_size": (8, 256), "hidden_size": (16, 256)}
#: Multiplications of a pass that is still timed.
LARGEST = 8e8


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


def drawn(number: int, seed: int = 1) -> list[Size]:
    """Draw sizes, the same ones in every process."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    found: list[Size] = []
    while len(found) < number:
        batch, seq, input_size, hidden_size = (
            round(math.exp(draw.uniform(math.log(low), math.log(high))))
            for low, high in RANGES.values()
        )
        if batch * seq * hidden_size * (input_size + hidden_size) * 4 < LARGEST:
            shares = draw.uniform(0.15, 0.95), math.exp(draw.uniform(math.log(0.004), -2))
            found.append(Size(batch, seq, input_size, hidden_size, *shares))
    return found


def tables(effort: Effort) -> list[Table]:
    """Lengths and resets, in both passes, each kind of layer in turn."""
    rows: list[tuple[str, ...]] = []
    sizes = drawn(NUMBER, SEED)
    if effort.sizes is not None:
        sizes = sorted(sizes, key=math.prod)[: effort.sizes]
    for (passes, backward), resets in itertools.product(PASSES.items(), (False, True)):
        ratios = [
            regret(*kind, size, effort.brief(), backward=backward, resets=resets)
            for kind, size in zip(itertools.cycle(KINDS), sizes, strict=False)
        ]
        mean = statistics.geometric_mean(ratios)
        near = sum(ratio <= NEAR for ratio in ratios) / len(ratios)
        rows.append(
            (
                *(passes, "reset" if resets else "lengths"),
                *(f"{mean:.2f}", budget(mean, MEAN), f"{near:.0%}"),
                f"{SHARE:.0%}" if near >= SHARE else f"{SHARE:.0%} **missed**",
                f"{max(ratios):.2f}",
            )
        )
    return [
        Table(
            "Choice of path",
            f"The chosen kernel's time divided by the fastest one's, for {NUMBER} random sizes.",
            ("passes", "given", "mean", "budget", f"within {NEAR:.2f}", "at least", "worst"),
            rows,
        )
    ]


def regret(
    kind: str, dtype: torch.dtype, size: Size, effort: Effort, *, backward: bool, resets: bool
) -> float:
    """Return the time of what is chosen, by that of the best path."""
    paths = [choice.PACKED, choice.ROWS]
    if resets:
        paths += [choice.STEPS, *([choice.BLANK] if kind == "LSTM" else [])]
    else:
        paths.append(choice.PADDED)
    run = made(kind, dtype, size, backward=backward, resets=resets)
    timings = compare({"chosen": run, **{path: forced(run, path) for path in paths}}, effort)
    return 1 / min(1.0, *(timings[path].ratio for path in paths))


def made(
    kind: str, dtype: torch.dtype, size: Size, *, backward: bool, resets: bool
) -> Callable[[], object]:
    """Return a call with lengths or resets."""
    torch.manual_seed(0)
    layer: Any = getattr(rnnkit, kind)(size.input_size, size.hidden_size, dtype=dtype)
    x = torch.randn(size.seq, size.batch, size.input_size, dtype=dtype)
    given: dict[str, Tensor] = {"lengths": lengths_of(size.batch, size.seq, size.fill)}
    if resets:
        given = {"reset": torch.rand(size.seq, size.batch) < size.rate}
        given["reset"][size.seq // 2, 0] = True  # one at least
    path = KernelPath(layer, lambda: layer(x, **given)[0])
    return calls({kind: path}, x, backward=backward)[kind]


def forced(run: Callable[[], object], path: str) -> Callable[[], object]:
    """Return a call that takes one path."""
    usual = choice.for_lengths, choice.for_resets

    def call() -> object:
        # Not by a mock, which takes as long as a short call.
        choice.for_lengths = choice.for_resets = lambda *_, **__: path  # type: ignore[assignment]
        try:
            return run()
        finally:
            choice.for_lengths, choice.for_resets = usual

    return call
