"""The one way to compare: another run of the model, beside the baseline.

Both are in float64, if the model runs in that, so that a difference is more than rounding.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import Where, changed
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.precision import (
    AMPLIFIED,
    KERNELS,
    beyond_rounding,
    effect_of_last_bit,
)
from rnnkit._diagnostics.run.isolation import EscapedError
from rnnkit._diagnostics.run.outputs import (
    Leaves,
    difference,
    fitted_to_steps,
    is_number,
    shape_of,
    sizes_of,
)
from rnnkit._diagnostics.run.uncopied import UncopiedError
from rnnkit._diagnostics.tell.outcome import TOGETHER, UNCHANGED, Skipped
from rnnkit._diagnostics.tell.report import in_short


class Rerun:
    """Another run of the model, beside a baseline: the model, a batch, and its output for it.

    Attributes:
        batch: the inputs of the run.
        output: the leaves (tensors) that it returned; none if the model refused.
        refusal: how the model refused, in short; empty if it did not.
        doubt: why a difference could not be judged; empty as long as none was met.
    """

    def __init__(self, baseline: Baseline, batch: Batch) -> None:
        """Run on a batch; if the model raises, note that it refuses it."""
        self.baseline = baseline
        self.batch = batch
        self.output: Leaves = []
        self.refusal = ""
        self.doubt = ""
        try:
            self.output = baseline.session.run(batch.tree())
        except (EscapedError, UncopiedError):
            raise
        except Exception as error:  # noqa: BLE001 - as it likes
            self.refusal = in_short(error)


class Change(Rerun):
    """A run on changed inputs: at which samples and steps each output moved."""

    def __init__(self, baseline: Baseline, batch: Batch) -> None:
        """Run on the changed batch."""
        super().__init__(baseline, batch)
        self._moved: dict[tuple[int, int | None], Tensor] = {}  # by output and order of samples

    def has(self, index: int) -> bool:
        """Return whether an output leaf has the shape that it has without the change."""
        normal = self.baseline.normal
        output = self.output
        return len(output) == len(normal) and shape_of(output[index]) == shape_of(normal[index])

    def moved(self, index: int) -> Tensor:
        """Return where an output differs from the baseline's: a mask ``(samples, steps)``."""
        baseline = self.baseline
        key = (index, baseline.known.order)
        if key not in self._moved:
            before = baseline.in_input_order(baseline.normal)[index]
            after = baseline.in_input_order(self.output)[index]
            differs = beyond_rounding(baseline, before, after, baseline.scale_of(index))
            self._moved[key] = baseline.places(index, differs).cpu()
        return self._moved[key]

    def leak(self, indices: Iterable[int], forbidden: Tensor) -> "Leak | None":
        """Return the first output that moved at a forbidden place; None if none did.

        ``indices`` are the outputs to look at, ``forbidden`` is a mask ``(samples, steps)``. If the
        baseline's dtype is too coarse, a difference is no leak, but a doubt.
        """
        for index in filter(self.has, indices):
            moved = self.moved(index)
            wrong = moved & fitted_to_steps(forbidden, moved.shape[1])
            if wrong.any():
                self.doubt = self.baseline.doubt
                return None if self.doubt else Leak(self, index, wrong.nonzero().tolist())
        return None


class Leak(NamedTuple):
    """An output that moved where it must not.

    Attributes:
        run: the run that shows it.
        output: the index of the output.
        places: the ``[sample, step]`` pairs where it moved.
    """

    run: Change
    output: int
    places: list[list[int]]


def compare_changed(
    baseline: Baseline, where: Where, *, only: int | None = None, pad: bool = False
) -> Change | None:
    """Run on inputs with other values at some places; None if all of them stay as they were.

    ``where(batch, index)`` says which places of an input; ``only`` is the only input to change;
    with ``pad``, padding changes as well.
    """
    batch = changed(baseline.batch, where, pad=pad, only=only)
    return None if batch is None else Change(baseline, batch)


def compare_each(
    baseline: Baseline, wheres: Mapping[int, Where], indices: Collection[int], *, pad: bool = False
) -> dict[int, Change] | Skipped:
    """Run with each change of the inputs, by key, and return the runs that could be compared.

    Return why nothing can be said if the model refuses one, or no output of ``indices`` keeps its
    shape.
    """
    changes = {}
    for key, where in wheres.items():
        change = compare_changed(baseline, where, pad=pad)
        if change is None:
            continue
        if change.refusal:
            return refused(change)
        changes[key] = change
    return incomparable(changes.values(), indices) or changes


def refused(change: Change) -> Skipped:
    """Return, as the answer of a probe, that the model refuses changed inputs."""
    return Skipped(f"the model refuses changed inputs ({change.refusal}); {TOGETHER}")


def incomparable(changes: Collection[Change], indices: Collection[int]) -> Skipped | None:
    """Return why runs say nothing of some outputs.

    None if one output keeps its shape in one run.
    """
    if not changes:
        return Skipped(UNCHANGED)
    if not any(change.has(index) for change in changes for index in indices):
        return Skipped(f"for changed inputs, the outputs have other shapes; {TOGETHER}")
    return None


