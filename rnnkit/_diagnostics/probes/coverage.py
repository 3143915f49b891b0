"""The probe *coverage*: every valid step of the first input reaches some output."""

from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import changed, steps_at, steps_from, valid_mask
from rnnkit._diagnostics.compare import alike, is_number
from rnnkit._diagnostics.events import record
from rnnkit._diagnostics.masks import is_binary
from rnnkit._diagnostics.module_calls import is_recurrent, named_arguments, sizes_of
from rnnkit._diagnostics.outputs import Leaves
from rnnkit._diagnostics.probes.row_order import RowOrder
from rnnkit._diagnostics.reach import STEPS, block_size, poisoned, reached, spaced
from rnnkit._diagnostics.report import fail, note, skip

#: So many steps around one that is not read are looked at.
AROUND = 8

#: Of samples and steps, whether an output is known to hang on them; None if that is not known.
Fates = dict[tuple[int, int], bool | None]


def probe_coverage(baseline: Baseline) -> str:
    """What is no number goes in at one step, and must come out somewhere.

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
    valid, reach, order = _valid(baseline), dict[int, int](), RowOrder(batch.size, steps)
    tried = spaced(steps - 2)
    fates: Fates = {}
    for start in range(0, len(tried), batch.size):
        # Another one in each sample, so that few runs are enough.
        chosen = [_place(baseline, tried, start, sample) for sample in range(batch.size)]
        read = _read(baseline, torch.tensor(chosen, device="cpu"), reach, order)
        fates |= {(k, chosen[k]): read[k] for k in range(batch.size) if valid[k, chosen[k]]}
    unread = [place for place, fate in fates.items() if fate is False]
    order.judge()
    if unread:
        _find_other_lengths(baseline)
    first = baseline.first
    is_whole = first is not None and baseline.has_steps(first) and not baseline.missing(first)
    # Of an output without all the steps, those in front may be left out, too.
    ends = [steps - 1] if is_whole else [0, steps - 1]
    for sample, step in unread:
        silent = [k for k in _silent(baseline, step) if valid[k, step]]
        ends_read = not any(sample in _silent(baseline, end) for end in ends)
        everywhere = len(silent) == int(valid[:, step].sum())
        if not everywhere or not ends_read or _is_switched_off(baseline, step):
            continue
        if _is_middle(baseline, step):
            continue
        if is_whole or not _is_sampled(baseline, step, valid):
            what = f"step {step} reaches no output of the model, and later steps do"
            fail("coverage", what, [("evidence", "a NaN there reaches no output")])
    if (size := block_size(reach, steps)) is not None:
        text = f"the output reads the input in blocks of {size} steps: a state starts afresh there"
        note(baseline.report, text)
    return _conclude(steps, fates)


def _conclude(steps: int, fates: Fates) -> str:
    """Say of how many steps it is known that they reach an output."""
    known = {step for (_, step), fate in fates.items() if fate}
    silent = sorted({step for (_, step), fate in fates.items() if fate is False} - known)
    if silent:
        names = " and ".join(map(str, silent)) if len(silent) < 3 else f"{len(silent)} others"
        return f"{len(known)} of {steps} steps reach an output; not {names}, which may be left out"
    if not known:
        skip("what is no number does not go in: no embedding takes the tokens, or it is refused")
    return f"{len(known)} of {steps} steps, each reaches an output"


def _place(baseline: Baseline, tried: list[int], start: int, sample: int) -> int:
    """Return at which step a sample is tried: of a short one first at the last that is valid."""
    counts, steps = baseline.counts, baseline.batch.steps or 0
    if counts is None or not baseline.post or counts[sample] == steps:
        return tried[(start + sample) % len(tried)]
    inside = [step for step in tried if step < counts[sample]]
    return inside[(start + sample) % len(inside)] if start and inside else counts[sample] - 1


def _find_other_lengths(baseline: Baseline) -> None:
    """Find that the samples are read up to lengths that are those of another input."""
    batch, counts, steps = baseline.batch, baseline.counts, baseline.batch.steps or 0
    others = [
        (index, [min(n, steps) for n in told])
        for index, leaf in enumerate(batch.leaves)
        if (told := _told(leaf)) and len(told) == batch.size and told != counts
    ]
    if counts is None or not baseline.post or not others:
        return
    read = torch.zeros(batch.size, steps, dtype=torch.bool, device="cpu")
    tried = sorted({*range(min(steps, STEPS)), *(n - 1 for n in counts)})
    for step in tried:
        output = poisoned(baseline, steps_from(step, step + 1))
        if output is None:
            return
        read[:, step] = torch.tensor(_shows(baseline, output), device="cpu")
    for index, told in others:
        wanted = torch.arange(steps, device="cpu") < torch.tensor(told, device="cpu").unsqueeze(1)
        pairs = list(zip(counts, told, strict=True))
        both = any(n > m for n, m in pairs) and any(n < m for n, m in pairs)
        if both and torch.equal(wanted[:, tried], read[:, tried]):
            sample = next(k for k, (n, m) in enumerate(pairs) if n > m)
            reads = f"which has {counts[sample]} steps, {told[sample]} are read"
            what = f"of sample {batch.numbers[sample]}, {reads}"
            rows = [("cause", f"that is its length in input {index}: each sample is read so far")]
            fail("coverage", what, [*rows, ("fix", "the lengths that belong to this input")])


def _told(leaf: Any) -> list[int] | None:
    """Return integers, one for each sample; None of anything else."""
    whole = isinstance(leaf, Tensor) and leaf.dtype in (torch.int64, torch.int32)
    told: Any = leaf.tolist() if whole and leaf.dim() == 1 else leaf
    fits = isinstance(told, list) and all(isinstance(n, int) and n > 0 for n in told)
    return told if fits else None


def _valid(baseline: Baseline) -> Tensor:
    """Return which steps of which samples are no padding, ``(batch, seq)``."""
    batch = baseline.batch
    valid, padding = valid_mask(batch, post=baseline.post), batch.padding(batch.paced)
    return valid if padding is None else valid & ~padding.cpu()


def _silent(baseline: Baseline, step: int) -> list[int]:
    """Return the samples of which a step reaches no output."""
    read = _read(baseline, torch.full((baseline.batch.size,), step, device="cpu"))
    return [sample for sample, fate in enumerate(read) if fate is False]


def _is_sampled(baseline: Baseline, step: int, valid: Tensor) -> bool:
    """Return whether half of the steps around one reach no output, as where frames are skipped."""
    last = (baseline.batch.steps or 0) - 1
    start = max(1, min(step - AROUND // 2, last - AROUND))
    near = [k for k in range(start, min(start + AROUND, last)) if bool(valid[:, k].any())]
    unread = [k for k in near if bool(valid[_silent(baseline, k), k].sum() == valid[:, k].sum())]
    return len(unread) > 1 and 2 * len(unread) >= len(near)


def _is_middle(baseline: Baseline, step: int) -> bool:
    """Return whether a step is in the middle of a window, and nothing recurrent reads past it."""
    steps = baseline.batch.steps or 0
    if step not in ((steps - 1) // 2, steps // 2) or baseline.out_seq_dim is not None:
        return False
    for event in record(baseline.session, baseline.batch.tree()):
        if event.kind == "input" and is_recurrent(event.module):
            sizes = sizes_of(event.module, named_arguments(*event.tree).get("input"))
            if sizes.get("seq", steps) > steps // 2:
                return False
    return True


def _is_switched_off(baseline: Baseline, step: int) -> bool:
    """Return whether a step is read once a flag of it is turned, as of what is missing."""
    batch, axis = baseline.batch, baseline.batch.seq_dim
    flags = (
        index
        for index, leaf in enumerate(batch.leaves)
        if index != batch.paced
        and is_binary(leaf)
        and leaf.shape[axis : axis + 1] == (batch.steps,)
    )
    return any(_is_read_if_turned(baseline, step, index) for index in flags)


def _is_read_if_turned(baseline: Baseline, step: int, index: int) -> bool:
    """Return whether a step is read where a flag of it is another one."""
    batch = baseline.batch.with_leaves(list(baseline.batch.leaves))
    batch.leaves[index] = turned = batch.leaves[index].clone()
    flag = turned.select(batch.seq_dim, step)
    flag.copy_(flag == 0)
    before = baseline.session.attempt(batch.tree())
    after = poisoned(baseline.on(batch), steps_from(step, step + 1))
    return before is not None and after is not None and not alike(before, after)


def _read(
    baseline: Baseline,
    places: Tensor,
    reach: dict[int, int] | None = None,
    order: RowOrder | None = None,
) -> list[bool | None]:
    """Return of which samples a step reaches an output, as a NaN or a change; None if not known.

    There is a step for each sample. ``reach`` takes the last step of the first output that each of
    them reaches, ``order`` where each of them goes into recurrent layers.
    """
    batch = baseline.batch
    where = steps_at(torch.arange(batch.steps or 0, device="cpu") == places.unsqueeze(1))
    watch = order.watching(places.tolist()) if order else None
    output = poisoned(baseline, where, watch)
    read = [False] * batch.size if output is None else _shows(baseline, output)
    if output is not None:
        if reach is not None:
            reach.update(reached(baseline, output, places.tolist()))
        if not any(read) and _came_out(baseline, output):
            return [True] * batch.size
    # What does not come out as no number may be compared only, and a change comes out.
    for seed in range(2):
        if all(read):
            break
        inputs = changed(batch, where, seed, only=batch.paced)
        moved = None if inputs is None else baseline.session.attempt(inputs)
        if moved is None:
            return [one or None for one in read]
        read = [one or other for one, other in zip(read, _moves(baseline, moved), strict=True)]
    return [one or (None if output is None else False) for one in read]


def _shows(baseline: Baseline, output: Leaves) -> list[bool]:
    """Return of which samples what is no number comes out."""
    return _any(baseline, output, lambda one, other: other.isnan() & ~one.isnan())


def _moves(baseline: Baseline, output: Leaves) -> list[bool]:
    """Return of which samples an output is another one."""
    return _any(baseline, output, torch.ne)


def _any(baseline: Baseline, output: Leaves, differ: Any) -> list[bool]:
    size = baseline.batch.size
    found = torch.zeros(size, dtype=torch.bool, device="cpu")
    if len(output) != len(baseline.normal):
        return [True] * size
    for index, axis in baseline.judged():
        one, other = baseline.normal[index], output[index]
        if not isinstance(other, Tensor) or other.shape != one.shape or bool(one.isnan().any()):
            return [True] * size
        found |= differ(one, other).movedim(axis, 0)[:size].reshape(size, -1).any(1).cpu()
    read: list[bool] = found.tolist()
    return read


def _came_out(baseline: Baseline, output: Leaves) -> bool:
    """Return whether what is no number came out elsewhere: of an output that does not follow."""
    pairs = zip(baseline.normal, output, strict=False)
    return any(
        isinstance(one, Tensor) and isinstance(other, Tensor) and not alike([one], [other])
        for one, other in pairs
    )
