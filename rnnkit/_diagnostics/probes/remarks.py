"""What a report says of a model without any alarm: what its outputs read, and what they do not."""

from collections.abc import Iterator
from typing import Any

import torch

from rnnkit._base.message import count
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import other_leaves
from rnnkit._diagnostics.inputs.dense import is_dense
from rnnkit._diagnostics.inputs.lengths import is_binary
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.read_steps import steps_read
from rnnkit._diagnostics.measure.slopes import gradients_of
from rnnkit._diagnostics.probes.streams import ways_to_carry
from rnnkit._diagnostics.run.outputs import arrived, equal, is_number, same
from rnnkit._diagnostics.tell.picture import DependencyMap, Rule


def remarks(baseline: Baseline, *, streaming: bool) -> Iterator[str]:
    """Yield a line for each thing that was measured, in words."""
    batch = baseline.batch
    gradients = gradients_of(baseline)
    if gradients.are_whole and len(gradients.output) == len(baseline.normal):
        yield from _steps_read(baseline)
    for index, name in enumerate(batch.names):
        source = gradients.sources.get(index)
        slope = None if source is None else gradients.whole[id(source)]
        has_gradient = slope is not None and bool(arrived(slope).any())
        if not has_gradient and _is_unread(baseline, index):
            yield f"{name} reaches no output"
    if not streaming and next(ways_to_carry(baseline), None):
        yield "takes and returns a state: streaming=True checks that chunks match the whole"


def _is_unread(baseline: Baseline, index: int) -> bool:
    """Return whether no output moves with an input: a flag, or what is rounded, has no gradient."""
    batch = baseline.batch
    is_tried = False
    for other in _others(batch, index):
        leaves = list(batch.leaves)
        leaves[index] = other
        output = baseline.session.attempt(batch.tree(leaves))
        if output is None or len(output) != len(baseline.normal):
            return False
        if not all(map(equal, baseline.normal, output)):
            return False
        is_tried = True
    return is_tried


def _others(batch: Batch, index: int) -> list[Any]:
    """Return up to two other values of an input that the model may take."""
    leaf = batch.leaves[index]
    if isinstance(leaf, list | tuple):  # a number for each sample
        return [type(leaf)(leaf[::-1])] if [*leaf[::-1]] != [*leaf] else []
    if not is_dense(leaf) or not leaf.dim() or not leaf.numel():
        return []
    if leaf.dtype is torch.bool:
        return [~leaf, torch.ones_like(leaf)]
    if is_binary(leaf):
        return [1 - leaf, torch.ones_like(leaf)]
    if batch.is_content(index):
        every = other_leaves(batch, lambda b, k: torch.ones_like(b.leaves[k]).bool(), only=index)
        redrawn = every[index]
        others = [] if redrawn is leaf else [redrawn]
        return [*others, 2 * leaf + 1, -leaf] if is_number(leaf) else others
    if is_number(leaf):  # their sum, and what a ReLU lets through, change as well
        return [2 * leaf + 1, -leaf]
    axis = batch.axes[index] or 0
    turned = (leaf.roll(1, axis), leaf.flip(axis), torch.full_like(leaf, leaf.max().item()))
    return [x for x in turned if not same(x, leaf)]


def _steps_read(baseline: Baseline) -> Iterator[str]:
    """Yield which steps the first output reads, and keep that for a picture."""
    batch = baseline.batch
    seq = baseline.out_seq_dim
    read = steps_read(baseline)
    if not read or any("get no gradient" in check.detail for check in baseline.report.checks):
        return
    is_causal = baseline.causal in (True, "strict") and not baseline.lookahead
    rule: Rule | None = "causal" if is_causal else None
    matrix = torch.stack([*read.values()])
    columns = torch.arange(batch.steps or 0, device="cpu")
    steps = torch.tensor([*read], device="cpu")
    if rule and "causal" in baseline.report.checked:  # what cancels out may leave a gradient
        matrix &= columns <= steps.unsqueeze(1)
    found = DependencyMap(matrix, (*read,), (*range(len(columns)),), batch.seq_dim, seq or 0)
    baseline.report._maps["steps"] = found, rule  # noqa: SLF001 - it draws them
    if baseline.report.found("causal"):
        return
    rows, places = matrix.nonzero().unbind(1)
    off = places - steps[rows]
    earliest = int(off.min())
    latest = int(off.max())
    words = "earlier and later steps" if earliest < 0 else "its own and later steps"
    if matrix.all():
        words = "all steps"
    elif latest <= 0:
        words = "its own and earlier steps" if earliest < 0 else "its own step only"
    elif bool((off[places < len(columns) - 1] == latest).any()):
        words = f"up to {count(latest, 'later step', 'later steps')}"
    yield f"a step of {baseline.name(baseline.first or 0)} depends on {words}"
