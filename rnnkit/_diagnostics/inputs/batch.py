"""The batch and seq axes of a model's inputs, and the inputs with some samples or steps only."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import starmap
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.inputs.by_input import names_of_leaves
from rnnkit._diagnostics.inputs.lengths import (
    counts_of,
    is_binary,
    rises_or_falls,
    shortened_lengths,
    states_lengths,
)
from rnnkit._diagnostics.run.outputs import Given, is_dense, is_one_leaf


@dataclass(frozen=True, eq=False)
class Batch:
    """The inputs of a model as leaves (their tensors in one list), and where samples and steps are.

    Attributes:
        leaves, spec: the leaves, and the structure that they had as inputs.
        first: the index of the leaf that shows where the batch is.
        axes, seq_dims: the batch axis (None if all samples share it) and the seq axis of each leaf.
        size, whole_size: the number of samples, here and in the caller's batch.
        caller_indices: where the caller's batch has each sample.
        content: the leaves with data that is computed with, by index.
        sequence, steps: the leaf whose steps are judged, and how many it has; 0 if it has none.
        lengths: valid steps of each sample, by the index of a leaf; without the padding.
        on_their_own: by the sequence, leaves that are as long by chance, with steps of their own.
        pads_after: whether padding is after a sample, not before it.
        flags: the leaf that flags where samples start afresh (``reset=``).
        second_leaves: those of a second batch (``other=``), from which changed values come.
        shared: names of inputs with as many rows as the batch, all of them taken for each sample.
        drawn: other values for the leaves, which ``other_leaves`` keeps here.
    """

    leaves: list[Any]
    spec: Any
    first: int
    axes: Sequence[int | None]
    seq_dims: Mapping[int, int]
    size: int
    caller_indices: Sequence[int]
    whole_size: int
    content: Collection[int]
    sequence: int
    steps: int = 0
    lengths: Mapping[int, list[int]] = field(default_factory=dict)
    on_their_own: Mapping[int, frozenset[int]] = field(default_factory=dict)
    flags: int | None = None
    second_leaves: list[Any] | None = None
    pads_after: bool = True
    shared: list[str] = field(default_factory=list)
    drawn: dict[Any, Tensor] = field(default_factory=dict, init=False)

    @property
    def indices(self) -> range:
        """The index of each leaf."""
        return range(len(self.leaves))

    @property
    def names(self) -> list[str]:
        """What a report calls each leaf, such as ``input``, ``input[1]['text']`` or a keyword."""
        return names_of_leaves(self.tree())

    def with_steps_of(self, index: int) -> "Batch":
        """Return the same with the steps of a different leaf as those that are judged."""
        return replace(self, sequence=index, steps=self.length(index))

    def with_axes(self, axes: Mapping[int, int | None]) -> "Batch":
        """Return the same with another batch axis for some leaves, by index; None: it is shared."""
        return replace(self, axes=[axes.get(k, axis) for k, axis in enumerate(self.axes)])

    @property
    def batch_dim(self) -> int:
        """The batch axis of the first leaf, which has one."""
        return self.axes[self.first] or 0

    @property
    def seq_dim(self) -> int:
        """The seq axis of the leaf whose steps are judged."""
        return self.seq_dims[self.sequence]

    @property
    def of_sequence(self) -> str:
        """Which input has the steps that are judged, in words; empty if no other data has some."""
        others = [k for k in self.indices if self.is_content(k) and self.length(k)]
        return f" of {self.names[self.sequence]}" if len(others) > 1 else ""

    @property
    def step_numbers(self) -> Tensor:
        """The number of each step of the sequence, on the CPU."""
        return torch.arange(self.steps, device="cpu")

    @property
    def counts(self) -> list[int] | None:
        """Valid steps of each sample of the sequence; None if they are not known."""
        return self.lengths.get(self.sequence)

    @property
    def valid_counts(self) -> list[int]:
        """Valid steps of each sample of the sequence: all steps, if no lengths are known."""
        return self.counts or [self.steps] * self.size

    @property
    def longest(self) -> int:
        """Valid steps of the longest sample."""
        return max(self.valid_counts)

    def length(self, index: int) -> int:
        """Return how long a leaf is along its seq axis; 0 if it has none."""
        leaf = self.leaves[index]
        axis = self.seq_dims[index]
        return leaf.shape[axis] if isinstance(leaf, Tensor) and leaf.dim() > axis else 0

    def rows(self, index: int) -> Tensor | None:
        """Return a leaf as ``(batch, seq, ...)``; None if it has no such axes."""
        leaf = self.leaves[index]
        axis = self.axes[index]
        seq = self.seq_dims[index]
        if axis is None or axis == seq or not is_dense(leaf) or not self.length(index):
            return None
        return leaf.movedim((axis, seq), (0, 1))

    def axes_of(self, index: int) -> list[int]:
        """Return the batch axis of a leaf and, if it has the judged steps, its seq axis."""
        steps = [self.seq_dims[index]] if self.has_steps(index) else []
        return [self.axes[index] or 0, *steps]

    def tree(self, leaves: Sequence[Any] | None = None) -> Given:
        """Return the inputs as the model takes them, with other leaves if they are given."""
        return Given(*pytree.tree_unflatten([*(leaves or self.leaves)], self.spec))

    def size_of(self, inputs: Given) -> int:
        """Return how many samples inputs of the same structure have."""
        first = pytree.tree_leaves(inputs, is_leaf=is_one_leaf)[self.first]
        return int(first.shape[self.batch_dim])

    def without_size(self, text: str) -> str:
        """Return a text on calls without the number of samples in brackets, if these are a part."""
        if self.size == self.whole_size:
            return text
        return re.sub(rf"(?<=[( ]){self.size}(?=[,)])", "batch", text)

    def with_leaves(self, leaves: list[Any]) -> "Batch":
        """Return the same with other leaves."""
        return replace(self, leaves=leaves)

    def with_leaf(self, index: int, other: Any) -> "Batch":
        """Return the same with another leaf at one place."""
        leaves = list(self.leaves)
        leaves[index] = other
        return self.with_leaves(leaves)

    def with_each(self, change: Callable[[int, Any], Any]) -> "Batch":
        """Return the same with ``change(index, leaf)`` for each leaf, also of the second batch."""
        second = self.second_leaves and [*starmap(change, enumerate(self.second_leaves))]
        first = [*starmap(change, enumerate(self.leaves))]
        return replace(self, leaves=first, second_leaves=second)

    def samples(self, kept: Sequence[int]) -> "Batch":
        """Return the inputs of some samples only, in this order."""

        def pick(index: int, leaf: Any) -> Any:
            """Return the samples of one leaf: of a tensor, an array or a list of numbers."""
            axis = self.axes[index]
            if axis is None:
                return leaf
            if isinstance(leaf, Tensor):
                return leaf.index_select(axis, torch.tensor(kept, device=leaf.device))
            if hasattr(leaf, "shape"):
                return leaf[[*kept]]
            return type(leaf)(leaf[sample] for sample in kept)

        return replace(
            self.with_each(pick),
            size=len(kept),
            caller_indices=[self.caller_indices[sample] for sample in kept],
            lengths={k: [counts[s] for s in kept] for k, counts in self.lengths.items()},
        )

    def without(self, sample: int) -> "Batch":
        """Return the inputs of all samples but one."""
        return self.samples([one for one in range(self.size) if one != sample])

    @property
    def valid_places(self) -> Tensor:
        """Which steps of each sample of the sequence are within its length, ``(batch, seq)``."""
        return steps_within(self.valid_counts, self.steps, pads_after=self.pads_after)

    def valid_steps(self) -> list[int]:
        """Return the valid steps of each sample, as lengths or zeros at an end tell; else 0."""
        if self.counts is not None:
            return self.counts
        padding = self.padding(self.sequence)
        return [0] * self.size if padding is None else (~padding).sum(1).tolist()

    def most_telling_samples(self, most: int) -> list[int]:
        """Return the longest sample and the shortest others, ``most`` in all, in their order."""
        told = list(zip(self.valid_steps(), *self.lengths.values(), strict=True))
        ranked = sorted(range(self.size), key=told.__getitem__)
        return sorted({*ranked[: most - 1], ranked[-1]})

    def may_have_steps(self, index: int) -> bool:
        """Return whether a leaf is ``(batch, seq, ...)`` and as long as the sequence."""
        return self.rows(index) is not None and self.length(index) == self.steps

    def has_steps(self, index: int) -> bool:
        """Return whether a leaf has the steps that are judged, and is not as long by chance."""
        own = self.on_their_own.get(self.sequence, ())
        return index not in own and self.may_have_steps(index)

    def is_content(self, index: int) -> bool:
        """Return whether a leaf holds data that is computed with, not lengths, labels or a mask."""
        return self.axes[index] is not None and index in {self.first, self.sequence, *self.content}

    def padding(self, index: int) -> Tensor | None:
        """Return which steps, at an end of a leaf, are zeros or NaN ``(batch, seq)``; else None."""
        rows = self.rows(index)
        if rows is None or not self.may_have_steps(index):
            return None
        zero = ((rows == 0) | rows.isnan()).unsqueeze(-1).flatten(2).all(2)
        if not zero.any() or zero.all(1).any() or not rises_or_falls(zero.int(), 1):
            return None
        return zero

    def tells_lengths(self, index: int, of: int | None = None) -> bool:
        """Return whether a leaf holds the lengths of another one, ``of``, or a mask of them.

        None stands for the sequence.
        """
        other = self.sequence if of is None else of
        counts = self.lengths.get(other)
        if counts is None or index == other:
            return False
        steps = self.length(other)
        return states_lengths(self.leaves[index], self.axes[index], counts, steps)

    def tells_starts(self, index: int) -> bool:
        """Return whether a leaf holds the first valid step of each sample, padded in front."""
        leaf = self.leaves[index]
        if self.pads_after or self.counts is None or not isinstance(leaf, Tensor):
            return False
        return counts_of(leaf) == [self.steps - count for count in self.counts]

    @property
    def uncut(self) -> list[str]:
        """Names of inputs with steps that are not cut when a sample is cut to its length."""
        stepped = [k for k in self.indices if self.is_content(k) and self.length(k)]
        cut = {*self.lengths, *filter(self.has_steps, stepped)}
        return [self.names[k] for k in stepped if k not in cut]

    def cut(self, steps: int, *, front: bool) -> "Batch":
        """Return the inputs with so many steps only: the first ones, or the last."""
        followers = filter(self.has_steps, self.indices)
        return self.cut_each(dict.fromkeys(followers, steps), front=front)

    def alone(self, sample: int) -> "Batch":
        """Return one sample, each input cut to its valid steps."""
        lengths = {k: self._lengths_of(k) for k in self.indices}
        ends = {k: counts[sample] for k, counts in lengths.items() if counts is not None}
        # Of one sample, any number may be its length, relative to the longest.
        told = [k for k in self.indices if self.tells_lengths(k) or self.tells_starts(k)]
        return self.samples([sample]).cut_each(ends, front=self.pads_after, told=told)

    def _lengths_of(self, index: int) -> list[int] | None:
        """Return the lengths of a leaf: its own, those that it masks, or the sequence's."""
        if index in self.lengths:
            return self.lengths[index]
        for other, counts in self.lengths.items():
            # A mask may be of an input that has lengths of its own.
            is_as_long = self.length(other) == self.length(index) and self.rows(index) is not None
            if is_as_long and not self.is_content(index) and self.tells_lengths(index, other):
                return counts
        return self.counts if self.has_steps(index) else None

    def cut_each(
        self, ends: Mapping[int, int], *, front: bool, told: Collection[int] | None = None
    ) -> "Batch":
        """Return the inputs with some leaves cut to their first, or last, steps.

        ``ends`` says to how many, by leaf. Lengths and masks are shortened along: the leaves
        ``told``, or those that tell lengths. Starts are moved, as far as steps before them are cut.
        """
        telling = filter(self.tells_lengths, self.indices) if told is None else told
        shortened = {*telling}
        starting = {*filter(self.tells_starts, self.indices if told is None else told)}
        steps = ends.get(self.sequence, self.steps)

        def cut(index: int, leaf: Any) -> Any:
            """Return one leaf with fewer steps, or with lengths that fit those of the sequence."""
            if index in ends:
                seq = self.seq_dims[index]
                start = 0 if front else leaf.shape[seq] - ends[index]
                if index != self.sequence and _is_of_pairs(leaf, seq):
                    leaf = leaf.narrow(seq + 1, start, ends[index])
                return leaf.narrow(seq, start, ends[index])
            if index in starting:
                return (leaf - (self.steps - steps)).clamp(min=0)
            if index in shortened:
                return shortened_lengths(leaf, self.counts or [], steps)
            return leaf

        each = self.lengths.items()
        return replace(
            self.with_each(cut),
            steps=steps,
            lengths={k: [min(n, ends.get(k, n)) for n in counts] for k, counts in each},
        )


def _is_of_pairs(leaf: Any, seq: int) -> bool:
    """Return whether a leaf is a graph or mask of pairs of steps, ``(batch, seq, seq)``.

    One-hot steps of as many kinds are none.
    """
    sizes = leaf.shape[seq : seq + 2]
    if len(sizes) < 2 or sizes[0] != sizes[1] or not is_binary(leaf):
        return False
    return bool((leaf.sum(seq + 1) > 1).any())


def steps_within(counts: Sequence[int], steps: int, *, pads_after: bool) -> Tensor:
    """Return a mask ``(batch, seq)`` of the first ``counts[k]`` steps of each sample k.

    If padding is not after a sample, but before it, of the last ones.
    """
    step = torch.arange(steps, device="cpu")
    limit = torch.tensor(counts, device="cpu").unsqueeze(1)
    return step < limit if pads_after else step >= steps - limit
