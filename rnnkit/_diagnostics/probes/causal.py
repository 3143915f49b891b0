"""The probe *causal*: a step of the output depends on no later step of the input."""

from contextlib import suppress
from functools import partial

import torch
from torch import Tensor

from rnnkit._base.message import count
from rnnkit._diagnostics.axes import followed_axis
from rnnkit._diagnostics.baseline import Baseline, Take
from rnnkit._diagnostics.causes import VIEW
from rnnkit._diagnostics.changes import steps_from
from rnnkit._diagnostics.judge import agree, for_other_sizes, is_shown, refuse_chance
from rnnkit._diagnostics.lab import first_true, run_perturbed
from rnnkit._diagnostics.locate import locate_step
from rnnkit._diagnostics.outputs import same
from rnnkit._diagnostics.report import (
    NO_STEPS,
    OTHER_OUTPUTS,
    OTHER_SHAPES,
    UNCHANGED,
    UnjudgedError,
    fail,
    skip,
)


def probe_causal(baseline: Baseline) -> str:
    """Step t of the first output does not depend on later steps of the input.

    Other outputs may read all steps, as an encoder's do next to a decoder's.
    """
    if baseline.batch.steps in (None, 1):
        skip(NO_STEPS)
    if baseline.first is None or baseline.out_seq_dim is None:
        _check_features(baseline)
        skip(OTHER_OUTPUTS)
    first, seq = baseline.first, baseline.out_seq_dim
    paced = baseline.paced_by(baseline.pacers[first])
    steps = paced.batch.steps or 0
    if not paced.has_steps(first):
        size, is_flat = paced.normal[first].shape[seq], first in paced.session.flats
        text = f"axis {seq} of the output is {size} long"
        text = f"the output has {size} rows for each sample" if is_flat else text
        skip(f"{text}, the input has {steps} steps: of a decoder, give only the target")
    paced = _with_followed(paced)
    # What is shorter than the input may begin with a later step.
    late = max(paced.missing(first), 0)
    shortest = min(paced.counts or [steps])
    cuts = sorted({steps - 1, max(1, shortest - 1), max(1, shortest // 2)})
    runs = {cut: run for cut in cuts if (run := run_perturbed(paced, steps_from(cut)))}
    for cut, run in runs.items():
        if not run.has(first):
            continue
        early = 0 if paced.causal == "others" else max(cut - late - paced.lookahead, 0)
        if is_shown(paced, shown := run.moved(first).any(0)[:early]):
            what = f"{paced.name(first)} of step {first_true(shown)} depends on input of step"
            found = locate_step(paced, run.inputs, cut, first)
            fail("causal", f"{what} {cut} or later", found.rows, found.module)
        if paced.causal in ("strict", "others"):
            _check_own_step(paced, first, cut, cut - late)
    if not any(run.has(first) for run in runs.values()):
        skip(OTHER_SHAPES if runs else UNCHANGED)
    if paced.causal != "others" and not paced.lookahead:
        _check_first_steps(paced, first)
    name = paced.name(first)
    of = "" if name == "output" else f"{name}: "
    more = f" by more than {count(paced.lookahead, 'step', 'steps')}" * bool(paced.lookahead)
    rules = {"strict": "itself or a later one", "others": "itself"}
    return f"{of}no step of {steps} depends on {rules.get(str(paced.causal), 'a later one')}{more}"


def _check_first_steps(narrow: Baseline, first: int) -> None:
    """Find steps that return something else where later ones are missing, as of a wrong view."""
    if narrow.counts is not None or narrow.session.drawn:
        return
    steps = narrow.batch.steps or 0
    for cut in sorted({steps - 1, steps - 2, (steps + 1) // 2} - {0, -1}, reverse=True):
        one = _first_steps(narrow, first, cut)
        if one is None or same(*one[:2]):
            continue
        baseline = for_other_sizes(narrow)
        wide = _first_steps(baseline, first, cut)
        if wide is None or baseline.tolerance is None or agree(baseline, first, *wide):
            continue
        refuse_chance(baseline, first, *wide)
        what = f"{baseline.name(first)} of the first {cut} of {steps} steps changes"
        fail("causal", f"{what} when the later ones are removed", [("fix", VIEW)])


def _first_steps(baseline: Baseline, first: int, cut: int) -> tuple[Tensor, Tensor, Take] | None:
    """Return the first steps among all and by themselves; None if they cannot be compared."""
    axis, whole = baseline.step_axes[first] or 0, baseline.normal[first]
    output = baseline.attempt(baseline.batch.cut(cut, front=True))
    size = max(whole.shape[axis] - (baseline.batch.steps or 0) + cut, 0)
    take: Take = partial(torch.narrow, dim=axis, start=0, length=size)
    after = None if output is None else output[first]
    if not isinstance(after, Tensor) or take(whole).shape != after.shape:
        return None
    return take(whole), after, take


def _with_followed(baseline: Baseline) -> Baseline:
    """Return the model with the steps of further inputs, if some output's steps follow those.

    A loop takes times, for one, that are longer than the sequence: they need not be cut with it. Of
    an input that is read as a whole, no step of the output reads the first step and not the last,
    nor the last one and not one between.
    """
    batch, first, followed = baseline.batch, baseline.first or 0, baseline
    for index in filter(batch.is_content, sorted(batch.on_their_own)):
        whole = followed.on(batch.with_leaves(batch.leaves))
        whole.batch.on_their_own = followed.batch.on_their_own - {index}
        read = [torch.zeros(1, dtype=torch.bool, device="cpu")] * 3
        for at, step in enumerate((0, (batch.steps or 0) // 2, (batch.steps or 0) - 1)):
            with suppress(UnjudgedError):  # the rest is judged without it
                run = run_perturbed(whole, steps_from(step, step + 1), only=index)
                if run is not None and run.has(first):
                    read[at] = run.moved(first).any(0).cpu()
        start, middle, end = read
        between = bool(middle.any()) and bool((end & ~middle).any())
        if bool(end.any()) and (between or bool((start & ~end).any())):
            followed = whole
    return followed


def _check_own_step(baseline: Baseline, first: int, cut: int, at: int) -> None:
    """Find an output that reads its own step of the first input: a target that was not shifted."""
    batch = baseline.batch
    # Of an encoder and a decoder, the target has the steps, and the first input has not.
    input = batch.first if batch.has_steps(batch.first) else batch.paced
    run = run_perturbed(baseline, steps_from(cut, cut + 1), only=input)
    if run is not None and run.has(first) and is_shown(baseline, run.moved(first)[:, at : at + 1]):
        which = "the first input" if input == batch.first else f"input {input}"
        what = f"{baseline.name(first)} of step {at} depends on step {cut} of {which}"
        fix = "shift the input: step t reads target t - 1"
        if baseline.causal == "others":
            fix = "join the forward state of step t - 1 and the backward one of step t + 1"
        fail("causal", what, [("fix", fix)])


def _check_features(baseline: Baseline) -> None:
    """Find an output whose rows are as many as the steps, but follow the features."""
    batch, first = baseline.batch, baseline.first or 0
    leaf, along = batch.leaves[batch.paced], batch.axes[batch.paced]
    features = 3 - (along or 0) - batch.seq_dim
    if None in (baseline.first, along) or leaf.dim() != 3 or leaf.shape[features] != batch.steps:
        return
    fewer = batch.with_leaves(list(batch.leaves))
    fewer.leaves[batch.paced] = leaf.narrow(features, 0, leaf.shape[features] - 1)
    output = baseline.attempt(fewer) or baseline.normal
    axis = followed_axis(baseline.normal[first], output[first])
    if axis not in (None, features):  # features that are where they were are no steps
        what = f"axis {axis} of the {baseline.name(first)} follows axis {features} of the input"
        ways = f"x.transpose(1, 2) before the layer, argmax({features}) for argmax({batch.seq_dim})"
        fix = ("fix", f"{ways}, or another seq_dim=")
        fail("causal", f"{what}, and none follows its steps, on axis {batch.seq_dim}", [fix])
