"""The probe *memory*: the last output depends on earlier steps."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.inputs.changes import Where, steps_at, steps_from, valid_mask
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.lab import run_perturbed
from rnnkit._diagnostics.measure.read_steps import steps_read
from rnnkit._diagnostics.measure.slopes import gradients_of
from rnnkit._diagnostics.measure.unfollowed import why_unfollowed
from rnnkit._diagnostics.run.events import stateful
from rnnkit._diagnostics.run.module_calls import calls_in
from rnnkit._diagnostics.run.outputs import is_number, same
from rnnkit._diagnostics.tell.report import INTEGERS, NO_STEPS, fail, skip, skip_inapplicable

HOLDS = "the last output depends on earlier steps"


def probe_memory(baseline: Baseline) -> str:
    """The last step, or the pooled output, depends on earlier steps at all."""
    batch = baseline.batch
    names = stateful(baseline.events)
    if not names:
        skip_inapplicable("no module has a state; a loop over functions is not seen")
    ends = _Ends.of(baseline)
    if max(ends.counts) < 2 or not any(map(batch.has_steps, range(len(batch.leaves)))):
        skip_inapplicable(NO_STEPS)
    if not ends.outputs:
        skip(INTEGERS if any(baseline.judged()) else why_unfollowed(baseline))
    steps = steps_read(baseline)
    if steps and bool(steps[max(steps)][: max(steps)].any()):
        return HOLDS
    earlier, later = _all_but_one(baseline)
    read = ends.read()
    if read is not None and bool((read & earlier).any()):
        return HOLDS
    if ends.move(steps_at(earlier), ends.outputs, LAST):
        return HOLDS if read is None else f"{HOLDS}, which get no gradient"
    if ends.move(steps_at(later), ends.with_steps, FIRST):
        return "the first output depends on later steps: the model runs backwards"
    if not ends.move(steps_from(0), ends.outputs, LAST):
        skip("the last output depends on no step at all, as dead units do")
    are_steps = all(call.is_step for call in calls_in(baseline.events))
    if not are_steps or not _runs_along(baseline, names):
        skip(f"no state runs along axis {batch.seq_dim} (give seq_dim), or none reaches an output")
    what = "the last output depends on no earlier step of the input: nothing is remembered"
    rows = [
        ("likely", "a loop that starts each step from the first state, or a mask that wipes it"),
        ("or", f"axis {batch.seq_dim} of the input is not seq: rnnkit.verify(..., seq_dim=...)"),
    ]
    return fail("memory", what, rows)


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
        """Find the outputs of numbers that have a row for each sample."""
        batch = baseline.batch
        counts = batch.counts or [batch.steps or 0] * batch.size
        outputs = [index for index, _ in baseline.judged() if is_number(baseline.normal[index])]
        return cls(baseline, counts, outputs, [k for k in outputs if baseline.has_steps(k)])

    def parts(self, output: Sequence[Any], indices: list[int], step: int) -> list[Tensor]:
        """Return one step of each sample that has several, or what is pooled."""
        baseline = self.baseline
        found = list[Tensor]()
        samples = [sample for sample, count in enumerate(self.counts) if count > 1]
        for index in indices:
            axis = baseline.axes[index] or 0
            seq = baseline.step_axes[index] or 0
            seq -= axis < seq
            for sample in samples:
                row = baseline.row(output[index], index, sample)
                found.append(row.select(seq, step) if index in self.with_steps else row)
        return found

    def read(self) -> Tensor | None:
        """Return at which steps of the input the ends have a gradient; None if that is unknown."""
        gradients = gradients_of(self.baseline)
        if not gradients.output:
            return None
        told = self.parts(gradients.output, self.outputs, LAST)
        return gradients.places(told) if told else None

    def move(self, where: Where, indices: list[int], step: int) -> bool:
        """Return whether other inputs show at a step of some outputs, or change their shapes."""
        run = run_perturbed(self.baseline, where)
        if run is None:
            return False
        if not all(map(run.has, indices)):
            return True
        before = self.parts(self.baseline.normal, indices, step)
        return not all(map(same, before, self.parts(run.output, indices, step)))


def _all_but_one(baseline: Baseline) -> tuple[Tensor, Tensor]:
    """Return the valid steps of each sample without its last one, and without its first."""
    valid = valid_mask(baseline.batch, post=baseline.post)
    without_last = valid & valid.roll(-1, 1)
    without_first = valid & valid.roll(1, 1)
    without_last[:, -1] = False
    without_first[:, 0] = False
    return without_last, without_first


def _runs_along(baseline: Baseline, names: set[str]) -> bool:
    """Return whether a layer is called once, or a module for each step, or step of a sample."""
    batch = baseline.batch
    inputs = [event for event in baseline.events if event.kind == "input"]
    calls = Counter(event.name for event in inputs if event.name in names)
    if any(isinstance(event.module, RNNBase) and calls[event.name] == 1 for event in inputs):
        return True
    of_batch = {batch.steps, batch.longest}
    of_samples = {batch.size * (batch.steps or 0), sum(batch.counts or [])}
    return not (of_batch | of_samples).isdisjoint(calls.values())
