"""The probe *coverage*: every valid step of the first input reaches some output."""

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.calls import find_other_order, poisoned
from rnnkit._diagnostics.changes import other_leaves, steps_from, valid_mask
from rnnkit._diagnostics.lengths import counts_of
from rnnkit._diagnostics.outputs import alike, is_number, shape_of
from rnnkit._diagnostics.report import INTEGERS, fail, skip
from rnnkit._diagnostics.slopes import gradients_of

STEPS = 16  # so many are looked at, evenly spaced


def probe_coverage(baseline: Baseline) -> str:
    """A gradient arrives at each step or, where none does, a NaN comes out, or a change."""
    batch, steps, first = baseline.batch, baseline.batch.steps or 0, baseline.first or 0
    if steps < 3 or not batch.has_steps(batch.paced):
        skip("the input has fewer than three steps")
    if not any(is_number(baseline.normal[index]) for index, _ in baseline.judged()):
        skip(INTEGERS if any(baseline.judged()) else baseline.unfollowed())
    padding, valid = batch.padding(batch.paced), valid_mask(batch, post=baseline.post)
    valid = valid if padding is None else valid & ~padding.cpu()
    found = gradients_of(baseline).places()
    slopes = torch.zeros_like(valid) if found is None else found
    find_other_order(baseline)
    _find_other_lengths(baseline, slopes)
    among = valid.any(0).nonzero().flatten().tolist()
    spaced = torch.linspace(0, len(among) - 1, min(STEPS, len(among)), device="cpu").round()
    tried = [among[int(k)] for k in spaced]
    unread = ~(slopes & valid).any(0)
    asked = {step: _silent_at(baseline, step) for step in tried if unread[step]}
    known = {step: x & valid[:, step] for step, x in asked.items() if x is not None}
    silent = {step: where for step, where in known.items() if where.any()}
    count = len(tried) - len(asked) + len(known)
    if not count:
        skip("NaN does not go in: no embedding takes the tokens, or it is refused")
    if len(silent) == count:
        skip("no step of the input reaches an output")
    if not silent:
        return f"every step tried ({count} of {steps}) reaches an output"
    # A forecaster's target, a chunk that is left over, or lengths that are found in the values.
    # Without the steps, an output may be about every other step, or a word between two sides.
    is_whole = baseline.has_steps(first) and not baseline.missing(first)
    middle = () if baseline.out_seq_dim is not None else ((steps - 1) // 2, steps // 2)
    is_thinned = tried[0] in silent or (len(silent) > 1 and 2 * len(silent) + 1 >= count)
    if tried[-1] not in silent and (is_whole or not is_thinned):
        for step, where in silent.items():
            if step not in middle and where.equal(valid[:, step]):
                what = f"step {step} reaches no output of the model, and later steps do"
                fail("coverage", what, [("evidence", "a NaN that is put there reaches no output")])
    left = ", ".join(map(str, silent))
    return f"{count - len(silent)} of {count} steps tried reach an output; may be left out: {left}"


def _silent_at(baseline: Baseline, step: int) -> Tensor | None:
    """Return in which samples neither a NaN at a step nor a change comes out; None if unknown."""
    batch, where = baseline.batch, steps_from(step, step + 1)
    other = other_leaves(batch, where, pad=False, only=batch.paced)
    runs = [poisoned(baseline, where), baseline.session.attempt(batch.tree(other))]
    read = torch.zeros(batch.size, dtype=torch.bool, device="cpu")
    for output in (x for x in runs if x is not None):
        if [*map(shape_of, output)] != [*map(shape_of, baseline.normal)]:
            return torch.zeros_like(read)
        for index, axis in baseline.judged():
            rows = (baseline.normal[index] != output[index]).movedim(axis, 0)[: batch.size]
            read |= rows.reshape(batch.size, -1).any(1).cpu()
        # It may come out in an output that has no samples.
        if not read.any() and not alike(baseline.normal, output):
            return read
    return ~read if None not in runs or read.all() else None


def _find_other_lengths(baseline: Baseline, read: Tensor) -> None:
    """Find samples that are read up to lengths of another input: some too far, some not enough."""
    batch, counts, steps = baseline.batch, baseline.batch.counts or [], baseline.batch.steps or 0
    for index, leaf in enumerate(batch.leaves if counts and baseline.post else ()):
        if len(told := counts_of(leaf)) == batch.size:
            ends = torch.tensor(told, device="cpu").clamp(max=steps)
            off = ends - torch.tensor(counts, device="cpu")
            is_read = torch.arange(steps, device="cpu") < ends.unsqueeze(1)
            if off.min() < 0 < off.max() and is_read.equal(read):
                sample = int(off.argmin())
                has = f"which has {counts[sample]} steps, {told[sample]} are read"
                cause = f"that is its length in input {index}: each sample is read up to it"
                lines = [("cause", cause), ("fix", f"the lengths of input {batch.paced}")]
                fail("coverage", f"of sample {batch.numbers[sample]}, {has}", lines)
