"""The probe *padding*: what is beyond a length does not matter."""

import torch

from rnnkit._diagnostics.explain.locate import locate_valid
from rnnkit._diagnostics.inputs.changes import steps_at, valid_mask
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.lab import comparable, run_perturbed
from rnnkit._diagnostics.measure.unfollowed import why_unfollowed
from rnnkit._diagnostics.run.outputs import is_number
from rnnkit._diagnostics.tell.report import (
    INTEGERS,
    NO_LENGTHS,
    Gap,
    UnjudgedError,
    fail,
    skip,
    skip_inapplicable,
)


def probe_padding(baseline: Baseline) -> str:
    """No output depends on what is beyond a sample's length, in any input that has lengths."""
    gaps: list[tuple[str, Gap]] = []
    paces = [*baseline.batch.lengths] or [baseline.batch.paced]
    for index in paces:
        try:
            _judge(baseline.paced_by(index))
        except UnjudgedError as error:  # kept without its frames, which hold a copy of the model
            gaps.append((str(error), error.gap))
    if len(gaps) == len(paces):
        raise UnjudgedError(*gaps[0])
    if unjudged := [reason for reason, gap in gaps if gap == "unjudged"]:
        skip(f"for one of {len(paces)} inputs with lengths: {unjudged[0]}")
    return "no output depends on what is beyond a length"


def _judge(baseline: Baseline) -> None:
    """Find an output that depends on what is beyond the lengths of one input."""
    batch = baseline.batch
    counts = _counts(baseline)
    content = [k for k in range(len(batch.leaves)) if batch.has_steps(k) and batch.is_content(k)]
    if not all(is_number(batch.leaves[k]) for k in content):
        skip_inapplicable("tokens: padding is known by its value")
    indices = _outputs_with_known_steps(baseline)
    where = steps_at(~valid_mask(batch, post=baseline.post))
    [run] = comparable([run_perturbed(baseline, where, pad=True)], indices)
    shown = run.shown(indices, torch.tensor([[True]], device="cpu"))
    if shown is None:
        return
    index, [(sample, _), *_] = shown
    padding = (batch.leaves[k].where(where(batch, k), 0) for k in content)
    if "alone" in baseline.report.checked and not any(bool(leaf.any()) for leaf in padding):
        # Past the end a convolution reads zeros of its own, too.
        skip("zeros beyond a length are read, and a sample alone gives the same")
    what = f"{baseline.of_sample(index, sample)} depends on what is beyond its length"
    of = f" in input {batch.paced}" if len(batch.lengths) > 1 else ""
    found = locate_valid(baseline, sample, index, run.inputs)
    fail("padding", f"{what} of {counts[sample]} steps{of}", *found)


def _counts(baseline: Baseline) -> list[int]:
    """Return the lengths that the model is told; skip if there are none, or none is shorter."""
    batch = baseline.batch
    counts = baseline.batch.counts
    if counts is None or batch.steps is None:
        skip_inapplicable(NO_LENGTHS)
    if min(counts) == batch.steps:
        skip_inapplicable("every sample is as long as the batch")
    if not any(map(batch.tells_lengths, range(len(batch.leaves)))):
        skip_inapplicable("the model gets no lengths: it may know padding by its value")
    return counts


def _outputs_with_known_steps(baseline: Baseline) -> list[int]:
    """Return the outputs whose valid steps are known, or that have none; skip if there is none."""
    judged = [index for index, _ in baseline.judged() if is_number(baseline.normal[index])]
    if not judged:
        skip(INTEGERS if any(baseline.judged()) else why_unfollowed(baseline))
    indices = [index for index in judged if not _may_have_other_steps(baseline, index)]
    if not indices:
        skip("the output has other steps than the input: which are valid is not known")
    return indices


def _may_have_other_steps(baseline: Baseline, index: int) -> bool:
    """Return whether an output may have steps that are not the input's, as after a stride."""
    if baseline.missing(index) is not None:
        return False
    sizes = baseline.normal[index].shape
    has_other_axis = len(sizes) > 2 and baseline.batch.steps not in sizes[:-1]
    return has_other_axis or baseline.step_axes[index] is not None
