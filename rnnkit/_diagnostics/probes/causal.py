"""The probe *causal*: a step of the output depends on no later step of the input."""

from rnnkit._diagnostics.axes import followed_axis
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import Where, steps_from
from rnnkit._diagnostics.experiment import PerturbedRun, run_perturbed
from rnnkit._diagnostics.locate import locate_step
from rnnkit._diagnostics.report import (
    CUTS,
    NO_STEPS,
    OTHER_OUTPUTS,
    OTHER_SHAPES,
    UNCHANGED,
    Line,
    UnjudgedError,
    fail,
    note,
    skip,
)


def probe_causal(baseline: Baseline) -> str:
    """Step t of the first output does not depend on later steps of the input.

    Other outputs may read all steps, as an encoder's do beside a decoder's: of those it is noted.
    """
    batch = baseline.batch
    if batch.steps is None or batch.steps == 1:
        skip(NO_STEPS)
    paced = _in_step(baseline)
    if paced is None:
        _check_features(baseline)
        skip(OTHER_OUTPUTS)
    first, seq = paced.first or 0, paced.out_seq_dim or 0
    steps = paced.batch.steps or 0
    if not paced.has_steps(first):
        size = paced.normal[first].shape[seq]
        text = f"axis {seq} of the output is {size} long, the input has {steps} steps"
        skip(f"{text}: of a decoder, give the target alone")
    paced = _with_followed(paced)
    shortest = min(paced.counts or [steps])
    cuts = sorted({steps - 1, max(1, shortest - 1), max(1, shortest // 2)})[-CUTS:]
    tried, compared = 0, False
    early: dict[int, int | None] = {first: None}
    for cut in cuts:
        later = steps_from(cut)
        perturbed = run_perturbed(paced, later)
        if perturbed is None:
            continue
        tried += 1
        compared |= perturbed.has(first)
        step = _early_step(perturbed, first, cut)
        if step is not None:
            what = f"{paced.name(first)} of step {step} depends on input of step {cut} or later"
            found = locate_step(perturbed, cut)
            fail("causal", what, [*found.rows, *_source(paced, later, cut)], found.module)
        if paced.strict:
            _check_own_step(paced, first, seq, cut)
        _look_at_others(perturbed, cut, early)
    if not compared:
        skip(OTHER_SHAPES if tried else UNCHANGED)
    return _conclude(paced, early)


def _look_at_others(perturbed: PerturbedRun, cut: int, early: dict[int, int | None]) -> None:
    """Write down whether steps of further outputs depend on later ones, and the first that does."""
    paced = perturbed.baseline
    for index, _ in paced.judged():
        if index != paced.first and paced.has_steps(index) and perturbed.has(index):
            known = early.get(index)
            early[index] = _early_step(perturbed, index, cut) if known is None else known


def _conclude(paced: Baseline, early: dict[int, int | None]) -> str:
    """Say which outputs hold, and note which do not."""
    own, first = "itself or " if paced.strict else "", paced.name(paced.first or 0)
    alike = " and ".join(paced.name(index) for index, step in early.items() if step is None)
    for index, step in early.items():
        if step is not None:
            text = f"{paced.name(index)} of step {step} depends on later steps of the input"
            note(paced.report, f"{text}; causal is judged of {first}")
    of = "" if alike == "output" else f"{alike}: "
    return f"{of}no step of {paced.batch.steps} depends on {own}a later one"


def _check_own_step(baseline: Baseline, first: int, seq: int, cut: int) -> None:
    """Find an output that reads its own step of the first input: a target that was not shifted."""
    batch = baseline.batch
    # Of an encoder and a decoder, the target has the steps, and the first input has not.
    input = batch.first if batch.has_steps(batch.first) else batch.paced
    perturbed = run_perturbed(baseline, steps_from(cut, cut + 1), only=input)
    at = cut - max(baseline.missing(first), 0)
    if perturbed is None or not perturbed.has(first):
        return
    if perturbed.leaks(first, lambda leaf: leaf.select(seq, at)):
        which = "the first input" if input == batch.first else f"input {input}"
        what = f"{baseline.name(first)} of step {at} depends on step {cut} of {which}"
        fail("causal", what, [("fix", "shift the input: step t reads target t - 1")])


def _check_features(baseline: Baseline) -> None:
    """Find an output that has as many rows as there are steps, and which are the features."""
    batch, first = baseline.batch, baseline.first
    leaf, along = batch.leaves[batch.paced], batch.axes[batch.paced]
    if first is None or leaf.dim() != 3 or along is None:
        return
    features = 3 - along - batch.seq_dim
    if leaf.shape[features] != batch.steps:
        return
    fewer = batch.with_leaves(list(batch.leaves))
    fewer.leaves[batch.paced] = leaf.narrow(features, 0, leaf.shape[features] - 1)
    output = baseline.attempt(fewer)
    if output is None:
        return
    axis = followed_axis(baseline.normal[first], output[first])
    if axis not in (None, features):  # features that are where they were are no steps
        what = f"axis {axis} of the {baseline.name(first)} follows axis {features} of the input"
        fail("causal", f"{what}, and none follows its steps, on axis {batch.seq_dim}")


def _in_step(baseline: Baseline) -> Baseline | None:
    """Return the model with the steps of that input which the first output has, too."""
    batch = baseline.batch
    if baseline.first is None:
        return None
    if baseline.out_seq_dim is not None and baseline.has_steps(baseline.first):
        return baseline
    for index in range(len(batch.leaves)):
        leaf, axis = batch.leaves[index], batch.axes[index]
        apart = index != batch.paced and not batch.has_steps(index)
        if apart and axis not in (None, batch.seq_dim) and batch.is_content(index):
            if leaf.dim() <= batch.seq_dim or leaf.shape[batch.seq_dim] < 2:
                continue
            paced = baseline.paced_by(index)
            if paced.runs_on_less and paced.has_steps(baseline.first):
                return paced
    return baseline if baseline.out_seq_dim is not None else None


def _with_followed(baseline: Baseline) -> Baseline:
    """Return the model with the steps of further inputs, if the output's steps follow those.

    A loop takes times, for one, that are longer than the sequence: they need not be cut with it. Of
    an input that is read as a whole, no step of the output reads the first step and not the last,
    nor the last one and not one between.
    """
    batch, first, steps = baseline.batch, baseline.first or 0, baseline.batch.steps or 0
    followed = baseline
    for index in sorted(batch.on_their_own):
        if not batch.is_content(index):
            continue
        whole = followed.on(batch.with_leaves(batch.leaves))
        whole.batch.on_their_own = followed.batch.on_their_own - {index}
        one, last = (_reading(whole, index, first, step) for step in (0, steps - 1))
        follows = last and one - last
        if last and not follows:
            between = _reading(whole, index, first, steps // 2)
            follows = between and last - between
        if follows:
            followed = whole
    return followed


def _reading(baseline: Baseline, index: int, first: int, step: int) -> set[int]:
    """Return which steps of the first output read a step of an input."""
    seq = baseline.step_axes[first] or 0
    try:
        perturbed = run_perturbed(baseline, steps_from(step, step + 1), only=index)
    except UnjudgedError:
        perturbed = None  # the rest is judged without it
    if perturbed is None or not perturbed.has(first):
        return set()
    return {
        at
        for at in range(baseline.normal[first].shape[seq])
        if perturbed.moves(first, lambda leaf, at=at: leaf.select(seq, at))  # type: ignore[misc]
    }


def _early_step(perturbed: PerturbedRun, index: int, cut: int) -> int | None:
    """Return the first step of an output before a cut where a change after it shows."""
    baseline, seq = perturbed.baseline, perturbed.baseline.step_axes[index] or 0
    if not perturbed.has(index):
        return None
    # What is shorter than the input may begin with a later step.
    before = cut - max(baseline.missing(index), 0)
    before = min(before, baseline.normal[index].shape[seq])
    if before < 1 or not perturbed.leaks(index, lambda leaf: leaf.narrow(seq, 0, before)):
        return None
    return next(
        step
        for step in range(before)
        if perturbed.leaks(index, lambda leaf, step=step: leaf.select(seq, step))  # type: ignore[misc]
    )


def _source(baseline: Baseline, later: Where, cut: int) -> list[Line]:
    """Name the input through which alone it happens: it may be what a decoder may see whole."""
    batch, first = baseline.batch, baseline.first or 0
    content = [k for k in range(len(batch.leaves)) if batch.has_steps(k) and batch.is_content(k)]
    if len(content) < 2:
        return []
    found = []
    for index in content:
        perturbed = run_perturbed(baseline, later, only=index)
        step = _early_step(perturbed, first, cut) if perturbed else None
        if step is not None:
            found.append(index)
    if len(found) != 1:
        return []
    text = f"input {found[0]}; if it may be read whole, fix it in a wrapper and give the others"
    return [("through", text)]
