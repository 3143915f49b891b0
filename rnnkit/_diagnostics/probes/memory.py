"""The probe *memory*: the last output depends on earlier steps."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import Where, steps_at, steps_from, valid_mask
from rnnkit._diagnostics.events import stateful
from rnnkit._diagnostics.lab import run_perturbed
from rnnkit._diagnostics.module_calls import calls_in
from rnnkit._diagnostics.outputs import is_number, same
from rnnkit._diagnostics.read_steps import steps_read
from rnnkit._diagnostics.report import INTEGERS, NO_STEPS, fail, skip, skip_inapplicable
from rnnkit._diagnostics.slopes import gradients_of


def probe_memory(baseline: Baseline) -> str:
    """The last step, or the pooled output, depends on earlier steps at all."""
    batch, names = baseline.batch, stateful(baseline.events)
    if not names:
        skip_inapplicable("no module has a state; a loop over functions is not seen")
    counts = baseline.batch.counts or [batch.steps or 0] * batch.size
    if max(counts) < 2 or not any(map(batch.has_steps, range(len(batch.leaves)))):
        skip_inapplicable(NO_STEPS)
    indices = [index for index, _ in baseline.judged() if is_number(baseline.normal[index])]
    if not indices:
        skip(INTEGERS if any(baseline.judged()) else baseline.unfollowed())
    ordered = [index for index in indices if baseline.has_steps(index)]

    def parts(output: Sequence[Any], indices: list[int], step: int) -> list[Tensor]:
        """Return the last step of each sample, or its first, or what is pooled."""
        found = []
        for k in indices:
            axis, seq = baseline.axes[k] or 0, baseline.step_axes[k] or 0
            for n in (n for n, count in enumerate(counts) if count > 1):
                x = baseline.row(output[k], k, n)
                found.append(x.select(seq - (axis < seq), step) if k in ordered else x)
        return found

    def changes(where: Where, indices: list[int], step: int = -1) -> bool:
        """Return whether other inputs show there."""
        run = run_perturbed(baseline, where)
        if run is None or not all(map(run.has, indices)):
            return run is not None
        both = (parts(output, indices, step) for output in (baseline.normal, run.output))
        return not all(map(same, *both))

    holds, steps = "the last output depends on earlier steps", steps_read(baseline)
    if steps and bool(steps[max(steps)][: max(steps)].any()):
        return holds
    valid = valid_mask(batch, post=baseline.post)
    # All steps but each sample's last one; or its first.
    earlier, later = valid & valid.roll(-1, 1), valid & valid.roll(1, 1)
    earlier[:, -1] = later[:, 0] = False
    gradients = gradients_of(baseline)
    told = parts(gradients.output, indices, -1) if gradients.output else []
    read = gradients.places(told) if told else None
    if read is not None and bool((read & earlier).any()):
        return holds
    if changes(steps_at(earlier), indices):
        return holds if read is None else f"{holds}, which get no gradient"
    if changes(steps_at(later), ordered, 0):
        return "the first output depends on later steps: the model runs backwards"
    if not changes(steps_from(0), indices):
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
