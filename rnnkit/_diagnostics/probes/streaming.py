"""The probe *streaming*: the whole sequence, and chunk by chunk with the state passed on."""

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.probes.afresh import find_blocks
from rnnkit._diagnostics.probes.repeatable import kept_names
from rnnkit._diagnostics.report import Line, fail
from rnnkit._diagnostics.stream_causes import find_break
from rnnkit._diagnostics.stream_verdicts import Verdict, judge, unpadded
from rnnkit._diagnostics.streams import Stream, UnfitError

#: How many of the names that a model keeps a message lists.
NAMES = 3


def probe_streaming(baseline: Baseline) -> None:
    """The whole sequence gives what its chunks give, the state passed on."""
    report = baseline.report
    try:
        verdict = judge(unpadded(baseline))
    except UnfitError as error:
        find_blocks(baseline)
        report.skipped("streaming", str(error))
        return
    if (found := explained(verdict)) is not None:
        fail("streaming", *found)
    report.passed("streaming", summary(verdict))


def summary(verdict: Verdict) -> str:
    """Say how the steps were cut."""
    ways = ", and ".join(map(_cut, verdict.cuts))
    return f"{sum(verdict.stream.sizes)} steps at once give what they give {ways}"


def explained(verdict: Verdict, prefix: str = "model.") -> tuple[str, list[Line], str] | None:
    """Return what is wrong with a stream: the sentence, the rows of a message, and the module.

    Args:
        verdict: the stream.
        prefix: stands in front of the names of attributes.
    """
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
        f"off by {difference.off:.1e} of the largest"
    )
    found = find_break(stream)
    return what, [*found.rows, *rows], found.module


def _remembered(stream: Stream, prefix: str) -> tuple[str, list[Line], str] | None:
    """Start a new sequence on the copy that has just run another one, with a state."""
    session, baseline = stream.baseline.session, stream.baseline
    session.run(stream.given[1])
    again = session.run(stream.given[0], on=session.last)
    pairs = zip(stream.outputs[0], again, strict=False)
    if all(
        not is_number(one) or (one.shape == other.shape and baseline.rounding.hides(one, other))
        for one, other in pairs
    ):
        return None
    names = [f"{prefix}{name}" for name in kept_names(baseline, stream.given[1])[:NAMES]]
    verb = "is" if len(names) == 1 else "are"
    rows = [("cause", f"{', '.join(names)} {verb} kept from call to call")] if names else []
    return "a new sequence does not start afresh: it depends on the one before", rows, ""


def _cut(sizes: list[int]) -> str:
    if sizes[0] == 1 and len(sizes) > 2:
        rest = f" and then {sizes[-1]} together" if sizes[-1] > 1 else ""
        return f"step by step{rest}"
    return f"in chunks of {' and '.join(map(str, sizes))}"
