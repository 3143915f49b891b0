"""The probe *streaming*: the whole sequence, and chunk by chunk, passing the state along."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.compare import Part, are_near
from rnnkit._diagnostics.probes.repeatable import row_of_kept
from rnnkit._diagnostics.probes.streams import Stream, ways_to_carry
from rnnkit._diagnostics.run.outputs import is_number
from rnnkit._diagnostics.tell.outcome import NO_STEPS, Finding, Outcome, Passed, Skipped
from rnnkit._diagnostics.tell.report import TRIES, joined_by_and

NO_STATE = (
    "the model returns no state that it also accepts by a name such as state, hx or cache, so it "
    "cannot run in chunks: see rnnkit.testing.assert_streams for another one"
)


def probe_streaming(narrow: Baseline) -> Outcome:
    """The whole sequence returns what its chunks return, passing the state along.

    ``narrow`` is the model, a batch, and what it returned for that, in the model's own dtype.
    """
    streams = streams_of(narrow)
    if isinstance(streams, Skipped):
        return streams
    stream = streams[-1]
    if stream.different is not None:
        return _finding(stream, stream.different)
    remembered = _remembers(stream)
    if remembered is not None:
        return remembered
    steps = sum(stream.sizes)
    cuts = ", or of ".join(map(_cut, streams))
    full = " without padding" if stream.baseline.batch.counts else ""
    what = f"running {steps} steps{full} at once returns the same as chunks of {cuts}"
    if stream.left_out:
        what += f"; this leaves out {joined_by_and(stream.left_out)}"
    notes = [f"streaming: {one.doubt_of_steps}" for one in streams if one.doubt_of_steps]
    return Passed(what, streams, notes=notes)


def streams_of(narrow: Baseline) -> list[Stream] | Skipped:
    """Run in chunks, and compare them with the whole; return runs that are right, or a wrong one.

    The steps are those that the first output follows, which
    may be another input's than those with lengths. A skip if there are too few steps without
    padding, or no way to pass a state along.
    """
    followed = narrow.axes.source.get(narrow.first or 0, narrow.batch.sequence)
    baseline = narrow.with_steps_of(followed)
    if baseline.doubt:
        return Skipped(baseline.doubt)
    batch = baseline.batch
    # Only the steps at which no sample has padding.
    steps = min(batch.valid_counts)
    if steps < 2 or not batch.has_steps(batch.sequence):
        return Skipped(NO_STEPS)
    cut = batch.cut(steps, front=batch.pads_after)
    return _streams(baseline.on(cut, baseline.session.run(cut.tree())))


def _cut(stream: Stream) -> str:
    """Write how many steps each chunk has."""
    *most, last = stream.sizes
    return f"{', '.join(map(str, most))} and {last}"


def _finding(stream: Stream, part: Part) -> Finding:
    """Return a finding that names the output that differs, from which step on, and why.

    ``part`` is that output, of the whole and of the chunks of a ``stream``.
    """
    step = stream.first_step(part)
    where = "(the state at the end)" if step is None else f"of step {step}"
    name = f"{stream.baseline.name(part.output)} {where}"
    cut = f"in chunks of {_cut(stream)}"
    what = f"{name} changes when the sequence runs {cut}, passing the state along"
    return Finding(f"{what} {part.far}", *stream.why(part))


def _remembers(stream: Stream) -> Finding | None:
    """Return a finding if a new sequence depends on the one that its copy ran before; else None.

    The copy runs the second chunk of the stream, and then the first one again, which has no state.
    """
    session = stream.baseline.session
    first, second, *_ = stream.given
    session.run(second)
    again = zip(stream.outputs[0], session.run(first, on=session.last), strict=False)
    if all(are_near(stream.baseline, one, two) for one, two in again if is_number(one)):
        return None
    what = "a new sequence depends on the previous sequence"
    fix = "keep no state in the module: take it as an argument, and return it"
    return Finding(what, row_of_kept(session, second), fix=fix)


def _streams(baseline: Baseline) -> list[Stream] | Skipped:
    """Try the ways to pass a state along: return the runs of one that holds, else of the likeliest.

    A run of chunks that differs from the whole is a mistake only if no way is right. A skip if a
    state that the model takes is returned nowhere, or no way can be compared: it says why the
    likeliest cannot.
    """
    reasons: list[str] = []
    refused: list[str] = []
    most = 0
    wrong: list[Stream] = []
    left: list[str] = []
    # What is carried, states that no returned part fits, and the runs in two and three chunks.
    for carried, others, streams in _ways(baseline):
        last = streams[-1]
        if not last.doubt and last.different is None:
            return streams
        most = max(most, len(carried))
        if len(carried) < most:
            continue  # of several parts, some may not be enough
        if last.doubt:  # why chunks and whole cannot be compared
            has_run = len(last.outputs) == len(last.sizes)
            (reasons if has_run else refused).append(last.doubt)
        elif not wrong:
            wrong = streams
            left = others
    if left:
        return Skipped(f"the model takes {' and '.join(left)}, but returns nothing of that shape")
    return wrong or Skipped([*reasons, *refused, NO_STATE][0])


def _ways(baseline: Baseline) -> Iterator[tuple[dict[str, str], list[str], list[Stream]]]:
    """Run in each way: all that is as long is cut with the input; then only what follows it.

    Yields what is carried (the place in the output, by argument), which arguments named like a
    state take nothing, and the runs.
    """
    batch = baseline.batch
    own = batch.on_their_own.get(batch.sequence)
    all_cut = baseline.on(replace(batch, on_their_own={}))
    cuts = [all_cut, baseline] if own else [baseline]
    for cut in cuts:
        # What is returned for the batch as it is stands in the session.
        baseline.session.run(batch.tree())
        for carried, left in islice(ways_to_carry(cut), TRIES):
            yield carried, left, _in_chunks(cut, carried)


def _in_chunks(baseline: Baseline, carried: dict[str, str]) -> list[Stream]:
    """Run in two chunks and, if that is right, in three, unless one step is too few for a chunk.

    ``carried`` says by argument which place of the output it takes. Returns one or two runs.
    """
    steps = baseline.batch.steps
    halves = Stream(baseline, carried, [steps // 2, steps - steps // 2])
    if halves.doubt or halves.different is not None or steps < 3:
        return [halves]
    parts = Stream(baseline, carried, [1, 1, steps - 2])
    if parts.doubt:
        halves.doubt_of_steps = parts.doubt
        return [halves]
    return [halves, parts]
