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
    """From which baseline another one was made, and how: its judge is made of the judge alike."""

    parent: "Baseline"
    change: "Callable[[Baseline], Baseline]"


@dataclass(eq=False)
class Baseline:
    """A session, a batch, and the leaves of the output that can be judged sample by sample."""

    session: Session
    batch: Batch
    pads_after: bool = True  # whether padding is after a sample, not before it
    causal: bool | str = False
    lookahead: int = 0
    # What probes have answered so far, by name; who asks them writes into it.
    answers: Mapping[str, Outcome] = field(default_factory=dict)
    tolerance: float | None = None  # of a feature's size; None if the judge has to decide
    dtype: torch.dtype | None = None  # in which a judge runs
    derived: Derived | None = None
    rounds: bool = False  # whether a run of the same size differed by rounding
    order: int | None = None  # the output that holds the order of the others' samples
    second_output: Leaves | None = None  # the output of a second run of the same copy
    output_without_one: Leaves | None = (
        None  # the output for one sample less; None if the model refuses
    )
    left_out_sample: int = 0  # that sample
    runs_on_less: bool = False  # whether the model takes fewer steps
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
        """Return what is made once for this batch."""
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made

    def if_made(self, name: str) -> Any:
        """Return what was made once for this batch; None if it was not."""
        return self._made.get(name)

    @property
    def is_judge(self) -> bool:
        """Whether it runs in a wider dtype, and knows what is more than rounding."""
        return self.tolerance is not None

    def has_passed(self, probe: str) -> bool:
        """Return whether a probe was asked before, and its law holds."""
        return isinstance(self.answers.get(probe), Passed)

    def has_found(self, probe: str) -> bool:
        """Return whether a probe was asked before, and found something."""
        return isinstance(self.answers.get(probe), Finding)

    @property
    def is_spent(self) -> bool:
        """Whether as many runs were made as may be, and nothing was found."""
        return self.session.passes >= RUNS and not any(map(self.has_found, self.answers))

    @property
    def events(self) -> list[Event]:
        """What goes into modules and comes out of them."""

        def record() -> list[Event]:
            recorder = Recorder()
            self.session.run(self.batch.tree(), watch=recorder.watch)
            return recorder.events

        return self.once("events", record)

    def with_steps_of(self, index: int | None) -> "Baseline":
        """Return the same with the steps of a different input."""
        if index is None or index == self.batch.sequence:
            return self
        return self.with_batch(lambda batch: batch.with_steps_of(index))

    def following(self, own: Mapping[int, frozenset[int]]) -> "Baseline":
        """Return the same with other inputs that have steps of their own, see the batch."""
        return self.with_batch(lambda batch: batch.following(own))

    def with_batch(self, change: Callable[[Batch], Batch]) -> "Baseline":
        """Return the same with a batch that is seen differently, by the judge as well."""
        other = self.on(change(self.batch))
        other.derived = Derived(self, lambda judge: judge.with_batch(change))
        return other

    def attempt(self, batch: Batch) -> Leaves | None:
        """Run on other inputs; None if the model refuses, or returns more leaves, or fewer."""
        output = self.session.attempt(batch.tree())
        return output if output is not None and len(output) == len(self.normal) else None

    def on(self, batch: Batch) -> "Baseline":
        """Return the same with a different batch."""
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
        """Return the same with a different batch; None if the model refuses it."""
        output = self.attempt(batch)
        if output is None:
            return None
        other = self.on(batch)
        other.normal = output
        return other

    def judging(
        self, batch: Batch, dtype: torch.dtype, tolerance: float, session: Session | None = None
    ) -> "Baseline":
        """Return the same as a judge, on a batch in its dtype, in a session that runs in it."""
        judge = self.on(batch)
        judge.dtype = dtype
        judge.tolerance = tolerance
        judge.second_output = None
        if session is not None:
            judge.session = session
            judge.normal = session.run(batch.tree())
        return judge

    def take_batch_axis(self, index: int, axis: int) -> None:
        """Take an axis of an output for the one that has the samples."""
        self.axes[index] = axis

    def expect_rounding(self) -> None:
        """Note that bits which differ say little, so that the judge is asked at once from now."""
        self.rounds = True

    def take_order(self, order: int | None) -> None:
        """Take an output for the one that holds the order of the others' samples."""
        self.order = order
        judge = self.if_made("judge")
        if isinstance(judge, Baseline):
            judge.order = order

    @property
    def out_seq_dim(self) -> int | None:
        """The seq axis of the first output."""
        return None if self.first is None else self.step_axes[self.first]

    def name(self, index: int) -> str:
        """Return what a message calls an output: by its place, if there are several."""
        return f"output{self.names[index]}" if sum(map(is_output, self.normal)) > 1 else "output"

    def of_sample(self, index: int, sample: int) -> str:
        """Return what a message calls a sample of an output: by its number for the caller."""
        return f"{self.name(index)} of sample {self.batch.caller_indices[sample]}"

    def missing(self, index: int) -> int | None:
        """Return how many steps, -1 to 1, an output has less than its input; None if others."""
        source = self.step_inputs[index] or 0
        axis = self.step_axes[index]
        if axis is None or axis == self.axes[index]:
            return None
        size = self.normal[index].shape[axis]
        steps = self.batch.length(source) or 0
        less = 0 if size == max(self.batch.lengths.get(source, [0])) else steps - size
        return less if abs(less) <= 1 else None

    def has_steps(self, index: int) -> bool:
        """Return whether a leaf of the output has the steps of the input whose steps are judged."""
        return self.step_inputs[index] == self.batch.sequence and self.missing(index) is not None

    def in_input_order(self, output: Leaves) -> Leaves:
        """Return an output with its samples in the order of the input."""
        if self.order is None:
            return output
        place = output[self.order].argsort()
        return [
            x if axis is None or x.shape[axis] != len(place) else x.index_select(axis, place)
            for x, axis in zip(output, self.axes, strict=True)
        ]

    def outputs_by_sample(self) -> Iterator[tuple[int, int]]:
        """Yield index and batch axis of each leaf with a row, or more, for each sample."""
        for index, (leaf, axis) in enumerate(zip(self.normal, self.axes, strict=True)):
            if axis is not None and is_output(leaf) and leaf.shape[axis] == self.batch.size:
                yield index, axis

    def _ends(self, index: int) -> list[int] | None:
        """Return how many steps of an output are valid of each sample; None if all of them are."""
        source = self.step_inputs[index]
        missing = self.missing(index)
        counts = self.batch.lengths.get(-1 if source is None else source)
        if counts is None or missing is None:
            return None
        axis = self.step_axes[index] or 0
        steps = self.normal[index].shape[axis]
        return [min(max(count - missing, 0), steps) for count in counts]

    def valid_row(self, leaf: Tensor, index: int, sample: int, place: int | None = None) -> Tensor:
        """Return one sample of a leaf, at its place or another one, cut to its valid steps."""
        axis = self.axes[index] or 0
        row = leaf.select(axis, sample if place is None else place)
        ends = self._ends(index)
        if ends is None:
            return row
        seq = self.step_axes[index] or 0
        if seq > axis:
            seq -= 1
        steps = row.shape[seq]
        valid = min(ends[sample], steps)
        return row.narrow(seq, 0 if self.pads_after else steps - valid, valid)

    def scale_of(self, index: int) -> Tensor:
        """Return how large the features of an output are, in its shape."""
        known = {self.axes[index], self.step_axes[index]}
        axes = tuple(axis for axis in known if axis is not None)
        return self.once(
            f"scale {index}", lambda: feature_sizes(self.normal[index], axes).clamp(1e-300)
        )

    def places(self, index: int, mask: Tensor) -> Tensor:
        """Return at which valid ``(samples, steps)`` a mask over an output holds; or, one step."""
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
        ends = self._ends(index)
        if ends is not None:
            held &= steps_within(ends, held.shape[1], pads_after=self.pads_after).to(held.device)
        return held
