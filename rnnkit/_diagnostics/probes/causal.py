"""The probe *causal*: a step of the output depends on no later step of the input."""

from rnnkit._diagnostics.axes import followed_axis
from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import steps_from
from rnnkit._diagnostics.experiment import (
    PerturbedRun,
    first_true,
    in_step,
    run_perturbed,
    with_followed,
)
from rnnkit._diagnostics.judge import is_shown
from rnnkit._diagnostics.locate import locate_step
from rnnkit._diagnostics.report import (
    CUTS,
    NO_STEPS,
    OTHER_OUTPUTS,
    OTHER_SHAPES,
    UNCHANGED,
    Line,
    fail,
    note,
    skip,
)


def probe_causal(baseline: Baseline) -> str:
    """Step t of the first output does not depend on later steps of the input.

    Other outputs may read all steps, as an encoder's do next to a decoder's: a note says so.
    """
    if baseline.batch.steps in (None, 1):
        skip(NO_STEPS)
    paced = in_step(baseline)
    if paced is None:
        _check_features(baseline)
        skip(OTHER_OUTPUTS)
    first, steps = paced.first or 0, paced.batch.steps or 0
    if not paced.has_steps(first):
        seq = paced.out_seq_dim or 0
        text = f"axis {seq} of the output is {paced.normal[first].shape[seq]} long"
        skip(f"{text}, the input has {steps} steps: of a decoder, give the target alone")
    paced = with_followed(paced)
    shortest = min(paced.counts or [steps])
    cuts = sorted({steps - 1, max(1, shortest - 1), max(1, shortest // 2)})[-CUTS:]
    early: dict[int, int | None] = {}
    tried = 0
    for cut in cuts:
        perturbed = run_perturbed(paced, steps_from(cut))
        if perturbed is None:
            continue
        tried += 1
        if (step := _early_step(perturbed, first, cut)) is not None:
            what = f"{paced.name(first)} of step {step} depends on input of step {cut} or later"
            found = locate_step(perturbed, cut)
            fail("causal", what, [*found.rows, *_source(paced, cut)], found.module)
        if paced.strict:
            _check_own_step(paced, first, cut)
        if perturbed.has(first):
            early.setdefault(first, None)
        for index, _ in paced.judged():
            is_known = index == first or early.get(index) is not None
            if paced.has_steps(index) and perturbed.has(index) and not is_known:
                early[index] = _early_step(perturbed, index, cut)
    if first not in early:
        skip(OTHER_SHAPES if tried else UNCHANGED)
    for index, step in early.items():
        if step is not None:
            text = f"{paced.name(index)} of step {step} depends on later steps of the input"
            note(paced.report, f"{text}; causal is judged of {paced.name(first)}")
    held = " and ".join(paced.name(index) for index, step in early.items() if step is None)
    of, own = "" if held == "output" else f"{held}: ", "itself or " if paced.strict else ""
    return f"{of}no step of {steps} depends on {own}a later one"


def _early_step(perturbed: PerturbedRun, index: int, cut: int) -> int | None:
    """Return the first step of an output before a cut where a change after it shows."""
    if not perturbed.has(index):
        return None
    # What is shorter than the input may begin with a later step.
    before = max(cut - max(perturbed.baseline.missing(index), 0), 0)
    shown = perturbed.moved(index).any(0)[:before]
    return first_true(shown) if is_shown(perturbed.baseline, shown) else None


def _check_own_step(baseline: Baseline, first: int, cut: int) -> None:
    """Find an output that reads its own step of the first input: a target that was not shifted."""
    batch = baseline.batch
    # Of an encoder and a decoder, the target has the steps, and the first input has not.
    input = batch.first if batch.has_steps(batch.first) else batch.paced
    perturbed = run_perturbed(baseline, steps_from(cut, cut + 1), only=input)
    at = cut - max(baseline.missing(first), 0)
    if perturbed is None or not perturbed.has(first):
        return
    if is_shown(baseline, perturbed.moved(first)[:, at]):
        which = "the first input" if input == batch.first else f"input {input}"
        what = f"{baseline.name(first)} of step {at} depends on step {cut} of {which}"
        fail("causal", what, [("fix", "shift the input: step t reads target t - 1")])


def _check_features(baseline: Baseline) -> None:
    """Find an output whose rows are as many as the steps, but follow the features."""
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
    axis = None if output is None else followed_axis(baseline.normal[first], output[first])
    if axis not in (None, features):  # features that are where they were are no steps
        what = f"axis {axis} of the {baseline.name(first)} follows axis {features} of the input"
        fix = ("fix", "x.transpose(1, 2) before the layer, or seq_dim= for the axis of the steps")
        fail("causal", f"{what}, and none follows its steps, on axis {batch.seq_dim}", [fix])


def _source(baseline: Baseline, cut: int) -> list[Line]:
    """Name the input through which alone it happens: it may be what a decoder may see whole."""
    batch, first, found = baseline.batch, baseline.first or 0, list[int]()
    content = [k for k in range(len(batch.leaves)) if batch.has_steps(k) and batch.is_content(k)]
    for index in content if len(content) > 1 else ():
        perturbed = run_perturbed(baseline, steps_from(cut), only=index)
        if perturbed and _early_step(perturbed, first, cut) is not None:
            found.append(index)
    if len(found) != 1:
        return []
    text = f"input {found[0]}; if it may be read whole, fix it in a wrapper and give the others"
    return [("through", text)]
