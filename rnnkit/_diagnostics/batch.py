"""The batch and seq axes of a model's inputs, and the inputs with some samples or steps only."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal
from rnnkit._diagnostics.isolation import Given
from rnnkit._diagnostics.lengths import Told, is_mask, padding, shortened, tells

#: Valid steps of each sample, by the index of the leaf that has them.
Lengths = Mapping[int, list[int]]


class Batch:
    """The inputs of a model as leaves, and where batch and seq are in each of them.

    Attributes:
        leaves, axes: the inputs, one by one, and the batch axis of each; None if it has none.
        size, numbers: how many samples, and where each was in the batch that the caller gave.
        first, paced: index of the leaf that shows where the batch is, and how many steps.
        seq_dim, steps: the seq axis of all leaves that have it, and its size; None if none has it.
        on_their_own: leaves that are as long, but whose steps are no steps of the paced one.
        padded_alike: those of them that are padded where the paced one is, and are cut with it.
        lengths: valid steps of each sample, of the leaves that were given any.
        drawn: other values for the leaves, as far as some were drawn.
    """

    def __init__(
        self,
        inputs: Given,
        batch_dim: int,
        seq_dim: int | None,
        longest: int = 0,
        argument: str = "batch_dim",
    ) -> None:
        """Find the axes."""
        self.leaves, self.spec = pytree.tree_flatten(inputs, is_leaf=is_whole)
        if any(isinstance(leaf, PackedSequence) for leaf in self.leaves):
            message = "a packed input has no batch axis to try: pass the padded batch and lengths"
            refusal(ArgumentError, "inputs", message, code="verify-packed")
        if any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in self.leaves):
            message = "an input on the meta device has no numbers, so nothing can be compared"
            fix = ("fix", "inputs and model on the CPU: a model is made there without device=")
            refusal(ArgumentError, "inputs", message, "", fix, code="verify-meta")
        is_batch = argument == "batch_dim"
        self.first = self._index_of(batch_dim, argument, 0 if is_batch else 1)
        shape = self.leaves[self.first].shape
        batch_dim %= len(shape)
        self.size, self.numbers = shape[batch_dim], list(range(shape[batch_dim]))
        if self.size == 0:
            name = "the batch" if is_batch else f"axis {batch_dim}"
            message = f"{name} is empty: the first input has shape {self._shapes()[0]}"
            refusal(ArgumentError, "inputs", message, code="verify-batch")
        self.axes = [_batch_axis(leaf, batch_dim, self.size) for leaf in self.leaves]
        self.seq_dim = 1 - batch_dim if batch_dim in (0, 1) else 1
        if seq_dim is not None:
            paced = self._index_of(seq_dim, "seq_dim", 1)
            self.seq_dim = seq_dim % self.leaves[paced].dim()
            if self.seq_dim == batch_dim:
                message = f"seq_dim and batch_dim are both axis {batch_dim} of the input"
                refusal(ArgumentError, "seq_dim", message, code="verify-axis")
        self.on_their_own = self.padded_alike = frozenset[int]()
        self.lengths: Lengths = {}
        self.drawn: dict[Any, Tensor] = {}
        steps = [length(leaf, self.seq_dim) for leaf in self.leaves]
        known = [(k, n) for k, n in enumerate(steps) if n is not None and self.axes[k] == batch_dim]
        fitting = [k for k, n in known if n == longest] + [k for k, n in known if n > longest]
        self.pace(fitting[0] if fitting else self.first)

    def pace(self, index: int) -> None:
        """Take the steps of a leaf for the steps that are judged."""
        self.paced = index
        self.steps = length(self.leaves[index], self.seq_dim)

    @property
    def counts(self) -> list[int] | None:
        """Valid steps of each sample; None if they were not given."""
        return self.lengths.get(self.paced)

    @property
    def longest(self) -> int | None:
        """Valid steps of the longest sample."""
        return max(self.counts) if self.counts else self.steps

    def _index_of(self, dim: int, argument: str, usual: int) -> int:
        """Return the index of the first leaf that has an axis."""
        for index, leaf in enumerate(self.leaves):
            if isinstance(leaf, Tensor) and -leaf.dim() <= dim < leaf.dim():
                return index
        if not self._shapes():
            given = ", ".join(brief(leaf) for leaf in self.leaves) or "nothing"
            message = f"inputs must be tensors, got {given}"
            refusal(ArgumentError, "inputs", message, code="verify-inputs")
        shapes = self._shapes()
        last, which = max(map(len, shapes)) - 1, f"the inputs {shapes} have"
        which = f"the input {shapes[0]} has" if len(shapes) == 1 else which
        axes = f"axes 0 to {last}" if last > 0 else "axis 0 only" if last == 0 else "no axes"
        words = ", where the steps mostly are" if usual else ""
        rows = [("fix", f"{argument}={usual}{words}")] if last >= usual else []
        message = f"{argument}={dim}, but {which} {axes}"
        return refusal(ArgumentError, argument, message, "", *rows, code="verify-axis")

    def _shapes(self) -> list[tuple[int, ...]]:
        return [tuple(leaf.shape) for leaf in self.leaves if isinstance(leaf, Tensor)]

    def lay(self, told: Told) -> None:
        """Take the lengths of inputs; the first one that has any paces the others."""
        for name, counts in told.items():
            index = self.paced if name is None else self._leaf(name)
            steps = length(self.leaves[index], self.seq_dim)
            message = ""
            if steps is None:
                message = f"lengths were given, but no input has an axis {self.seq_dim} for seq"
            elif len(counts) != self.size or not all(0 < n <= steps for n in counts):
                message = (
                    f"lengths must be {self.size} counts from 1 to {steps}, one for each sample: "
                    f"axis {self.seq_dim} of the input is {steps} long"
                )
            if message:
                refusal(ArgumentError, "lengths", message, code="verify-lengths")
            self.lengths = {**self.lengths, index: counts}
        if self.lengths:
            self.pace(next(iter(self.lengths)))

    def _leaf(self, name: int | str) -> int:
        """Return the index of the first leaf of an input that has steps."""
        numbers = self.tree(range(len(self.leaves)))
        held = numbers.args[name] if isinstance(name, int) else numbers.kwargs[name]
        places: list[int] = pytree.tree_leaves(held)
        known = (k for k in places if length(self.leaves[k], self.seq_dim) is not None)
        return next(known, places[0])

    def tree(self, leaves: Sequence[Any] | None = None) -> Given:
        """Return the inputs as the model takes them."""
        held = list(self.leaves if leaves is None else leaves)
        given: Given = pytree.tree_unflatten(held, self.spec)
        return given

    def with_leaves(self, leaves: list[Any]) -> "Batch":
        """Return the same with other leaves."""
        other = Batch.__new__(Batch)
        other.__dict__ = self.__dict__ | {"leaves": leaves, "drawn": {}}
        return other

    def samples(self, kept: Sequence[int], but: int | None = None) -> "Batch":
        """Return the same inputs with some of the samples only; one leaf may keep all of them."""
        pairs = enumerate(zip(self.leaves, self.axes, strict=True))
        leaves = [leaf if k == but else _pick(leaf, axis, kept) for k, (leaf, axis) in pairs]
        fewer = self.with_leaves(leaves)
        fewer.size, fewer.numbers = len(kept), [self.numbers[sample] for sample in kept]
        fewer.lengths = {k: [counts[s] for s in kept] for k, counts in self.lengths.items()}
        return fewer

    def valid_steps(self) -> list[int]:
        """Return the valid steps, as given or as the padding tells; zeros if nothing does."""
        if self.counts is not None:
            return self.counts
        padding = self.padding(self.paced)
        return [0] * self.size if padding is None else (~padding).sum(1).tolist()

    def telling(self, most: int) -> list[int]:
        """Return the longest sample and the shortest others, so many in all, in their order."""
        told = list(zip(self.valid_steps(), *self.lengths.values(), strict=True))
        longest = max(range(self.size), key=told.__getitem__)
        others = [k for k in sorted(range(self.size), key=told.__getitem__) if k != longest]
        return sorted([longest, *others[: most - 1]])

    def has_steps(self, index: int) -> bool:
        """Return whether a leaf has the seq axis, beside a batch axis."""
        return index not in self.on_their_own and self.may_have_steps(index)

    def may_have_steps(self, index: int) -> bool:
        """Return whether a leaf is as long as the paced one, beside a batch axis."""
        axis, steps = self.axes[index], length(self.leaves[index], self.seq_dim)
        return axis not in (None, self.seq_dim) and steps is not None and steps == self.steps

    def cut(self, steps: int, *, front: bool) -> "Batch":
        """Return the same inputs with some steps only: the first ones, or the last."""
        followers = filter(self.has_steps, range(len(self.leaves)))
        return self.cut_each(dict.fromkeys(followers, steps), steps, front=front)

    def alone(self, sample: int, *, front: bool) -> "Batch":
        """Return one sample, each input cut to its length if that was given."""
        single, every = self.samples([sample]), range(len(self.leaves))
        steps = [length(leaf, self.seq_dim) for leaf in self.leaves]
        ends = {index: counts[0] for index, counts in single.lengths.items()}
        if self.paced in ends:
            followers = [k for k in every if single.has_steps(k) or k in self.padded_alike]
            ends |= dict.fromkeys(followers, ends[self.paced])
        for index in single.lengths:
            # A mask of an input that has lengths of its own.
            alike = [k for k in every if steps[k] == steps[index] and k not in ends]
            masks = [k for k in alike if not self.is_content(k) and not self.has_steps(k)]
            ends |= dict.fromkeys(masks, ends[index])
        return single.cut_each(ends, ends.get(self.paced, self.steps or 0), front=front)

    def cut_each(self, ends: Mapping[int, int], steps: int, *, front: bool) -> "Batch":
        """Return the same inputs, some cut to so many steps each: the first ones, or the last."""
        leaves = list(self.leaves)
        for index, leaf in enumerate(self.leaves):
            if index in ends:
                start = 0 if front else leaf.shape[self.seq_dim] - ends[index]
                leaves[index] = leaf.narrow(self.seq_dim, start, ends[index])
            elif self.counts and self.tells(index, self.counts):
                leaves[index] = shortened(leaf, self.counts, steps)
        shorter = self.with_leaves(leaves)
        shorter.steps = steps if self.paced in ends else self.steps
        shorter.lengths = {
            k: [min(n, ends.get(k, n)) for n in counts] for k, counts in self.lengths.items()
        }
        return shorter

    def padding(self, index: int) -> Tensor | None:
        """Return which steps of a leaf are padding, ``(batch, seq)``; None if none are."""
        axis = self.axes[index]
        if axis is None or not self.may_have_steps(index):
            return None
        return padding(self.leaves[index], axis, self.seq_dim)

    def is_content(self, index: int) -> bool:
        """Return whether a leaf holds what is read, and not lengths, labels or a mask."""
        leaf = self.leaves[index]
        if not isinstance(leaf, Tensor) or self.axes[index] is None or leaf.numel() == 0:
            return False
        if index in (self.first, self.paced) or leaf.is_complex():
            return True
        if leaf.dtype is torch.bool or is_mask(leaf, self.seq_dim):
            return False
        if leaf.is_floating_point() and leaf.dim() <= 2 and length(leaf, 1) in (None, 1):
            # Lengths, as parts of the longest.
            return not (bool(((leaf > 0) & (leaf <= 1)).all()) and bool((leaf == 1).any()))
        return leaf.is_floating_point() or leaf.dim() > 1

    def knows_lengths(self) -> bool:
        """Return whether the model is told the lengths, or a mask of them."""
        return any(self.tells(index, self.counts or []) for index in range(len(self.leaves)))

    def tells(self, index: int, told: list[int]) -> bool:
        """Return whether a leaf holds lengths, or a mask of them."""
        leaf, axis = self.leaves[index], self.axes[index]
        if isinstance(leaf, list):
            return leaf == told
        if not isinstance(leaf, Tensor) or axis is None or self.steps is None:
            return False
        flat = leaf.dim() == 1 or (leaf.dim() == 2 and leaf.shape[1] == 1)
        content = index in (self.first, self.paced) and not flat
        return not content and len(told) == self.size and tells(leaf, axis, told, self.steps)


def is_whole(node: Any) -> bool:
    """Return whether a node is a leaf: packed, or a list with a number for each sample."""
    if isinstance(node, list):
        return bool(node) and all(isinstance(n, int) for n in node)
    return isinstance(node, PackedSequence)


def length(leaf: Any, axis: int) -> int | None:
    """Return how long a leaf is along an axis; None if it has none."""
    return leaf.shape[axis] if isinstance(leaf, Tensor) and leaf.dim() > axis else None


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
