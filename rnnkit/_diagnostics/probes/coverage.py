"""The probe *coverage*: every valid step of the first input reaches some output."""

from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import steps_at
from rnnkit._diagnostics.compare import alike, is_number
from rnnkit._diagnostics.experiment import changed
from rnnkit._diagnostics.isolation import Watch
from rnnkit._diagnostics.outputs import Leaves
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
    valid = _valid(baseline)
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
        chosen = [tried[(start + sample) % len(tried)] for sample in range(batch.size)]
        places = torch.tensor(chosen, device="cpu")
        unread += [(k, chosen[k]) for k in _unread(baseline, places) if valid[k, chosen[k]]]
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
    report.passed("coverage", f"{len(tried)} of {steps} steps, each reaches an output")


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


def _unread(baseline: Baseline, places: Tensor) -> list[int]:
    """Return the samples of whose steps nothing reaches an output: no NaN, nor a change."""
    batch = baseline.batch
    mask = torch.arange(batch.steps or 0, device="cpu") == places.unsqueeze(1)
    poisoned = _poisoned(baseline, mask)
    if poisoned is None:
        return []
    silent = [k for k in range(batch.size) if not _shows(baseline, poisoned, k)]
    if not silent or (len(silent) == batch.size and _came_out(baseline, poisoned)):
        return []
    for seed in range(2):
        inputs = changed(batch, steps_at(mask), seed, only=batch.paced)
        output = None if inputs is None else baseline.session.attempt(inputs)
        if output is None:
            return []
        silent = [k for k in silent if not _moves(baseline, output, k)]
    return silent


def _poisoned(baseline: Baseline, mask: Tensor) -> Leaves | None:
    """Run with what is no number at some steps; of tokens, in their embedding."""
    batch, leaf = baseline.batch, baseline.batch.leaves[baseline.batch.paced]
    if is_number(leaf):
        leaves = list(batch.leaves)
        where = steps_at(mask)(batch, batch.paced)
        leaves[batch.paced] = leaf if where is None else leaf.masked_fill(where, torch.nan)
        return baseline.session.attempt(batch.tree(leaves))
    found: list[bool] = []
    output = baseline.session.attempt(batch.tree(), watch=_poisoning(leaf, mask, batch, found))
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
