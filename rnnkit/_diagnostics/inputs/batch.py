"""The batch and seq axes of a model's inputs, and the inputs with some samples or steps only."""

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import bounded, brief, refuse
from rnnkit._diagnostics.inputs.by_input import (
    axis_of,
    batch_axis_of,
    by_input,
    names_of_leaves,
    seq_axis_of,
)
from rnnkit._diagnostics.inputs.dense import check_values, first_with_axis, is_dense
from rnnkit._diagnostics.inputs.lengths import (
    counts_of,
    is_content,
    rises_or_falls,
    shortened_lengths,
    states_lengths,
)
from rnnkit._diagnostics.inputs.rows import rows_of_samples, some_samples
from rnnkit._diagnostics.run.outputs import Given, is_one_leaf
from rnnkit._diagnostics.tell.report import TRIES


class Batch:
    """The inputs of a model as leaves (their tensors in one list), and where samples and steps are.

    Attributes:
        leaves, spec: the leaves, and the structure that they had as inputs.
        first: the index of the leaf that shows where the batch is.
        axes, seq_dims: the batch axis (None if all samples share it) and the seq axis of each leaf.
        size, whole_size: the number of samples, here and in the caller's batch.
        caller_indices: where the caller's batch has each sample.
        sequence, steps: the leaf whose steps are judged, and how many it has; None of no steps.
        lengths: valid steps of each sample, by the index of a leaf; without the padding.
        on_their_own: by the sequence, leaves that are as long by chance, with steps of their own.
        tries: how often leaves are still tried to be on their own, for all sequences together.
        rows_of: leaves that have several rows for each sample, see :class:`Rows`.
        flags: the leaf that flags where samples start afresh (``reset=``).
        second_leaves: those of a second batch (``other=``), from which changed values come.
    """

    def __init__(
        self, inputs: Given, batch_dim: int, seq_dim: Any = None, lengths: Any = None
    ) -> None:
        """Find the batch axis of each leaf, and the sequence: the leaf whose steps are judged.

        That is the first leaf with a seq axis or lengths that the caller names; else the first with
        data and steps (as many as the longest of lengths for all, if given). ``seq_dim`` and
        ``lengths`` are for all inputs, or dictionaries by position or keyword.
        """
        self.leaves, self.spec = pytree.tree_flatten(inputs, is_leaf=is_one_leaf)
        check_values(self.leaves)
        every = range(len(self.leaves))
        batch_dim = axis_of(batch_dim)
        self.first = first_with_axis(self.leaves, batch_dim, every)
        data = self.leaves[self.first]
        batch_dim %= data.dim()
        self.size: int = data.shape[batch_dim]
        self.caller_indices = list(range(self.size))
        self.whole_size = self.size
        self.lengths: dict[int, list[int]] = {}
        self.flags: int | None = None  # of reset=
        self.second_leaves: list[Any] | None = None
        self.drawn: dict[Any, Tensor] = {}  # other values for the leaves
        self.on_their_own: dict[int, frozenset[int]] = {}  # leaves as long by chance
        self.tries = iter(range(TRIES))  # for runs that find out which those are
        self.seq_dims = [seq_axis_of(leaf, batch_dim, data) for leaf in self.leaves]
        told_axes = [
            self._read_seq_dim(name, axis_of(axis), batch_dim)
            for name, axis in by_input("seq_dim", seq_dim, inputs).items()
        ]
        self.axes = [batch_axis_of(leaf, batch_dim, self.size) for leaf in self.leaves]
        # Of leaves without a batch axis: how many rows each sample has, as its nodes in a graph.
        self.rows_of = rows_of_samples(self.leaves, self.axes, self.size, batch_dim)
        self._content = [k for k in every if is_content(self.leaves[k], self.seq_dims[k])]
        told = by_input("lengths", lengths, inputs)
        longest = max(counts_of(told.get(None)), default=0)
        usual = [k for k in self._content if self.axes[k] == batch_dim and self.length(k)]
        fitting = [k for k in usual if self.length(k) == longest]
        named = [index for index in told_axes if index is not None]
        self.take_steps_of([*named, *fitting, *usual, self.first][0])
        for name, given in told.items():
            self._read_lengths(name, given)
        self.take_steps_of(next(iter(self.lengths), self.sequence))  # lengths count for more

    def _read_lengths(self, name: int | str | None, given: Any) -> None:
        """Check and note the lengths ``given`` of an input; of the sequence if ``name`` is None."""
        places = [self.sequence] if name is None else self.places(name)
        index = next((k for k in places if self.length(k)), self.sequence)
        counts = counts_of(given)
        steps = self.length(index) or 0
        is_one_each = len(counts) == self.size
        if not is_one_each or not 0 < min(counts) <= max(counts) <= steps:
            values = counts if is_one_each else given
            got = bounded(str(values), 40) if isinstance(values, list) else brief(values)
            text = f"lengths must be {self.size} integers, each from 1 to {steps} steps, got {got}"
            fix = "pass the number of valid steps of each sample, such as lengths=mask.sum(1)"
            refuse(ArgumentError, "lengths", text, fix=fix, code="verify-lengths")
        self.lengths[index] = counts

    @property
    def names(self) -> list[str]:
        """What a report calls each leaf, such as ``input``, ``input[1]['text']`` or a keyword."""
        return names_of_leaves(self.tree())

    def _read_seq_dim(self, name: int | str | None, axis: int, batch_dim: int) -> int | None:
        """Note the seq axis of one input or of all (None); return the leaf of one that is named."""
        places = self.places(name)
        index = first_with_axis(self.leaves, axis, places)
        dim = axis % self.leaves[index].dim()
        if dim == batch_dim and self.first in places:
            message = f"seq_dim and batch_dim are both axis {dim} of the input"
            refuse(ArgumentError, "seq_dim", message, code="verify-axis")
        for place in places:
            self.seq_dims[place] = dim
        return None if name is None else index

    def places(self, name: int | str | None) -> list[int]:
        """Return the indices of the leaves of an input, by position or keyword; of all for None."""
        numbers: Any = self.tree(range(len(self.leaves)))
        if name is not None:
            numbers = numbers.args[name] if isinstance(name, int) else numbers.kwargs[name]
        return pytree.tree_leaves(numbers)

    def take_steps_of(self, index: int) -> None:
        """Take the steps of a leaf for the steps that are judged."""
        self.sequence = index
        self.steps: int | None = self.length(index)

    def with_steps_of(self, index: int) -> "Batch":
        """Return the same with the steps of a different leaf as those that are judged."""
        other = self.with_leaves(self.leaves)
        other.take_steps_of(index)
        return other

    def following(self, own: Mapping[int, frozenset[int]]) -> "Batch":
        """Return the same with other leaves that stay whole when the sequence is cut."""
        other = self.with_leaves(self.leaves)
        other.on_their_own = dict(own)
        return other

    @property
    def seq_dim(self) -> int:
        """The seq axis of the leaf whose steps are judged."""
        return self.seq_dims[self.sequence]

    @property
    def of_sequence(self) -> str:
        """Which input has the steps that are judged, in words; empty if no other data has some."""
        others = [k for k in range(len(self.leaves)) if self.is_content(k) and self.length(k)]
        return f" of {self.names[self.sequence]}" if len(others) > 1 else ""

    @property
    def counts(self) -> list[int] | None:
        """Valid steps of each sample of the sequence; None if they are not known."""
        return self.lengths.get(self.sequence)

    @property
    def longest(self) -> int | None:
        """Valid steps of the longest sample."""
        return max(self.counts) if self.counts else self.steps

    def length(self, index: int) -> int | None:
        """Return how long a leaf is along its seq axis; None if it has none."""
        leaf = self.leaves[index]
        axis = self.seq_dims[index]
        return leaf.shape[axis] if isinstance(leaf, Tensor) and leaf.dim() > axis else None

    def rows(self, index: int) -> Tensor | None:
        """Return a leaf as ``(batch, seq, ...)``; None if it has no such axes."""
        leaf = self.leaves[index]
        axis = self.axes[index]
        seq = self.seq_dims[index]
        if axis is None or axis == seq or not is_dense(leaf) or self.length(index) is None:
            return None
        return leaf.movedim((axis, seq), (0, 1))

    def tree(self, leaves: Sequence[Any] | None = None) -> Given:
        """Return the inputs as the model takes them, with other leaves if they are given."""
        return Given(*pytree.tree_unflatten([*(leaves or self.leaves)], self.spec))

    def size_of(self, inputs: Given) -> int:
        """Return how many samples inputs of the same structure have."""
        first = pytree.tree_leaves(inputs, is_leaf=is_one_leaf)[self.first]
        axis = self.axes[self.first] or 0
        return int(first.shape[axis])

    def without_size(self, text: str) -> str:
        """Return a text on calls without the number of samples in brackets, if these are a part."""
        if self.size == self.whole_size:
            return text
        return re.sub(rf"(?<=[( ]){self.size}(?=[,)])", "batch", text)

    def with_leaves(self, leaves: list[Any]) -> "Batch":
        """Return the same with other leaves."""
        other = copy.copy(self)
        other.leaves = leaves
        other.drawn = {}
        return other

    def with_second(self, second: list[Any]) -> "Batch":
        """Return the same with the leaves of a second batch, from which changed values come."""
        other = self.with_leaves(self.leaves)
        other.second_leaves = second
        return other

    def _with_each(self, change: Callable[[int, Any], Any]) -> "Batch":
        """Return the same with ``change(index, leaf)`` for each leaf, also of the second batch."""
        other = self.with_leaves([change(*pair) for pair in enumerate(self.leaves)])
        other.second_leaves = self.second_leaves and [
            change(*pair) for pair in enumerate(self.second_leaves)
        ]
        return other

    def samples(self, kept: Sequence[int]) -> "Batch":
        """Return the inputs of some samples only, in this order."""

        def pick(index: int, leaf: Any) -> Any:
            """Return the samples of one leaf."""
            axis = self.axes[index]
            if index in self.rows_of:  # each sample has its own number of rows, on one axis
                return self.rows_of[index].of(kept, leaf)
            return leaf if axis is None else some_samples(leaf, axis, kept)

        fewer = self._with_each(pick)
        fewer.size = len(kept)
        fewer.caller_indices = [self.caller_indices[sample] for sample in kept]
        fewer.lengths = {k: [counts[s] for s in kept] for k, counts in self.lengths.items()}
        fewer.rows_of = {k: rows.picked(kept) for k, rows in self.rows_of.items()}
        return fewer

    def valid_steps(self) -> list[int]:
        """Return the valid steps of each sample, as lengths or as zeros at an end tell.

        Else zeros.
        """
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
        return self.axes[index] is not None and index in {self.first, self.sequence, *self._content}

    def padding(self, index: int) -> Tensor | None:
        """Return which steps, at an end of a leaf, are zeros or NaN ``(batch, seq)``; else None."""
        rows = self.rows(index)
        if rows is None or not self.may_have_steps(index):
            return None
        zero = ((rows == 0) | rows.isnan()).reshape(*rows.shape[:2], -1).all(2)
        if not zero.any() or zero.all(1).any() or not rises_or_falls(zero.int(), 1):
            return None
        return zero

    def tells_lengths(self, index: int) -> bool:
        """Return whether a leaf holds the lengths of the sequence, or a mask of them."""
        if not self.counts or index == self.sequence:  # the valid steps of each sample
            return False
        return states_lengths(self.leaves[index], self.axes[index], self.counts, self.steps or 0)

    def cut(self, steps: int, *, front: bool) -> "Batch":
        """Return the inputs with so many steps only: the first ones, or the last."""
        followers = filter(self.has_steps, range(len(self.leaves)))
        return self.cut_each(dict.fromkeys(followers, steps), front=front)

    def alone(self, sample: int, *, front: bool) -> "Batch":
        """Return one sample, each input cut to its valid steps: its first (``front``) or last."""
        ends = dict[int, int]()
        for k in range(len(self.leaves)):
            told = [
                self.lengths[one]
                for one in self._leaves_that_may_give_lengths(k)
                if one in self.lengths
            ]
            if told:
                ends[k] = told[0][sample]
        return self.samples([sample]).cut_each(ends, front=front)

    def _leaves_that_may_give_lengths(self, index: int) -> Iterator[int]:
        """Yield leaves whose lengths may be those of one: itself, what it masks, the sequence."""
        yield index
        steps = self.length(index)
        if not self.is_content(index):
            # A mask may be of an input that has lengths of its own.
            for other, counts in self.lengths.items():
                is_as_long = self.length(other) == steps
                if is_as_long and states_lengths(
                    self.leaves[index], self.axes[index], counts, steps or 0
                ):
                    yield other
        if self.has_steps(index):
            yield self.sequence

    def cut_each(self, ends: Mapping[int, int], *, front: bool) -> "Batch":
        """Return the inputs with some leaves cut to their first, or last, steps.

        ``ends`` says to how many, by leaf. Lengths and masks are shortened along.
        """
        steps = ends.get(self.sequence, self.steps or 0)

        def cut(index: int, leaf: Any) -> Any:
            """Return one leaf with fewer steps, or with lengths that fit those of the sequence."""
            if index in ends:
                seq = self.seq_dims[index]
                start = 0 if front else leaf.shape[seq] - ends[index]
                return leaf.narrow(seq, start, ends[index])
            return (
                shortened_lengths(leaf, self.counts or [], steps)
                if self.tells_lengths(index)
                else leaf
            )

        shorter = self._with_each(cut)
        shorter.steps = ends.get(self.sequence, self.steps)
        each = self.lengths.items()
        shorter.lengths = {k: [min(n, ends.get(k, n)) for n in counts] for k, counts in each}
        return shorter
