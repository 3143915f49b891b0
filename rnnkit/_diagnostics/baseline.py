"""The model on one batch: what it returned, and where samples and steps are in that."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.axes import find_flats, followed_axis, infer_steps, refuse_axis
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.events import Event, Recorder, record
from rnnkit._diagnostics.isolation import Session
from rnnkit._diagnostics.outputs import (
    STACK,
    Leaves,
    Order,
    alike,
    arranged,
    is_output,
    scale,
    shape_of,
    split_flats,
)
from rnnkit._diagnostics.report import ONE_SAMPLE, Report

#: Takes a part of an output, and of what is as large as it.
Take = Callable[[Tensor], Tensor]


class Baseline:
    """A session, a batch, and the leaves of the output that can be judged sample by sample.

    Attributes:
        normal, again: the leaves of the output, and of a second run of the same copy.
        names: where in the output they are.
        axes, step_axes: the batch and the seq axis of each leaf; None where it has none.
        pacers: the index of the input whose steps each leaf has; None where it has none.
        paces: which inputs are not cut with the steps of each input that was tried.
        runs_on_fewer, runs_on_less: whether the model takes fewer samples, or fewer steps.
        first: index of the first leaf with numbers; the arguments of ``verify`` are about it.
        tolerance: by how much of its size a feature may move; None if the judge has to decide.
        judge: the same in a wider dtype, once it was asked.
    """

    def __init__(
        self,
        opened: Session,
        batch: Batch,
        *,
        post: bool = True,
        out_seq_dim: int | None = None,
        causal: bool | str = False,
        lookahead: int = 0,
        twice: bool = False,
        finds_axes: bool = True,
    ) -> None:
        """Run the model on the batch, and on less of it to see which axes follow."""
        self.session, self.batch, self.post = opened, batch, post
        self.causal, self.lookahead = causal, lookahead
        self.report = Report()
        self.tolerance: float | None = None
        self.judge: Baseline | None = None
        self.amplified: float | None = None
        self.gradients: Any = None
        self.training: Any = None
        self.normal: Leaves = opened.run(batch.tree())
        self.names, self.again = opened.names, None
        self._events: list[Event] = []
        if twice:
            recorder = Recorder()
            self.again = opened.run(batch.tree(), on=opened.last, watch=recorder.watch)
            self._events = recorder.events if alike(self.normal, self.again) else []
        self._scales: dict[int, Tensor] = {}
        self.order: Order = None
        self.first = next((k for k, leaf in enumerate(self.normal) if is_output(leaf)), None)
        self.runs_on_fewer = self.runs_on_less = False
        self.shapes_of_fewer: list[Any] = []
        self.axes: list[int | None] = [None] * len(self.normal)
        self.step_axes: list[int | None] = list(self.axes)
        self.pacers: list[int | None] = list(self.axes)
        self.paces: dict[int, frozenset[int]] = {}
        if finds_axes:
            self._find_axes(out_seq_dim)

    @property
    def counts(self) -> list[int] | None:
        """Valid steps of each sample; None if not given."""
        return self.batch.counts

    @property
    def events(self) -> list[Event]:
        """What goes into modules and comes out of them."""
        self._events = self._events or record(self.session, self.batch.tree())
        return self._events

    def _find_axes(self, out_seq_dim: int | None) -> None:
        """Find which axes of the outputs follow when a sample, or a step, is left out."""
        batch, first, outputs = self.batch, self.first, self.normal
        # One of the shortest: without the longest, the output may have fewer steps, too.
        size, valid = batch.size, batch.valid_steps()
        left_out = min(range(size), key=lambda sample: (valid[sample], -sample))
        for sample in dict.fromkeys((left_out, 0, size - 1)) if size > 1 else ():
            others = [k for k in range(size) if k != sample]
            fewer = self.session.attempt(batch.samples(others).tree())
            if fewer is None:
                break
            self.runs_on_fewer = True
            self.shapes_of_fewer = list(map(shape_of, fewer))
            if len(fewer) == len(outputs):
                flats = find_flats(batch, self.session.attempt, outputs, fewer, sample)
                self.session.flats, self.session.size_of = self.session.flats | flats, batch.size_of
                self.normal = outputs = split_flats(outputs, flats, size)
                self.again = self.again and split_flats(self.again, flats, size)
                fewer = split_flats(fewer, flats, size - 1)
                self.axes = list(map(followed_axis, outputs, fewer))
            if first is None or self.axes[first] is not None:
                break
        if first is None:
            return
        # If no sample can be left out, an output has its batch where the input has it.
        sizes = outputs[first].shape[:-1] or outputs[first].shape
        fitting = [axis for axis, n in enumerate(sizes) if n == size]
        if not self.runs_on_fewer and fitting == [batch.axes[batch.first]]:
            self.axes[first] = fitting[0]
        told = self._told_axis(first, out_seq_dim)
        # The steps of the input that paces the others, then of those with lengths or, if the first
        # output has other steps, of each that may be a target.
        for index in sorted(range(len(batch.leaves)), key=batch.paced.__ne__):
            has_own = batch.is_content(index) and not batch.has_steps(index)
            has_own = has_own and batch.axes[index] != batch.seq_dims[index]
            is_target = has_own and (batch.length(index) or 0) > 1 and not self.has_steps(first)
            if index != batch.paced and index not in batch.lengths and not is_target:
                continue
            paced = self.paced_by(index).batch
            shorter = self._alike(infer_steps(paced, self.session.attempt))
            self.paces[index] = paced.on_their_own
            self.runs_on_less |= shorter is not None and index == batch.paced
            rest = (paced.steps or 0) - (paced.longest or 0)
            for k, (one, other) in enumerate(zip(outputs, shorter or (), strict=False)):
                found = [followed_axis(one, other, by) for by in {1, 1 + rest}]
                at = next((axis for axis in found if axis not in (None, self.axes[k])), None)
                if at is not None and is_output(one) and self.pacers[k] is None:
                    self.step_axes[k], self.pacers[k] = at, index
        unknown = told is None and not self.runs_on_less and self.pacers[first] is None
        # If the model takes no fewer steps: the axis as long as the input, or as its longest.
        for steps in (batch.longest, batch.steps) if unknown else ():
            sizes = enumerate(outputs[first].shape[:-1])
            fitting = [axis for axis, n in sizes if n == steps and axis != self.axes[first]]
            told = fitting[0] if len(fitting) == 1 else told
        if told not in (None, self.step_axes[first]):
            self.step_axes[first], self.pacers[first] = told, batch.paced

    def _told_axis(self, first: int, dim: int | None) -> int | None:
        """Return the seq axis of the first output that the caller gave, counted from the front."""
        if dim is None or first in self.session.flats:
            return None
        # Of a list of tensors, one tensor is meant.
        shape, listed = tuple(self.normal[first].shape), self.names[first].endswith(STACK)
        axes = len(shape) - listed
        if not -axes <= dim < axes:
            refuse_axis("out_seq_dim", f"the first output has no axis {dim}", shape[listed:])
        axis = dim % axes + listed
        if self.runs_on_fewer and axis == self.axes[first]:
            refuse_axis("out_seq_dim", f"axis {axis} of the first output is its batch", shape)
        return axis

    def paced_by(self, index: int | None) -> "Baseline":
        """Return the same with the steps of a different input."""
        if index in (None, self.batch.paced):
            return self
        other = self.on(self.batch.with_leaves(self.batch.leaves))
        other.batch.on_their_own = self.paces.get(index or 0, frozenset())
        other.batch.pace(index or 0)
        return other

    def attempt(self, batch: Batch) -> Leaves | None:
        """Run on other inputs; None if the model refuses, or returns more leaves, or fewer."""
        return self._alike(self.session.attempt(batch.tree()))

    def _alike(self, output: Leaves | None) -> Leaves | None:
        return output if output is not None and len(output) == len(self.normal) else None

    def on(self, batch: Batch) -> "Baseline":
        """Return the same with a different batch."""
        other: Baseline = copy.copy(self)
        other.batch, other._scales = batch, {}
        other.amplified, other.gradients, other.training, other._events = None, None, None, []
        return other

    @property
    def out_seq_dim(self) -> int | None:
        """The seq axis of the first output."""
        return None if self.first is None else self.step_axes[self.first]

    def name(self, index: int) -> str:
        """Return what a message calls an output: by its place, if there are several."""
        return f"output{self.names[index]}" if sum(map(is_output, self.normal)) > 1 else "output"

    def of_sample(self, index: int, sample: int) -> str:
        """Return what a message calls a sample of an output: by its number for the caller."""
        return f"{self.name(index)} of sample {self.batch.numbers[sample]}"

    def missing(self, index: int) -> int:
        """Return how many steps an output has less than its input, or than its longest sample."""
        pacer, size = self.pacers[index] or 0, self.normal[index].shape[self.step_axes[index] or 0]
        steps = self.batch.length(pacer) or 0
        return 0 if size in (steps, max(self.batch.lengths.get(pacer, [0]))) else steps - size

    def has_steps(self, index: int) -> bool:
        """Return whether a leaf of the output has the steps of the input that paces the others."""
        return self.pacers[index] == self.batch.paced and self._has_all_steps(index)

    def _has_all_steps(self, index: int) -> bool:
        """Return whether a leaf has all steps of its input, or one more or less."""
        axis = self.step_axes[index]
        return axis is not None and axis != self.axes[index] and abs(self.missing(index)) <= 1

    def has_other_steps(self, index: int) -> bool:
        """Return whether an output has steps that are not those of the input, or may have."""
        shape = self.normal[index].shape
        may_have = len(shape) > 2 and self.batch.steps not in shape[:-1]
        return not self._has_all_steps(index) and (self.step_axes[index] is not None or may_have)

    def unfollowed(self) -> str:
        """Return why no output has a row for each sample, and what to type."""
        if lists := [k for k, leaf in enumerate(self.normal) if isinstance(leaf, list)]:
            return f"{self.name(lists[0])} is a list of different lengths: return one padded tensor"
        if self.first is None:
            is_one = any(isinstance(x, int | float) or shape_of(x) == () for x in self.normal)
            kind = "a single number" if is_one else "nothing to compare"
            return f"the model returns {kind}: return a row for each sample"
        if not self.runs_on_fewer:
            text = "the model refuses one sample less: give batch_dim, or let it take any batch"
            return ONE_SAMPLE if self.batch.size == 1 else text
        if len(self.shapes_of_fewer) != len(self.normal):
            return "each sample has an output of its own: return one padded tensor"
        name = self.name(self.first)
        if self.shapes_of_fewer[self.first] == shape_of(self.normal[self.first]):
            same = f"{name} has the same shape without one of the samples"
            return f"{same}: batch_dim= is the axis of the samples in the first input"
        return f"the rows of {name} are in no order of samples: return (batch, ...)"

    def arranged(self, output: Leaves) -> Leaves:
        """Return an output with its samples in the order of the input."""
        return arranged(output, self.axes, self.order)

    def judged(self) -> Iterator[tuple[int, int]]:
        """Yield index and batch axis of each leaf with a row, or more, for each sample."""
        for index, (leaf, axis) in enumerate(zip(self.normal, self.axes, strict=True)):
            if axis is not None and is_output(leaf) and leaf.shape[axis] == self.batch.size:
                yield index, axis

    def _ends(self, index: int) -> list[int] | None:
        """Return how many steps of an output are valid of each sample; None if all of them are."""
        pacer, counts = self.pacers[index], self.batch.lengths.get(self.pacers[index] or 0)
        if pacer is None or counts is None or not self._has_all_steps(index):
            return None
        steps, missing = self.normal[index].shape[self.step_axes[index] or 0], self.missing(index)
        return [min(max(count - missing, 0), steps) for count in counts]

    def valid(self, row: Tensor, index: int, sample: int) -> Tensor:
        """Return one sample of a leaf, without its batch axis, cut to the sample's valid steps."""
        axis, seq, ends = self.axes[index] or 0, self.step_axes[index] or 0, self._ends(index)
        if ends is None:
            return row
        seq -= axis < seq
        valid = min(ends[sample], row.shape[seq])
        return row.narrow(seq, 0 if self.post else row.shape[seq] - valid, valid)

    def taking(self, index: int, sample: int) -> Take:
        """Return what takes one sample of an output, cut to its valid steps."""
        return lambda leaf: self.valid(leaf.select(self.axes[index] or 0, sample), index, sample)

    def scale_of(self, index: int) -> Tensor:
        """Return how large the features of an output are, in its shape."""
        if index not in self._scales:
            axes = {axis for axis in (self.axes[index], self.step_axes[index]) if axis is not None}
            self._scales[index] = scale(self.normal[index], tuple(axes)).clamp(min=1e-300)
        return self._scales[index]

    def places(self, index: int, mask: Tensor) -> Tensor:
        """Return at which ``(samples, steps)`` a mask over an output holds; without steps, one."""
        axis, seq = self.axes[index], self.step_axes[index]
        if axis is None:  # all samples in one
            axis, mask, seq = 0, mask.unsqueeze(0), None if seq is None else seq + 1
        if seq is None or not self._has_all_steps(index):
            mask, seq = mask.unsqueeze(-1), mask.dim()
        rows = mask.movedim((axis, seq), (0, 1))[: self.batch.size]
        return rows.reshape(*rows.shape[:2], -1).any(2)

    def valid_places(self, index: int) -> Tensor:
        """Return which of these ``(samples, steps)`` are not padding; True if all are."""
        leaf, ends = self.normal[index], self._ends(index)
        if ends is None:
            return torch.tensor(data=True, device="cpu")
        steps = leaf.shape[self.step_axes[index] or 0]
        step, end = (torch.tensor(x, device=leaf.device) for x in (range(steps), ends))
        return step < end.unsqueeze(1) if self.post else step >= steps - end.unsqueeze(1)
