"""The probe *alone*: a sample run by itself gives what it gave in the batch."""

from typing import NoReturn

from torch import Tensor

from rnnkit._diagnostics.changes import sample_at
from rnnkit._diagnostics.compare import distance, is_number
from rnnkit._diagnostics.experiment import Subject, attempt
from rnnkit._diagnostics.isolation import Leaves
from rnnkit._diagnostics.locate import locate_sample
from rnnkit._diagnostics.probes.repeatable import drawn_from
from rnnkit._diagnostics.report import ALONE, OTHER_SHAPES, OTHER_STEPS, SAMPLES, UNCHANGED, fail


def probe_alone(subject: Subject) -> None:
    """A sample run alone, cut to its length, gives what it gave in the batch."""
    batch, report = subject.batch, subject.report
    if not any(subject.judged()):
        report.skipped("alone", "no output follows the batch")
        return
    if batch.size == 1 and (subject.counts is None or subject.counts[0] == batch.steps):
        report.skipped("alone", "the batch has one sample; give two or more")
        return
    # The shortest samples first: they have the most padding.
    order = sorted(range(batch.size), key=lambda k: subject.counts[k] if subject.counts else k)
    compared = False
    for sample in order[:ALONE]:
        output = subject.alone(sample)
        if isinstance(output, Exception):
            reason = str(output).strip().splitlines() or [""]
            error = f"{type(output).__name__}: {reason[0][:80]}"
            report.skipped("alone", f"the model does not run on one sample: {error}")
            return
        if len(output) != len(subject.normal):
            continue
        for index, axis in subject.judged():
            pair = _pair(subject, output, index, axis, sample)
            compared |= pair is not None
            if pair is None or subject.is_rounding(*pair, index):
                continue
            if "repeatable" not in report.checked and drawn_from(subject):
                text = "the model draws random numbers: for one sample it draws others"
                report.skipped("alone", text)
                return
            _fail(subject, *pair, sample)
    if not compared:
        other = any(subject.has_other_steps(index) for index, _ in subject.judged())
        report.skipped("alone", OTHER_STEPS if other else "alone, the outputs have other shapes")
        return
    cut = ", cut to its length," if subject.counts else ""
    report.passed("alone", f"a sample alone{cut} gives what it gives in the batch")


def _pair(
    subject: Subject, output: Leaves, index: int, axis: int, sample: int
) -> tuple[Tensor, Tensor] | None:
    """Return one output of one sample, in the batch and alone; None if they have two shapes."""
    inside = subject.valid(subject.normal[index], index, sample)
    alone = output[index]
    if not is_number(inside) or not isinstance(alone, Tensor):
        return None
    if alone.shape == inside.shape:
        shape = tuple(alone.shape)
        subject.report.noted(f"a batch of one has lost its batch axis: output {shape}")
    elif alone.dim() == inside.dim() + 1 and alone.shape[axis] == 1:
        alone = alone.squeeze(axis)
    return (inside, alone) if inside.shape == alone.shape else None


def _fail(subject: Subject, inside: Tensor, alone: Tensor, sample: int) -> NoReturn:
    off, scale = distance(inside, alone)
    cut = f", cut to its {subject.counts[sample]} steps," if subject.counts else ""
    what = f"sample {sample} alone{cut} gives another output than in the batch"
    hint = "padding that is pooled or read as the last step" if cut else "what the batch shares"
    rows = [
        ("first", "not looked for: alone, a sample runs through other sizes"),
        ("cause", f"likely {hint}"),
    ]
    fail("alone", f"{what}: off by {off / scale:.1e} of the largest", rows)


def probe_batch(subject: Subject) -> None:
    """Sample i's output does not depend on sample j's input."""
    batch, report = subject.batch, subject.report
    if batch.size == 1:
        report.skipped("batch", "the batch has one sample; give two or more")
        return
    indices = [index for index, _ in subject.judged()]
    if not indices:
        if subject.follows_steps():
            shape = tuple(subject.normal[subject.first or 0].shape)
            what = f"output {shape} has a row for each of {batch.steps} steps, none for a sample"
            fail("batch", what, [("cause", "likely batch and seq have changed places")])
        report.skipped("batch", "no output follows the batch")
        return
    trials = 0
    compared = False
    tried = min(batch.size, SAMPLES)
    for source in range(tried):
        trial = attempt(subject, sample_at(source), "batch")
        if trial is None:
            continue
        trials += 1
        for sample in range(batch.size):
            shows = trial.shows(sample, indices) if sample != source else None
            compared |= shows is not None
            if shows:
                what = f"output of sample {sample} depends on input of sample {source}"
                found = locate_sample(trial, source)
                fail("batch", what, found.rows, found.module)
    if compared:
        report.passed("batch", f"{tried} samples, each on its own")
    else:
        report.skipped("batch", OTHER_SHAPES if trials else UNCHANGED)
