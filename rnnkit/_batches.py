"""The batch and seq axes of a model's inputs and outputs, and inputs with a part replaced."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from rnnkit._errors import ArgumentError

#: How many ways to lay the batch into the inputs are tried.
TRIES = 8


class Batch:
    """The inputs of a model as leaves, and where batch and seq lie in each of them."""

    def __init__(self, inputs: tuple[Any, ...], batch_dim: int, seq_dim: int | None) -> None:
        """Find the axes.

        Raises:
            ArgumentError: if no input is a tensor with such an axis, or one is packed.
        """
        self.leaves, self.spec = pytree.tree_flatten(inputs, is_leaf=_is_counts)
        if any(isinstance(part, PackedSequence) for part in inputs):
            message = "a packed input has no batch axis to try: pass the padded batch and lengths"
            raise ArgumentError(message, "inputs")
        tensors = [leaf for leaf in self.leaves if isinstance(leaf, Tensor)]
        wide = [leaf for leaf in tensors if leaf.dim() > batch_dim]
        if not wide:
            shapes = [tuple(tensor.shape) for tensor in tensors]
            message = f"no input has an axis {batch_dim} for the batch: their shapes are {shapes}"
            raise ArgumentError(message, "batch_dim")
        self.first = wide[0]
        self.size = wide[0].shape[batch_dim]
        self.axes = [_batch_axis(leaf, batch_dim, self.size) for leaf in self.leaves]
        self.seq_dim = (1 - batch_dim if batch_dim in (0, 1) else 1) if seq_dim is None else seq_dim
        self.steps = wide[0].shape[self.seq_dim] if wide[0].dim() > self.seq_dim else None

    def tree(self, leaves: Sequence[Any] | None = None) -> Any:
        """Return the inputs as the model takes them."""
        return pytree.tree_unflatten(list(self.leaves if leaves is None else leaves), self.spec)

    def with_leaves(self, inputs: Any) -> "Batch":
        """Return the same with other values, given as the model takes them."""
        other = self.samples(range(self.size))
        other.leaves = pytree.tree_leaves(inputs)
        return other

    def samples(self, places: Sequence[int]) -> "Batch":
        """Return the same inputs with some of the samples only."""
        chosen = Batch.__new__(Batch)
        chosen.__dict__ = self.__dict__.copy()
        chosen.size = len(places)
        chosen.leaves = [
            _pick(leaf, axis, places) for leaf, axis in zip(self.leaves, self.axes, strict=True)
        ]
        return chosen

    def has_steps(self, place: int) -> bool:
        """Say whether a leaf has the seq axis, beside a batch axis."""
        leaf, axis = self.leaves[place], self.axes[place]
        return (
            isinstance(leaf, Tensor)
            and axis is not None
            and axis != self.seq_dim
            and leaf.dim() > self.seq_dim
            and leaf.shape[self.seq_dim] == self.steps
        )

    def cut(self, steps: int, *, front: bool) -> "Batch":
        """Return the same inputs with some steps only: the first ones, or the last."""
        shorter = self.samples(range(self.size))
        start = 0 if front else (self.steps or steps) - steps
        shorter.leaves = [
            leaf.narrow(self.seq_dim, start, steps) if self.has_steps(place) else leaf
            for place, leaf in enumerate(shorter.leaves)
        ]
        shorter.steps = steps
        return shorter

    def replaced(self, where: "Where", seed: int = 0) -> Any:
        """Return the inputs with other values at some places, drawn from the values that occur.

        Lengths, labels and masks (one axis of integers, booleans) stay: they say what the rest is.
        """
        leaves = []
        for place, leaf in enumerate(self.leaves):
            mask = where(self, place) if self.is_content(place) else None
            leaves.append(leaf if mask is None else _other_values(leaf, mask, seed))
        return self.tree(leaves)

    def is_content(self, place: int) -> bool:
        """Say whether a leaf holds what is read, and not lengths, labels or a mask."""
        leaf = self.leaves[place]
        if not isinstance(leaf, Tensor) or self.axes[place] is None or leaf.dtype is torch.bool:
            return False
        alone = sum(isinstance(other, Tensor) for other in self.leaves) == 1
        if not alone and leaf.dim() == 2 and bool(((leaf == 0) | (leaf == 1)).all()):
            # A mask, whatever it is made of.
            return False
        return leaf.is_floating_point() or leaf.dim() > 1 or alone

    def knows_lengths(self, lengths: Sequence[int]) -> bool:
        """Say whether the model is told the lengths, or a mask, besides the values."""
        told = list(lengths)
        return any(
            leaf == told
            if isinstance(leaf, list)
            else isinstance(leaf, Tensor)
            and (not self.is_content(place) or leaf.flatten().tolist() == told)
            for place, leaf in enumerate(self.leaves)
        )

    def settle(self, runs: Callable[["Batch"], bool]) -> None:
        """Settle which axis the batch is where several are as long, as of a state with layers.

        Args:
            runs: says whether the model takes a batch with fewer samples.
        """
        if self.size == 1:
            return
        choices = [
            [axis, *(k for k, n in enumerate(leaf.shape) if n == self.size and k != axis)]
            # Of the first input the caller has said where the batch lies.
            if isinstance(leaf, Tensor) and axis is not None and leaf is not self.first
            else [axis]
            for leaf, axis in zip(self.leaves, self.axes, strict=True)
        ]
        given = self.axes
        for axes in itertools.islice(itertools.product(*choices), TRIES):
            self.axes = list(axes)
            if runs(self.samples(range(min(self.size - 1, 2)))):
                return
        self.axes = given


def _is_counts(node: Any) -> bool:
    """Say whether a list holds a number for each sample, as lengths do."""
    return isinstance(node, list) and bool(node) and all(isinstance(n, int) for n in node)


def _pick(leaf: Any, axis: int | None, places: Sequence[int]) -> Any:
    if axis is None:
        return leaf
    if isinstance(leaf, list):
        return [leaf[place] for place in places]
    return leaf.index_select(axis, torch.tensor(places, device=leaf.device))


#: Which values of a leaf are replaced: a mask that broadcasts to it; None for none.
Where = Any


def sample_at(sample: int) -> Where:
    """Replace one sample."""

    def where(batch: Batch, place: int) -> Tensor | None:
        leaf, axis = batch.leaves[place], batch.axes[place] or 0
        return along(leaf, axis, torch.arange(leaf.shape[axis], device=leaf.device) == sample)

    return where


def steps_at(mask: Tensor) -> Where:
    """Replace steps: of all samples by a mask ``(seq,)``, of each by one ``(batch, seq)``."""

    def where(batch: Batch, place: int) -> Tensor | None:
        if not batch.has_steps(place):
            return None
        leaf, axis = batch.leaves[place], batch.axes[place]
        if mask.dim() == 1:
            return along(leaf, batch.seq_dim, mask.to(leaf.device))
        shape = [1] * leaf.dim()
        shape[axis or 0], shape[batch.seq_dim] = mask.shape
        ordered = mask if (axis or 0) < batch.seq_dim else mask.t()
        return ordered.to(leaf.device).reshape(shape)

    return where


def along(tensor: Tensor, axis: int, mask: Tensor) -> Tensor:
    """Lay a mask of one axis along an axis of a tensor."""
    shape = [1] * tensor.dim()
    shape[axis] = -1
    return mask.view(shape)


def _other_values(leaf: Tensor, mask: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(leaf.numel(), generator=generator).to(leaf.device)
    drawn = leaf.flatten()[order].view(leaf.shape)
    if leaf.is_floating_point():
        # Two equal samples would hide a leak.
        noise = torch.randn(leaf.shape, generator=generator).to(leaf.device, leaf.dtype)
        drawn = drawn + noise * (leaf.float().std(correction=0).to(leaf.dtype) + 0.1)
    else:
        values = torch.unique(leaf)
        shift = torch.searchsorted(values, leaf) + 1
        # A token must be another one, and one that occurs.
        drawn = torch.where(drawn == leaf, values[shift % len(values)], drawn)
    return torch.where(mask, drawn, leaf)


def _batch_axis(leaf: Any, batch_dim: int, size: int) -> int | None:
    if isinstance(leaf, list):
        return 0 if len(leaf) == size else None
    if not isinstance(leaf, Tensor) or leaf.dim() == 0:
        return None
    if leaf.dim() > batch_dim and leaf.shape[batch_dim] == size:
        return batch_dim
    fitting = [axis for axis, length in enumerate(leaf.shape) if length == size]
    return fitting[0] if len(fitting) == 1 else None


def followed_axis(full: Any, fewer: Any) -> int | None:
    """Return the axis of a tensor that followed the batch when a sample was left out."""
    if not isinstance(full, Tensor) or not isinstance(fewer, Tensor) or full.dim() != fewer.dim():
        return None
    changed = [axis for axis in range(full.dim()) if full.shape[axis] == fewer.shape[axis] + 1]
    others = sum(one != other for one, other in zip(full.shape, fewer.shape, strict=True))
    return changed[0] if len(changed) == 1 and others == 1 else None
