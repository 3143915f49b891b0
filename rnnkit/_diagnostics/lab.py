"""The lower bound: a change of the inputs, and the restriction: a part of them by itself."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnkit._base.errors import LeakError
from rnnkit._diagnostics.baseline import Baseline, Take
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.changes import Where, changed, other_leaves, steps_from, within
from rnnkit._diagnostics.isolation import EscapedError
from rnnkit._diagnostics.judge import agree, differences, is_shown, refuse_chance
from rnnkit._diagnostics.lengths import is_binary
from rnnkit._diagnostics.outputs import Given, Leaves, along, is_number, largest, shape_of
from rnnkit._diagnostics.report import TOGETHER, Line, UnjudgedError, fail, in_short

#: What a message says of samples that are put back by the order in which they were sorted.
TWICE: list[Line] = [
    ("cause", "samples are sorted by length, and put back by the order instead of its inverse"),
    ("fix", "output[order.argsort()] instead of output[order], where order sorts the samples"),
]


def run_perturbed(baseline: Baseline, where: Where, **options: Any) -> "PerturbedRun | None":
    """Run the model on inputs that :func:`changed` makes; None if all of them stay as they were."""
    inputs = changed(baseline.batch, where, **options)
    return None if inputs is None else PerturbedRun(baseline, inputs)


class PerturbedRun:
    """The model on changed inputs, next to the model on the inputs as they are."""

    def __init__(self, baseline: Baseline, inputs: Given) -> None:
        """Run; if the model refuses, with numbers within the range that occurs, and times kept."""
        self.baseline, self.inputs = baseline, inputs
        try:
            self.output: Leaves = baseline.session.run(inputs)
        except Exception as error:
            if isinstance(error, EscapedError):
                raise
            again = within(baseline.batch, inputs)
            output = baseline.session.attempt(again)
            if output is None:
                message = f"the model refuses changed inputs ({in_short(error)}); {TOGETHER}"
                raise UnjudgedError(message) from error
            self.inputs, self.output = again, output

    def has(self, index: int) -> bool:
        """Return whether an output has the same shape as without the change."""
        normal, output = self.baseline.normal, self.output
        return len(output) == len(normal) and shape_of(output[index]) == shape_of(normal[index])

    def moved(self, index: int) -> Tensor:
        """Return at which valid ``(samples, steps)`` an output of the same shape is different.

        As long as no judge was asked, the last bit counts.
        """
        baseline = self.baseline
        before, after = (baseline.arranged(one)[index] for one in (baseline.normal, self.output))
        moved = baseline.places(index, differences(baseline, index, before, after))
        return (moved & baseline.valid_places(index)).cpu()

    def shown(self, indices: Iterable[int], wrong: Tensor) -> tuple[int, list[list[int]]] | None:
        """Return the first output that moved where it must not, and at which (sample, step)s."""
        for index in filter(self.has, indices):
            moved = self.moved(index)
            moved &= wrong[:, : moved.shape[1]]
            if is_shown(self.baseline, moved):
                return index, moved.nonzero().tolist()
        return None


def is_absent_again(
    baseline: Baseline, probe: Callable[[Baseline], str], what: str, *, cuts_steps: bool
) -> bool:
    """Return whether a probe finds the same absence with other values and at a different size."""
    ranks = [len(shape_of(leaf) or ()) for leaf in baseline.normal]
    for batch in _others(baseline, cuts_steps=cuts_steps):
        output = baseline.attempt(batch)
        if output is None or [len(shape_of(leaf) or ()) for leaf in output] != ranks:
            continue
        other = baseline.on(batch)
        other.normal, other.report = output, replace(baseline.report, notes=[])
        try:
            probe(other)
        except EscapedError:
            raise
        except UnjudgedError:
            continue
        except LeakError as error:
            # Other numbers belong to another size.
            is_smaller = (batch.size, batch.steps) != (baseline.batch.size, baseline.batch.steps)
            pair = (str(error).partition("\n")[0], what)
            if len({re.sub(r"\d", "", text) if is_smaller else text for text in pair}) == 1:
                continue
        return False
    return True


def _others(baseline: Baseline, *, cuts_steps: bool) -> Iterator[Batch]:
    """Yield the batch with redrawn values, with flags turned and numbers tamed, and a smaller one.

    A unit may be dead for some values, a flag switches off what it is about, and what saturates
    reads nothing.
    """
    batch = baseline.batch
    drawn = batch.with_leaves(other_leaves(batch, steps_from(0), 1, pad=False))
    drawn.second = batch.second and batch.leaves
    yield drawn
    yield drawn.with_leaves([_turned(batch, k, x) for k, x in enumerate(batch.leaves)])
    longest = batch.longest or 0
    if cuts_steps and longest > 3 and batch.has_steps(batch.paced):
        yield drawn.cut(longest - 1, front=baseline.post)
    elif batch.size > 2:
        yield drawn.samples(range(batch.size - 1))


def _turned(batch: Batch, index: int, leaf: Any) -> Any:
    """Return numbers divided by their largest, and flags turned where they are set at one step.

    So is the end of all episodes at the last step, or a step that is missing in all samples.
    """
    seq = batch.seq_dims[index]
    if index != batch.paced and is_binary(leaf) and batch.length(index):
        steps = leaf.movedim(seq, 0).double().flatten(1).mean(1)
        is_rare = ((steps == 0) | (steps == 1)) & ((steps - steps.mean()).abs() >= 0.5)
        return leaf.where(~along(leaf, seq, is_rare), (leaf == 0).to(leaf.dtype))
    if index != batch.paced and batch.is_content(index) and not leaf.is_floating_point():
        return torch.full_like(leaf, int(leaf.flatten()[0]))  # one of many, each with its own state
    size = largest(leaf) if is_number(leaf) and batch.is_content(index) else 0.0
    return leaf / size if size > 1 else leaf


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
            sizes = other.shape if baseline.post else one.shape
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
