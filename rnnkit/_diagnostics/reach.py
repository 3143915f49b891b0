"""Which steps of the output a step of the input reaches: where NaN comes out."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.changes import Where, steps_from
from rnnkit._diagnostics.compare import is_number
from rnnkit._diagnostics.isolation import Watch
from rnnkit._diagnostics.outputs import Leaves

#: So many steps are looked at, evenly spaced.
STEPS = 16

#: The last step of the output that a step of the input reaches.
Reach = Mapping[int, int]


def spaced(last: int) -> list[int]:
    """Return the steps that are looked at, the first and the last one among them."""
    steps = torch.linspace(0, last, min(STEPS, last + 1), device="cpu")
    return list(dict.fromkeys(steps.round().int().tolist()))


def reach_of(baseline: Baseline) -> Reach:
    """Return the last step of the output that steps of the input reach."""
    reach: dict[int, int] = {}
    for step in spaced((baseline.batch.steps or 0) - 1):
        output = poisoned(baseline, steps_from(step, step + 1)) or []
        reach |= reached(baseline, output, [step] * baseline.batch.size)
    return reach


def reached(baseline: Baseline, output: Leaves, places: list[int]) -> dict[int, int]:
    """Return the last step of the first output at which NaN comes out."""
    first, seq, steps = baseline.first, baseline.out_seq_dim, baseline.batch.steps or 0
    axis = None if first is None else baseline.axes[first]
    if first is None or seq is None or axis is None or seq == axis or baseline.counts is not None:
        return {}
    shape, one = baseline.normal[first].shape, output[first] if first < len(output) else None
    if not isinstance(one, Tensor) or one.shape != shape or shape[seq] != steps:
        return {}
    rows = one.isnan().movedim((axis, seq), (0, 1))[: len(places)]
    pairs = zip(places, rows.reshape(len(places), steps, -1).any(2).tolist(), strict=True)
    return {step: max(k for k in range(steps) if row[k]) for step, row in pairs if any(row)}


def poisoned(baseline: Baseline, where: Where, watch: Watch | None = None) -> Leaves | None:
    """Run with NaN at some steps; for tokens, in their embedding."""
    batch, leaf = baseline.batch, baseline.batch.leaves[baseline.batch.paced]
    mask = where(batch, batch.paced)
    if is_number(leaf):
        leaves = list(batch.leaves)
        leaves[batch.paced] = leaf if mask is None else leaf.masked_fill(mask, torch.nan)
        return baseline.session.attempt(batch.tree(leaves), watch=watch)
    found: list[bool] = []
    poison = _poisoning(leaf, mask, found)
    both: Watch = lambda model: [*poison(model), *(watch(model) if watch else [])]  # noqa: E731
    output = baseline.session.attempt(batch.tree(), watch=both)
    return output if found else None


def _poisoning(leaf: Tensor, mask: Tensor | None, found: list[bool]) -> Watch:
    def hook(module: Any, args: Any, output: Any) -> Any:  # noqa: ARG001
        if mask is None or not args or args[0].shape != leaf.shape:
            return output
        if not torch.equal(args[0], leaf):
            return output
        found.append(True)
        wide = mask.unsqueeze(-1) if mask.dim() < output.dim() else mask
        return output.masked_fill(wide, torch.nan)

    def watch(model: torch.nn.Module) -> list[Any]:
        tables = (m for m in model.modules() if isinstance(m, torch.nn.Embedding))
        return [table.register_forward_hook(hook) for table in tables]

    return watch


def block_size(reach: Reach, steps: int) -> int | None:
    """Return the length of blocks in which the steps read; None if there are none.

    A state that starts afresh every so many steps looks like that: the last step of a block reaches
    itself alone, the one before it both, and so on.

    >>> from rnnkit._diagnostics.reach import block_size
    >>> block_size({0: 2, 1: 2, 2: 2, 3: 5, 4: 5}, 6)
    3
    >>> block_size({0: 5, 1: 5, 2: 5, 3: 5, 4: 5}, 6) is None
    True
    """
    if not reach:
        return None
    size = reach[min(reach)] + 1
    starts = {step // size for step in reach}
    fits = all(last == min(steps, (step // size + 1) * size) - 1 for step, last in reach.items())
    # In each of two blocks, one step that reaches a later one at least.
    held = {step // size for step, last in reach.items() if last > step}
    return size if 2 <= size < steps and len(starts) > 1 and len(held) > 1 and fits else None


def blocks_of(matrix: Tensor) -> int | None:
    """Return the length of blocks in a map ``(outputs, inputs)`` that is square and has all steps.

    >>> import torch
    >>> from rnnkit._diagnostics.reach import blocks_of
    >>> blocks_of(torch.block_diag(*[torch.ones(2, 2).tril()] * 3).bool())
    2
    """
    steps, inputs = matrix.shape
    if steps != inputs or not bool(matrix.any(0).all()):
        return None
    reach = {step: int(matrix[:, step].nonzero().max()) for step in range(steps)}
    size = block_size(reach, steps)
    before = size is not None and any(
        bool(matrix[: step // size * size, step].any()) for step in reach
    )
    return None if before else size
