"""The probes of ``verify``: what is changed, and what must not (or must) change with it."""

import math
from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Tensor

from rnnkit._batches import sample_at, steps_at
from rnnkit._errors import LeakError
from rnnkit._locate import Place, locate_sample, locate_step
from rnnkit._session import Leaves, same
from rnnkit._subject import Subject
from rnnkit._use import find_misuse, has_recurrence

#: How many samples are run alone, and how many cuts the causal probe makes: they bound the cost.
ALONE = 3
CUTS = 3
MEMORIES = 4

#: How many times the measured effect of rounding two kernels may differ.
AMPLIFIED = 50


def fail(probe: str, what: str, place: Place | None = None) -> NoReturn:
    """Raise what a probe found.

    Raises:
        LeakError: always.
    """
    lines = [what, *(f"  {line}" for line in (place.lines if place else ()))]
    lines.append(f"  meant     if so: rnnkit.verify(..., skip=[{probe!r}])")
    raise LeakError("\n".join(lines), probe, place.module if place else "")


def probe_batch(subject: Subject) -> None:
    """Sample i's output does not depend on sample j's input."""
    batch, report = subject.batch, subject.report
    if batch.size == 1:
        report.skipped("batch", "the batch has one sample; give two or more")
        return
    if not any(subject.judged()):
        if subject.follows_steps():
            shape = tuple(subject.normal[subject.first or 0].shape)
            what = f"output {shape} has a row for each of {batch.steps} steps, none for a sample"
            fail("batch", f"{what}\n  cause     likely batch and seq have changed places")
        report.skipped("batch", "no output follows the batch")
        return
    for changed in range(batch.size):
        inputs = batch.replaced(sample_at(changed))
        output = subject.session.run(inputs)
        for sample in range(batch.size):
            if sample != changed and _differs(subject, output, sample):
                what = f"output of sample {sample} depends on input of sample {changed}"
                fail("batch", what, locate_sample(subject, inputs, changed))
    report.passed("batch", f"{batch.size} samples, each on its own")


def _differs(subject: Subject, output: Leaves, sample: int) -> bool:
    for place, _ in subject.judged():
        before, after = subject.normal[place], output[place]
        if before.shape == after.shape and not same(
            subject.valid(before, place, sample), subject.valid(after, place, sample)
        ):
            return True
    return False


def probe_alone(subject: Subject) -> None:
    """A sample run alone, cut to its length, gives what it gave in the batch."""
    batch, report = subject.batch, subject.report
    if not any(subject.judged()):
        report.skipped("alone", "no output follows the batch")
        return
    noise = subject.rounding()
    # The shortest samples first: they have the most padding.
    order = sorted(range(batch.size), key=lambda k: subject.counts[k] if subject.counts else k)
    for sample in order[:ALONE]:
        single = batch.samples([sample])
        if subject.counts is not None:
            single = single.cut(subject.counts[sample], front=subject.post)
        try:
            output = subject.session.run(single.tree())
        except Exception as error:  # noqa: BLE001 - a model may refuse a batch of one as it likes
            reason = str(error).strip().splitlines() or [""]
            text = f"the model does not run on one sample: {type(error).__name__}: {reason[0][:80]}"
            report.skipped("alone", text)
            return
        for place, axis in subject.judged():
            _compare_alone(subject, output, place, axis, sample, noise[place])
    cut = ", cut to its length," if subject.counts else ""
    report.passed("alone", f"a sample alone{cut} gives what it gives in the batch")


def _compare_alone(
    subject: Subject, output: Leaves, place: int, axis: int, sample: int, noise: float
) -> None:
    inside = subject.valid(subject.normal[place], place, sample)
    alone = output[place]
    if alone.shape == inside.shape:
        note = f"a batch of one has lost its batch axis: output {tuple(alone.shape)}"
        if note not in subject.report.notes:
            subject.report.notes.append(note)
    elif alone.dim() == inside.dim() + 1 and alone.shape[axis] == 1:
        alone = alone.squeeze(axis)
    if alone.shape != inside.shape or not alone.is_floating_point():
        return
    off = (alone.double() - inside.double()).abs().max().item()
    scale = max(inside.double().abs().max().item(), 1e-30)
    if off > tolerance(alone, subject.batch.steps or 1) * scale + AMPLIFIED * noise:
        cut = f", cut to its {subject.counts[sample]} steps," if subject.counts else ""
        what = (
            f"sample {sample} alone{cut} gives another output than in the batch: "
            f"off by {off / scale:.1e} of the largest"
        )
        hint = "padding that is pooled or read as the last step" if cut else "what the batch shares"
        fail("alone", f"{what}\n  cause     likely {hint}")


def tolerance(tensor: Tensor, steps: int) -> float:
    """Return by how much rounding may part two kernels, relative to the largest output.

    Each step rounds a sum over some hundred features anew, by ``eps`` a term in random directions:
    ``eps * sqrt(features * steps)``, with a factor of 8 for what the layers above make of it. Of
    half precision no more than a quarter of the largest output is believed. What the model itself
    makes of rounding is measured and comes on top.
    """
    eps: float = torch.finfo(tensor.dtype).eps
    return min(0.25, eps * 8 * math.sqrt(256 * steps))


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
    step = torch.arange(batch.steps)
    limit = torch.tensor(counts).unsqueeze(1)
    beyond = step >= limit if subject.post else step < batch.steps - limit
    content = [k for k in range(len(batch.leaves)) if batch.has_steps(k) and batch.is_content(k)]
    if any(not batch.leaves[k].is_floating_point() for k in content):
        report.skipped("padding", "tokens: padding is known by its value")
        return
    inputs = batch.replaced(steps_at(beyond))
    output = subject.session.run(inputs)
    for sample in range(batch.size):
        if _differs(subject, output, sample):
            what = f"output of sample {sample} depends on what lies beyond its length"
            fail("padding", f"{what} of {counts[sample]} steps")
    report.passed("padding", "what lies beyond a length does not matter")


