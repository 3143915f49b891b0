"""The probe *memory*: the last output depends on earlier steps."""

from collections import Counter

from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import Where, changed, steps_at, steps_from, valid_mask
from rnnkit._diagnostics.events import looping, reads_several_steps, record
from rnnkit._diagnostics.lab import run_perturbed
from rnnkit._diagnostics.module_calls import has_recurrence, is_recurrent
from rnnkit._diagnostics.outputs import is_number, same
from rnnkit._diagnostics.report import INTEGERS, NO_STEPS, UNCHANGED, fail, skip
from rnnkit._diagnostics.slopes import gradients_of


def probe_memory(baseline: Baseline) -> str:
    """The last step, or the pooled output, depends on earlier steps at all."""
    batch = baseline.batch
    if not has_recurrence(baseline.session.model) and not looping(baseline.events):
        skip("no module has a state; a loop over functions is not seen")
    tried = batch.steps is not None and any(map(batch.has_steps, range(len(batch.leaves))))
    if not tried or not batch.steps or max(baseline.counts or [batch.steps]) == 1:
        skip(NO_STEPS)
    indices = [index for index, _ in baseline.judged() if is_number(baseline.normal[index])]
    if not indices:
        skip(INTEGERS if any(baseline.judged()) else baseline.unfollowed())
    valid = valid_mask(batch, post=baseline.post)
    # All steps but each sample's last one; or its first.
    earlier, later = valid & valid.roll(-1, 1), valid & valid.roll(1, 1)
    earlier[:, -1] = later[:, 0] = False
    holds = "the last output depends on earlier steps"
    if (read := _reads(baseline, indices, earlier)) or _changes(
        baseline, indices, steps_at(earlier)
    ):
        return holds if read is not False else f"{holds}, which get no gradient"
    ordered = [k for k in indices if baseline.has_steps(k)]
    if _changes(baseline, ordered, steps_at(later), at=0):
        return "the first output depends on later steps: the model runs backwards"
    if changed(batch, steps_from(0)) is None:
        skip(UNCHANGED)
    if not _changes(baseline, indices, steps_from(0)):
        skip("the last output depends on no step at all, as dead units do")
    if not _runs_along(baseline):
        skip(f"no state runs along axis {batch.seq_dim} (give seq_dim), or none reaches an output")
    what = "the last output depends on no earlier step of the input: nothing is remembered"
    rows = [
        ("likely", "a loop that starts each step from the first state, or a mask that wipes it"),
        ("or", f"axis {batch.seq_dim} of the input is not seq: rnnkit.verify(..., seq_dim=...)"),
    ]
    return fail("memory", what, rows)


def _runs_along(baseline: Baseline) -> bool:
    """Return whether a layer reads single steps, or something is called once for each step."""
    batch, steps, loops = baseline.batch, baseline.batch.steps or 0, looping(baseline.events)
    if any(map(reads_several_steps, baseline.events)):
        return False
    inputs = [event for event in baseline.events if event.kind == "input"]
    calls = Counter(e.name for e in inputs if is_recurrent(e.module) or e.name in loops)
    if any(isinstance(e.module, RNNBase) and calls[e.name] == 1 for e in inputs):
        return True
    try:
        shorter = record(baseline.session, batch.cut(steps - 1, front=baseline.post).tree())
    except Exception:  # noqa: BLE001 - it may be made for so many steps
        return steps in calls.values()
    fewer = Counter(event.name for event in shorter if event.kind == "input")
    return any(count - fewer[name] == 1 for name, count in calls.items())


def _reads(baseline: Baseline, indices: list[int], earlier: Tensor) -> bool | None:
    """Return whether the last outputs have a gradient in an earlier step: it may be forgotten."""
    batch, gradients = baseline.batch, gradients_of(baseline)
    samples = range(batch.size if gradients.output else 0)
    told = [_step(baseline, gradients.output[k], k, n, -1) for k in indices for n in samples]
    read = gradients.places(told) if told else None
    return None if read is None else bool((read & earlier).any())


def _changes(baseline: Baseline, indices: list[int], where: Where, at: int = -1) -> bool:
    """Return whether other inputs show in a step of an output, the last one or the first."""
    run = run_perturbed(baseline, where) if indices else None
    counts = baseline.counts or [0] * baseline.batch.size
    # A sample of one step has none to remember.
    samples = [sample for sample, count in enumerate(counts) if count != 1]
    return run is not None and any(
        not run.has(k)
        or not same(*(_step(baseline, one[k], k, n, at) for one in (baseline.normal, run.output)))
        for k in indices
        for n in samples
    )


def _step(baseline: Baseline, leaf: Tensor, index: int, sample: int, at: int) -> Tensor:
    axis, seq = baseline.axes[index] or 0, baseline.step_axes[index]
    taken = baseline.taking(index, sample)(leaf)
    if seq is None or not baseline.has_steps(index):
        return taken
    return taken.select(seq - (axis < seq), at)
