"""A model on other values, and at another size: is what was found there as well?"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.inputs.changes import EVERY_STEP, other_leaves
from rnnkit._diagnostics.inputs.lengths import is_binary
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.measure.slopes import Gradients
from rnnkit._diagnostics.run.outputs import in_float64, is_dense, is_number, largest, tensors_of
from rnnkit._diagnostics.tell.outcome import Finding, Outcome, Passed


def is_absent_again(baseline: Baseline, ask: Callable[[Baseline], Outcome], what: str) -> bool:
    """Return whether a probe finds the same absence with other values and at a different size.

    ``ask(baseline)`` asks the probe about the model, another batch and the output for it; ``what``
    is the first line of what it has found. An answer that is no answer does not count.
    """
    for other in _other_batches(baseline):
        answer = _answer_on(other, baseline, ask)
        if isinstance(answer, Passed):
            return False
        # Other numbers belong to another size.
        is_smaller = other.steps != baseline.batch.steps
        if isinstance(answer, Finding) and answer.what != what and not is_smaller:
            return False
    return True


def _answer_on(
    batch: Batch, baseline: Baseline, ask: Callable[[Baseline], Outcome]
) -> Outcome | None:
    """Return what ``ask``, a probe, answers about the model on another batch.

    The result is None if the model refuses it, or if the outputs have other axes than the
    baseline's.
    """
    output = baseline.attempt(batch)
    if output is None:
        return None
    ranks = [[x.dim() for x in tensors_of(each)] for each in (output, baseline.normal)]
    return ask(baseline.on(batch, output)) if ranks[0] == ranks[1] else None


def _other_batches(baseline: Baseline) -> list[Batch]:
    """Return batches of other values, and one of fewer steps.

    ``baseline`` has the batch that they are made of. A unit may be dead for some values, a flag be
    off, and what saturates reads nothing.
    """
    batch = baseline.batch
    drawn = batch.with_leaves(other_leaves(batch, EVERY_STEP, 1, pad=False))
    if batch.second_leaves is not None:
        drawn = replace(drawn, second_leaves=batch.leaves)
    tamed = drawn.with_leaves([_calm_leaf(batch, k, leaf) for k, leaf in enumerate(batch.leaves)])
    others = [drawn, tamed]
    longest = batch.longest
    if longest > 3 and batch.has_steps(batch.sequence):
        others.append(drawn.cut(longest - 1, front=batch.pads_after))
    return others


def _may_pick_steps(batch: Batch, index: int, leaf: Any) -> bool:
    """Return whether a leaf, the input ``index``, has one integer for each sample, no length.

    Numbers that are all the number of steps may be lengths: then the model reads the last step.
    """
    if not is_dense(leaf) or leaf.dtype not in (torch.int64, torch.int32):
        return False
    if leaf.numel() != batch.size or batch.tells_lengths(index):
        return False
    return not (leaf == batch.steps).all()


def _calm_leaf(batch: Batch, index: int, leaf: Any) -> Any:
    """Return a leaf with calm values: numbers divided by their largest, and labels all the same.

    Flags, zeros and ones for each step, are all as most of them are; what may pick a step of each
    sample picks another one.
    """
    if _may_pick_steps(batch, index, leaf):
        steps = torch.arange(batch.size, device=leaf.device) % max(batch.steps or 1, 1)
        return steps.to(leaf.dtype).view(leaf.shape)
    is_other = index != batch.sequence and isinstance(leaf, Tensor) and leaf.numel() > 0
    has_flags = is_other and is_binary(leaf) and batch.length(index)
    if has_flags and not batch.tells_lengths(index):
        return torch.full_like(leaf, float(0.5 < in_float64(leaf).mean() < 1))  # no episode ends
    if is_other and batch.is_content(index) and not leaf.is_floating_point():
        return torch.full_like(leaf, in_float64(leaf).median().item())
    size = largest(leaf) if is_number(leaf) and batch.is_content(index) else 0.0
    return leaf / size if size > 1 else leaf


def runs_with_other_weights(baseline: Baseline) -> Iterator[Gradients]:
    """Yield training runs with other weights: with the same inputs, other values, a doubled axis.

    ``baseline`` is the model, a batch, and what it returned. A run without any gradient is left
    out.
    """
    batch = baseline.batch
    generator = torch.Generator("cpu").manual_seed(0)
    tried = [(1, list(batch.leaves))]
    tried += [(sign, _redrawn(batch, seed, generator)) for seed, sign in enumerate((-1, 1))]
    tried += [(1, leaves) for leaves in _with_doubled_axis(batch)]
    for sign, leaves in tried:
        copy = baseline.session.fresh(training=True)
        _redraw_weights(copy, sign, generator)
        run = Gradients(batch.with_leaves(leaves), baseline.session, copy)
        if any(x.requires_grad for x in tensors_of(run.output)):
            yield run


def _redraw_weights(copy: torch.nn.Module, sign: int, generator: torch.Generator) -> None:
    """Multiply the weights of a copy of the model with a sign, and add noise of their size."""
    for weight in copy.parameters():
        if weight.requires_grad:
            noise = torch.randn(weight.shape, generator=generator, device="cpu").to(weight)
            size = 0.1 + weight.data.abs().mean().nan_to_num()
            weight.data = sign * weight.data + noise * size


def _redrawn(batch: Batch, seed: int, generator: torch.Generator) -> list[Any]:
    """Return the leaves of the inputs with other values.

    A table with the same number everywhere, such as flags that are never set, gets zeros and ones.
    """
    leaves = other_leaves(batch, EVERY_STEP, seed, pad=False)
    for index, leaf in enumerate(leaves):
        is_table = is_dense(leaf) and leaf.dim() > 1
        if is_table and (leaf == leaf.flatten()[:1]).all():
            drawn = torch.rand(leaf.shape, generator=generator, device="cpu")
            leaves[index] = drawn.round().to(leaf)
    return leaves


def _with_doubled_axis(batch: Batch) -> Iterator[list[Any]]:
    """Yield the leaves of the inputs with an axis of size 1 doubled, axis 0 and then axis 1.

    A batch of one sentence says nothing of weights that join several, such as a softmax over them.
    """
    for axis in (0, 1):
        single = {
            k for k, x in enumerate(batch.leaves) if is_dense(x) and x.shape[axis:][:1] == (1,)
        }
        if single:
            yield [
                torch.cat([leaf, leaf.roll(1)], axis) if index in single else leaf
                for index, leaf in enumerate(batch.leaves)
            ]