@dataclass(frozen=True, eq=False)
class Part:
    """One sample of an output: in the run of the whole batch, and in a run of a part of it.

    Attributes:
        baseline: the model on the whole batch.
        output, sample: the index of the output, and the sample.
        before, after: it in the run of the whole, and of the part; ``scale``: how large it is.
    """

    baseline: Baseline
    output: int
    sample: int
    before: Tensor
    after: Tensor
    scale: Tensor

    @property
    def moved(self) -> Tensor:
        """Where the two differ by more than rounding, as a mask."""
        return beyond_rounding(self.baseline, self.before, self.after, self.scale)

    @property
    def differs(self) -> bool:
        """Whether the two differ by more than rounding."""
        return bool(self.moved.any())

    @property
    def is_amplified(self) -> bool:
        """Whether a change of the last bit makes as large a difference: it may be rounding."""
        off = (difference(self.before, self.after) / self.scale).max().item()
        return off <= KERNELS * effect_of_last_bit(self.baseline)

    @property
    def far(self) -> str:
        """By how much the two differ, relative to how large their numbers are, for a message."""
        sizes = torch.maximum(sizes_of(self.before), sizes_of(self.after))
        off = (difference(self.before, self.after) / sizes).max().item()
        return f"(relative difference {off:.2g})"


class Restriction(Rerun):
    """A run of some samples, or of fewer steps, beside the same part of the whole.

    Attributes:
        compared: each sample of an output, beside the same one in the whole.
        different: the first of them that differs, if there is one.
    """

    def __init__(
        self,
        baseline: Baseline,
        keep: Callable[[Batch], Batch],
        samples: Sequence[int],
        only: int | None = None,
        steps: int | None = None,
    ) -> None:
        """Run on ``keep(batch)``, which has only the ``samples``, or steps, of the baseline's.

        ``only`` is the only output to look at; ``steps`` is to how many steps the inputs were cut.
        """
        super().__init__(baseline, keep(baseline.batch))
        self.compared: list[Part] = []
        self.different: Part | None = None
        for part in parts_of(baseline, self.output, samples, only, steps):
            self.compared.append(part)
            if not part.differs:
                continue
            if baseline.doubt:
                self.doubt = baseline.doubt
            elif part.is_amplified:
                self.doubt = AMPLIFIED
            else:
                self.different = part
            break


def parts_of(
    baseline: Baseline,
    output: Leaves,
    samples: Sequence[int],
    only: int | None,
    steps: int | None,
) -> Iterator[Part]:
    """Yield each sample of a run of ``samples`` beside the same one in the run of the whole.

    ``output`` is that of the run; ``only`` is the one leaf to look at, ``steps`` the cut inputs'
    steps.
    """
    if len(output) != len(baseline.normal):
        return
    if len(samples) == baseline.batch.size:
        output = baseline.in_input_order(output)
    for index in baseline.outputs_by_sample():
        if only in (None, index) and is_number(baseline.normal[index]):
            made = output[index]
            axis = baseline.axes.seq.get(index)
            if steps is not None and axis in range(len(shape_of(made) or ())):
                # One length for all inputs, as by total_length, ends in padding; a further step may
                # be a summary.
                kept = steps - max(baseline.missing(index) or 0, 0)
                if made.shape[axis] < kept:  # it reads steps in groups
                    continue
                made = made.narrow(axis, 0, kept)
            yield from _parts_of_output(baseline, index, made, samples)


def _parts_of_output(
    baseline: Baseline, index: int, made: Any, samples: Sequence[int]
) -> Iterator[Part]:
    """Yield each sample of one output, ``made``, that has its shape in both runs."""
    whole = baseline.in_input_order(baseline.normal)[index]
    axis = baseline.axes.batch[index]
    if not isinstance(made, Tensor):
        return
    # A batch of one may lose its axis.
    rows = made.unbind(axis) if made.dim() == whole.dim() else [made]
    if len(rows) != len(samples):
        return
    for row, sample in zip(rows, samples, strict=True):
        after = row
        if row.shape == whole.select(axis, sample).shape:
            after = baseline.valid_part(row, index, sample)
        # Of an output with other steps, as with a stride, a sample returns the first ones.
        kept = tuple(map(slice, after.shape if baseline.batch.pads_after else ()))
        before = baseline.valid_row(whole, index, sample)[kept]
        scale = baseline.valid_row(baseline.scale_of(index), index, sample)[kept]
        if before.shape == after.shape:
            yield Part(baseline, index, sample, before, after, scale)


def are_near(baseline: Baseline, before: Tensor, after: Tensor) -> bool:
    """Return whether two tensors are the same up to rounding; they may be no part of an output."""
    if before.shape != after.shape:
        return False
    return not beyond_rounding(baseline, before, after, sizes_of(before)).any()
