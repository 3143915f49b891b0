"""Probes along the steps: padding, causal and memory."""

import torch
from torch import Tensor

from rnnkit._diagnostics.changes import Where, other_leaves, steps_at
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.experiment import Subject, Trial, attempt, changed
from rnnkit._diagnostics.isolation import Leaves, same
from rnnkit._diagnostics.locate import locate_step, reads_several_steps, record
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


def probe_padding(subject: Subject) -> None:
    """What lies beyond a sample's length does not matter."""
    batch, report, counts = subject.batch, subject.report, subject.counts
    if counts is None or batch.steps is None:
        report.skipped("padding", "no lengths were given")
        return
    if min(counts) == batch.steps:
        report.skipped("padding", "every sample is as long as the batch")
        return
    if not batch.knows_lengths(counts):
        report.skipped("padding", "the model is told no lengths: it may know padding by its value")
        return
    content = [k for k in range(len(batch.leaves)) if batch.has_steps(k) and batch.is_content(k)]
    if any(not is_number(batch.leaves[k]) for k in content):
        report.skipped("padding", "tokens: padding is known by its value")
        return
    judged = [index for index, _ in subject.judged()]
    indices = [index for index in judged if not subject.has_other_steps(index)]
    if not any(is_number(subject.normal[index]) for index in indices):
        report.skipped("padding", OTHER_STEPS if judged else "no output follows the batch")
        return
    step = torch.arange(batch.steps)
    limit = torch.tensor(counts).unsqueeze(1)
    beyond = step >= limit if subject.post else step < batch.steps - limit
    trial = attempt(subject, steps_at(beyond), "padding", pad=True)
    shown = [trial.shows(sample, indices) if trial else None for sample in range(batch.size)]
    if True in shown:
        sample = shown.index(True)
        what = f"output of sample {sample} depends on what lies beyond its length"
        fail("padding", f"{what} of {counts[sample]} steps")
    if False in shown:
        report.passed("padding", "what lies beyond a length does not matter")
    else:
        report.skipped("padding", OTHER_SHAPES if trial else UNCHANGED)


