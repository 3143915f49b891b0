"""The probe *alone*: a sample run by itself gives what it gave in the batch."""

from typing import NoReturn

from torch import Tensor

from rnnkit._diagnostics.changes import sample_at
from rnnkit._diagnostics.compare import distance, is_number
from rnnkit._diagnostics.experiment import Baseline, run_perturbed
from rnnkit._diagnostics.locate import locate_sample
from rnnkit._diagnostics.outputs import Leaves
from rnnkit._diagnostics.probes.repeatable import drawn_from
from rnnkit._diagnostics.report import ALONE, OTHER_SHAPES, OTHER_STEPS, SAMPLES, UNCHANGED, fail


def probe_alone(baseline: Baseline) -> None:
    """A sample run alone, cut to its length, gives what it gave in the batch."""
    batch, report = baseline.batch, baseline.report
    if not any(baseline.judged()):
        report.skipped("alone", "no output follows the batch")
        return
    if batch.size == 1 and (baseline.counts is None or baseline.counts[0] == batch.steps):
        report.skipped("alone", "the batch has one sample; give two or more")
        return
    # The shortest samples first: they have the most padding.
    order = sorted(range(batch.size), key=lambda k: baseline.counts[k] if baseline.counts else k)
    compared = False
    for sample in order[:ALONE]:
        output = baseline.alone(sample)
        if isinstance(output, Exception):
            reason = str(output).strip().splitlines() or [""]
            error = f"{type(output).__name__}: {reason[0][:80]}"
            report.skipped("alone", f"the model does not run on one sample: {error}")
            return
        if len(output) != len(baseline.normal):
            continue
        for index, axis in baseline.judged():
            pair = _pair(baseline, output, index, axis, sample)
            compared |= pair is not None
            if pair is None or baseline.is_rounding(*pair, index):
                continue
            if "repeatable" not in report.checked and drawn_from(baseline):
                text = "the model draws random numbers: for one sample it draws others"
                report.skipped("alone", text)
                return
            _fail(baseline, *pair, sample)
    if not compared:
        other = any(baseline.has_other_steps(index) for index, _ in baseline.judged())
        report.skipped("alone", OTHER_STEPS if other else "alone, the outputs have other shapes")
        return
    cut = ", cut to its length," if baseline.counts else ""
    report.passed("alone", f"a sample alone{cut} gives what it gives in the batch")


def _pair(
    baseline: Baseline, output: Leaves, index: int, axis: int, sample: int
) -> tuple[Tensor, Tensor] | None:
    """Return one output of one sample, in the batch and alone; None if they have two shapes."""
    inside = baseline.valid(baseline.normal[index], index, sample)
    alone = output[index]
    if not is_number(inside) or not isinstance(alone, Tensor):
        return None
    if alone.shape == inside.shape:
        shape = tuple(alone.shape)
        baseline.report.noted(f"a batch of one has lost its batch axis: output {shape}")
    elif alone.dim() == inside.dim() + 1 and alone.shape[axis] == 1:
        alone = alone.squeeze(axis)
    return (inside, alone) if inside.shape == alone.shape else None


def _fail(baseline: Baseline, inside: Tensor, alone: Tensor, sample: int) -> NoReturn:
    off, scale = distance(inside, alone)
    cut = f", cut to its {baseline.counts[sample]} steps," if baseline.counts else ""
    what = f"sample {sample} alone{cut} gives another output than in the batch"
    hint = "padding that is pooled or read as the last step" if cut else "what the batch shares"
    rows = [
        ("first", "not looked for: alone, a sample runs through other sizes"),
        ("cause", f"likely {hint}"),
    ]
    fail("alone", f"{what}: off by {off / scale:.1e} of the largest", rows)


def probe_batch(baseline: Baseline) -> None:
    """Sample i's output does not depend on sample j's input."""
    batch, report = baseline.batch, baseline.report
    if batch.size == 1:
        report.skipped("batch", "the batch has one sample; give two or more")
        return
    indices = [index for index, _ in baseline.judged()]
    if not indices:
        if baseline.follows_steps():
            shape = tuple(baseline.normal[baseline.first or 0].shape)
            what = f"output {shape} has a row for each of {batch.steps} steps, none for a sample"
            fail("batch", what, [("cause", "likely batch and seq have changed places")])
        report.skipped("batch", "no output follows the batch")
        return
    trials = 0
    compared = False
    tried = min(batch.size, SAMPLES)
    for source in range(tried):
        perturbed = run_perturbed(baseline, sample_at(source), "batch")
        if perturbed is None:
            continue
        trials += 1
        for sample in range(batch.size):
            shows = perturbed.shows(sample, indices) if sample != source else None
            compared |= shows is not None
            if shows:
                what = f"output of sample {sample} depends on input of sample {source}"
                found = locate_sample(perturbed, source)
                fail("batch", what, found.rows, found.module)
    if compared:
        report.passed("batch", f"{tried} samples, each on its own")
    else:
        report.skipped("batch", OTHER_SHAPES if trials else UNCHANGED)
