"""The model on one batch: what it returned, and where samples and steps are in that."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.axes import followed_axis, infer_steps, refuse_axis
from rnnkit._diagnostics.batch import Batch
from rnnkit._diagnostics.compare import alike, scale
from rnnkit._diagnostics.events import Event, record, watching
from rnnkit._diagnostics.isolation import Session
from rnnkit._diagnostics.outputs import STACK, Leaves, Order, arranged, is_output
from rnnkit._diagnostics.report import Report

#: Takes a part of an output, and of what is as large as it.
Take = Callable[[Tensor], Tensor]

TINY = 1e-300


class Baseline:
    """A session, a batch, and the leaves of the output that can be judged sample by sample.

    Attributes:
        normal, again: the leaves of the output, and of a second run of the same copy.
        names: where in the output they are.
        axes, step_axes: the batch and the seq axis of each leaf; None where it has none.
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
        strict: bool = False,
        twice: bool = False,
    ) -> None:
        """Run the model on the batch, and on less of it to see which axes follow."""
        self.session, self.batch, self.post, self.strict = opened, batch, post, strict
        self.report = Report()
        self.tolerance: float | None = None
        self.judge: Baseline | None = None
        self.amplified: float | None = None
        self.gradients: Any = None
        self.normal: Leaves = opened.run(batch.tree())
        self.names, self.again = opened.names, None
        self._events: list[Event] = []
        if twice:
            watch = watching(self._events.append)
            self.again = opened.run(batch.tree(), on=opened.last, watch=watch)
            if not alike(self.normal, self.again):
                self._events = []
        self._alone: dict[int, Leaves | Exception] = {}
        self._paced: dict[int, Baseline] = {}
        self._scales: dict[int, Tensor] = {}
        self.order: Order = None
        self.first = next((k for k, leaf in enumerate(self.normal) if is_output(leaf)), None)
        self.runs_on_fewer = False
        self.axes: list[int | None] = [None] * len(self.normal)
        self._find_batch_axes()
        self._told = self._told_axis(out_seq_dim)
        self._find_step_axes()

    @property
    def counts(self) -> list[int] | None:
        """Valid steps of each sample; None if not given."""
        return self.batch.counts

    @property
    def events(self) -> list[Event]:
        """What goes into modules and comes out of them."""
        self._events = self._events or record(self.session, self.batch.tree())
        return self._events

    def _find_batch_axes(self) -> None:
        """Find which axis of each output follows when a sample is left out, one of the shortest.

        Without the longest, the output may have fewer steps, too.
        """
        size, valid = self.batch.size, self.batch.valid_steps()
        left_out = min(range(size), key=lambda sample: (valid[sample], -sample))
        for sample in dict.fromkeys((left_out, 0, size - 1)) if size > 1 else ():
            rest = [k for k in range(size) if k != sample]
            fewer = self.session.attempt(self.batch.samples(rest).tree())
            if fewer is None:
                break
            self.runs_on_fewer = True
            if len(fewer) == len(self.normal):
                self.axes = list(map(followed_axis, self.normal, fewer))
            if self.first is None or self.axes[self.first] is not None:
                break
        if self.first is not None and not self.runs_on_fewer:
            # No sample can be left out: an output has its batch where the input has it.
            batch_dim, sizes = self.batch.axes[self.batch.first], self.normal[self.first].shape
            sizes = sizes[:-1] or sizes
            if [k for k, length in enumerate(sizes) if length == size] == [batch_dim]:
                self.axes[self.first] = batch_dim

    def _told_axis(self, dim: int | None) -> int | None:
        """Return the seq axis of the first output that the caller gave, counted from the front."""
        if dim is None:
            return None
        # Of a list of tensors, one tensor is meant.
        listed = self.first is not None and self.names[self.first].endswith(STACK)
        shape = () if self.first is None else tuple(self.normal[self.first].shape)[listed:]
        if not -len(shape) <= dim < len(shape):
            refuse_axis("out_seq_dim", f"the first output has no axis {dim}", shape)
        axis = dim % len(shape) + listed
        if self.runs_on_fewer and axis == self.axes[self.first or 0]:
            what = f"axis {dim} of the first output is its batch"
            refuse_axis("out_seq_dim", what, tuple(self.normal[self.first or 0].shape))
        return axis

    def _find_step_axes(self) -> None:
        """Find which axis of each output follows when steps are left out, and which is as long."""
        self.step_axes: list[int | None] = [None] * len(self.normal)
        one = self._alike(infer_steps(self.batch, self.session.attempt))
        self.runs_on_less = one is not None
        known = (self.batch.steps, longest := self.batch.longest or 0)
        if one is None and self.first is not None:
            self.step_axes[self.first] = self._axis_as_long(self.normal[self.first])
        elif one is not None:
            outputs = [k for k, leaf in enumerate(self.normal) if is_output(leaf)]
            for index in outputs:
                self.step_axes[index] = self._followed(index, one, 1)
            found = [(k, axis) for k in outputs if (axis := self.step_axes[k]) is not None]
            if longest > 2 and any(self.normal[k].shape[axis] not in known for k, axis in found):
                # Of half as many steps, one may follow by chance, and not two.
                two = self.attempt(self.batch.cut(longest - 2, front=True))
                for index, axis in found if two is not None else ():
                    if self._followed(index, two or [], 2) != axis:
                        self.step_axes[index] = None
        if self._told is not None:
            self.step_axes[self.first or 0] = self._told

    def attempt(self, batch: Batch) -> Leaves | None:
        """Run on other inputs; None if the model refuses, or returns more leaves, or fewer."""
        return self._alike(self.session.attempt(batch.tree()))

    def _alike(self, output: Leaves | None) -> Leaves | None:
        return output if output is not None and len(output) == len(self.normal) else None

    def _followed(self, index: int, shorter: Leaves, by: int) -> int | None:
        full, rest = self.normal[index], (self.batch.steps or 0) - (self.batch.longest or 0)
        axes = [followed_axis(full, shorter[index], more) for more in {by, by + rest}]
        return next((axis for axis in axes if axis not in (None, self.axes[index])), None)

    def _axis_as_long(self, leaf: Tensor) -> int | None:
        """Return the axis of the first output that is as long as the input, or as its longest."""
        sizes, batch_axis = leaf.shape[:-1], self.axes[self.first or 0]
        for steps in (self.batch.steps, self.batch.longest):
            fitting = [k for k, size in enumerate(sizes) if size == steps and k != batch_axis]
            if len(fitting) == 1:
                return fitting[0]
        return None

    def on(self, batch: Batch) -> "Baseline":
        """Return the same with a different batch."""
        other: Baseline = copy.copy(self)
        other.batch, other._alone, other._paced, other._scales = batch, {}, {}, {}
        other.amplified, other.gradients, other._events = None, None, []
        return other

    def paced_by(self, index: int) -> "Baseline":
        """Return the same with the steps of a different input."""
        other: Baseline = self.on(self.batch.with_leaves(self.batch.leaves))
        other.batch.pace(index)
        other._find_step_axes()
        return other

    def each_told(self) -> Iterator["Baseline"]:
        """Yield the same with the steps of each input that has lengths, at least as it is."""
        yield self
        for index in self.batch.lengths.keys() - {self.batch.paced}:
            if index not in self._paced:
                self._paced[index] = self.paced_by(index)
            self._paced[index].order = self.order
            yield self._paced[index]

    def by_itself(self) -> "Baseline":
        """Return the same with no lengths but those of the input that paces."""
        other: Baseline = self.on(self.batch.with_leaves(self.batch.leaves))
        other.batch.lengths = {self.batch.paced: self.batch.lengths[self.batch.paced]}
        return other

    def _by_output(self, index: int) -> "Baseline":
        """Return the same with the steps of that input with lengths whose steps an output has."""
        others = () if self.has_steps(index) else list(self.each_told())[1:]
        return next((one for one in others if one.runs_on_less and one.has_steps(index)), self)

    @property
    def out_seq_dim(self) -> int | None:
        """The seq axis of the first output."""
        return None if self.first is None else self.step_axes[self.first]

    def name(self, index: int) -> str:
        """Return what a message calls an output: by its place, if there are several."""
        several = sum(map(is_output, self.normal)) > 1
        return f"output{self.names[index]}" if several else "output"

    def of_sample(self, index: int, sample: int) -> str:
        """Return what a message calls a sample of an output: by its number for the caller."""
        return f"{self.name(index)} of sample {self.batch.numbers[sample]}"

    def missing(self, index: int) -> int:
        """Return how many steps an output has less than the input, or than its longest sample."""
        size, batch = self.normal[index].shape[self.step_axes[index] or 0], self.batch
        return 0 if size in (batch.steps, batch.longest) else (batch.steps or 0) - size

    def has_steps(self, index: int) -> bool:
        """Return whether a leaf of the output has the input's steps, beside its batch."""
        axis = self.step_axes[index]
        return axis is not None and axis != self.axes[index] and abs(self.missing(index)) <= 1

    def has_other_steps(self, index: int) -> bool:
        """Return whether a leaf of the output has steps that are not those of the input."""
        if self.counts is None or self._by_output(index).has_steps(index):
            return False
        sample, axis = min(range(self.batch.size), key=self.counts.__getitem__), self.axes[index]
        alone = (self if len(self.batch.lengths) == 1 else self.by_itself()).run_alone(sample)
        taken: Tensor = self.normal[index].select(axis or 0, sample)
        other = alone[index] if isinstance(alone, list) and self._alike(alone) else None
        if not isinstance(other, Tensor):
            return taken.dim() > 1
        other = other.squeeze(axis or 0) if other.dim() == taken.dim() + 1 else other
        return other.shape != taken.shape

    def run_alone(self, sample: int) -> Leaves | Exception:
        """Run one sample alone, cut to its length; return what comes, or what the model raises."""
        if sample not in self._alone:
            try:
                single = self.batch.alone(sample, front=self.post)
                self._alone[sample] = self.session.run(single.tree())
            except Exception as error:  # noqa: BLE001 - it may refuse a batch of one as it likes
                self._alone[sample] = error
        return self._alone[sample]

    def arranged(self, output: Leaves) -> Leaves:
        """Return an output with its samples in the order of the input."""
        return arranged(output, self.axes, self.order)

    def judged(self) -> Iterator[tuple[int, int]]:
        """Yield index and batch axis of each leaf with a row, or more, for each sample."""
        for index, (leaf, axis) in enumerate(zip(self.normal, self.axes, strict=True)):
            if axis is not None and is_output(leaf) and leaf.shape[axis] >= self.batch.size:
                yield index, axis

    def valid(self, row: Tensor, index: int, sample: int) -> Tensor:
        """Return one sample of a leaf, without its batch axis, cut to the sample's valid steps."""
        axis, paced = self.axes[index] or 0, self._by_output(index)
        seq = paced.step_axes[index]
        if paced.counts is None or seq is None or not paced.has_steps(index):
            return row
        seq -= axis < seq
        steps = row.shape[seq]
        valid = min(max(paced.counts[sample] - paced.missing(index), 0), steps)
        return row.narrow(seq, 0 if self.post else steps - valid, valid)

    def taking(self, index: int, sample: int) -> Take:
        """Return what takes one sample of an output, cut to its valid steps."""
        return lambda leaf: self.valid(leaf.select(self.axes[index] or 0, sample), index, sample)

    def scale_of(self, index: int) -> Tensor:
        """Return how large the features of an output are, in its shape."""
        if index not in self._scales:
            both = (self.axes[index], self.step_axes[index])
            axes = {axis for axis in both if axis is not None}
            self._scales[index] = scale(self.normal[index], tuple(axes)).clamp(min=TINY)
        return self._scales[index]

    def places(self, index: int, mask: Tensor) -> Tensor:
        """Return at which ``(samples, steps)`` a mask over an output holds; without steps, one."""
        axis, seq = self.axes[index], self.step_axes[index]
        if axis is None:  # all samples in one
            axis, mask = 0, mask.unsqueeze(0)
            seq = None if seq is None else seq + 1
        if seq is None or not self.has_steps(index):
            rows = mask.movedim(axis, 0)[: self.batch.size]
            return rows.reshape(len(rows), -1).any(1, keepdim=True)
        rows = mask.movedim((axis, seq), (0, 1))[: self.batch.size]
        return rows.reshape(*rows.shape[:2], -1).any(2)

    def valid_places(self, index: int) -> Tensor:
        """Return which of these ``(samples, steps)`` are not padding."""
        mask = torch.zeros_like(self.normal[index], dtype=torch.bool)
        for sample in range(self.batch.size):
            self.taking(index, sample)(mask).fill_(True)
        return self.places(index, mask)
