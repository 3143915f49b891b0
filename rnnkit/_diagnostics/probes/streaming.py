"""The probe *streaming*: the whole sequence, and chunk by chunk with the state passed on."""

from typing import NamedTuple

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.carried import Carried, find_carried
from rnnkit._diagnostics.compare import far, is_number
from rnnkit._diagnostics.events import changed_by
from rnnkit._diagnostics.judge import for_other_sizes, near
from rnnkit._diagnostics.outputs import STACK
from rnnkit._diagnostics.report import NAMES, NO_STEPS, Line, UnjudgedError, fail, skip
from rnnkit._diagnostics.streams import Difference, Stream, find_break, ways_to_cut


class Verdict(NamedTuple):
    """A stream, where it differs from the whole, whether its state is unread, and all cuts."""

    stream: Stream
    difference: Difference | None
    is_ignored: bool
    cuts: list[list[int]]


def probe_streaming(baseline: Baseline) -> str:
    """The whole sequence gives what its chunks give, the state passed on."""
    verdict = _judge(_unpadded(for_other_sizes(baseline)))
    if (found := explained(verdict)) is not None:
        fail("streaming", *found)
    ways = ", and ".join(map(_cut, verdict.cuts))
    return f"{sum(verdict.stream.sizes)} steps at once give what they give {ways}"


def _judge(baseline: Baseline) -> Verdict:
    """Try the ways to pass a state on: one that holds is right; else the likeliest is wrong."""
    if (baseline.batch.steps or 1) < 2:
        skip(NO_STEPS)
    reason = "the model returns no state that it takes"
    broken: list[Verdict] = []
    alike = baseline  # with all that is as long cut with the input; then as it was inferred
    if baseline.batch.on_their_own:
        alike = baseline.on(baseline.batch.with_leaves(baseline.batch.leaves))
        alike.batch.on_their_own = frozenset()
    for cut in dict.fromkeys((alike, baseline)):
        # What is returned for the batch as it is stands in the session.
        baseline.session.run(baseline.batch.tree())
        for carried in find_carried(cut):
            try:
                verdict = judge_way(cut, carried)
            except UnjudgedError as error:
                reason = str(error) if carried.is_named else reason
                continue
            if verdict.difference is None and not verdict.is_ignored:
                return verdict
            if carried.is_named:
                broken.append(verdict)
            else:
                reason = "an input has the sizes of an output, but may be no state"
    return broken[0] if broken else skip(reason)


def judge_way(baseline: Baseline, carried: Carried) -> Verdict:
    """Cut the steps in two and one by one, and pass the state on in one way."""
    cuts: list[list[int]] = []
    held: list[Stream] = []
    for sizes in ways_to_cut(baseline.batch.steps or 0):
        try:
            tried = Stream(baseline, carried, sizes)
            found = tried.difference()
        except UnjudgedError:
            # A chunk of one step may be too short for a convolution.
            if not held:
                raise
            continue
        cuts.append(sizes)
        if found is not None:
            return Verdict(tried, found, not tried.is_read(), cuts)
        held.append(tried)
    return Verdict(held[0], None, not held[0].is_read(), cuts)


def _unpadded(baseline: Baseline) -> Baseline:
    """Return the model on those steps only that no sample has padding at."""
    batch = baseline.batch
    if batch.steps is None or not batch.has_steps(batch.paced):
        skip(NO_STEPS)
    padding = batch.padding(batch.paced)
    valid = baseline.counts or [batch.steps]
    if padding is not None:
        valid = [*valid, int((~padding).sum(1).min())]
    if min(valid) == batch.steps:
        return baseline
    first = baseline.first
    told = None if first is None or baseline.names[first].endswith(STACK) else baseline.out_seq_dim
    shorter = batch.cut(max(min(valid), 1), front=baseline.post)
    other = Baseline(baseline.session, shorter, post=baseline.post, out_seq_dim=told)
    other.tolerance = baseline.tolerance
    return other


def explained(verdict: Verdict, prefix: str = "model.") -> tuple[str, list[Line], str] | None:
    """Return what is wrong with a stream: the sentence, the rows of a message, and the module."""
    stream, difference = verdict.stream, verdict.difference
    rows: list[Line] = []
    if verdict.is_ignored:
        text = "the second chunk gives the same, whatever state it is given"
        rows = [("evidence", text)]
    if difference is None:
        if verdict.is_ignored:
            return "the state is not read: a chunk starts afresh, whatever is passed on", rows, ""
        return _remembered(stream, prefix)
    name = stream.baseline.name(difference.output)
    where = f"{name} of step {difference.step}"
    if difference.step is None:
        where = f"{name} (the state at the end)"
    what = (
        f"{where} differs {_cut(stream.sizes)}, the state passed on, from the sequence at once: "
        f"{far(difference.off)}"
    )
    found = find_break(stream)
    return what, [*found.rows, *rows], found.module


def _remembered(stream: Stream, prefix: str) -> tuple[str, list[Line], str] | None:
    """Start a new sequence on the copy that has just run another one, with a state."""
    session, baseline = stream.baseline.session, stream.baseline
    session.run(stream.given[1])
    again = session.run(stream.given[0], on=session.last)
    pairs = zip(stream.outputs[0], again, strict=False)
    if all(not is_number(one) or near(baseline, one, other) for one, other in pairs):
        return None
    names = [f"{prefix}{name}" for name in changed_by(session, stream.given[1])[0][:NAMES]]
    verb = "is" if len(names) == 1 else "are"
    rows = [("cause", f"{', '.join(names)} {verb} kept from call to call")] if names else []
    rows += [("fix", "keep no state in the module: take it as an argument, and return it")]
    return "a new sequence does not start afresh: it depends on the one before", rows, ""


def _cut(sizes: list[int]) -> str:
    if sizes[0] == 1 and len(sizes) > 2:
        rest = f" and then {sizes[-1]} together" if sizes[-1] > 1 else ""
        return f"step by step{rest}"
    return f"in chunks of {' and '.join(map(str, sizes))}"
