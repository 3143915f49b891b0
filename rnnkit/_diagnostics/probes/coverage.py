"""The probe *coverage*: every valid step of the first input reaches some output."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import changed, steps_at, steps_from, valid_mask
from rnnkit._diagnostics.compare import alike, is_number
from rnnkit._diagnostics.masks import is_binary
from rnnkit._diagnostics.module_calls import is_recurrent, named_arguments, sizes_of
from rnnkit._diagnostics.outputs import Leaves
from rnnkit._diagnostics.reach import block_size, poisoned, reached, spaced
from rnnkit._diagnostics.report import fail, note, skip
from rnnkit._diagnostics.row_order import RowOrder
from rnnkit._diagnostics.slopes import gradients_of

#: So many steps around one that is not read are looked at.
AROUND = 8

#: Returns in which samples a step reaches no output; None if that is not known.
Look = Callable[[int], Tensor | None]


def probe_coverage(baseline: Baseline) -> str:
    """A gradient arrives at each step or, where none does, a NaN comes out, or a change.

    A change would not do: an LSTM of fifty steps forgets the first one below its last bit. Steps at
    the ends may be left out: a forecaster's target, a chunk, lengths that a model finds in values;
    so may a word that is told from those on both sides.
    """
    batch = baseline.batch
    steps = batch.steps or 0
    if steps < 3 or not batch.may_have_steps(batch.paced):
        skip("the input has no three steps")
    if not any(is_number(baseline.normal[index]) for index, _ in baseline.judged()):
        skip("no output of numbers follows the batch")
    _look_inside(baseline)
    valid, read = _valid(baseline), gradients_of(baseline).places(batch.paced, batch.seq_dim)
    tried = spaced(steps - 2)
    known = torch.zeros_like(valid) if read is None else read
    look = cache(partial(_silent, baseline))
    open_ = {t: look(t) for t in tried if not bool((known & valid)[:, t].any())}
    count = len(tried) - sum(one is None for one in open_.values())
    if not count:
        skip("NaN does not go in: no embedding takes the tokens, or it is refused")
    found = [(t, one & valid[:, t]) for t, one in open_.items() if one is not None]
    silent = {t: one for t, one in found if bool(one.any())}
    _find_other_lengths(baseline, known)
    for step, where in silent.items():
        if torch.equal(where, valid[:, step]):
            _judge(baseline, step, valid, look)
    if silent:
        names = " and ".join(map(str, silent)) if len(silent) < 3 else f"{len(silent)} others"
        text = f"{count - len(silent)} of {steps} steps reach an output"
        return f"{text}; not {names}, which may be left out"
    return f"{count} of {steps} steps, each reaches an output"


def _look_inside(baseline: Baseline) -> None:
    """Look where steps go into recurrent layers, and at which outputs they come out."""
    batch, steps = baseline.batch, baseline.batch.steps or 0
    reach, order = dict[int, int](), RowOrder(batch.size, steps)
    tried = spaced(steps - 2)
    runs = -(-len(tried) // batch.size)
    for start in range(runs):
        # A different one in each sample, so that few runs are enough.
        places = [tried[(start + k * runs) % len(tried)] for k in range(batch.size)]
        where = _at(torch.tensor(places, device="cpu"), steps)
        output = poisoned(baseline, where, order.watching(places))
        if output is not None:
            reach.update(reached(baseline, output, places))
        if order.is_plain() and all(last == steps - 1 for last in reach.values()):
            return
    order.judge()
    if (size := block_size(reach, steps)) is not None:
        text = f"the output reads the input in blocks of {size} steps: a state starts afresh there"
        note(baseline.report, text)


def _at(places: Tensor, steps: int) -> Any:
    return steps_at(torch.arange(steps, device="cpu") == places.unsqueeze(1))


def _judge(baseline: Baseline, step: int, valid: Tensor, look: Look) -> None:
    """Fail if a step that reaches no output is none that a right model leaves out."""
    first, last = baseline.first, (baseline.batch.steps or 0) - 1
    is_whole = first is not None and baseline.has_steps(first) and not baseline.missing(first)
    # Of an output without all the steps, those in front may be left out, too.
    for end in [last] if is_whole else [0, last]:
        ends = look(end)
        if ends is not None and bool((ends & valid[:, step]).any()):
            return
    if _is_switched_off(baseline, step) or _is_middle(baseline, step):
        return
    if is_whole or not _is_sampled(baseline, step, valid, look):
        what = f"step {step} reaches no output of the model, and later steps do"
        fail("coverage", what, [("evidence", "a NaN there reaches no output")])


def _find_other_lengths(baseline: Baseline, read: Tensor) -> None:
    """Find that the samples are read up to lengths that are those of another input.

    Some are read too far then, and some not far enough.
    """
    batch, counts, steps = baseline.batch, baseline.counts, baseline.batch.steps or 0
    for index, leaf in enumerate(batch.leaves):
        whole = isinstance(leaf, Tensor) and leaf.dtype in (torch.int64, torch.int32)
        told: Any = leaf.tolist() if whole and leaf.dim() == 1 else leaf
        if counts is None or not baseline.post or not isinstance(told, list) or told == counts:
            continue
        if len(told) != batch.size or not all(isinstance(n, int) and n > 0 for n in told):
            continue
        pairs = [(n, min(m, steps)) for n, m in zip(counts, told, strict=True)]
        wanted = torch.arange(steps, device="cpu") < torch.tensor(
            [[m] for _, m in pairs], device="cpu"
        )
        both = any(n > m for n, m in pairs) and any(n < m for n, m in pairs)
        if both and torch.equal(wanted, read):
            sample = next(k for k, (n, m) in enumerate(pairs) if n > m)
            reads = f"which has {counts[sample]} steps, {pairs[sample][1]} are read"
            what = f"of sample {batch.numbers[sample]}, {reads}"
            rows = [("cause", f"that is its length in input {index}: each sample is read so far")]
            fail("coverage", what, [*rows, ("fix", "the lengths that belong to this input")])


def _valid(baseline: Baseline) -> Tensor:
    """Return which steps of each sample are not padding, ``(batch, seq)``."""
    batch = baseline.batch
    valid, padding = valid_mask(batch, post=baseline.post), batch.padding(batch.paced)
    return valid if padding is None else valid & ~padding.cpu()


def _is_sampled(baseline: Baseline, step: int, valid: Tensor, look: Look) -> bool:
    """Return whether half of the steps around one reach no output, as where frames are skipped."""
    last = (baseline.batch.steps or 0) - 1
    start = max(1, min(step - AROUND // 2, last - AROUND))
    near = [k for k in range(start, min(start + AROUND, last)) if bool(valid[:, k].any())]
    found = [(k, look(k)) for k in near]
    unread = [k for k, one in found if one is not None and bool(one[valid[:, k]].all())]
    return len(unread) > 1 and 2 * len(unread) >= len(near)


def _is_middle(baseline: Baseline, step: int) -> bool:
    """Return whether a step is the middle of a window, and nothing recurrent reads past it."""
    steps = baseline.batch.steps or 0
    if step not in ((steps - 1) // 2, steps // 2) or baseline.out_seq_dim is not None:
        return False
    for event in baseline.events:
        if event.kind == "input" and is_recurrent(event.module):
            sizes = sizes_of(event.module, named_arguments(*event.tree).get("input"))
            if sizes.get("seq", steps) > steps // 2:
                return False
    return True


def _is_switched_off(baseline: Baseline, step: int) -> bool:
    """Return whether a step is read once a flag of it is turned, as one of what is missing."""
    axis, own = baseline.batch.seq_dim, baseline.batch
    for index, leaf in enumerate(own.leaves):
        flags = index != own.paced and is_binary(leaf)
        if not flags or leaf.shape[axis : axis + 1] != (own.steps,):
            continue
        batch = own.with_leaves(list(own.leaves))
        batch.leaves[index] = turned = leaf.clone()
        flag = turned.select(axis, step)
        flag.copy_(flag == 0)
        before = baseline.session.attempt(batch.tree())
        after = poisoned(baseline.on(batch), steps_from(step, step + 1))
        if before is not None and after is not None and not alike(before, after):
            return True
    return False


def _silent(baseline: Baseline, step: int) -> Tensor | None:
    """Return in which samples neither a NaN at a step nor a change comes out; None if unknown."""
    batch, where = baseline.batch, steps_from(step, step + 1)
    output = poisoned(baseline, where)
    read = torch.zeros(batch.size, dtype=torch.bool, device="cpu")
    if output is not None:
        read |= _differ(baseline, output, lambda one, other: other.isnan() & ~one.isnan())
        if not bool(read.any()) and _came_out(baseline, output):
            return read
    # What does not come out as NaN may be compared only, and a change comes out.
    for seed in range(2):
        if bool(read.all()):
            break
        inputs = changed(batch, where, seed, only=batch.paced)
        moved = None if inputs is None else baseline.session.attempt(inputs)
        if moved is None:
            return None
        read |= _differ(baseline, moved, torch.ne)
    return None if output is None and not bool(read.all()) else ~read


def _differ(baseline: Baseline, output: Leaves, differ: Any) -> Tensor:
    """Return in which samples an output differs."""
    size = baseline.batch.size
    found = torch.zeros(size, dtype=torch.bool, device="cpu")
    if len(output) != len(baseline.normal):
        return ~found
    for index, axis in baseline.judged():
        one, other = baseline.normal[index], output[index]
        if not isinstance(other, Tensor) or other.shape != one.shape or bool(one.isnan().any()):
            return torch.ones_like(found)
        found |= differ(one, other).movedim(axis, 0)[:size].reshape(size, -1).any(1).cpu()
    return found


def _came_out(baseline: Baseline, output: Leaves) -> bool:
    """Return whether NaN came out elsewhere, in an output that does not follow."""
    return any(
        isinstance(one, Tensor) and isinstance(other, Tensor) and not alike([one], [other])
        for one, other in zip(baseline.normal, output, strict=False)
    )
