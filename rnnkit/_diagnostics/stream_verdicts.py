"""Whether a model streams: the ways to pass its state on, and to cut its steps, tried."""

import copy
from typing import NamedTuple

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.carried import Carried, find_carried, is_read_as_state
from rnnkit._diagnostics.outputs import STACK
from rnnkit._diagnostics.streams import Difference, Stream, UnfitError, ways_to_cut


class Verdict(NamedTuple):
    """What came of a stream: how it was cut, and where it differs from the whole.

    Attributes:
        stream: the chunks; of several ways to cut, the first that differs.
        difference: where; None if nowhere.
        is_ignored: whether the state that is given is not read.
        cuts: the ways to cut that were tried.
    """

    stream: Stream
    difference: Difference | None
    is_ignored: bool
    cuts: list[list[int]]


def judge(baseline: Baseline) -> Verdict:
    """Try the ways to pass a state on: one that holds is right; else the likeliest is wrong.

    Raises:
        UnfitError: if there is none, or the model takes no chunks.
    """
    if (baseline.batch.steps or 1) < 2:
        message = "the input has no two steps"
        raise UnfitError(message)
    reason = "the model returns no state that it takes"
    broken: list[Verdict] = []
    for cut_alike in _ways_to_follow(baseline):
        # What is returned for the batch as it is stands in the session.
        baseline.session.run(baseline.batch.tree())
        for carried in find_carried(cut_alike):
            try:
                verdict = judge_way(cut_alike, carried)
            except UnfitError as error:
                reason = str(error) if carried.is_named and not carried.grows else reason
                continue
            if verdict.difference is None and not verdict.is_ignored:
                return verdict
            if carried.is_named or is_read_as_state(baseline, verdict.stream.given[1], carried):
                broken.append(verdict)
            else:
                reason = "an input has the sizes of an output, but may be no state"
    if broken:
        return broken[0]
    raise UnfitError(reason)


def _ways_to_follow(baseline: Baseline) -> list[Baseline]:
    """Return the model with all that is as long cut with the input, and as it was inferred.

    A loop that ends with the shorter of two inputs takes the other one uncut, too.
    """
    batch = baseline.batch
    if not batch.on_their_own:
        return [baseline]
    other = copy.copy(baseline)
    other.batch = batch.with_leaves(batch.leaves)
    other.batch.on_their_own = frozenset()
    return [other, baseline]


def judge_way(baseline: Baseline, carried: Carried) -> Verdict:
    """Cut the steps in two and one by one, and pass the state on in one way.

    Raises:
        UnfitError: if the model does not take the chunks.
    """
    cuts: list[list[int]] = []
    held: list[Stream] = []
    for sizes in ways_to_cut(baseline.batch.steps or 0):
        try:
            tried = Stream(baseline, carried, sizes)
            found = tried.difference()
        except UnfitError:
            # A chunk of one step may be too short for a convolution.
            if not held:
                raise
            continue
        cuts.append(sizes)
        if found is not None:
            return Verdict(tried, found, not tried.is_read(), cuts)
        held.append(tried)
    return Verdict(held[0], None, not held[0].is_read(), cuts)


def unpadded(baseline: Baseline) -> Baseline:
    """Return the model on those steps only that no sample has padding at.

    Raises:
        UnfitError: if the input has no steps.
    """
    batch = baseline.batch
    if batch.steps is None or not batch.has_steps(batch.paced):
        message = "the input has no two steps"
        raise UnfitError(message)
    padding = batch.padding(batch.paced)
    valid = baseline.counts or [batch.steps]
    if padding is not None:
        valid = [*valid, int((~padding).sum(1).min())]
    if min(valid) == batch.steps:
        return baseline
    first = baseline.first
    told = None if first is None or baseline.names[first].endswith(STACK) else baseline.out_seq_dim
    shorter = batch.cut(max(min(valid), 1), front=baseline.post)
    return Baseline(
        baseline.session, shorter, post=baseline.post, out_batch_dim=None, out_seq_dim=told
    )
