"""The probe *coverage*: every valid step of the first input reaches some output."""

from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import steps_at, valid_mask
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.module_calls import is_recurrent, named_arguments, sizes_of
from rnnkit._diagnostics.reach import (
    RowOrder,
    block_size,
    poisoned,
    reached,
    samples_with_nan,
    silent_at,
    spaced,
)
from rnnkit._diagnostics.report import fail, note, skip
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
        skip("no output of numbers follows the batch")
    padding = batch.padding(batch.paced)
    valid = valid_mask(batch, post=baseline.post)
    valid = valid if padding is None else valid & ~padding.cpu()
    slopes = _with_gradient(baseline, valid)
    read = slopes | _look_inside(baseline, bool((slopes & valid).any(0)[:-1].all()))
    _find_other_lengths(baseline, slopes)
    tried = spaced(steps - 2)
    found = {t: silent_at(baseline, t) for t in tried if not bool((read & valid)[:, t].any())}
    count = len(tried) - sum(one is None for one in found.values())
    if not count:
        skip("NaN does not go in: no embedding takes the tokens, or it is refused")
    silent = {
        t: where & valid[:, t]
        for t, where in found.items()
        if where is not None and bool((where & valid[:, t]).any())
    }
    for step, where in silent.items():
        if torch.equal(where, valid[:, step]) and not _may_be_left_out(baseline, step, read, valid):
            what = f"step {step} reaches no output of the model, and later steps do"
            fail("coverage", what, [("evidence", "a NaN there reaches no output")])
    if silent:
        names = " and ".join(map(str, silent)) if len(silent) < 3 else f"{len(silent)} others"
        text = f"{count - len(silent)} of {steps} steps reach an output"
        return f"{text}; not {names}, which may be left out"
    return f"{count} of {steps} steps, each reaches an output"


def _with_gradient(baseline: Baseline, valid: Tensor) -> Tensor:
    """Return where a gradient arrives, of the last outputs if that is everywhere, or of all."""
    batch, gradients = baseline.batch, gradients_of(baseline)
    if gradients.read is not None and torch.equal(gradients.read & valid, valid):
        return gradients.read
    read = gradients.places(batch.paced, batch.seq_dim)
    return torch.zeros_like(valid) if read is None else read


def _look_inside(baseline: Baseline, is_known: bool) -> Tensor:
    """Look where steps go into recurrent layers, and at which outputs they come out, if any."""
    batch, steps = baseline.batch, baseline.batch.steps or 0
    reach, order = dict[int, int](), RowOrder()
    felt = torch.zeros(batch.size, steps, dtype=torch.bool, device="cpu")
    tried = spaced(steps - 2)
    runs = -(-len(tried) // batch.size)
    for start in range(runs):
        # A different one in each sample, so that few runs are enough.
        at = [tried[(start + k * runs) % len(tried)] for k in range(batch.size)]
        places = torch.tensor(at, device="cpu")
        where = torch.arange(steps, device="cpu") == places.unsqueeze(1)
        output = poisoned(baseline, steps_at(where), order.watch)
        if output is not None:
            reach.update(reached(baseline, output, at))
            felt |= where & samples_with_nan(baseline, output).unsqueeze(1)
        if is_known and order.is_plain() and set(reach.values()) <= {steps - 1}:
            break
    order.judge(len(tried))
    if (size := block_size(reach, steps)) is not None:
        text = f"the output reads the input in blocks of {size} steps: a state starts afresh there"
        note(baseline.report, text)
    return felt


def _may_be_left_out(baseline: Baseline, step: int, read: Tensor, valid: Tensor) -> bool:
    """Return whether a right model leaves out a step: at the ends, in the middle, or every other.

    Of an output without all the steps, those in front may be left out, too.
    """
    first, steps = baseline.first, baseline.batch.steps or 0
    is_whole = first is not None and baseline.has_steps(first) and not baseline.missing(first)
    for end in [steps - 1] if is_whole else [0, steps - 1]:
        ends = None if bool((read & valid)[:, end].all()) else silent_at(baseline, end)
        if ends is not None and bool((ends & valid[:, step]).any()):
            return True
    inputs = [e for e in baseline.events if e.kind == "input" and is_recurrent(e.module)]
    sizes = [sizes_of(e.module, named_arguments(*e.tree).get("input")) for e in inputs]
    reads_past = any(one.get("seq", steps) > steps // 2 for one in sizes)
    if baseline.out_seq_dim is None and step in ((steps - 1) // 2, steps // 2) and not reads_past:
        return True
    start = max(1, min(step - AROUND // 2, steps - 1 - AROUND))
    near = [k for k in range(start, min(start + AROUND, steps - 1)) if bool(valid[:, k].any())]
    unread = [k for k in near if not bool((read & valid)[:, k].any())]
    return not is_whole and len(unread) > 1 and 2 * len(unread) >= len(near)


def _find_other_lengths(baseline: Baseline, read: Tensor) -> None:
    """Find samples that are read up to lengths of another input: some too far, some not enough."""
    batch, counts, steps = baseline.batch, baseline.counts, baseline.batch.steps or 0
    for index, leaf in enumerate(batch.leaves if counts and baseline.post else ()):
        whole = isinstance(leaf, Tensor) and leaf.dtype in (torch.int64, torch.int32)
        told: Any = leaf.tolist() if whole and leaf.dim() == 1 else leaf
        if not isinstance(told, list) or len(told) != batch.size or counts is None:
            continue
        ends = [min(n, steps) if isinstance(n, int) else 0 for n in told]
        wanted = torch.arange(steps, device="cpu") < torch.tensor(ends, device="cpu").unsqueeze(1)
        longer = [k for k, (n, end) in enumerate(zip(counts, ends, strict=True)) if n > end > 0]
        shorter = any(n < end for n, end in zip(counts, ends, strict=True))
        if longer and shorter and torch.equal(wanted, read):
            reads = f"which has {counts[longer[0]]} steps, {ends[longer[0]]} are read"
            what = f"of sample {batch.numbers[longer[0]]}, {reads}"
            rows = [("cause", f"that is its length in input {index}: each sample is read so far")]
            fail("coverage", what, [*rows, ("fix", "the lengths that belong to this input")])