def probe_causal(subject: Subject) -> None:
    """Step t of the output does not depend on later steps of the input."""
    batch, report, first = subject.batch, subject.report, subject.first
    if batch.steps is None or batch.steps == 1:
        report.skipped("causal", "the input has no two steps")
        return
    seq = subject.out_seq_dim
    if first is None or seq is None or not subject.has_steps(first):
        report.skipped("causal", "no output has the steps of the input; give out_seq_dim")
        return
    shortest = min(subject.counts or [batch.steps])
    cuts = sorted({batch.steps - 1, max(1, shortest - 1), max(1, shortest // 2)})[-CUTS:]
    for cut in cuts:
        later = torch.arange(batch.steps) >= cut
        inputs = batch.replaced(steps_at(later))
        output = subject.session.run(inputs)[first]
        before, after = (leaf.narrow(seq, 0, cut) for leaf in (subject.normal[first], output))
        if before.shape == after.shape and not same(before, after):
            step = next(
                t for t in range(cut) if not same(before.select(seq, t), after.select(seq, t))
            )
            what = f"output of step {step} depends on input of step {cut} or later"
            fail("causal", what, locate_step(subject, inputs, cut))
    report.passed("causal", f"no step of {batch.steps} depends on a later one")


def probe_memory(subject: Subject) -> None:
    """The last step, or the pooled output, depends on earlier steps at all."""
    batch, report = subject.batch, subject.report
    if not has_recurrence(subject.session.model):
        report.skipped("memory", "the model has no recurrent module")
        return
    tried = batch.steps is not None and any(map(batch.has_steps, range(len(batch.leaves))))
    if not tried or not batch.steps or min(subject.counts or [batch.steps]) == 1:
        report.skipped("memory", "the input has no two steps")
        return
    if not any(subject.judged()):
        report.skipped("memory", "no output follows the batch")
        return
    if any(_remembers(subject, seed) for seed in range(MEMORIES)):
        report.passed("memory", "the last output depends on earlier steps")
        return
    everywhere = torch.ones(batch.steps, dtype=torch.bool)
    if not _changes(subject, subject.normal, batch.replaced(steps_at(everywhere))):
        report.skipped("memory", "the last output depends on no step at all, as dead units do")
        return
    what = "the last output depends on no earlier step of the input: nothing is remembered"
    fail("memory", f"{what}\n  cause     likely a loop that passes on the first state")


def _remembers(subject: Subject, seed: int) -> bool:
    """Change the earlier steps alone, of the batch as it is or with other steps at the end."""
    batch, steps = subject.batch, subject.batch.steps or 0
    last = torch.tensor(subject.counts or [steps] * batch.size).unsqueeze(1) - 1
    step = torch.arange(steps)
    earlier = (step < last if subject.post else step < steps - 1).expand(batch.size, -1)
    before = subject.normal
    if seed:
        # What is remembered may be cut off by a unit that is dead for this last step.
        batch = batch.with_leaves(batch.replaced(steps_at(torch.ones_like(step) == 1), seed))
        before = subject.session.run(batch.tree())
    return _changes(subject, before, batch.replaced(steps_at(earlier), seed))


def _changes(subject: Subject, before: Leaves, inputs: object) -> bool:
    after = subject.session.run(inputs)
    for place, _ in subject.judged():
        if before[place].shape != after[place].shape:
            return True
        for sample in range(subject.batch.size):
            one, other = (_last(subject, leaf[place], place, sample) for leaf in (before, after))
            if not same(one, other):
                return True
    return False


def _last(subject: Subject, leaf: Tensor, place: int, sample: int) -> Tensor:
    taken = subject.valid(leaf, place, sample)
    if not subject.has_steps(place) or subject.out_seq_dim is None:
        return taken
    axis = subject.axes[place] or 0
    return taken.select(subject.out_seq_dim - (axis < subject.out_seq_dim), -1)


def probe_repeatable(subject: Subject) -> None:
    """The same input twice gives the same output."""
    inputs = subject.batch.tree()
    subject.session.run(inputs)
    again = subject.session.run(inputs, anew=False)
    for before, after in zip(subject.normal, again, strict=True):
        if isinstance(before, Tensor) and not same(before, after):
            what = "the same input gives another output the second time"
            cause = "a random initial state, or a state that the model keeps from call to call"
            fail("repeatable", f"{what}\n  cause     likely {cause}")
    subject.report.passed("repeatable", "twice the same input, twice the same output")


def probe_use(subject: Subject) -> None:
    """What recurrent layers return is used where it means something."""
    if not has_recurrence(subject.session.model):
        subject.report.skipped("use", "the model has no recurrent module")
        return
    misuse, layers = find_misuse(subject)
    if misuse is not None:
        fail("use", misuse.what, misuse.place)
    subject.report.passed("use", f"outputs and states of {layers} layer calls")


#: In the order in which they run: what is not repeatable would look like something else.
PROBES: dict[str, Callable[[Subject], None]] = {
    "repeatable": probe_repeatable,
    "batch": probe_batch,
    "alone": probe_alone,
    "padding": probe_padding,
    "causal": probe_causal,
    "memory": probe_memory,
    "use": probe_use,
}
