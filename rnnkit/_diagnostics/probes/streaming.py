"""The probe *streaming*: the whole sequence, and chunk by chunk, passing the state along."""

from contextlib import suppress
from itertools import islice

from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.judge import judge, near
from rnnkit._diagnostics.probes.streams import Stream, ways_to_carry
from rnnkit._diagnostics.run.events import kept_by
from rnnkit._diagnostics.run.outputs import is_number
from rnnkit._diagnostics.tell.report import NAMES, NO_STEPS, TRIES, Line, UnjudgedError, fail, skip


def probe_streaming(baseline: Baseline) -> str:
    """The whole sequence returns what its chunks return, passing the state along."""
    baseline = judge(baseline)
    # Only the steps at which no sample has padding.
    steps = min(baseline.batch.counts or [baseline.batch.steps or 0])
    if steps < 2 or not baseline.batch.has_steps(baseline.batch.paced):
        skip(NO_STEPS)
    baseline = baseline.on(baseline.batch.cut(steps, front=baseline.post))
    baseline.normal = baseline.session.run(baseline.batch.tree())
    streams = _judged(baseline)
    cuts = [f"{', '.join(map(str, one.sizes[:-1]))} and {one.sizes[-1]}" for one in streams]
    stream = streams[-1]
    if stream.difference is not None:
        index, step, off = stream.difference
        where = "(the state at the end)" if step is None else f"of step {step}"
        name = f"{baseline.name(index)} {where}"
        cut = f"in chunks of {cuts[-1]}"
        far = f"passing the state along (relative difference {off:.2g})"
        what = f"{name} changes when the sequence runs {cut}, {far}"
        fail("streaming", what, *stream.why(index, step))
    session = baseline.session
    (first, second, *_) = stream.given
    session.run(second)
    again = zip(stream.outputs[0], session.run(first, on=session.last), strict=False)
    if any(is_number(one) and not near(baseline, one, two) for one, two in again):
        names = [f"model.{name}" for name in kept_by(session, second)[:NAMES]]
        fail("streaming", "a new sequence depends on the one before", _rows_of_kept(names))
    return f"{steps} steps at once return what they return in chunks of {', and of '.join(cuts)}"


def _rows_of_kept(names: list[str]) -> list[Line]:
    """Write what is kept from call to call, if it is known, and what to do."""
    fix = ("fix", "keep no state in the module: take it as an argument, and return it")
    if not names:
        return [fix]
    verb = "is" if len(names) == 1 else "are"
    return [("cause", f"{', '.join(names)} {verb} kept from call to call"), fix]


def _judged(baseline: Baseline) -> list[Stream]:
    """Try the ways to pass a state along: one that holds is right; else the likeliest is wrong."""
    steps = baseline.batch.steps or 0
    most = 0
    wrong = None
    reason = "the model returns no state of one size that it takes"
    # With all that is as long cut with the input; then as it was inferred.
    alike = baseline.on(baseline.batch.with_leaves(baseline.batch.leaves))
    alike.batch.on_their_own = {}
    own = baseline.batch.on_their_own.get(baseline.batch.paced)
    cuts = [alike, baseline] if own else [baseline]
    for cut in cuts:
        # What is returned for the batch as it is stands in the session.
        baseline.session.run(baseline.batch.tree())
        for carried, left in islice(ways_to_carry(cut), TRIES):
            most = max(most, len(carried))
            try:
                streams = [Stream(cut, carried, [steps // 2, steps - steps // 2])]
            except UnjudgedError as error:
                reason = str(error) if len(carried) == most else reason
                continue
            # A chunk of one step may be too short for a convolution.
            with suppress(UnjudgedError):
                if streams[0].difference is None and steps > 2:
                    streams.append(Stream(cut, carried, [1, 1, steps - 2]))
            if streams[-1].difference is None:
                return streams
            # Of several parts, some may not be enough.
            if wrong is None and len(carried) == most:
                wrong = streams, left
    streams, left = wrong or skip(reason)
    if left:
        skip(f"the model takes {' and '.join(left)}, and returns nothing of that shape")
    return streams
