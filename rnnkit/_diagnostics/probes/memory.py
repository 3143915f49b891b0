"""The probe *memory*: the last output depends on earlier steps."""

from collections import Counter

from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import changed, steps_at, steps_from, valid_mask
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.events import looping, reads_several_steps, record
from rnnkit._diagnostics.experiment import PerturbedRun
from rnnkit._diagnostics.isolation import Given
from rnnkit._diagnostics.module_calls import has_recurrence, is_recurrent
from rnnkit._diagnostics.outputs import same
from rnnkit._diagnostics.report import INTEGERS, NO_STEPS, UNCHANGED, UNFOLLOWED, fail, skip
from rnnkit._diagnostics.slopes import gradients_of


def probe_memory(baseline: Baseline) -> str:
    """The last step, or the pooled output, depends on earlier steps at all."""
    batch = baseline.batch
    known = has_recurrence(baseline.session.model)
    if not known and not looping(baseline.events):
        skip("no module has a state; a loop over functions is not seen")
    tried = batch.steps is not None and any(map(batch.has_steps, range(len(batch.leaves))))
    if not tried or not batch.steps or max(baseline.counts or [batch.steps]) == 1:
        skip(NO_STEPS)
    indices = [index for index, _ in baseline.judged() if is_number(baseline.normal[index])]
    if not indices:
        skip(INTEGERS if any(baseline.judged()) else UNFOLLOWED)
    inputs = changed(batch, steps_from(0))
    if inputs is None:
        skip(UNCHANGED)
    earlier = changed(batch, steps_at(_earlier(baseline)))
    if _reads(baseline, indices) or _changes(baseline, indices, earlier):
        return "the last output depends on earlier steps"
    ordered = [k for k in indices if baseline.step_axes[k] is not None and baseline.has_steps(k)]
    later = changed(batch, steps_at(_earlier(baseline, backward=True))) if ordered else None
    if _changes(baseline, ordered, later, at=0):
        return "the first output depends on later steps: the model runs backwards"
    if not _changes(baseline, indices, inputs):
        skip("the last output depends on no step at all, as dead units do")
    if any(map(reads_several_steps, baseline.events)):
        skip(f"layers read several steps, but not along axis {batch.seq_dim}; give seq_dim")
    if not _runs_along(baseline):
        skip(f"cells are called in loops, but not once for each step of axis {batch.seq_dim}")
    what = "the last output depends on no earlier step of the input: nothing is remembered"
    rows = [
        ("likely", "a loop that starts each step from the first state"),
        ("or", f"axis {batch.seq_dim} of the input is not seq: rnnkit.verify(..., seq_dim=...)"),
    ]
    return fail("memory", what, rows)


def _runs_along(baseline: Baseline) -> bool:
    """Return whether a layer runs, or something recurrent is called once for each step."""
    batch, steps = baseline.batch, baseline.batch.steps or 0
    if any(isinstance(event.module, RNNBase) for event in baseline.events):
        return True
    cells = looping(baseline.events)
    calls = Counter(e.name for e in baseline.events if is_recurrent(e.module) or e.name in cells)
    try:
        shorter = record(baseline.session, batch.cut(steps - 1, front=baseline.post).tree())
    except Exception:  # noqa: BLE001 - it may be made for so many steps
        return 2 * steps in calls.values()
    fewer = Counter(event.name for event in shorter)
    # What goes in is an event, and what comes out another one.
    return any(count - fewer[name] == 2 for name, count in calls.items())


def _earlier(baseline: Baseline, *, backward: bool = False) -> Tensor:
    """Return which steps are before each sample's last one, or after its first, (batch, seq)."""
    valid = valid_mask(baseline.batch, post=baseline.post)
    rest = valid.roll(1 if backward else -1, 1)
    rest[:, 0 if backward else -1] = False
    return valid & rest


def _reads(baseline: Baseline, indices: list[int]) -> bool:
    """Return whether the last outputs have a gradient in an earlier step: it may be forgotten."""
    batch, gradients = baseline.batch, gradients_of(baseline)
    if not gradients.output:
        return False
    samples = range(batch.size)
    told = [_step(baseline, gradients.output[k], k, n, -1) for k in indices for n in samples]
    gradients.read = gradients.places(batch.paced, batch.seq_dim, told)
    return gradients.read is not None and bool((gradients.read & _earlier(baseline)).any())


def _changes(baseline: Baseline, indices: list[int], inputs: Given | None, at: int = -1) -> bool:
    """Return whether other inputs show in a step of an output, the last one or the first."""
    if inputs is None:
        return False
    perturbed = PerturbedRun(baseline, inputs)
    both = (baseline.normal, perturbed.output)
    counts = baseline.counts or [0] * baseline.batch.size
    # A sample of one step has none to remember.
    return any(
        not perturbed.has(index)
        or not same(*(_step(baseline, one[index], index, k, at) for one in both))
        for index in indices
        for k in range(baseline.batch.size)
        if counts[k] != 1
    )


def _step(baseline: Baseline, leaf: Tensor, index: int, sample: int, at: int) -> Tensor:
    axis, seq = baseline.axes[index] or 0, baseline.step_axes[index]
    taken = baseline.taking(index, sample)(leaf)
    if seq is None or not baseline.has_steps(index):
        return taken
    return taken.select(seq - (axis < seq), at)
