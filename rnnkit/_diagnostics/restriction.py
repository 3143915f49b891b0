"""The restriction: a part of the inputs by itself returns that part, f(x|S) = f(x)|S."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline, Take
from rnnkit._diagnostics.judge import agree, refuse_chance
from rnnkit._diagnostics.outputs import Leaves, is_number
from rnnkit._diagnostics.report import Line, fail

#: What a message says of samples that are put back by the order in which they were sorted.
TWICE: list[Line] = [
    ("cause", "samples are sorted by length, and put back by the order instead of its inverse"),
    ("fix", "output[order.argsort()] instead of output[order], where order sorts the samples"),
]


class Part(NamedTuple):
    """What an output holds of one sample, among all samples and in a run of some."""

    output: int
    sample: int
    among_all: Tensor
    by_itself: Tensor
    take: Take  # takes the same of what is as large as the output


def restricted(
    baseline: Baseline, output: Leaves, samples: Sequence[int], only: int | None = None
) -> tuple[list[Part], Part | None]:
    """Compare a run of some samples, each named by its place among all, with the run of all.

    Return what could be compared, in one output or in all, and the first part that differs by more
    than rounding. A batch of one may have lost its batch axis. Of an output with other steps than
    the input, as with a stride, a sample by itself returns the first ones.
    """
    compared: list[Part] = []
    output = baseline.arranged(output) if len(samples) == baseline.batch.size else output
    for index, axis in baseline.judged() if len(output) == len(baseline.normal) else ():
        normal, made = baseline.arranged(baseline.normal)[index], output[index]
        if only not in (None, index) or not is_number(normal) or not isinstance(made, Tensor):
            continue
        if len(samples) == 1 and made.dim() == normal.dim() - 1:
            made = made.unsqueeze(axis)
        if made.dim() != normal.dim() or made.shape[axis] != len(samples):
            continue
        for place, sample in enumerate(samples):
            whole, other = normal.select(axis, sample), made.select(axis, place)
            one = baseline.valid(whole, index, sample)
            if other.shape == whole.shape:
                other = baseline.valid(other, index, sample)
            sizes = other.shape if baseline.counts and baseline.post else one.shape
            take = partial(_first, sizes, baseline.taking(index, sample))
            if (one := take(normal)).shape == other.shape:
                compared.append(Part(index, sample, one, other, take))
                if not agree(baseline, index, one, other, take):
                    return compared, compared[-1]
    return compared, None


def _first(sizes: Sequence[int], take: Take, leaf: Tensor) -> Tensor:
    """Return the first rows of a sample, so many on each axis, if it has as many."""
    part = take(leaf)
    for axis, size in enumerate(sizes if len(sizes) == part.dim() else ()):
        part = part.narrow(axis, 0, min(size, part.shape[axis]))
    return part


def refuse_rounding(baseline: Baseline, part: Part) -> None:
    """Skip a probe if rounding may make such a difference."""
    refuse_chance(baseline, part.output, part.among_all, part.by_itself, part.take)


def follows(baseline: Baseline, index: int) -> bool:
    """Return whether an output has one row less, whichever sample is left out."""
    batch, axis = baseline.batch, baseline.axes[index]
    for left in range(batch.size):
        fewer = baseline.attempt(batch.samples([k for k in range(batch.size) if k != left]))
        other = None if fewer is None else fewer[index]
        size = other.shape[axis or 0] if isinstance(other, Tensor) and other.dim() else None
        if fewer is not None and size != batch.size - 1:
            return False
    return True


def _sorted(counts: Sequence[int], *, falling: bool) -> list[int]:
    return sorted(range(len(counts)), key=counts.__getitem__, reverse=falling)


def check_orders(baseline: Baseline) -> None:
    """Run the samples in two different orders; fail if one does not return what it returned.

    They are sorted by length and moved on by one, so that no model's sorting undoes itself. A model
    may count on a batch with the longest first, and is then accused of a known mistake only.
    """
    counts = baseline.batch.valid_steps()
    for falling in (True, False) if len(set(counts)) > 1 else ():
        first, *rest = _sorted(counts, falling=falling)
        samples = [*rest, first]
        output = baseline.attempt(baseline.batch.samples(samples))
        part = None if output is None else restricted(baseline, output, samples)[1]
        if output is None or part is None:
            continue
        refuse_rounding(baseline, part)
        among = [counts[k] for k in samples]
        orders = [_sorted(among, falling=way) for way in (True, False)]
        twice = ([samples[order[place]] for place in order] for order in orders)
        rows = TWICE if any(restricted(baseline, output, x)[1] is None for x in twice) else []
        if rows or counts != sorted(counts, reverse=True):
            numbers = ", ".join(str(baseline.batch.numbers[k]) for k in samples)
            of = baseline.of_sample(part.output, part.sample)
            fail("alone", f"with the samples in the order {numbers}, {of} is not what it was", rows)
