"""The probe *coverage*: every valid step of the first input reaches some output."""

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import valid_mask
from rnnkit._diagnostics.outputs import is_number
from rnnkit._diagnostics.poison import find_other_order, silent_at, spaced
from rnnkit._diagnostics.report import INTEGERS, fail, skip
from rnnkit._diagnostics.slopes import gradients_of

#: So many steps around one that is not read are looked at.
AROUND = 8


def probe_coverage(baseline: Baseline) -> str:
    """A gradient arrives at each step or, where none does, a NaN comes out, or a change.

    A change would not do: an LSTM of fifty steps forgets the first one below its last bit. Steps at
    the ends may be left out: a forecaster's target, a chunk, lengths that a model finds in values;
    so may a word that is told from those on both sides.
    """
    batch, steps = baseline.batch, baseline.batch.steps or 0
    if steps < 3 or not batch.may_have_steps(batch.paced):
        skip("the input has no three steps")
    if not any(is_number(baseline.normal[index]) for index, _ in baseline.judged()):
        skip(INTEGERS if any(baseline.judged()) else baseline.unfollowed())
    padding = batch.padding(batch.paced)
    valid = valid_mask(batch, post=baseline.post)
    valid = valid if padding is None else valid & ~padding.cpu()
    slopes = gradients_of(baseline).places()
    slopes = torch.zeros_like(valid) if slopes is None else slopes
    read = slopes & valid
    tried = spaced(steps - 2)
    find_other_order(baseline, tried)
    _find_other_lengths(baseline, slopes)
    found = {step: silent_at(baseline, step) for step in tried if not bool(read[:, step].any())}
    count = len(tried) - sum(one is None for one in found.values())
    if not count:
        skip("NaN does not go in: no embedding takes the tokens, or it is refused")
    silent = {t: one & valid[:, t] for t, one in found.items() if one is not None}
    silent = {step: where for step, where in silent.items() if bool(where.any())}
    for step, where in silent.items():
        if torch.equal(where, valid[:, step]) and not _may_be_left_out(baseline, step, read, valid):
            what = f"step {step} reaches no output of the model, and later steps do"
            fail("coverage", what, [("evidence", "a NaN there reaches no output")])
    if silent:
        few = f"step{'s' * (len(silent) > 1)} {' and '.join(map(str, silent))}"
        names = few if len(silent) < 3 else "the others"
        text = f"{count - len(silent)} of {count} steps tried reach an output"
        return f"{text}; {names} may be left out"
    return f"every step tried ({count} of {steps}) reaches an output"


def _may_be_left_out(baseline: Baseline, step: int, read: Tensor, valid: Tensor) -> bool:
    """Return whether a right model leaves out a step: at the ends, in the middle, or every other.

    Of an output without all the steps, those in front may be left out, too.
    """
    first, steps = baseline.first, baseline.batch.steps or 0
    is_whole = first is not None and baseline.has_steps(first) and not baseline.missing(first)
    for end in [steps - 1] if is_whole else [0, steps - 1]:
        ends = None if bool(read[:, end].all()) else silent_at(baseline, end)
        if ends is not None and bool((ends & valid[:, step]).any()):
            return True
    if baseline.out_seq_dim is None and step in ((steps - 1) // 2, steps // 2):
        return True
    start = max(1, min(step - AROUND // 2, steps - 1 - AROUND))
    near = [k for k in range(start, min(start + AROUND, steps - 1)) if bool(valid[:, k].any())]
    unread = [k for k in near if not bool(read[:, k].any())]
    return not is_whole and len(unread) > 1 and 2 * len(unread) >= len(near)


def _find_other_lengths(baseline: Baseline, read: Tensor) -> None:
    """Find samples that are read up to lengths of another input: some too far, some not enough."""
    batch, counts, steps = baseline.batch, baseline.counts, baseline.batch.steps or 0
    for index, leaf in enumerate(batch.leaves if counts and baseline.post else ()):
        told = leaf.tolist() if isinstance(leaf, Tensor) and leaf.dim() == 1 else leaf
        is_list = isinstance(told, list) and len(told) == batch.size
        if counts is None or not is_list or not all(type(n) is int for n in told):
            continue
        ends = torch.tensor(told, device="cpu").clamp(max=steps)
        longer = [k for k, end in enumerate(ends.tolist()) if counts[k] > end > 0]
        is_shorter = bool((torch.tensor(counts, device="cpu") < ends).any())
        wanted = torch.arange(steps, device="cpu") < ends.unsqueeze(1)
        if longer and is_shorter and torch.equal(wanted, read):
            reads = f"which has {counts[longer[0]]} steps, {int(ends[longer[0]])} are read"
            what = f"of sample {batch.numbers[longer[0]]}, {reads}"
            rows = [("cause", f"that is its length in input {index}: each sample is read up to it")]
            fail("coverage", what, [*rows, ("fix", "the lengths that belong to this input")])
