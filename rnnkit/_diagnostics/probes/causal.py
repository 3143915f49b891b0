"""The probe *causal*: a step of the output depends on no later step of the input."""

from contextlib import suppress

import torch

from rnnkit._base.message import count
from rnnkit._diagnostics.explain.causes import VIEW
from rnnkit._diagnostics.explain.locate import locate_step
from rnnkit._diagnostics.inputs.axes import shortened_axis
from rnnkit._diagnostics.inputs.changes import steps_from
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.judge import decide
from rnnkit._diagnostics.measure.lab import PerturbedRun, comparable, restricted, run_perturbed
from rnnkit._diagnostics.tell.report import NO_STEPS, OTHER_OUTPUTS, UnjudgedError, fail, skip

#: What to change so that an output does not read its own step.
OWN = {
    "strict": "shift the target: step t reads target t - 1, and step 0 the last known value",
    "others": "join the forward state of step t - 1 and the backward one of step t + 1",
}


def probe_causal(baseline: Baseline) -> str:
    """Step t of the first output depends on no later step of the input; other outputs may."""
    if baseline.batch.steps in (None, 1):
        skip(NO_STEPS)
    first = baseline.first
    seq = baseline.out_seq_dim
    if first is None or seq is None:
        _check_features(baseline)
        skip(OTHER_OUTPUTS)
    paced = baseline.paced_by(baseline.pacers[first])
    batch = paced.batch
    steps = paced.batch.steps or 0
    rule = paced.causal
    if not paced.has_steps(first):
        size = paced.normal[first].shape[seq]
        skip(f"the output has {size} steps, the input {steps}: of a decoder, give only the target")
    paced = _with_followed(paced, first)
    shortest = min(paced.batch.counts or [steps])
    cuts = {steps - 1, max(1, shortest - 1), max(1, shortest // 2)}
    runs: list[PerturbedRun | None] = []
    if rule != "others":
        runs += [_check_later(paced, first, cut) for cut in sorted(cuts)]
    if rule in OWN:
        runs += [_check_own(paced, first, step) for step in sorted({0} | cuts)]
    comparable(runs, [first])
    is_spoiled = paced.lookahead or baseline.session.drawn or baseline.report.found("batch")
    if rule != "others" and not is_spoiled and (baseline.post or batch.counts is None):
        decide(baseline, lambda one: _check_first_steps(one.paced_by(batch.paced), first))
    return f"no step of {steps} depends on {_on_what(paced)}"


def _on_what(paced: Baseline) -> str:
    """Write on what no step depends."""
    rules = {"strict": "itself or a later one", "others": "itself"}
    what = rules.get(str(paced.causal), "a later one")
    if not paced.lookahead:
        return what
    return f"{what} by more than {count(paced.lookahead, 'step', 'steps')}"


def _late(baseline: Baseline, first: int) -> int:
    """Return how many steps later than its input an output may begin, if it is shorter."""
    return max(baseline.missing(first) or 0, 0)


def _check_later(baseline: Baseline, first: int, cut: int) -> PerturbedRun | None:
    """Fail if a change from a step on shows at an earlier step of the output."""
    run = run_perturbed(baseline, steps_from(cut))
    step = torch.arange(baseline.batch.steps or 0, device="cpu").unsqueeze(0)
    is_earlier = step < cut - _late(baseline, first) - baseline.lookahead
    shown = run.shown([first], is_earlier) if run else None
    if run and shown:
        earliest = min(at for _, at in shown[1])
        what = f"{baseline.name(first)} of step {earliest} depends on input of step {cut} or later"
        fail("causal", what, *locate_step(baseline, run.inputs, cut, first))
    return run


def _check_own(baseline: Baseline, first: int, step: int) -> PerturbedRun | None:
    """Fail if a change of one step of an input shows at the same step of the output."""
    batch = baseline.batch
    # Of an encoder and a decoder, the target has the steps, and the first input has not.
    own = batch.first if batch.has_steps(batch.first) else batch.paced
    run = run_perturbed(baseline, steps_from(step, step + 1), only=own)
    at = step - _late(baseline, first)
    is_own = torch.arange(batch.steps or 0, device="cpu").unsqueeze(0) == at
    if run and run.shown([first], is_own):
        what = f"{baseline.name(first)} of step {at} depends on step {step} of input {own}"
        fail("causal", what, [("fix", OWN[str(baseline.causal)])])
    return run


def _check_first_steps(baseline: Baseline, first: int) -> str:
    """Fail if the first steps by themselves do not return the first outputs: a view mixes steps."""
    steps = baseline.batch.steps or 0
    for cut in sorted({steps - 1, steps - 2, (steps + 1) // 2} - {0}, reverse=True):
        output = baseline.attempt(baseline.batch.cut(cut, front=True))
        if output and restricted(baseline, output, range(baseline.batch.size), first)[1]:
            what = f"{baseline.name(first)} of the first {cut} of {steps} steps changes when the"
            fix = f"{VIEW}; compute nothing from the number of steps"
            fail("causal", f"{what} later ones are removed", [("fix", fix)])
    return ""


def _with_followed(baseline: Baseline, first: int) -> Baseline:
    """Return the model with the steps of further inputs, if some output's steps follow those."""
    # A loop takes actions that are longer than the sequence: they need not be cut with it. Of an
    # input that is read as a whole, the first and the last step show in the same steps.
    batch = baseline.batch
    followed = baseline
    for index in filter(batch.is_content, sorted(batch.on_their_own.get(batch.paced, ()))):
        whole = followed.on(batch.with_leaves(batch.leaves))
        own = followed.batch.on_their_own[batch.paced]
        whole.batch.on_their_own = {batch.paced: own - {index}}
        with suppress(UnjudgedError):  # the rest is judged without it
            at = (steps_from(0, 1), steps_from((batch.steps or 0) - 1))
            runs = [run_perturbed(whole, where, only=index) for where in at]
            moved = [run.moved(first).any(0) for run in runs if run and run.has(first)]
            if len(moved) == 2 and bool(moved[1].any()) and not torch.equal(*moved):
                followed = whole
    return followed


def _check_features(baseline: Baseline) -> None:
    """Find an output whose rows are as many as the steps, but follow the features."""
    batch = baseline.batch
    first = baseline.first or 0
    leaf = batch.leaves[batch.paced]
    along = batch.axes[batch.paced]
    features = 3 - (along or 0) - batch.seq_dim
    if None in (baseline.first, along) or leaf.dim() != 3 or leaf.shape[features] != batch.steps:
        return
    fewer = batch.with_leaves(list(batch.leaves))
    fewer.leaves[batch.paced] = leaf.narrow(features, 0, leaf.shape[features] - 1)
    output = baseline.attempt(fewer) or baseline.normal
    axis, by = shortened_axis(baseline.normal[first], output[first])
    if by == 1 and axis != features:  # features that are where they were are no steps
        what = f"axis {axis} of {baseline.name(first)} gets shorter with axis {features} of input"
        ways = f"argmax({features}) for argmax({batch.seq_dim}); x.transpose(1, 2) before a Conv1d"
        fix = ("fix", f"{ways}; or another seq_dim=")
        fail("causal", f"{what}, and none with its steps, axis {batch.seq_dim}", [fix])
