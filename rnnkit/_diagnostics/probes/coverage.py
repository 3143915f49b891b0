"""The probe *coverage*: every valid step of the first input reaches some output."""

from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.blocks import block_size
from rnnkit._diagnostics.changes import steps_at
from rnnkit._diagnostics.compare import alike, is_number
from rnnkit._diagnostics.experiment import changed
from rnnkit._diagnostics.isolation import Watch
from rnnkit._diagnostics.outputs import Leaves
from rnnkit._diagnostics.probes.row_order import RowOrder
from rnnkit._diagnostics.report import fail

#: So many steps are looked at, evenly spaced.
STEPS = 16


def probe_coverage(baseline: Baseline) -> None:
    """What is no number goes in at one step, and must come out somewhere.

    A change would not do: an LSTM of fifty steps forgets the first one below its last bit. Steps at
    the ends may be left out: a forecaster's target, a chunk, lengths that a model finds in values.
    """
    batch, report = baseline.batch, baseline.report
    steps = batch.steps or 0
    if steps < 3 or not batch.may_have_steps(batch.paced):
        report.skipped("coverage", "the input has no three steps")
        return
    if not any(is_number(baseline.normal[index]) for index, _ in baseline.judged()):
        report.skipped("coverage", "no output of numbers follows the batch")
        return
    valid, reach, order = _valid(baseline), dict[int, int](), RowOrder(batch.size, steps)
    tried = sorted(
        set(
            torch.linspace(0, steps - 2, min(STEPS, steps - 1), device="cpu")
            .round()
            .long()
            .tolist()
        )
    )
    unread: list[tuple[int, int]] = []
    for start in range(0, len(tried), batch.size):
        # Another one in each sample, so that few runs are enough.
        chosen = [_place(baseline, tried, start, sample) for sample in range(batch.size)]
        places = torch.tensor(chosen, device="cpu")
        unread += [
            (k, chosen[k]) for k in _unread(baseline, places, reach, order) if valid[k, chosen[k]]
        ]
    order.judge()
    if unread:
        _find_other_lengths(baseline)
    for sample, step in unread:
        silent = [
            k
            for k in _unread(baseline, torch.full((batch.size,), step, device="cpu"))
            if valid[k, step]
        ]
        # Of an output without all the steps, those in front may be left out, too.
        whole = baseline.first is not None and baseline.has_steps(baseline.first)
        ends = (
            [steps - 1] if whole and not baseline.missing(baseline.first or 0) else [0, steps - 1]
        )
        read = all(
            sample not in _unread(baseline, torch.full((batch.size,), k, device="cpu"))
            for k in ends
        )
        if len(silent) == int(valid[:, step].sum()) and read:
            what = f"step {step} reaches no output of the model, and later steps do"
            fail("coverage", what, [("evidence", "what is no number there comes out nowhere")])
    if (size := block_size(reach, steps)) is not None:
        text = f"the output reads the input in blocks of {size} steps: a state starts afresh there"
        report.noted(text)
    report.passed("coverage", f"{len(tried)} of {steps} steps, each reaches an output")


def _place(baseline: Baseline, tried: list[int], start: int, sample: int) -> int:
    """Return at which step a sample is tried: of a short one first at the last that is valid."""
    counts, steps = baseline.counts, baseline.batch.steps or 0
    if counts is None or not baseline.post or counts[sample] == steps:
        return tried[(start + sample) % len(tried)]
    inside = [step for step in tried if step < counts[sample]]
    return inside[(start + sample) % len(inside)] if start and inside else counts[sample] - 1


def _find_other_lengths(baseline: Baseline) -> None:
    """Find that the samples are read up to lengths that are those of another input.

    Some are read too far then, and some not far enough.
    """
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
        output = poisoned(
            baseline,
            torch.arange(steps, device="cpu") == torch.full((batch.size, 1), step, device="cpu"),
        )
        if output is None:
            return
        read[:, step] = torch.tensor(
            [_shows(baseline, output, k) for k in range(batch.size)], device="cpu"
        )
    for index, told in others:
        wanted = torch.arange(steps, device="cpu") < torch.tensor(told, device="cpu").unsqueeze(1)
        pairs = list(zip(counts, told, strict=True))
        both = any(n > m for n, m in pairs) and any(n < m for n, m in pairs)
        if both and torch.equal(wanted[:, tried], read[:, tried]):
            sample = next(k for k, (n, m) in enumerate(pairs) if n > m)
            what = f"of sample {sample}, which has {counts[sample]} steps, {told[sample]} are read"
            rows = [("cause", f"that is its length in input {index}: each sample is read so far")]
            fail("coverage", what, [*rows, ("fix", "the lengths that belong to this input")])


def _told(leaf: Any) -> list[int] | None:
    """Return integers, one for each sample; None of anything else."""
    if isinstance(leaf, Tensor):
        flat = leaf.dim() == 1 and leaf.dtype in (torch.int64, torch.int32) and leaf.numel()
        return leaf.tolist() if flat and bool((leaf > 0).all()) else None
    return (
        leaf if isinstance(leaf, list) and all(isinstance(n, int) and n > 0 for n in leaf) else None
    )


def _valid(baseline: Baseline) -> Tensor:
    """Return which steps of which samples are no padding, ``(batch, seq)``."""
    batch = baseline.batch
    step, counts = torch.arange(batch.steps or 0, device="cpu"), baseline.counts
    padding = batch.padding(batch.paced)
    valid = torch.ones(batch.size, batch.steps or 0, dtype=torch.bool, device="cpu")
    if counts is not None:
        limit = torch.tensor(counts, device="cpu").unsqueeze(1)
        valid = step < limit if baseline.post else step >= (batch.steps or 0) - limit
    return valid if padding is None else valid & ~padding.cpu()