def probe_causal(subject: Subject) -> None:
    """Step t of the output does not depend on later steps of the input."""
    batch, report, first, seq = subject.batch, subject.report, subject.first, subject.out_seq_dim
    if batch.steps is None or batch.steps == 1:
        report.skipped("causal", "the input has no two steps")
        return
    if first is None or seq is None or not (subject.is_seq_told or subject.has_all_steps(first)):
        report.skipped("causal", "no output has the steps of the input; give out_seq_dim")
        return
    if not subject.has_steps(first):
        size = subject.normal[first].shape[seq]
        text = f"axis {seq} of the output is {size} long, the input has {batch.steps} steps"
        report.skipped("causal", f"{text}: of a decoder, give the target alone")
        return
    shortest = min(subject.counts or [batch.steps])
    cuts = sorted({batch.steps - 1, max(1, shortest - 1), max(1, shortest // 2)})[-CUTS:]
    trials = 0
    compared = False
    for cut in cuts:
        later = steps_at(torch.arange(batch.steps) >= cut)
        trial = attempt(subject, later, "causal")
        if trial is None:
            continue
        trials += 1
        step = _early_step(trial, first, seq, cut)
        compared |= step is not None
        if step is not None and step < cut:
            what = f"output of step {step} depends on input of step {cut} or later"
            found = locate_step(trial, cut)
            fail("causal", what, [*found.rows, *_source(subject, later, cut)], found.module)
    if compared:
        report.passed("causal", f"no step of {batch.steps} depends on a later one")
    else:
        report.skipped("causal", OTHER_SHAPES if trials else UNCHANGED)


def _early_step(trial: Trial, first: int, seq: int, cut: int) -> int | None:
    """Return the first step before a cut where a change after it shows, or the cut.

    None if the output has another shape.
    """
    before = trial.subject.normal[first]
    after = trial.output[first] if first < len(trial.output) else None
    if not isinstance(after, Tensor) or before.shape != after.shape:
        return None
    for step in range(min(cut, before.shape[seq])):
        if trial.differ(before.select(seq, step), after.select(seq, step), first):
            return step
    return cut


def _source(subject: Subject, later: Where, cut: int) -> list[Line]:
    """Name the input through which alone it happens: it may be what a decoder may see whole."""
    batch, first, seq = subject.batch, subject.first or 0, subject.out_seq_dim or 0
    content = [k for k in range(len(batch.leaves)) if batch.has_steps(k) and batch.is_content(k)]
    if len(content) < 2:
        return []
    found = []
    for index in content:
        trial = attempt(subject, later, "causal", only=index)
        step = _early_step(trial, first, seq, cut) if trial else None
        if step is not None and step < cut:
            found.append(index)
    if len(found) != 1:
        return []
    text = f"of {len(content)} inputs with steps, it is input {found[0]} alone:"
    fix = "if a decoder may read all of it, fix it in a wrapper and give the target alone"
    return [("through", text), ("", fix)]


def probe_memory(subject: Subject) -> None:
    """The last step, or the pooled output, depends on earlier steps at all."""
    batch, report = subject.batch, subject.report
    if not has_recurrence(subject.session.model):
        report.skipped("memory", "the model has no recurrent module; a loop of its own is not seen")
        return
    tried = batch.steps is not None and any(map(batch.has_steps, range(len(batch.leaves))))
    if not tried or not batch.steps or min(subject.counts or [batch.steps]) == 1:
        report.skipped("memory", "the input has no two steps")
        return
    indices = [index for index, _ in subject.judged() if is_number(subject.normal[index])]
    if not indices:
        judged = any(subject.judged())
        text = "the outputs are integers, which may stay the same by chance"
        report.skipped("memory", text if judged else "no output follows the batch")
        return
    everywhere = steps_at(torch.ones(batch.steps, dtype=torch.bool))
    inputs = changed(batch, everywhere)
    if inputs is None:
        report.skipped("memory", UNCHANGED)
        return
    if any(_remembers(subject, indices, everywhere, seed) for seed in range(MEMORIES)):
        report.passed("memory", "the last output depends on earlier steps")
        return
    if not _changes(subject, indices, subject.normal, inputs):
        report.skipped("memory", "the last output depends on no step at all, as dead units do")
        return
    if any(map(reads_several_steps, record(subject.session, batch.tree()))):
        text = f"layers read several steps, but not along axis {batch.seq_dim}; give seq_dim"
        report.skipped("memory", text)
        return
    what = "the last output depends on no earlier step of the input: nothing is remembered"
    rows = [
        ("cause", "likely a loop that passes on the first state"),
        ("or", f"axis {batch.seq_dim} of the input is not seq: rnnkit.verify(..., seq_dim=...)"),
    ]
    fail("memory", what, rows)


def _remembers(subject: Subject, indices: list[int], everywhere: Where, seed: int) -> bool:
    """Change the earlier steps alone, of the batch as it is or with other steps at the end."""
    batch, steps = subject.batch, subject.batch.steps or 0
    last = torch.tensor(subject.counts or [steps] * batch.size).unsqueeze(1) - 1
    step = torch.arange(steps)
    earlier = (step < last if subject.post else step < steps - 1).expand(batch.size, -1)
    before = subject.normal
    if seed:
        # What is remembered may be cut off by a unit that is dead for this last step.
        batch = batch.with_leaves(other_leaves(batch, everywhere, seed, pad=False))
        before = subject.session.run(batch.tree())
    inputs = changed(batch, steps_at(earlier), seed)
    return inputs is not None and _changes(subject, indices, before, inputs)


def _changes(subject: Subject, indices: list[int], before: Leaves, inputs: object) -> bool:
    after = Trial(subject, inputs, "memory").output
    if len(before) != len(after):
        return True
    for index in indices:
        one, other = before[index], after[index]
        if not isinstance(other, Tensor) or one.shape != other.shape:
            return True
        for sample in range(subject.batch.size):
            if not same(*(_last(subject, leaf, index, sample) for leaf in (one, other))):
                return True
    return False


def _last(subject: Subject, leaf: Tensor, index: int, sample: int) -> Tensor:
    taken = subject.valid(leaf, index, sample)
    if not subject.has_steps(index) or subject.out_seq_dim is None:
        return taken
    axis = subject.axes[index] or 0
    return taken.select(subject.out_seq_dim - (axis < subject.out_seq_dim), -1)
