"""The probe *streaming*: the whole sequence, and chunk by chunk, passing the state along."""

from itertools import islice

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.events import changed_by
from rnnkit._diagnostics.judge import judge
from rnnkit._diagnostics.outputs import far
from rnnkit._diagnostics.report import NAMES, NO_STEPS, Line, UnjudgedError, fail, skip
from rnnkit._diagnostics.streams import Carried, Stream, not_carried, ways_to_carry

#: So many ways to pass a state along are tried; so many steps are run one by one.
TRIES, SINGLE = 12, 16


def probe_streaming(baseline: Baseline) -> str:
    """The whole sequence returns what its chunks return, passing the state along."""
    streams = _judged(_unpadded(judge(baseline)))
    if (found := _explained(streams)) is not None:
        fail("streaming", *found)
    ways = ", and ".join(_cut(stream.sizes) for stream in streams)
    return f"{sum(streams[0].sizes)} steps at once return what they return {ways}"


def _judged(baseline: Baseline) -> list[Stream]:
    """Try the ways to pass a state along: one that holds is right; else the likeliest is wrong."""
    if (baseline.batch.steps or 1) < 2:
        skip(NO_STEPS)
    reason, broken, most = (
        "the model returns no state of one size that it takes",
        list[list[Stream]](),
        0,
    )
    alike = baseline  # with all that is as long cut with the input; then as it was inferred
    if baseline.batch.on_their_own.get(baseline.batch.paced):
        alike = baseline.on(baseline.batch.with_leaves(baseline.batch.leaves))
        alike.batch.on_their_own = {}
    for cut in dict.fromkeys((alike, baseline)):
        # What is returned for the batch as it is stands in the session.
        baseline.session.run(baseline.batch.tree())
        for carried in islice(ways_to_carry(cut), TRIES):
            # Of several parts, some may not be enough.
            most = max(most, len(carried))
            try:
                streams = _judged_way(cut, carried)
            except UnjudgedError as error:
                reason = str(error) if len(carried) == most else reason
                continue
            if streams[-1].difference is None and streams[0].is_read:
                return streams
            broken += [streams] if len(carried) == most else []
    if broken and (left := not_carried(baseline, broken[0][0].carried)):
        skip(f"the model takes {' and '.join(left)}, and returns nothing of that shape")
    return broken[0] if broken else skip(reason)


def _judged_way(baseline: Baseline, carried: Carried) -> list[Stream]:
    """Cut the steps in two and one by one, up to a cut that differs from the whole."""
    steps, streams = baseline.batch.steps or 0, list[Stream]()
    few = min(steps, SINGLE)
    ways = [[steps // 2, steps - steps // 2], [1] * few + [steps - few] * (steps > few)]
    for sizes in ways[: 1 + (steps > 2)]:
        try:
            streams.append(Stream(baseline, carried, sizes))
        except UnjudgedError:
            # A chunk of one step may be too short for a convolution.
            if not streams:
                raise
        if streams[-1].difference is not None:
            break
    return streams


def _unpadded(baseline: Baseline) -> Baseline:
    """Return the model on those steps only at which no sample has padding."""
    batch = baseline.batch
    if batch.steps is None or not batch.has_steps(batch.paced):
        skip(NO_STEPS)
    padding = batch.padding(batch.paced)
    valid = baseline.counts or [batch.steps]
    if padding is not None:
        valid = [*valid, int((~padding).sum(1).min())]
    if min(valid) == batch.steps:
        return baseline
    shorter = baseline.on(batch.cut(max(min(valid), 1), front=baseline.post))
    shorter.normal = shorter.session.run(shorter.batch.tree())
    return shorter


def _explained(streams: list[Stream]) -> tuple[str, list[Line], str] | None:
    """Return what is wrong with the last stream: a sentence, the rows of a message, the module."""
    stream = streams[-1]
    baseline, given, difference = stream.baseline, stream.given, stream.difference
    if difference is not None:
        index, step, off = difference
        where = "(the state at the end)" if step is None else f"of step {step}"
        what = f"{baseline.name(index)} {where} changes when the sequence runs {_cut(stream.sizes)}"
        what = f"{what}, passing the state along ({far(off)})"
        return what, *stream.why(index, step)
    if not stream.is_read:
        return "the second chunk returns the same, whatever state it is given", [], ""
    if not stream.remembers():
        return None
    names = [f"model.{name}" for name in changed_by(baseline.session, given[1])[0][:NAMES]]
    verb = "is" if len(names) == 1 else "are"
    cause = ("cause", f"{', '.join(names)} {verb} kept from call to call")
    fix = ("fix", "keep no state in the module: take it as an argument, and return it")
    what = "a new sequence depends on the one before"
    return what, [*[cause] * bool(names), fix], ""


def _cut(sizes: list[int]) -> str:
    """Write how the steps were cut."""
    if sizes[0] == 1 and len(sizes) > 2:
        rest = f" and then {sizes[-1]} together" if sizes[-1] > 1 else ""
        return f"step by step{rest}"
    return f"in chunks of {' and '.join(map(str, sizes))}"
