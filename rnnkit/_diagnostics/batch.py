"""The batch and seq axes of a model's inputs and outputs, and inputs with a part replaced.

Which axis of an input the batch is, where several axes are as long or none may be it.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief
from rnnkit._diagnostics.report import TRIES


class Batch:
    """The inputs of a model as leaves, and where batch and seq lie in each of them.

    Attributes:
        leaves: the inputs, one by one.
        axes: the batch axis of each leaf; None of one that has none.
        size: how many samples there are.
        first: index of the leaf that says where the batch lies.
        paced: index of the leaf that says how many steps there are.
        seq_dim: the seq axis, of all leaves that have it.
        steps: how many steps there are; None if no leaf has a seq axis.
    """

    def __init__(
        self,
        inputs: tuple[Any, ...],
        batch_dim: int,
        seq_dim: int | None,
        longest: int = 0,
        argument: str = "batch_dim",
    ) -> None:
        """Find the axes.

        Args:
            inputs: what the model is called with.
            batch_dim: the batch axis of the first tensor that has one so far back.
            seq_dim: the seq axis; None for the other one of axes 0 and 1.
            longest: valid steps of the longest sample, to tell the sequences from other inputs.
            argument: what the caller calls ``batch_dim``, which may be any axis.

        Raises:
            ArgumentError: if no input is a tensor with such axes, or one is packed.
        """
        self.leaves, self.spec = pytree.tree_flatten(inputs, is_leaf=_is_whole)
        if any(isinstance(leaf, PackedSequence) for leaf in self.leaves):
            message = "a packed input has no batch axis to try: pass the padded batch and lengths"
            raise ArgumentError(message, "inputs")
        is_batch = argument == "batch_dim"
        self.first = self._index_of(batch_dim, " for the batch" if is_batch else "", argument)
        batch_dim %= self.leaves[self.first].dim()
        self.size = self.leaves[self.first].shape[batch_dim]
        if self.size == 0:
            name = "the batch" if is_batch else f"axis {batch_dim}"
            message = f"{name} is empty: the first input has shape {self._shapes()[0]}"
            raise ArgumentError(message, "inputs")
        self.axes = [_batch_axis(leaf, batch_dim, self.size) for leaf in self.leaves]
        if seq_dim is None:
            self.seq_dim = 1 - batch_dim if batch_dim in (0, 1) else 1
        else:
            paced = self._index_of(seq_dim, " for seq", "seq_dim")
            self.seq_dim = seq_dim % self.leaves[paced].dim()
            if self.seq_dim == batch_dim:
                message = f"seq_dim and batch_dim are both axis {batch_dim} of the input"
                raise ArgumentError(message, "seq_dim")
        self.paced = self._find_paced(batch_dim, longest)
        shape = self.leaves[self.paced].shape
        self.steps: int | None = shape[self.seq_dim] if len(shape) > self.seq_dim else None

    def _index_of(self, dim: int, purpose: str, argument: str) -> int:
        """Return the index of the first leaf that has an axis."""
        for index, leaf in enumerate(self.leaves):
            if isinstance(leaf, Tensor) and -leaf.dim() <= dim < leaf.dim():
                return index
        if not self._shapes():
            given = ", ".join(brief(leaf) for leaf in self.leaves) or "nothing"
            message = f"inputs must be tensors, got {given}"
            raise ArgumentError(message, "inputs")
        message = f"no input has an axis {dim}{purpose}: their shapes are {self._shapes()}"
        raise ArgumentError(message, argument)

    def _shapes(self) -> list[tuple[int, ...]]:
        return [tuple(leaf.shape) for leaf in self.leaves if isinstance(leaf, Tensor)]

    def _find_paced(self, batch_dim: int, longest: int) -> int:
        """Return the index of the first leaf that is as long as the longest sample, or longer."""
        steps = {
            index: leaf.shape[self.seq_dim]
            for index, leaf in enumerate(self.leaves)
            if self.axes[index] == batch_dim and _has_axis(leaf, self.seq_dim)
        }
        fitting = [index for index, count in steps.items() if count == longest]
        fitting += [index for index, count in steps.items() if count > longest]
        return fitting[0] if fitting else self.first

    def tree(self, leaves: Sequence[Any] | None = None) -> Any:
        """Return the inputs as the model takes them."""
        return pytree.tree_unflatten(list(self.leaves if leaves is None else leaves), self.spec)

    def with_leaves(self, leaves: list[Any]) -> "Batch":
        """Return the same with other leaves."""
        other = Batch.__new__(Batch)
        other.__dict__ = self.__dict__ | {"leaves": leaves}
        return other

    def samples(self, kept: Sequence[int]) -> "Batch":
        """Return the same inputs with some of the samples only."""
        pairs = zip(self.leaves, self.axes, strict=True)
        fewer = self.with_leaves([_pick(leaf, axis, kept) for leaf, axis in pairs])
        fewer.size = len(kept)
        return fewer

    def has_steps(self, index: int) -> bool:
        """Say whether a leaf has the seq axis, beside a batch axis."""
        leaf, axis = self.leaves[index], self.axes[index]
        apart = axis is not None and axis != self.seq_dim
        return apart and _has_axis(leaf, self.seq_dim) and leaf.shape[self.seq_dim] == self.steps

    def cut(self, steps: int, *, front: bool) -> "Batch":
        """Return the same inputs with some steps only: the first ones, or the last."""
        start = 0 if front else (self.steps or steps) - steps
        shorter = self.with_leaves(
            [
                leaf.narrow(self.seq_dim, start, steps) if self.has_steps(index) else leaf
                for index, leaf in enumerate(self.leaves)
            ]
        )
        shorter.steps = steps
        return shorter

    def padding(self, index: int) -> Tensor | None:
        """Return which steps of a leaf are padding, ``(batch, seq)``; None if none are."""
        axis = self.axes[index]
        if axis is None or not self.has_steps(index):
            return None
        return padding(self.leaves[index], axis, self.seq_dim)

    def is_content(self, index: int) -> bool:
        """Say whether a leaf holds what is read, and not lengths, labels or a mask."""
        leaf = self.leaves[index]
        if not isinstance(leaf, Tensor) or self.axes[index] is None or leaf.numel() == 0:
            return False
        if index in (self.first, self.paced):
            return True
        flags = (leaf == 0) | (leaf == 1)
        if leaf.dtype is torch.bool or (leaf.dim() == 2 and bool(flags.all())):
            # A mask, whatever it is made of.
            return False
        return leaf.is_floating_point() or leaf.is_complex() or leaf.dim() > 1

    def knows_lengths(self, lengths: Sequence[int]) -> bool:
        """Say whether the model is told these lengths, or a mask of them."""
        return any(self._tells(index, list(lengths)) for index in range(len(self.leaves)))

    def _tells(self, index: int, told: list[int]) -> bool:
        leaf, axis = self.leaves[index], self.axes[index]
        if isinstance(leaf, list):
            return leaf == told
        if not isinstance(leaf, Tensor) or axis is None or self.steps is None:
            return False
        if leaf.dim() == 1:
            return bool(leaf.tolist() == told)
        if index in (self.first, self.paced) or len(leaf.unique()) != 2:  # type: ignore[no-untyped-call]
            return False
        # A mask is zero at the valid steps, or at all others; it may be laid out for attention.
        zeros = (leaf == 0).movedim(axis, 0).flatten(1).sum(1).tolist()
        times, rest = divmod(leaf.numel(), self.size * self.steps)
        padding = [(self.steps - n) * times for n in told]
        return rest == 0 and zeros in ([n * times for n in told], padding)


def followed_axis(full: Any, fewer: Any) -> int | None:
    """Return the axis of a tensor that followed the batch when a sample was left out."""
    if not isinstance(full, Tensor) or not isinstance(fewer, Tensor) or full.dim() != fewer.dim():
        return None
    changed = [axis for axis in range(full.dim()) if full.shape[axis] == fewer.shape[axis] + 1]
    others = sum(one != other for one, other in zip(full.shape, fewer.shape, strict=True))
    return changed[0] if len(changed) == 1 and others == 1 else None


def _is_whole(node: Any) -> bool:
    """Say whether a node is a leaf: packed, or a list with a number for each sample."""
    if isinstance(node, list):
        return bool(node) and all(isinstance(n, int) for n in node)
    return isinstance(node, PackedSequence)


def _has_axis(leaf: Any, axis: int) -> bool:
    return isinstance(leaf, Tensor) and leaf.dim() > axis


def _pick(leaf: Any, axis: int | None, samples: Sequence[int]) -> Any:
    if axis is None:
        return leaf
    if isinstance(leaf, list):
        return [leaf[sample] for sample in samples]
    return leaf.index_select(axis, torch.tensor(samples, device=leaf.device))


def _batch_axis(leaf: Any, batch_dim: int, size: int) -> int | None:
    if isinstance(leaf, list):
        return 0 if len(leaf) == size else None
    if not isinstance(leaf, Tensor):
        return None
    if leaf.dim() > batch_dim and leaf.shape[batch_dim] == size:
        return batch_dim
    fitting = [axis for axis, length in enumerate(leaf.shape) if length == size]
    return fitting[0] if len(fitting) == 1 else None


def padding(leaf: Tensor, batch_axis: int, seq_axis: int) -> Tensor | None:
    """Return which steps are padding, ``(batch, seq)``: zeros at one end of the samples.

    None if there are none, or if zeros also lie between other values, so that they may mean
    something.
    """
    sequences = leaf.movedim((batch_axis, seq_axis), (0, 1))
    zero = (sequences == 0).reshape(*sequences.shape[:2], -1).all(2)
    rising = zero.int().diff(dim=1)
    at_one_end = bool((rising >= 0).all() or (rising <= 0).all())
    return zero if at_one_end and bool(zero.any()) and not bool(zero.all(1).any()) else None


Shape = tuple[int, ...]


def infer_batch_axes(batch: Batch, runs: Callable[[Batch], bool]) -> None:
    """Try axes for the inputs after the first until the model takes a batch of fewer samples.

    Inputs of one shape, as the two states of an LSTM, have the batch at the same axis; the last
    choice is that they have none, as a mask over steps. Of the first input the caller has said it.

    Args:
        batch: the inputs; its axes are settled.
        runs: says whether the model takes a batch.
    """
    choices: dict[Shape, list[int | None]] = {}
    for index, axis in _open(batch):
        shape = tuple(batch.leaves[index].shape)
        others = [k for k, length in enumerate(shape) if length == batch.size and k != axis]
        choices[shape] = [axis, *others, None]
    given = list(batch.axes)
    if batch.size > 1:
        for chosen in itertools.islice(itertools.product(*choices.values()), TRIES):
            _lay(batch, dict(zip(choices, chosen, strict=True)))
            if runs(batch.samples(range(min(batch.size - 1, 2)))):
                return
            batch.axes = list(given)
    # The model takes no other batch: what may lie one way or another is left as it is.
    _lay(batch, {shape: None for shape, axes in choices.items() if len(axes) > 2})


def _open(batch: Batch) -> list[tuple[int, int]]:
    return [
        (index, axis)
        for index, axis in enumerate(batch.axes)
        if axis is not None and isinstance(batch.leaves[index], Tensor) and index != batch.first
    ]


def _lay(batch: Batch, axes: dict[Shape, int | None]) -> None:
    for index, axis in _open(batch):
        batch.axes[index] = axes.get(tuple(batch.leaves[index].shape), axis)
