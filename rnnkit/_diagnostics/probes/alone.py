"""The probe *alone*: a sample by itself, and the samples in a different order."""

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.events import changed_by
from rnnkit._diagnostics.judge import for_other_sizes
from rnnkit._diagnostics.lab import (
    Part,
    check_orders,
    follows,
    refuse_rounding,
    restricted,
)
from rnnkit._diagnostics.locate import locate_valid
from rnnkit._diagnostics.outputs import apart, far, is_number, largest
from rnnkit._diagnostics.report import (
    ALONE,
    BY_CHANCE,
    ONE_SAMPLE,
    fail,
    in_short,
    note,
    skip,
)


def probe_alone(baseline: Baseline) -> str:
    """A sample run alone, cut to its length, gives what it gave in the batch."""
    counts = baseline.counts
    if not any(baseline.judged()):
        skip(baseline.unfollowed())
    if baseline.batch.size == 1 and (counts is None or counts[0] == baseline.batch.steps):
        skip(ONE_SAMPLE)
    baseline = for_other_sizes(baseline)
    batch = baseline.batch
    compared: set[int] = set()
    # The shortest samples have the most padding; one more for each input with lengths.
    least = [min(told) for told in zip(*batch.lengths.values(), strict=True)] or [0] * batch.size
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
                name, shapes = baseline.name(one.output), (tuple(whole.shape), tuple(single.shape))
                what = f"{name} {shapes[0]} is {shapes[1]} for one sample: its batch axis is lost"
                if whole.dim() > 1:
                    fail("alone", what, [("fix", "squeeze(1), which names an axis, for squeeze()")])
                note(baseline.report, what)
        if part is not None:
            is_known = "repeatable" in baseline.report.checked
            if not is_known and changed_by(baseline.session, batch.tree())[1]:
                skip("the model draws random numbers: for one sample it draws others")
            _fail(baseline, part)
    if not compared:
        judged = [index for index, _ in baseline.judged()]
        if not any(is_number(baseline.normal[index]) for index in judged):
            skip("the outputs are integers, which rounding may turn")
        skip("alone, the outputs have other shapes")
    if counts and min(counts) < (batch.steps or 0) == min(counts[k] for k in compared):
        skip("no sample that is shorter than the batch could be compared")
    check_orders(baseline)
    cut = ", cut to its length," if counts else ""
    return f"a sample by itself{cut} returns what it returns in the batch"


def _fail(baseline: Baseline, part: Part) -> None:
    batch, counts, index, sample = baseline.batch, baseline.counts, part.output, part.sample
    if not follows(baseline, index):
        skip(BY_CHANCE)
    refuse_rounding(baseline, part)
    pair = part.among_all, part.by_itself
    off = apart(*pair).max().item() / max(map(largest, pair))
    is_padded = counts is not None and counts[sample] < (batch.steps or 0)
    when = "its padding is removed" if is_padded else "it is run alone"
    found = locate_valid(baseline, sample, index)
    what = f"{baseline.of_sample(index, sample)} changes when {when} ({far(off)})"
    fail("alone", what, found.rows, found.module)
