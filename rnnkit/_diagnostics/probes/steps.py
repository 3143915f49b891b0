"""Probes along the steps: padding, causal and memory."""

import torch
from torch import Tensor

from rnnkit._diagnostics.axes import followed_axis
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import Where, other_leaves, steps_at
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.events import reads_several_steps, record
from rnnkit._diagnostics.experiment import PerturbedRun, changed, run_perturbed
from rnnkit._diagnostics.isolation import Given
from rnnkit._diagnostics.locate import locate_step
from rnnkit._diagnostics.outputs import Leaves, same
from rnnkit._diagnostics.probes.use import has_recurrence
from rnnkit._diagnostics.report import (
    CUTS,
    MEMORIES,
    OTHER_SHAPES,
    OTHER_STEPS,
    UNCHANGED,
    Line,
    fail,
)


def probe_padding(baseline: Baseline) -> None:
    """What is beyond a sample's length does not matter."""
    batch, report, counts = baseline.batch, baseline.report, baseline.counts
    if counts is None or batch.steps is None:
        report.skipped("padding", "no lengths were given")
        return
    if min(counts) == batch.steps:
        report.skipped("padding", "every sample is as long as the batch")
        return
    if not batch.knows_lengths():
        report.skipped("padding", "the model gets no lengths: it may know padding by its value")
        return
    content = [k for k in range(len(batch.leaves)) if batch.has_steps(k) and batch.is_content(k)]
    if any(not is_number(batch.leaves[k]) for k in content):
        report.skipped("padding", "tokens: padding is known by its value")
        return
    judged = [index for index, _ in baseline.judged()]
    indices = [index for index in judged if not baseline.has_other_steps(index)]
    if not any(is_number(baseline.normal[index]) for index in indices):
        report.skipped("padding", OTHER_STEPS if judged else "no output follows the batch")
        return
    step = torch.arange(batch.steps, device="cpu")
    limit = torch.tensor(counts, device="cpu").unsqueeze(1)
    beyond = step >= limit if baseline.post else step < batch.steps - limit
    perturbed = run_perturbed(baseline, steps_at(beyond), pad=True)
    alike = [index for index in indices if perturbed and perturbed.has(index)]
    if perturbed is None or not alike:
        report.skipped("padding", OTHER_SHAPES if perturbed else UNCHANGED)
        return
    for sample in range(batch.size):
        shown = perturbed.shows(sample, alike)
        if shown is not None:
            what = f"{baseline.name(shown)} of sample {sample} depends on what is beyond its length"
            fail("padding", f"{what} of {counts[sample]} steps")
    report.passed("padding", "what is beyond a length does not matter")


