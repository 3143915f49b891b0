"""The model on one batch: what it returned, and where samples and steps are in that."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import steps_within
from rnnkit._diagnostics.run.events import Event, Recorder
from rnnkit._diagnostics.run.isolation import Session
from rnnkit._diagnostics.run.outputs import Leaves, feature_sizes, is_output
from rnnkit._diagnostics.tell.outcome import RUNS, Finding, Outcome, Passed

T = TypeVar("T")


class Derived(NamedTuple):
    """How a baseline was made from another one: so its judge is made from the other one's judge.

    Attributes:
        parent: the other baseline.
        change: makes the one from the other.
    """

    parent: "Baseline"
    change: "Callable[[Baseline], Baseline]"


@dataclass(eq=False)
class Baseline:
    """The model on one batch, with the output that other runs are compared with.

    An output here is a list of leaves: its tensors. Methods that return "the same" with a
    difference return a new baseline. The judge is the same in float64: it says whether a difference
    is more than rounding.

    Attributes:
        session: runs copies of the model.
        batch: the inputs.
        pads_after: whether padding is after a sample, not before it.
        causal, lookahead: what a step of the output may read, as the caller says.
        answers: what probes have answered so far, by name; whoever asks them writes into it.
        tolerance: of a judge, by how much of its size a feature may move; None if it is no judge.
        dtype: of a judge, in which it runs.
        derived: how it was made from another baseline, if it was.
        rounds: whether a run of the same size differed by rounding.
        order: the output that holds the order of the others' samples; None for the input's.
        second_output: the output of a second run of the same copy.
        output_without_one: the output without ``left_out_sample``; None if the model refuses that.
        runs_on_less: whether the model takes fewer steps.
        shared: names of inputs with as many rows as the batch that all samples share.
        normal: the output.
        names: the path of each leaf of the output: ``[0]``.
        first: the index of the first leaf with numbers, which the arguments of ``verify`` are
            about.
        axes, step_axes: the batch axis and the seq axis of each leaf of the output, or None.
        step_inputs: the index of the input that has the same steps, or None.
    """

    session: Session
    batch: Batch
    pads_after: bool = True
    causal: bool | str = False
    lookahead: int = 0
    # What probes have answered so far, by name; who asks them writes into it.
    answers: Mapping[str, Outcome] = field(default_factory=dict)
    tolerance: float | None = None
    dtype: torch.dtype | None = None
    derived: Derived | None = None
    rounds: bool = False
    order: int | None = None
    second_output: Leaves | None = None
    output_without_one: Leaves | None = (
        None  # the output for one sample less; None if the model refuses
    )
    left_out_sample: int = 0
    runs_on_less: bool = False
    # Inputs with as many rows as the batch, all of them taken for each sample.
    shared: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Run the model on the batch."""
        self._made: dict[str, Any] = {}
        self.normal: Leaves = self.session.run(self.batch.tree())
        self.names = self.session.names  # where in the output the leaves are
        # The first leaf with numbers: the arguments of verify are about it.
        self.first = next((k for k, leaf in enumerate(self.normal) if is_output(leaf)), None)
        # The batch and the seq axis of each leaf, and the index of the input whose steps it has.
        self.axes: list[int | None] = [None] * len(self.normal)
        self.step_axes: list[int | None] = list(self.axes)
        self.step_inputs: list[int | None] = list(self.axes)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return what ``make()`` returns: it is called once for each ``name`` and batch."""
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made

    def if_made(self, name: str) -> Any:
        """Return what :meth:`once` made under a name; None if it was not asked."""
        return self._made.get(name)

    @property
    def is_judge(self) -> bool:
        """Whether it runs in float64, say, and has a tolerance for what is more than rounding."""
        return self.tolerance is not None

    def has_passed(self, probe: str) -> bool:
        """Return whether a probe, by its name, was asked before and its law holds."""
        return isinstance(self.answers.get(probe), Passed)

    def has_found(self, probe: str) -> bool:
        """Return whether a probe, by its name, was asked before and found something."""
        return isinstance(self.answers.get(probe), Finding)

    @property
    def is_spent(self) -> bool:
        """Whether as many runs were made as may be, and nothing was found."""
        return self.session.tally.passes >= RUNS and not any(map(self.has_found, self.answers))

    @property
    def events(self) -> list[Event]:
        """What modules are given and return in a run on this batch, in order; run once."""

        def record() -> list[Event]:
            """Run the model once with a recorder of its modules' calls."""
            recorder = Recorder()
            self.session.run(self.batch.tree(), watch=recorder.watch)
            return recorder.events

        return self.once("events", record)

    def with_steps_of(self, index: int | None) -> "Baseline":
        """Return the same with the steps of another input, by its index, as the ones to judge."""
        if index is None or index == self.batch.sequence:
            return self
        return self.with_batch(lambda batch: batch.with_steps_of(index))

    def following(self, own: Mapping[int, frozenset[int]]) -> "Baseline":
        """Return the same with other inputs that keep their steps, see ``Batch.on_their_own``."""
        return self.with_batch(lambda batch: batch.following(own))

    def with_batch(self, change: Callable[[Batch], Batch]) -> "Baseline":
        """Return the same with ``change(batch)``, the same inputs seen differently.

        Its judge sees them differently as well.
        """
        other = self.on(change(self.batch))
        other.derived = Derived(self, lambda judge: judge.with_batch(change))
        return other

    def attempt(self, batch: Batch) -> Leaves | None:
        """Return the output for other inputs.

        If the model refuses them, or returns more leaves, or fewer, return None.
        """
        output = self.session.attempt(batch.tree())
        return output if output is not None and len(output) == len(self.normal) else None

    def on(self, batch: Batch) -> "Baseline":
        """Return the same with a different batch; the output stays that of the old one."""
        other: Baseline = copy.copy(self)
        other.batch = batch
        other._made = {}
        other.derived = None
        return other

    def run_on(self, batch: Batch) -> "Baseline":
        """Return the same with a different batch, and what the model returns for that."""
        other = self.on(batch)
        other.normal = self.session.run(batch.tree())
        return other

    def if_accepted(self, batch: Batch) -> "Baseline | None":
        """Return the same with a different batch and its output; None if the model refuses it."""
        output = self.attempt(batch)
        if output is None:
            return None
        other = self.on(batch)
        other.normal = output
        return other

    def judging(
        self, batch: Batch, dtype: torch.dtype, tolerance: float, session: Session | None = None
    ) -> "Baseline":
        """Return the same as a judge, on a batch in its dtype.

        ``tolerance`` is by how much of its size a feature may move. The output is that of
        ``session``, which runs in the dtype; without one, it stays as it is.
        """
        judge = self.on(batch)
        judge.dtype = dtype
        judge.tolerance = tolerance
        judge.second_output = None
        if session is not None:
            judge.session = session
            judge.normal = session.run(batch.tree())
        return judge

    def take_order(self, order: int | None) -> None:
        """Take an output, by index, for the one that tells the order of the samples.

        None stands for the order of the input.
        """
        self.order = order
        judge = self.if_made("judge")
        if isinstance(judge, Baseline):
            judge.order = order

    @property
    def out_seq_dim(self) -> int | None:
        """The seq axis of the first output; None if it has none."""
        return None if self.first is None else self.step_axes[self.first]

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
        source = self.step_inputs[index] or 0
        axis = self.step_axes[index]
        if axis is None or axis == self.axes[index]:
            return None
        size = self.normal[index].shape[axis]
        steps = self.batch.length(source) or 0
        less = 0 if size == max(self.batch.lengths.get(source, [0])) else steps - size
        return less if abs(less) <= 1 else None

    def has_steps(self, index: int) -> bool:
        """Return whether an output leaf has the steps that are judged, one more or one less."""
        return self.step_inputs[index] == self.batch.sequence and self.missing(index) is not None

    def in_input_order(self, output: Leaves) -> Leaves:
        """Return the leaves of an output with the samples in the order of the input.

        ``order`` is the leaf that says of each returned sample where the input has it.
        """
        if self.order is None:
            return output
        place = output[self.order].argsort()
        return [
            x if axis is None or x.shape[axis] != len(place) else x.index_select(axis, place)
            for x, axis in zip(output, self.axes, strict=True)
        ]

    def outputs_by_sample(self) -> Iterator[tuple[int, int]]:
        """Yield index and batch axis of each output leaf with a row, or more, for each sample."""
        for index, (leaf, axis) in enumerate(zip(self.normal, self.axes, strict=True)):
            if axis is not None and is_output(leaf) and leaf.shape[axis] == self.batch.size:
                yield index, axis

    def _valid_counts(self, index: int) -> list[int] | None:
        """Return how many steps of each sample of an output are valid; None if all of them are."""
        source = self.step_inputs[index]
        missing = self.missing(index)
        counts = self.batch.lengths.get(-1 if source is None else source)
        if counts is None or missing is None:
            return None
        axis = self.step_axes[index] or 0
        steps = self.normal[index].shape[axis]
        return [min(max(count - missing, 0), steps) for count in counts]

    def valid_row(self, leaf: Tensor, index: int, sample: int, place: int | None = None) -> Tensor:
        """Return one sample of an output leaf, cut to its valid steps.

        ``index`` is that of the output. Of a run of some samples only, ``place`` is where the
        sample is in ``leaf``.
        """
        axis = self.axes[index] or 0
        row = leaf.select(axis, sample if place is None else place)
        ends = self._valid_counts(index)
        if ends is None:
            return row
        seq = self.step_axes[index] or 0
        if seq > axis:
            seq -= 1
        steps = row.shape[seq]
        valid = min(ends[sample], steps)
        return row.narrow(seq, 0 if self.pads_after else steps - valid, valid)

    def scale_of(self, index: int) -> Tensor:
        """Return how large each feature of an output is, in the output's shape, over batch and seq.

        Differences are judged relative to that.
        """
        known = {self.axes[index], self.step_axes[index]}
        axes = tuple(axis for axis in known if axis is not None)
        return self.once(
            f"scale {index}", lambda: feature_sizes(self.normal[index], axes).clamp(1e-300)
        )

    def places(self, index: int, mask: Tensor) -> Tensor:
        """Return where a mask over an output is true: a mask of valid places ``(samples, steps)``.

        An output without a seq axis has one step; one without a batch axis has one sample.
        """
        axis = self.axes[index]
        seq = self.step_axes[index] or 0
        if axis is None:  # all samples in one
            mask = mask.unsqueeze(0)
            axis = 0
            seq += 1
        if self.missing(index) is None:
            mask = mask.unsqueeze(-1)
            seq = -1
        rows = mask.movedim((axis, seq), (0, 1))
        held = rows.reshape(*rows.shape[:2], -1).any(2)
        ends = self._valid_counts(index)
        if ends is not None:
            held &= steps_within(ends, held.shape[1], pads_after=self.pads_after).to(held.device)
        return held
