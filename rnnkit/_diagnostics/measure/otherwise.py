"""A model on other values, and at another size: is what was found there as well?"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import other_leaves, steps_from
from rnnkit._diagnostics.inputs.dense import is_dense
from rnnkit._diagnostics.inputs.lengths import is_binary
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.slopes import Gradients
from rnnkit._diagnostics.run.outputs import in_float64, is_number, largest, shape_of, tensors_of
from rnnkit._diagnostics.tell.outcome import Outcome, Passed, Skipped


def is_absent_again(baseline: Baseline, ask: Callable[[Baseline], Outcome], what: str) -> bool:
    """Return whether a probe finds the same absence with other values and at a different size."""
    batch = baseline.batch
    ranks = [len(shape_of(leaf) or ()) for leaf in baseline.normal]
    for other in _other_batches(baseline):
        again = baseline.if_accepted(other)
        if again is None or [len(shape_of(leaf) or ()) for leaf in again.normal] != ranks:
            continue
        answer = ask(again)
        if isinstance(answer, Skipped):
            continue
        # Other numbers belong to another size.
        is_smaller = (other.size, other.steps) != (batch.size, batch.steps)
        if isinstance(answer, Passed) or not (is_smaller or answer.what == what):
            return False
    return True


def _other_batches(baseline: Baseline) -> list[Batch]:
    """Return batches of other values, and one of fewer steps or samples.

    A unit may be dead for some values, a flag be off, and what saturates reads nothing.
    """
    batch = baseline.batch
    drawn = batch.with_leaves(other_leaves(batch, steps_from(0), 1, pad=False))
    if batch.second_leaves is not None:
        drawn = drawn.with_second(batch.leaves)
    tamed = drawn.with_leaves([_calm_leaf(batch, k, leaf) for k, leaf in enumerate(batch.leaves)])
    others = [drawn, tamed]
    picking = _with_step_indices(drawn)
    if picking is not None:
        others.append(picking)
    longest = batch.longest or 0
    if longest > 3 and batch.has_steps(batch.sequence):
        others.append(drawn.cut(longest - 1, front=baseline.pads_after))
    elif batch.size > 2:
        others.append(drawn.samples(range(batch.size - 1)))
    return others


def _with_step_indices(batch: Batch) -> Batch | None:
    """Return the batch with other numbers for samples that may pick a step; None if none may.

    Numbers that are all the number of steps may be lengths: then the model reads the last step.
    """
    leaves = list(batch.leaves)
    for k, leaf in enumerate(leaves):
        is_number = is_dense(leaf) and leaf.dtype in (torch.int64, torch.int32)
        if not is_number or leaf.numel() != batch.size or batch.tells_lengths(k):
            continue
        if not bool((leaf == (batch.steps or 0)).all()):
            steps = torch.arange(batch.size, device=leaf.device) % max(batch.steps or 1, 1)
            leaves[k] = steps.to(leaf.dtype).view(leaf.shape)
    changed = any(one is not other for one, other in zip(batch.leaves, leaves, strict=True))
    return batch.with_leaves(leaves) if changed else None


def _calm_leaf(batch: Batch, index: int, leaf: Any) -> Any:
    """Return numbers divided by their largest, labels all the same, and flags as most of them."""
    if index != batch.sequence and isinstance(leaf, Tensor) and leaf.numel():
        if is_binary(leaf) and batch.length(index) and not batch.tells_lengths(index):
            return torch.full_like(
                leaf, float(0.5 < in_float64(leaf).mean() < 1)
            )  # no episode ends
        if batch.is_content(index) and not leaf.is_floating_point():
            return torch.full_like(leaf, in_float64(leaf).median().item())
    size = largest(leaf) if is_number(leaf) and batch.is_content(index) else 0.0
    return leaf / size if size > 1 else leaf


def trained_otherwise(judge: Baseline) -> Iterator[Gradients]:
    """Run with other values of the parameters and the inputs, as far as the model takes them.

    In float32, much is zero that is only small: a judge is asked.
    """
    batch = judge.batch
    generator = torch.Generator("cpu").manual_seed(0)
    tried = [(1, list(batch.leaves))]
    tried += [(sign, _redrawn(batch, seed, generator)) for seed, sign in enumerate((-1, 1))]
    tried += [(1, leaves) for leaves in _with_doubled_axis(batch)]
    for sign, leaves in tried:
        copy = judge.session.fresh().train()
        for weight in copy.parameters():
            if weight.requires_grad:
                noise = torch.randn(weight.shape, generator=generator, device="cpu").to(weight)
                size = 0.1 + weight.data.abs().mean().nan_to_num()
                weight.data = sign * weight.data + noise * size
        run = Gradients(batch.with_leaves(leaves), judge.session, copy)
        if any(x.requires_grad for x in tensors_of(run.output)):
            yield run


def _redrawn(batch: Batch, seed: int, generator: torch.Generator) -> list[Any]:
    """Return other inputs, with numbers also where one input has the same number everywhere."""
    leaves = other_leaves(batch, steps_from(0), seed, pad=False)
    for index, leaf in enumerate(leaves):
        is_table = is_dense(leaf) and leaf.dim() > 1
        if is_table and bool((leaf == leaf.flatten()[:1]).all()):  # as flags that are never set
            drawn = torch.rand(leaf.shape, generator=generator, device="cpu")
            leaves[index] = drawn.round().to(leaf)
    return leaves


def _with_doubled_axis(batch: Batch) -> Iterator[list[Any]]:
    """Yield inputs with an axis of one doubled: one sentence says nothing of joining several."""
    for axis in (0, 1):
        single = {
            k for k, x in enumerate(batch.leaves) if is_dense(x) and x.shape[axis:][:1] == (1,)
        }
        if single:
            yield [
                torch.cat([leaf, leaf.roll(1)], axis) if index in single else leaf
                for index, leaf in enumerate(batch.leaves)
            ]
