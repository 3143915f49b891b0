"""The probe *alone*: a sample by itself, and the samples in a different order."""

from rnnkit._diagnostics.explain.causes import Location
from rnnkit._diagnostics.explain.locate import locate_valid
from rnnkit._diagnostics.explain.squeezes import run_with_kept_axes
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.judge import judge
from rnnkit._diagnostics.measure.lab import Part, check_orders, restricted
from rnnkit._diagnostics.measure.unfollowed import why_unfollowed
from rnnkit._diagnostics.run.isolation import EscapedError
from rnnkit._diagnostics.run.outputs import Leaves, far_off
from rnnkit._diagnostics.run.uncopied import UncopiedError
from rnnkit._diagnostics.tell.report import ALONE, ONE_SAMPLE, fail, in_short, skip


def probe_alone(baseline: Baseline) -> str:
    """A sample run alone, cut to its length, returns what it returned in the batch."""
    counts = baseline.batch.counts
    steps = baseline.batch.steps
    if not any(baseline.judged()):
        skip(why_unfollowed(baseline))
    if baseline.batch.size == 1 and (counts is None or counts[0] == steps):
        skip(ONE_SAMPLE)
    baseline = judge(baseline)
    batch = baseline.batch
    compared = set[int]()
    # The shortest samples have the most padding, and the last of equal ones is often a rest;
    # one more is run for each input with lengths.
    valid_steps = batch.valid_steps()
    for sample in sorted(range(batch.size), key=lambda k: (valid_steps[k], -k))[:ALONE]:
        if len(compared) <= len(batch.lengths):
            compared |= _compare(baseline, sample)
    if not compared:
        skip("for one sample, the outputs have other shapes, or are integers")
    check_orders(baseline)
    cut = ", cut to its length," if counts else ""
    return f"a sample by itself{cut} returns what it returns in the batch"


def _compare(baseline: Baseline, sample: int) -> set[int]:
    """Fail if a sample returns something else alone; return the samples that were compared."""
    single = baseline.batch.alone(sample, front=baseline.post)
    output = _run_alone(baseline, single)
    found, wrong = restricted(baseline, output, [sample])
    for part in found:
        _check_axes(baseline, single, output, part)
    if wrong is not None:
        _fail_for(baseline, single, wrong)
    return {part.sample for part in found}


def _run_alone(baseline: Baseline, single: Batch) -> Leaves:
    """Run one sample; fail if the model refuses it because its batch axis is lost, else skip."""
    try:
        return baseline.session.run(single.tree())
    except (EscapedError, UncopiedError):
        raise
    except Exception as error:  # noqa: BLE001 - it may refuse a batch of one as it likes
        reason = in_short(error)
    kept = run_with_kept_axes(baseline, single)
    if kept is None:
        skip(f"the model does not run on one sample: {reason}")
    what = "the model does not run on one sample, which loses its batch axis"
    return fail("alone", what, [("evidence", reason), *kept.lines])


def _check_axes(baseline: Baseline, single: Batch, output: Leaves, part: Part) -> None:
    """Fail if an output has no batch axis for one sample; note it if it has no other axis."""
    whole = baseline.normal[part.output]
    alone = output[part.output]
    if alone.dim() >= whole.dim():
        return
    shapes = f"{tuple(whole.shape)} is {tuple(alone.shape)} for one sample"
    what = f"{baseline.name(part.output)} {shapes}: its batch axis is lost"
    if whole.dim() == 1:
        baseline.report.notes.append(what)
        return
    kept = run_with_kept_axes(baseline, single)
    axis = baseline.axes[part.output]
    other = f"keep axis {axis} even if its size is 1: squeeze a named axis, index with a slice"
    fail("alone", what, [("fix", other)] if kept is None else kept.lines)


def _fail_for(baseline: Baseline, single: Batch, wrong: Part) -> None:
    """Fail with why a sample returns something else alone; skip if it draws other numbers."""
    if baseline.session.drawn and "repeatable" not in baseline.report.checked:
        skip("the model draws random numbers: for one sample it draws others")
    counts = baseline.batch.counts
    steps = baseline.batch.steps or 0
    is_padded = counts is not None and counts[wrong.sample] < steps
    when = "its padding is removed" if is_padded else "it is run alone"
    what = f"{baseline.of_sample(wrong.output, wrong.sample)} changes when {when}"
    far = f"(relative difference {far_off(wrong.before, wrong.after):.2g})"
    fail("alone", f"{what} {far}", *_why(baseline, single, wrong))


def _why(baseline: Baseline, single: Batch, wrong: Part) -> Location:
    """Return why a sample differs alone: by a squeeze, or where the difference begins."""
    kept = run_with_kept_axes(baseline, single)
    if kept is not None and restricted(baseline, kept.output, [wrong.sample])[1] is None:
        return kept.lines, ""
    return locate_valid(baseline, wrong.sample, wrong.output)