def _unread(
    baseline: Baseline,
    places: Tensor,
    reach: dict[int, int] | None = None,
    order: RowOrder | None = None,
) -> list[int]:
    """Return the samples of whose steps nothing reaches an output: no NaN, nor a change.

    Args:
        baseline: the model and its batch.
        places: a step for each sample.
        reach: takes the last step of the first output that each of them reaches.
        order: takes where each of them goes into recurrent layers.
    """
    batch = baseline.batch
    mask = torch.arange(batch.steps or 0, device="cpu") == places.unsqueeze(1)
    watch = order.watching(places.tolist()) if order else None
    output = poisoned(baseline, mask, watch)
    if output is None:
        return []
    if reach is not None:
        reach.update(_reached(baseline, output, places.tolist()))
    silent = [k for k in range(batch.size) if not _shows(baseline, output, k)]
    if not silent or (len(silent) == batch.size and _came_out(baseline, output)):
        return []
    for seed in range(2):
        inputs = changed(batch, steps_at(mask), seed, only=batch.paced)
        moved = None if inputs is None else baseline.session.attempt(inputs)
        if moved is None:
            return []
        silent = [k for k in silent if not _moves(baseline, moved, k)]
    return silent


def reach_of(baseline: Baseline) -> dict[int, int]:
    """Return the last step of the output that steps of the input reach, evenly spaced ones."""
    steps, batch = baseline.batch.steps or 0, baseline.batch
    reach: dict[int, int] = {}
    for step in dict.fromkeys(
        torch.linspace(0, max(steps - 1, 0), STEPS, device="cpu").round().int().tolist()
    ):
        places = torch.full((batch.size,), step, device="cpu")
        output = (
            poisoned(baseline, torch.arange(steps, device="cpu") == places.unsqueeze(1))
            if steps
            else None
        )
        if output is not None:
            reach |= _reached(baseline, output, places.tolist())
    return reach


def _reached(baseline: Baseline, output: Leaves, places: list[int]) -> dict[int, int]:
    """Return the last step of the first output at which what is no number comes out."""
    first, seq = baseline.first or 0, baseline.out_seq_dim
    axis, steps = baseline.axes[first], baseline.batch.steps or 0
    if seq is None or axis is None or seq == axis or baseline.counts is not None:
        return {}
    shape, one = baseline.normal[first].shape, output[first] if first < len(output) else None
    if not isinstance(one, Tensor) or one.shape != shape or shape[seq] != steps:
        return {}
    found: dict[int, int] = {}
    for sample, step in enumerate(places):
        rows = (
            one.select(axis, sample)
            .movedim(seq - (axis < seq), 0)
            .isnan()
            .reshape(steps, -1)
            .any(1)
        )
        if bool(rows.any()):
            found[step] = int(rows.nonzero().max())
    return found


def poisoned(baseline: Baseline, mask: Tensor, watch: Watch | None = None) -> Leaves | None:
    """Run with what is no number at some steps; of tokens, in their embedding."""
    batch, leaf = baseline.batch, baseline.batch.leaves[baseline.batch.paced]
    if is_number(leaf):
        leaves = list(batch.leaves)
        where = steps_at(mask)(batch, batch.paced)
        leaves[batch.paced] = leaf if where is None else leaf.masked_fill(where, torch.nan)
        return baseline.session.attempt(batch.tree(leaves), watch=watch)
    found: list[bool] = []
    poison = _poisoning(leaf, mask, batch, found)
    both: Watch = lambda model: [*poison(model), *(watch(model) if watch else [])]  # noqa: E731
    output = baseline.session.attempt(batch.tree(), watch=both)
    return output if found else None


def _poisoning(leaf: Tensor, mask: Tensor, batch: Any, found: list[bool]) -> Watch:
    where = steps_at(mask)(batch, batch.paced)

    def hook(module: Any, args: Any, output: Any) -> Any:  # noqa: ARG001
        if where is None or not args or args[0].shape != leaf.shape:
            return output
        if not torch.equal(args[0], leaf):
            return output
        found.append(True)
        wide = where.unsqueeze(-1) if where.dim() < output.dim() else where
        return output.masked_fill(wide, torch.nan)

    def watch(model: torch.nn.Module) -> list[Any]:
        tables = (m for m in model.modules() if isinstance(m, torch.nn.Embedding))
        return [table.register_forward_hook(hook) for table in tables]

    return watch


def _shows(baseline: Baseline, output: Leaves, sample: int) -> bool:
    """Say whether what is no number comes out of a sample."""
    return _any(
        baseline, output, sample, lambda one, other: bool((other.isnan() & ~one.isnan()).any())
    )


def _moves(baseline: Baseline, output: Leaves, sample: int) -> bool:
    """Say whether an output of a sample is another one."""
    return _any(baseline, output, sample, lambda one, other: not alike([one], [other]))


def _any(baseline: Baseline, output: Leaves, sample: int, differ: Any) -> bool:
    if len(output) != len(baseline.normal):
        return True
    for index, axis in baseline.judged():
        one, other = baseline.normal[index], output[index]
        if not isinstance(other, Tensor) or other.shape != one.shape or bool(one.isnan().any()):
            return True
        if differ(one.select(axis, sample), other.select(axis, sample)):
            return True
    return False


def _came_out(baseline: Baseline, output: Leaves) -> bool:
    """Say whether what is no number came out elsewhere: of an output that does not follow."""
    pairs = zip(baseline.normal, output, strict=False)
    return any(
        isinstance(one, Tensor) and isinstance(other, Tensor) and not alike([one], [other])
        for one, other in pairs
    )
