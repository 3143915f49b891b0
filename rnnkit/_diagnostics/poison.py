"""What is no number, in the place of some steps: where it comes out, they are read."""

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


def reach_of(baseline: Baseline) -> dict[int, int]:
    """Return the last step of the output that steps of the input reach, evenly spaced ones."""
    steps, batch = baseline.batch.steps or 0, baseline.batch
    reach: dict[int, int] = {}
    for step in dict.fromkeys(
        torch.linspace(0, max(steps - 1, 0), STEPS, device="cpu").round().int().tolist()
    ):
        output = poisoned(baseline, steps_from(step, step + 1)) if steps else None
        if output is not None:
            reach |= reached(baseline, output, [step] * batch.size)
    return reach


def reached(baseline: Baseline, output: Leaves, places: list[int]) -> dict[int, int]:
    """Return the last step of the first output at which what is no number comes out."""
    first, seq = baseline.first or 0, baseline.out_seq_dim
    axis, steps = baseline.axes[first], baseline.batch.steps or 0
    if seq is None or axis is None or seq == axis or baseline.counts is not None:
        return {}
    shape, one = baseline.normal[first].shape, output[first] if first < len(output) else None
    if not isinstance(one, Tensor) or one.shape != shape or shape[seq] != steps:
        return {}
    rows = one.isnan().movedim((axis, seq), (0, 1))[: len(places)]
    pairs = zip(places, rows.reshape(len(places), steps, -1).any(2).tolist(), strict=True)
    return {step: max(k for k in range(steps) if row[k]) for step, row in pairs if any(row)}


def poisoned(baseline: Baseline, where: Where, watch: Watch | None = None) -> Leaves | None:
    """Run with what is no number at some steps; of tokens, in their embedding."""
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
