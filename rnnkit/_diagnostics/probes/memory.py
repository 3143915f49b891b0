"""The probe *memory*: the last output depends on earlier steps."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.inputs.changes import Where, steps_at, steps_from, valid_mask
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import compare_changed, refused
from rnnkit._diagnostics.measure.judge import rounds_by_all
from rnnkit._diagnostics.measure.read_steps import steps_read
from rnnkit._diagnostics.measure.slopes import gradients_of
from rnnkit._diagnostics.measure.unfollowed import why_unfollowed
from rnnkit._diagnostics.probes.reach import reach_in_words, steps_before
from rnnkit._diagnostics.run.events import stateful_modules
from rnnkit._diagnostics.run.module_calls import calls_in
from rnnkit._diagnostics.run.outputs import is_number, same
from rnnkit._diagnostics.tell.outcome import INTEGERS, NO_STEPS, Finding, Outcome, Passed, Skipped

HOLDS = "the last output depends on earlier steps"


def needs_of_memory(baseline: Baseline) -> Skipped | None:
    """Return why there is nothing to remember, or no number to see it in; None if there is.

    ``baseline`` is the model, a batch, and what it returned for that.
    """
    batch = baseline.batch
    if not stateful_modules(baseline.events) and not gradients_of(baseline).noticed.cut:
        unseen = "no recurrent module was seen; a loop of plain functions is not recognized"
        return Skipped(unseen, "inapplicable")
    ends = _Ends.of(baseline)
    if max(ends.counts) < 2 or not any(map(batch.has_steps, range(len(batch.leaves)))):
        return Skipped(NO_STEPS, "inapplicable")
    if not ends.outputs:
        return Skipped(INTEGERS if any(baseline.outputs_by_sample()) else why_unfollowed(baseline))
    return None


def probe_memory(baseline: Baseline) -> Outcome:
    """The last step, or the pooled output, depends on earlier steps at all.

    Gradients are asked first and, if they show nothing, changed inputs. ``baseline`` is the model,
    a batch, and what it returned for that. The ends are each sample's last step or, of an output
    without steps, all of it.
    """
    ends = _Ends.of(baseline)
    if _last_step_reads_first(baseline):
        return Passed(HOLDS, [])
    read = ends.read()
    earlier, _ = _all_but_one(baseline)
    if read is not None and bool((read & earlier).any()):
        return Passed(HOLDS, [], notes=_notes_of_cuts(ends, read))
    # A quantized layer may move any output by rounding: then changes show nothing.
    return rounds_by_all(baseline) or _judge_changes(ends, read)


def _notes_of_cuts(ends: "_Ends", read: Tensor) -> list[str]:
    """Return a note if the last output depends on steps before the first that gets a gradient.

    ``read`` ``(batch, seq)`` has the steps that get one; forward cuts the graph before them.
    """
    baseline = ends.baseline
    cut = gradients_of(baseline).noticed.cut
    before = steps_before(baseline, read)
    if not cut or not bool(before.any()):
        return []
    is_read = ends.move(steps_at(before), ends.outputs, LAST) is True
    return [reach_in_words(baseline, read, cut)] if is_read else []


def _judge_changes(ends: "_Ends", read: Tensor | None) -> Outcome:
    """Change steps, and return what that shows: by gradients, no earlier step is read.

    ``read`` has the steps ``(batch, seq)`` that get a gradient from the ends of the outputs; it is
    None if no gradient can be measured. A model whose first output reads later steps runs
    backwards.
    """
    baseline = ends.baseline
    earlier, later = _all_but_one(baseline)
    moves = ends.move(steps_at(earlier), ends.outputs, LAST)
    if isinstance(moves, Skipped):
        return moves
    if moves:
        if read is None:
            return Passed(HOLDS, [])
        text = f"{HOLDS}: changed inputs show it, although gradients do not"
        cut = gradients_of(baseline).noticed.cut
        if not cut:
            return Passed(text, [])
        reach = reach_in_words(baseline, read, cut)
        return Passed(text, [], notes=[reach], but=reach)
    moves = ends.move(steps_at(later), ends.with_steps, FIRST)
    if isinstance(moves, Skipped):
        return moves
    if moves:
        backwards = "the first output depends on later steps: the model runs backwards"
        return Passed(backwards, [])
    moves = ends.move(steps_from(0), ends.outputs, LAST)
    if isinstance(moves, Skipped):
        return moves
    if not moves:
        return Skipped("the last output depends on no step at all: its units may always be zero")
    return _nothing_is_remembered(ends.baseline)


def _nothing_is_remembered(baseline: Baseline) -> Finding | Skipped:
    """Return a finding if a state was seen to run along the steps; else a skip.

    Then a layer is called on many steps, or a cell as often as there are steps. ``baseline`` is a
    model whose outputs depend on no earlier step.
    """
    seq_dim = baseline.batch.seq_dim
    are_steps = all(call.is_step for call in calls_in(baseline.events))
    if not are_steps or not _runs_along(baseline, stateful_modules(baseline.events)):
        along = (
            f"no state runs along axis {seq_dim} (pass seq_dim= if the steps are on another axis)"
        )
        return Skipped(f"{along}, or none reaches an output")
    what = "the last output depends on no earlier step of the input: nothing is remembered"
    rows = [
        (
            "likely",
            "each step is a sequence of its own: a view or a loop without a state makes it so",
        ),
        ("or", f"axis {seq_dim} of the input is not seq: rnnkit.verify(..., seq_dim=...)"),
    ]
    return Finding(what, rows)


def _last_step_reads_first(baseline: Baseline) -> bool:
    """Return whether the last step of the first output is known to read the first one."""
    steps = steps_read(baseline)
    last = max(steps, default=0)
    return last > 0 and bool(steps[last][0])


#: Steps of an output, within each sample's length.
FIRST = 0
LAST = -1


@dataclass
class _Ends:
    """The ends of the outputs: each sample's last step or, of a pooled output, the whole.

    Attributes:
        counts: the steps of each sample.
        outputs: the outputs that can be judged, by index.
        with_steps: those that have the steps of the input.
    """

    baseline: Baseline
    counts: list[int]
    outputs: list[int]
    with_steps: list[int]

    @classmethod
    def of(cls, baseline: Baseline) -> "_Ends":
        """Find the outputs of numbers that have a row for each sample.

        ``baseline`` is the model, a batch, and what it returned for that.
        """
        batch = baseline.batch
        counts = batch.counts or [batch.steps or 0] * batch.size
        outputs = [
            index for index, _ in baseline.outputs_by_sample() if is_number(baseline.normal[index])
        ]
        return cls(baseline, counts, outputs, [k for k in outputs if baseline.has_steps(k)])

    def parts(self, output: Sequence[Any], indices: list[int], step: int) -> list[Tensor]:
        """Return one step of each sample that has several, of the output leaves at some indices.

        ``step`` is FIRST or LAST within the sample's length; a pooled output gives its whole
        sample.
        """
        samples = [sample for sample, count in enumerate(self.counts) if count > 1]
        return [
            self._part(output[index], index, sample, step)
            for index in indices
            for sample in samples
        ]

    def _part(self, leaf: Tensor, index: int, sample: int, step: int) -> Tensor:
        """Return one step of a sample of an output leaf; all of it if the output has no steps.

        ``index`` is that of the output, and ``step`` FIRST or LAST.
        """
        baseline = self.baseline
        row = baseline.valid_row(leaf, index, sample)
        if index not in self.with_steps:
            return row
        seq = baseline.axes.seq[index]
        if seq > baseline.axes.batch[index]:
            seq -= 1  # the row has no batch axis
        return row.select(seq, step)

    def read(self) -> Tensor | None:
        """Return where the ends have a gradient in the input, ``(batch, seq)``; None if unknown."""
        gradients = gradients_of(self.baseline)
        if not gradients.output:
            return None
        told = self.parts(gradients.output, self.outputs, LAST)
        return gradients.places(told) if told else None

    def move(self, where: Where, indices: list[int], step: int) -> bool | Skipped:
        """Return whether other inputs at some places show at a step of some outputs.

        ``where`` tells the places, ``indices`` the outputs, and ``step`` is FIRST or LAST. A change
        of their shapes shows as well; a skip if the model refuses the inputs.
        """
        change = compare_changed(self.baseline, where)
        if change is None:
            return False
        if change.refusal:
            return refused(change)
        if not all(map(change.has, indices)):
            return True
        before = self.parts(self.baseline.normal, indices, step)
        return not all(map(same, before, self.parts(change.output, indices, step)))


def _all_but_one(baseline: Baseline) -> tuple[Tensor, Tensor]:
    """Return masks ``(batch, seq)`` of the valid steps without the last one, and the first.

    ``baseline`` has the batch with its lengths; the last and the first are those of each sample.
    """
    valid = valid_mask(baseline.batch, pads_after=baseline.rules.pads_after)
    without_last = valid & valid.roll(-1, 1)
    without_first = valid & valid.roll(1, 1)
    without_last[:, -1] = False
    without_first[:, 0] = False
    return without_last, without_first


def _runs_along(baseline: Baseline, names: set[str]) -> bool:
    """Return whether a layer is called once, or a module for each step, or step of a sample.

    ``names`` are the modules that have a state.
    """
    batch = baseline.batch
    inputs = [event for event in baseline.events if event.kind == "input"]
    calls = Counter(event.name for event in inputs if event.name in names)
    if any(isinstance(event.module, RNNBase) and calls[event.name] == 1 for event in inputs):
        return True
    of_batch = {batch.steps, batch.longest}
    of_samples = {batch.size * (batch.steps or 0), sum(batch.counts or [])}
    return not (of_batch | of_samples).isdisjoint(calls.values())
