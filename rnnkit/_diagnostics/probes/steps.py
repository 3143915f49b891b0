"""Probes along the steps: padding and memory."""

from collections import Counter

from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import Where, changed, steps_at, steps_from, valid_mask
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.events import looping, reads_several_steps, record
from rnnkit._diagnostics.experiment import PerturbedRun, first_true, run_perturbed
from rnnkit._diagnostics.isolation import Given
from rnnkit._diagnostics.judge import is_shown
from rnnkit._diagnostics.module_calls import has_recurrence, is_recurrent
from rnnkit._diagnostics.outputs import same
from rnnkit._diagnostics.report import (
    INTEGERS,
    NO_STEPS,
    OTHER_SHAPES,
    OTHER_STEPS,
    UNCHANGED,
    UNFOLLOWED,
    all_judged,
    fail,
    skip,
)
from rnnkit._diagnostics.slopes import gradients_of


def probe_padding(baseline: Baseline) -> str:
    """What is beyond a sample's length does not matter, in any input that has lengths."""
    return all_judged(_probe_padding, baseline.each_told())


def _probe_padding(baseline: Baseline) -> str:
    batch, counts = baseline.batch, baseline.counts
    if counts is None or batch.steps is None:
        skip("no lengths were given")
    if min(counts) == batch.steps:
        skip("every sample is as long as the batch")
    if not batch.knows_lengths():
        skip("the model gets no lengths: it may know padding by its value")
    content = [k for k in range(len(batch.leaves)) if batch.has_steps(k) and batch.is_content(k)]
    if any(not is_number(batch.leaves[k]) for k in content):
        skip("tokens: padding is known by its value")
    judged = [index for index, _ in baseline.judged()]
    indices = [index for index in judged if not baseline.has_other_steps(index)]
    if not any(is_number(baseline.normal[index]) for index in indices):
        other = any(is_number(baseline.normal[index]) for index in judged)
        text = OTHER_STEPS if other else "the outputs are integers"
        skip(text if judged else UNFOLLOWED)
    where = steps_at(~valid_mask(batch, post=baseline.post))
    perturbed = run_perturbed(baseline, where, pad=True)
    if perturbed is None or not any(map(perturbed.has, indices)):
        skip(OTHER_SHAPES if perturbed else UNCHANGED)
    for index in filter(perturbed.has, indices):
        shown = perturbed.moved_within(index).any(1)
        if not is_shown(baseline, shown):
            continue
        if "alone" in baseline.report.checked and _is_blank(baseline, content, where):
            # Past the end a convolution reads zeros of its own, too.
            skip("zeros beyond a length are read, and a sample alone gives the same")
        sample = first_true(shown)
        what = f"{baseline.of_sample(index, sample)} depends on what is beyond its length"
        of = f" in input {batch.paced}" if len(batch.lengths) > 1 else ""
        fail("padding", f"{what} of {counts[sample]} steps{of}")
    return "what is beyond a length does not matter"


def _is_blank(baseline: Baseline, content: list[int], where: Where) -> bool:
    """Return whether there are zeros and nothing else at some steps."""
    leaves = baseline.batch.leaves
    masks = [(leaves[k], where(baseline.batch, k)) for k in content]
    return not any(bool(leaf.where(mask, 0).any()) for leaf, mask in masks if mask is not None)


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
