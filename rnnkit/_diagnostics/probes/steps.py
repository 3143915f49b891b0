"""Probes along the steps: padding and memory."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor
from torch.nn import RNNBase

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.batch import Batch, length
from rnnkit._diagnostics.changes import (
    Where,
    changed,
    other_leaves,
    steps_at,
    steps_from,
    valid_mask,
)
from rnnkit._diagnostics.compare import is_number, largest
from rnnkit._diagnostics.events import looping, reads_several_steps, record
from rnnkit._diagnostics.experiment import PerturbedRun, run_perturbed
from rnnkit._diagnostics.isolation import Given
from rnnkit._diagnostics.masks import is_binary
from rnnkit._diagnostics.module_calls import has_recurrence, is_recurrent
from rnnkit._diagnostics.outputs import Leaves, same
from rnnkit._diagnostics.report import (
    INTEGERS,
    MEMORIES,
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
    alike = [index for index in indices if perturbed and perturbed.has(index)]
    if perturbed is None or not alike:
        skip(OTHER_SHAPES if perturbed else UNCHANGED)
    for sample in range(batch.size):
        shown = perturbed.shows(sample, alike)
        if shown is None:
            continue
        if "alone" in baseline.report.checked and _is_blank(baseline, content, where):
            # Past the end a convolution reads zeros of its own, too.
            skip("zeros beyond a length are read, and a sample alone gives the same")
        what = f"{baseline.of_sample(shown, sample)} depends on what is beyond its length"
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
    if not known and not looping(record(baseline.session, batch.tree())):
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
    batches = chain([batch], _drawn(batch), _others(batch))
    remembers = (_remembers(baseline, indices, one, seed) for seed, one in enumerate(batches))
    if _reads(baseline, indices) or any(remembers):
        return "the last output depends on earlier steps"
    ordered = [k for k in indices if baseline.step_axes[k] is not None and baseline.has_steps(k)]
    if ordered and _remembers(baseline, ordered, batch, backward=True):
        return "the first output depends on later steps: the model runs backwards"
    if not _changes(baseline, indices, baseline.normal, inputs, batch):
        skip("the last output depends on no step at all, as dead units do")
    if any(map(reads_several_steps, baseline.events)):
        skip(f"layers read several steps, but not along axis {batch.seq_dim}; give seq_dim")
    if not _runs_along(baseline):
        skip(f"cells are called in loops, but not once for each step of axis {batch.seq_dim}")
    what = "the last output depends on no earlier step of the input: nothing is remembered"
    rows = [
        ("cause", "likely a loop that passes on the first state"),
        ("or", f"axis {batch.seq_dim} of the input is not seq: rnnkit.verify(..., seq_dim=...)"),
    ]
    return fail("memory", what, rows)


def _runs_along(baseline: Baseline) -> bool:
    """Return whether a layer runs, or something recurrent is called once for each step."""
    batch, steps = baseline.batch, baseline.batch.steps or 0
    events = baseline.events
    if any(isinstance(event.module, RNNBase) for event in events):
        return True
    cells = looping(events)
    calls = Counter(e.name for e in events if is_recurrent(e.module) or e.name in cells)
    try:
        shorter = record(baseline.session, batch.cut(steps - 1, front=baseline.post).tree())
    except Exception:  # noqa: BLE001 - it may be made for so many steps
        return 2 * steps in calls.values()
    fewer = Counter(event.name for event in shorter)
    # What goes in is an event, and what comes out another one.
    return any(count - fewer[name] == 2 for name, count in calls.items())


def _remembers(
    baseline: Baseline, indices: list[int], batch: Batch, seed: int = 0, *, backward: bool = False
) -> bool:
    """Change the earlier steps alone, of the batch as it is or of another one; or the later."""
    inputs = changed(batch, steps_at(_earlier(baseline, backward=backward)), seed)
    before = baseline.session.attempt(batch.tree()) if seed else baseline.normal
    if inputs is None or before is None:
        return False
    return _changes(baseline, indices, before, inputs, batch, 0 if backward else -1)


def _drawn(batch: Batch) -> Iterator[Batch]:
    """Yield the batch with other steps: a unit may be dead for the last one, and cut memory off."""
    for seed in range(1, MEMORIES):
        yield batch.with_leaves(other_leaves(batch, steps_from(0), seed, pad=False))


def _others(batch: Batch) -> Iterator[Batch]:
    """Yield inputs in which memory may show where it does not in the batch."""
    flags = [
        (1 - x.to(torch.int8)).to(x.dtype) if _is_flag(batch, k) else x
        for k, x in enumerate(batch.leaves)
    ]
    small = [_tamed(x) if batch.is_content(k) else x for k, x in enumerate(batch.leaves)]
    for leaves in (flags, small):
        if any(one is not x for one, x in zip(leaves, batch.leaves, strict=True)):
            yield batch.with_leaves(leaves)


def _is_flag(batch: Batch, index: int) -> bool:
    """Return whether a leaf is of zeros and ones, and what is seldom is at the last step of all."""
    leaf = batch.leaves[index]
    if index == batch.paced or not is_binary(leaf) or not length(leaf, batch.seq_dim):
        return False
    steps = leaf.movedim(batch.seq_dim, 0).double().flatten(1).mean(1)
    # The first step may be marked as such; of two steps nothing is seldom.
    usual = steps[1:-1].mean().nan_to_num(0.5).item()
    last = steps[-1].item()
    return last in (0.0, 1.0) and abs(last - usual) >= 0.5


def _tamed(leaf: Tensor) -> Tensor:
    """Return numbers divided by their largest, if that is more than one."""
    size = largest(leaf) if is_number(leaf) else 0.0
    return leaf / size if size > 1 else leaf


def _reads(baseline: Baseline, indices: list[int]) -> bool:
    """Return whether the last outputs have a gradient in an earlier step: it may be forgotten."""
    batch, gradients = baseline.batch, gradients_of(baseline)
    samples = range(batch.size)
    if not gradients.output:
        return False
    told = [_step(baseline, gradients.output[k], k, n, -1) for k in indices for n in samples]
    read = gradients.places(batch.paced, batch.seq_dim, told)
    return read is not None and bool((read & _earlier(baseline)).any())


def _earlier(baseline: Baseline, *, backward: bool = False) -> Tensor:
    """Return which steps are before each sample's last one, or after its first, (batch, seq)."""
    steps = baseline.batch.steps or 0
    counts = torch.tensor(baseline.counts or [steps] * baseline.batch.size, device="cpu")
    counts = counts.unsqueeze(1)
    start = torch.zeros_like(counts) if baseline.post else steps - counts
    step = torch.arange(steps, device="cpu")
    return (step > start) if backward else (step >= start) & (step < start + counts - 1)


def _changes(
    baseline: Baseline,
    indices: list[int],
    before: Leaves,
    inputs: Given,
    batch: Batch,
    at: int = -1,
) -> bool:
    """Return whether other inputs show in a step of an output, the last one or the first."""
    after = PerturbedRun(baseline, inputs, batch).output
    counts = baseline.counts or [baseline.batch.steps or 0] * baseline.batch.size
    if len(before) != len(after):
        return True
    for index in indices:
        one, other = before[index], after[index]
        if not isinstance(other, Tensor) or one.shape != other.shape:
            return True
        for sample in range(baseline.batch.size):
            # A sample of one step has none to remember.
            if counts[sample] != 1 and not same(
                *(_step(baseline, leaf, index, sample, at) for leaf in (one, other))
            ):
                return True
    return False


def _step(baseline: Baseline, leaf: Tensor, index: int, sample: int, at: int) -> Tensor:
    taken = baseline.valid(leaf, index, sample)
    axis, seq = baseline.axes[index] or 0, baseline.step_axes[index]
    if seq is None or not baseline.has_steps(index):
        return taken
    return taken.select(seq - (axis < seq), at)
