"""``lengths=`` beside the pack and pad that a careful user writes, and beside a padded layer."""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnkit
from benchmarks.report import Table, budget
from benchmarks.timing import Effort, compare

#: ``(batch, seq, input_size, hidden_size)``.
SHAPES = ((32, 50, 64, 128), (16, 100, 32, 64), (8, 200, 32, 64), (64, 30, 128, 256))
KINDS = ("LSTM", "GRU")
EVERYWHERE = 1.0
ON_AVERAGE = 0.6


class Subject(NamedTuple):
    """One batch, and the same layer in torch's make and in rnnkit's."""

    torch: nn.Module
    rnnkit: nn.Module
    input: Tensor
    lengths: Tensor


def tables(effort: Effort) -> list[Table]:
    """Mixed lengths over the grid, their mean, and lengths that are all the same."""
    rows: list[tuple[str, ...]] = []
    short: list[tuple[str, ...]] = []
    full: list[tuple[str, ...]] = []
    for backward in (False, True):
        passes = "forward + backward" if backward else "forward"
        ratios, limits = [], []
        for shape, kind, directions in itertools.product(SHAPES, KINDS, (1, 2)):
            made = subject(kind, shape, bidirectional=directions == 2, mixed=True)
            timings = compare(calls(made, backward=backward), effort)
            ours, padded = timings["lengths"], timings["padded"]
            ratios.append(ours.ratio)
            limits.append(padded.ratio)
            rows.append(
                (
                    passes,
                    str(shape),
                    kind,
                    str(directions),
                    *(f"{1e3 * timings[name].seconds:.2f}" for name in ("pack", "lengths")),
                    f"{ours.ratio:.2f} ±{ours.spread:.2f}",
                    budget(ours.ratio, EVERYWHERE, spread=ours.spread),
                    f"{padded.ratio:.2f}",
                )
            )
            made = subject(kind, shape, bidirectional=directions == 2, mixed=False)
            timings = compare(calls(made, backward=backward), effort, baseline="padded")
            ours = timings["lengths"]
            full.append(
                (
                    passes,
                    str(shape),
                    kind,
                    str(directions),
                    f"{ours.ratio:.3f} ±{ours.spread:.3f}",
                    budget(ours.ratio, EVERYWHERE, spread=ours.spread),
                    f"{timings['pack'].ratio:.2f}",
                )
            )
        mean = _mean(ratios)
        limit = budget(mean, ON_AVERAGE) if backward else ""
        short.append((passes, f"{mean:.2f}", limit, f"{max(ratios):.2f}", f"{_mean(limits):.2f}"))
    return [
        Table(
            "Mixed lengths",
            "Milliseconds, and times relative to pack_padded_sequence, the layer, and\n"
            "pad_packed_sequence. Lengths are uniform from 1 to seq. 'padded' is torch's layer\n"
            "over the padding, which is wrong, and shows what the kernel alone takes.",
            (
                *("passes", "batch, seq, input, hidden", "layer", "directions", "pack", "lengths"),
                *("lengths/pack", "budget", "padded/pack"),
            ),
            rows,
        ),
        Table(
            "Mixed lengths, in short",
            "The geometric mean and the worst of the ratios above.",
            ("passes", "lengths/pack", "budget", "worst", "padded/pack"),
            short,
        ),
        Table(
            "Lengths that are all seq",
            "Times relative to torch's layer without lengths.",
            (
                *("passes", "batch, seq, input, hidden", "layer", "directions"),
                *("lengths/padded", "budget", "pack/padded"),
            ),
            full,
        ),
    ]


def subject(
    kind: str, shape: tuple[int, int, int, int], *, bidirectional: bool, mixed: bool
) -> Subject:
    """Make the two layers, over the same weights, and a batch for them."""
    torch.manual_seed(0)
    batch, seq, input_size, hidden_size = shape
    theirs: nn.Module = getattr(nn, kind)(input_size, hidden_size, bidirectional=bidirectional)
    ours: nn.Module = getattr(rnnkit, kind)(input_size, hidden_size, bidirectional=bidirectional)
    ours.load_state_dict(theirs.state_dict(), assign=True)
    lengths = torch.randint(1, seq + 1, (batch,)) if mixed else torch.full((batch,), seq)
    return Subject(theirs, ours, torch.randn(seq, batch, input_size), lengths)


def calls(made: Subject, *, backward: bool) -> dict[str, Callable[[], object]]:
    """Return the three roads: packed by hand, with lengths, over the padding."""
    _, _, x, lengths = made

    def pack() -> tuple[Tensor, Any]:
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        output, state = made.torch(packed)
        output, _ = pad_packed_sequence(output, total_length=len(x))
        return output, state

    roads: dict[str, tuple[nn.Module, Callable[[], tuple[Tensor, Any]]]] = {
        "pack": (made.torch, pack),
        "lengths": (made.rnnkit, lambda: made.rnnkit(x, lengths=lengths)),
        "padded": (made.torch, lambda: made.torch(x)),
    }
    return {
        name: passes(run, module, x, backward=backward) for name, (module, run) in roads.items()
    }


def passes(
    run: Callable[[], tuple[Tensor, Any]], module: nn.Module, x: Tensor, *, backward: bool
) -> Callable[[], object]:
    """Return a call of the forward pass alone, without a graph, or of both passes."""
    x.requires_grad_(backward)
    leaves = [x, *module.parameters()]

    def forward() -> object:
        with torch.no_grad():
            return run()

    def both() -> object:
        output, state = run()
        h = state if isinstance(state, Tensor) else state[0]
        return torch.autograd.grad(output.sum() + h.sum(), leaves)

    return both if backward else forward


def _mean(ratios: list[float]) -> float:
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
