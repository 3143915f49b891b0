"""The probe *alone*: a sample by itself, and the samples in a different order."""

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.judge import judge
from rnnkit._diagnostics.lab import check_orders, restricted
from rnnkit._diagnostics.locate import locate_valid
from rnnkit._diagnostics.outputs import far_off
from rnnkit._diagnostics.report import ALONE, ONE_SAMPLE, fail, in_short, skip


def probe_alone(baseline: Baseline) -> str:
    """A sample run alone, cut to its length, returns what it returned in the batch."""
    counts, steps = baseline.batch.counts, baseline.batch.steps
    if not any(baseline.judged()):
        skip(baseline.unfollowed())
    if baseline.batch.size == 1 and (counts is None or counts[0] == steps):
        skip(ONE_SAMPLE)
    baseline = judge(baseline)
    batch, compared = baseline.batch, set[int]()
    # The shortest samples have the most padding; one more for each input with lengths.
    least = batch.valid_steps()
    for sample in sorted(range(batch.size), key=lambda k: (least[k], -k))[:ALONE]:
        if len(compared) > len(batch.lengths):
            break
        try:
            output = baseline.session.run(batch.alone(sample, front=baseline.post).tree())
        except Exception as error:  # noqa: BLE001 - it may refuse a batch of one as it likes
            skip(f"the model does not run on one sample: {in_short(error)}")
        found, part = restricted(baseline, output, [sample])
        compared |= {one.sample for one in found}
        for one in found:
            whole, single = baseline.normal[one.output], output[one.output]
            if single.dim() < whole.dim():
                shapes = f"{tuple(whole.shape)} is {tuple(single.shape)} for one sample"
                what = f"{baseline.name(one.output)} {shapes}: its batch axis is lost"
                if whole.dim() > 1:
                    fail("alone", what, [("fix", "squeeze(1), which names an axis, for squeeze()")])
                baseline.report.notes.append(what)
        if part is not None:
            if baseline.session.drawn and "repeatable" not in baseline.report.checked:
                skip("the model draws random numbers: for one sample it draws others")
            is_padded = counts and counts[sample] < (steps or 0)
            when = "its padding is removed" if is_padded else "it is run alone"
            what = f"{baseline.of_sample(part.output, sample)} changes when {when}"
            far = f"(relative difference {far_off(part.before, part.after):.2g})"
            fail("alone", f"{what} {far}", *locate_valid(baseline, sample, part.output))
    if not compared:
        skip("for one sample, the outputs have other shapes, or are integers")
    check_orders(baseline)
    cut = ", cut to its length," if counts else ""
    return f"a sample by itself{cut} returns what it returns in the batch"
