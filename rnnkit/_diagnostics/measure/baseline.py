"""The model on one batch: what it returned, and where samples and steps are in that."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

from rnnkit._diagnostics.inputs.batch import Batch, steps_within
from rnnkit._diagnostics.run.events import Event, Recorder
from rnnkit._diagnostics.run.isolation import Session
from rnnkit._diagnostics.run.outputs import JoinedAxes, Leaves, Watch, feature_sizes, is_output
from rnnkit._diagnostics.tell.outcome import Finding, Outcome, Passed

T = TypeVar("T")


@dataclass(frozen=True)
class Rules:
    """What a caller says of a model: where its steps are, and what they may read.

    Attributes:
        causal: what a step of the output may read: see verify, whose argument it is.
        lookahead: how many later steps a causal model may read.
        out_seq_dim: the seq axis of the first output; None if it is to be found.
        finds_lengths: whether what a model packs may tell the lengths, if nothing else does.
        names_steps: whether the caller says which axis of the inputs has the steps.
    """

    causal: bool | str = False
    lookahead: int = 0
    out_seq_dim: int | None = None
    finds_lengths: bool = True
    names_steps: bool = False


@dataclass(frozen=True)
class Axes:
    """Which axes of the outputs are batch and seq, and how that was found.

    An output is a leaf (a tensor) of what the model returned, by its index. The batch has the axes
    of the inputs.

    Attributes:
        batch: the batch axis of each output that has one.
        seq: the seq axis of each output that follows the steps of an input.
        source: the index of the input whose steps an output of ``seq`` has.
        joined: outputs whose samples and steps are one axis, which is split in each run.
        without_one: the outputs without the sample ``left_out``; None if the model refuses that.
        runs_on_less: whether the model takes fewer steps.
    """

    batch: Mapping[int, int] = field(default_factory=dict)
    seq: Mapping[int, int] = field(default_factory=dict)
    source: Mapping[int, int] = field(default_factory=dict)
    joined: Mapping[int, JoinedAxes] = field(default_factory=dict)
    without_one: Leaves | None = None
    left_out: int = 0
    runs_on_less: bool = False

    def with_steps(self, seq: Mapping[int, int], source: int) -> "Axes":
        """Return the same with seq axes of some outputs, which have the steps of one input."""
        sources = {**self.source, **dict.fromkeys(seq, source)}
        return replace(self, seq={**self.seq, **seq}, source=sources)


@dataclass
class Known:
    """What probes have learned so far: a baseline and others made of it share it.

    Attributes:
        answers: what probes have answered, by name; whoever asks them writes into it.
        order: the output that holds the order of the others' samples; None for the input's.
    """

    answers: dict[str, Outcome] = field(default_factory=dict)
    order: int | None = None


@dataclass(frozen=True, eq=False)
class Baseline:
    """The model on one batch, with the output that other runs are compared with.

    An output here is a list of leaves: its tensors. Methods that return "the same" with a
    difference return a new baseline. It runs in float64, if the model does.

    Attributes:
        session: runs copies of the model.
        batch: the inputs.
        normal: the output.
        names: the path of each leaf of the output: ``[0]``.
        first: the index of the first leaf with numbers, which the arguments of ``verify`` are
            about.
        rules: what the caller says of the model.
        axes: where samples and steps are in the output.
        known: what probes have learned so far.
        dtype: in which it runs; None if that is the model's own.
        tolerance: by how much of its size a feature may move by rounding.
        doubt: why a difference cannot be told from rounding; empty if it can.
        made: what functions with :func:`once` have made.
    """

    session: Session
    batch: Batch
    normal: Leaves
    names: list[str]
    first: int | None
    rules: Rules = field(default_factory=Rules)
    axes: Axes = field(default_factory=Axes)
    known: Known = field(default_factory=Known)
    dtype: torch.dtype | None = None
    tolerance: float = 0.0
    doubt: str = ""
    made: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, session: Session, batch: Batch, rules: Rules | None = None) -> "Baseline":
        """Run a model on a batch; no axis of its output is known then."""
        normal = session.run(batch.tree())
        first = next((k for k, leaf in enumerate(normal) if is_output(leaf)), None)
        return cls(session, batch, normal, session.names, first, rules or Rules())

    def has_passed(self, probe: str) -> bool:
        """Return whether a probe, by its name, was asked before and its law holds."""
        return isinstance(self.known.answers.get(probe), Passed)

    def has_found(self, probe: str) -> bool:
        """Return whether a probe, by its name, was asked before and found something."""
        return isinstance(self.known.answers.get(probe), Finding)

    @property
    def events(self) -> list[Event]:
        """What modules are given and return in a run on this batch, in order; run once."""
        return events_of(self)

    def with_steps_of(self, index: int) -> "Baseline":
        """Return the same with the steps of another input, by its index, as the ones to judge."""
        if index == self.batch.sequence:
            return self
        return self.on(self.batch.with_steps_of(index))

    def attempt(self, batch: Batch) -> Leaves | None:
        """Return the output for other inputs.

        If the model refuses them, or returns more leaves, or fewer, return None.
        """
        output = self.session.attempt(batch.tree())
        return output if output is not None and len(output) == len(self.normal) else None

    def rerun(self, watch: Watch) -> Leaves | None:
        """Return the output of another run on this batch, under a watch; None if it fails."""
        return self.session.attempt(self.batch.tree(), watch=watch)

    def on(self, batch: Batch, normal: Leaves | None = None) -> "Baseline":
        """Return the same with a different batch, and the output for it; None: that of the old."""
        if batch is self.batch and normal is None:
            return self
        output = self.normal if normal is None else normal
        return replace(self, batch=batch, normal=output, made={})

    @property
    def out_seq_dim(self) -> int | None:
        """The seq axis of the first output; None if it has none."""
        return None if self.first is None else self.axes.seq.get(self.first)

    def name(self, index: int) -> str:
        """Return what a message calls an output leaf.

        ``output`` or, if there are several, ``output[0]``.
        """
        return f"output{self.names[index]}" if sum(map(is_output, self.normal)) > 1 else "output"

    def of_sample(self, index: int, sample: int) -> str:
        """Return what a message calls a sample of an output: ``output[0] of sample 3``.

        The number is the caller's.
        """
        return f"{self.name(index)} of sample {self.batch.caller_indices[sample]}"

    def missing(self, index: int) -> int | None:
        """Return by how many steps, -1 to 1, an output is shorter than its input.

        None if it has no seq axis, or differs by more. 0 if it is as long as the longest sample.
        """
        axis = self.axes.seq.get(index)
        if axis is None or axis == self.axes.batch.get(index):
            return None
        source = self.axes.source[index]
        size = self.normal[index].shape[axis]
        steps = self.batch.length(source)
        less = 0 if size == max(self.batch.lengths.get(source, [0])) else steps - size
        return less if abs(less) <= 1 else None

    def has_steps(self, index: int) -> bool:
        """Return whether an output leaf has the steps that are judged, one more or one less."""
        is_followed = self.axes.source.get(index) == self.batch.sequence
        return is_followed and self.missing(index) is not None

    @property
    def outputs_with_steps(self) -> list[int]:
        """The index of each output leaf with the steps that are judged."""
        return [*filter(self.has_steps, range(len(self.normal)))]

    def in_input_order(self, output: Leaves) -> Leaves:
        """Return the leaves of an output with the samples in the order of the input.

        A leaf, ``known.order``, may say of each returned sample where the input has it.
        """
        order = self.known.order
        if order is None:
            return output
        place = output[order].argsort()
        ordered = list(output)
        for index, axis in self.axes.batch.items():
            if output[index].shape[axis] == len(place):
                ordered[index] = output[index].index_select(axis, place)
        return ordered

    def outputs_by_sample(self) -> list[int]:
        """Return the index of each output leaf with a row for each sample."""
        return [
            index
            for index, axis in self.axes.batch.items()
            if is_output(self.normal[index]) and self.normal[index].shape[axis] == self.batch.size
        ]

    def _valid_counts(self, index: int) -> list[int] | None:
        """Return how many steps of each sample of an output are valid; None if all of them are."""
        missing = self.missing(index)
        if missing is None:
            return None
        counts = self.batch.lengths.get(self.axes.source[index])
        if counts is None:
            return None
        steps = self.normal[index].shape[self.axes.seq[index]]
        return [min(max(count - missing, 0), steps) for count in counts]

    def valid_row(self, leaf: Tensor, index: int, sample: int) -> Tensor:
        """Return one sample of an output leaf, of the index ``index``, cut to its valid steps."""
        return self.valid_part(leaf.select(self.axes.batch[index], sample), index, sample)

    def valid_part(self, row: Tensor, index: int, sample: int) -> Tensor:
        """Return a row of an output, which belongs to a sample, cut to its valid steps."""
        ends = self._valid_counts(index)
        if ends is None:
            return row
        seq = self.axes.seq[index]
        if seq > self.axes.batch[index]:
            seq -= 1
        steps = row.shape[seq]
        valid = min(ends[sample], steps)
        return row.narrow(seq, 0 if self.batch.pads_after else steps - valid, valid)

    def scale_of(self, index: int) -> Tensor:
        """Return how large each feature of an output is, in the output's shape, over batch and seq.

        Differences are judged relative to that.
        """
        axes = {one[index] for one in (self.axes.batch, self.axes.seq) if index in one}
        key = ("scale", index)
        if key not in self.made:
            self.made[key] = feature_sizes(self.normal[index], (*axes,)).clamp(1e-300)
        size: Tensor = self.made[key]
        return size

    def places(self, index: int, mask: Tensor) -> Tensor:
        """Return where a mask over an output is true: a mask of valid places ``(samples, steps)``.

        An output without a seq axis has one step; one without a batch axis has one sample.
        """
        held = self.by_sample_and_step(index, mask).unsqueeze(-1).flatten(2).any(2)
        ends = self._valid_counts(index)
        if ends is not None and len(ends) == len(held):
            valid = steps_within(ends, held.shape[1], pads_after=self.batch.pads_after)
            held &= valid.to(held.device)
        return held

    def by_sample_and_step(self, index: int, leaf: Tensor) -> Tensor:
        """Return an output, or a mask over it, as ``(samples, steps, ...)``.

        An output without a seq axis has one step; one without a batch axis has one sample.
        """
        axis = self.axes.batch.get(index)
        seq = self.axes.seq.get(index, 0)
        if axis is None:  # all samples in one
            leaf = leaf.unsqueeze(0)
            axis = 0
            seq += 1
        if self.missing(index) is None:
            leaf = leaf.unsqueeze(-1)
            seq = -1
        return leaf.movedim((axis, seq), (0, 1))


def once(make: Callable[[Baseline], T]) -> Callable[[Baseline], T]:
    """Return ``make`` as a function that runs the first time only, for each baseline."""

    @wraps(make)
    def made_once(baseline: Baseline) -> T:
        """Return what was made of a baseline, or make it."""
        if made_once not in baseline.made:
            baseline.made[made_once] = make(baseline)
        made: T = baseline.made[made_once]
        return made

    return made_once


@once
def events_of(baseline: Baseline) -> list[Event]:
    """Run once with a recorder, and return what modules are given and return, in order."""
    recorder = Recorder()
    baseline.session.run(baseline.batch.tree(), watch=recorder.watch)
    return recorder.events