def probe_causal(baseline: Baseline) -> None:
    """Step t of the output does not depend on later steps of the input."""
    batch, report = baseline.batch, baseline.report
    if batch.steps is None or batch.steps == 1:
        report.skipped("causal", "the input has no two steps")
        return
    paced = _in_step(baseline)
    if paced is None:
        _check_features(baseline)
        report.skipped("causal", "no output has the steps of the input; give out_seq_dim")
        return
    batch, first, seq = paced.batch, paced.first or 0, paced.out_seq_dim or 0
    steps = batch.steps or 0
    if not paced.has_steps(first):
        size = paced.normal[first].shape[seq]
        text = f"axis {seq} of the output is {size} long, the input has {steps} steps"
        report.skipped("causal", f"{text}: of a decoder, give the target alone")
        return
    shortest = min(paced.counts or [steps])
    cuts = sorted({steps - 1, max(1, shortest - 1), max(1, shortest // 2)})[-CUTS:]
    tried, compared = 0, False
    for cut in cuts:
        later = steps_at(torch.arange(steps, device="cpu") >= cut)
        perturbed = run_perturbed(paced, later)
        if perturbed is None:
            continue
        tried += 1
        compared |= perturbed.has(first)
        step = _early_step(perturbed, first, seq, cut)
        if step is not None:
            what = f"{paced.name(first)} of step {step} depends on input of step {cut} or later"
            found = locate_step(perturbed, cut)
            fail("causal", what, [*found.rows, *_source(paced, later, cut)], found.module)
        if paced.strict:
            _check_own_step(paced, first, seq, cut)
    if compared:
        own = "itself or " if paced.strict else ""
        report.passed("causal", f"no step of {steps} depends on {own}a later one")
    else:
        report.skipped("causal", OTHER_SHAPES if tried else UNCHANGED)


def _check_own_step(baseline: Baseline, first: int, seq: int, cut: int) -> None:
    """Find an output that reads its own step of the first input: a target that was not shifted."""
    batch = baseline.batch
    own = steps_at(torch.arange(batch.steps or 0, device="cpu") == cut)
    # Of an encoder and a decoder, the target has the steps, and the first input has not.
    input = batch.first if batch.has_steps(batch.first) else batch.paced
    perturbed = run_perturbed(baseline, own, only=input)
    at = cut - max(baseline.missing(first), 0)
    if perturbed is None or not perturbed.has(first):
        return
    if perturbed.differs(first, lambda leaf: leaf.select(seq, at)):
        which = "the first input" if input == batch.first else f"input {input}"
        what = f"{baseline.name(first)} of step {at} depends on step {cut} of {which}"
        fail("causal", what, [("fix", "shift the input: step t reads target t - 1")])


def _check_features(baseline: Baseline) -> None:
    """Find an output that has as many rows as there are steps, and which are the features."""
    batch, first = baseline.batch, baseline.first
    leaf = batch.leaves[batch.paced]
    if first is None or leaf.dim() != 3 or leaf.shape[2] != batch.steps:
        return
    fewer = batch.with_leaves(list(batch.leaves))
    fewer.leaves[batch.paced] = leaf.narrow(2, 0, leaf.shape[2] - 1)
    output = baseline.session.attempt(fewer.tree())
    if output is None or len(output) != len(baseline.normal):
        return
    axis = followed_axis(baseline.normal[first], output[first])
    if axis is not None:
        what = f"axis {axis} of the {baseline.name(first)} follows axis 2 of the input, and none"
        fail("causal", f"{what} follows its steps, on axis {batch.seq_dim}")


def _in_step(baseline: Baseline) -> Baseline | None:
    """Return the model with the steps of that input which the first output has, too.

    Of an encoder and a decoder it is the target, also if that is as long as the source.
    """
    batch = baseline.batch
    if baseline.first is None:
        return None
    if baseline.out_seq_dim is not None and baseline.has_steps(baseline.first):
        return baseline
    for index in range(len(batch.leaves)):
        leaf, axis = batch.leaves[index], batch.axes[index]
        apart = index != batch.paced and not batch.has_steps(index)
        if apart and axis not in (None, batch.seq_dim) and batch.is_content(index):
            if leaf.dim() <= batch.seq_dim or leaf.shape[batch.seq_dim] < 2:
                continue
            paced = baseline.paced_by(index)
            if paced.runs_on_less and paced.has_steps(baseline.first):
                return paced
    return baseline if baseline.out_seq_dim is not None else None


def _early_step(perturbed: PerturbedRun, first: int, seq: int, cut: int) -> int | None:
    """Return the first step before a cut where a change after it shows."""
    if not perturbed.has(first):
        return None
    # What is shorter than the input may begin with a later step.
    before = cut - max(perturbed.baseline.missing(first), 0)
    for step in range(min(before, perturbed.baseline.normal[first].shape[seq])):
        if perturbed.differs(first, lambda leaf, step=step: leaf.select(seq, step)):  # type: ignore[misc]
            return step
    return None


def _source(baseline: Baseline, later: Where, cut: int) -> list[Line]:
    """Name the input through which alone it happens: it may be what a decoder may see whole."""
    batch, first, seq = baseline.batch, baseline.first or 0, baseline.out_seq_dim or 0
    content = [k for k in range(len(batch.leaves)) if batch.has_steps(k) and batch.is_content(k)]
    if len(content) < 2:
        return []
    found = []
    for index in content:
        perturbed = run_perturbed(baseline, later, only=index)
        step = _early_step(perturbed, first, seq, cut) if perturbed else None
        if step is not None:
            found.append(index)
    if len(found) != 1:
        return []
    text = f"of {len(content)} inputs with steps, it is input {found[0]} alone:"
    fix = "if a decoder may read all of it, fix it in a wrapper and give the target alone"
    return [("through", text), ("", fix)]


def probe_memory(baseline: Baseline) -> None:
    """The last step, or the pooled output, depends on earlier steps at all."""
    batch, report = baseline.batch, baseline.report
    if not has_recurrence(baseline.session.model):
        report.skipped("memory", "the model has no recurrent module; a loop of its own is not seen")
        return
    tried = batch.steps is not None and any(map(batch.has_steps, range(len(batch.leaves))))
    if not tried or not batch.steps or max(baseline.counts or [batch.steps]) == 1:
        report.skipped("memory", "the input has no two steps")
        return
    indices = [index for index, _ in baseline.judged() if is_number(baseline.normal[index])]
    if not indices:
        judged = any(baseline.judged())
        text = "the outputs are integers, which may stay the same by chance"
        report.skipped("memory", text if judged else "no output follows the batch")
        return
    everywhere = steps_at(torch.ones(batch.steps, dtype=torch.bool, device="cpu"))
    inputs = changed(batch, everywhere)
    if inputs is None:
        report.skipped("memory", UNCHANGED)
        return
    if any(_remembers(baseline, indices, everywhere, seed) for seed in range(MEMORIES)):
        report.passed("memory", "the last output depends on earlier steps")
        return
    if not _changes(baseline, indices, baseline.normal, inputs):
        report.skipped("memory", "the last output depends on no step at all, as dead units do")
        return
    if any(map(reads_several_steps, record(baseline.session, batch.tree()))):
        text = f"layers read several steps, but not along axis {batch.seq_dim}; give seq_dim"
        report.skipped("memory", text)
        return
    what = "the last output depends on no earlier step of the input: nothing is remembered"
    rows = [
        ("cause", "likely a loop that passes on the first state"),
        ("or", f"axis {batch.seq_dim} of the input is not seq: rnnkit.verify(..., seq_dim=...)"),
    ]
    fail("memory", what, rows)


def _remembers(baseline: Baseline, indices: list[int], everywhere: Where, seed: int) -> bool:
    """Change the earlier steps alone, of the batch as it is or with other steps at the end."""
    batch, steps = baseline.batch, baseline.batch.steps or 0
    last = torch.tensor(baseline.counts or [steps] * batch.size, device="cpu").unsqueeze(1) - 1
    step = torch.arange(steps, device="cpu")
    earlier = (step < last if baseline.post else step < steps - 1).expand(batch.size, -1)
    before = baseline.normal
    if seed:
        # What is remembered may be cut off by a unit that is dead for this last step.
        batch = batch.with_leaves(other_leaves(batch, everywhere, seed, pad=False))
        before = baseline.session.run(batch.tree())
    inputs = changed(batch, steps_at(earlier), seed)
    return inputs is not None and _changes(baseline, indices, before, inputs)


def _changes(baseline: Baseline, indices: list[int], before: Leaves, inputs: Given) -> bool:
    after = PerturbedRun(baseline, inputs).output
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
                *(_last(baseline, leaf, index, sample) for leaf in (one, other))
            ):
                return True
    return False


def _last(baseline: Baseline, leaf: Tensor, index: int, sample: int) -> Tensor:
    taken = baseline.valid(leaf, index, sample)
    axis, seq = baseline.axes[index] or 0, baseline.step_axes[index]
    if seq is None or not baseline.has_steps(index):
        return taken
    return taken.select(seq - (axis < seq), -1)
