"""The batch and seq axes of a model's inputs, and the inputs with some samples or steps only."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils import _pytree as pytree

from rnnkit._base.errors import ArgumentError
from rnnkit._base.message import brief, refusal
from rnnkit._diagnostics import masks
from rnnkit._diagnostics.arguments import by_input, counts_of
from rnnkit._diagnostics.outputs import Given, is_whole, shape_of


class Batch:
    """The inputs of a model as leaves, and where batch and seq are in each of them.

    Attributes:
        leaves, axes, seq_dims: each input, its batch axis (or None), and its seq axis if any.
        size, numbers: how many samples, and where each was in the batch that the caller gave.
        first: index of the leaf that shows where the batch is.
        paced, steps: index of the leaf whose steps are judged, and how many it has.
        on_their_own: leaves that are as long, but whose steps are no steps of the paced one.
        padded_alike: those of them that end with the paced one, and are cut to a sample's length.
        lengths: valid steps of each sample, of the leaves that were given any.
        flags: index of the leaf that flags where samples start afresh.
        second: the leaves of a second batch, from which changed values are taken, if there is one.
        drawn: other values for the leaves, as far as some were drawn.
    """

    def __init__(
        self,
        inputs: Given,
        batch_dim: int,
        seq_dim: Any = None,
        lengths: Any = None,
        argument: str = "batch_dim",
    ) -> None:
        """Find the axes; the first leaf with lengths, or whose seq axis was given, is paced."""
        self.leaves, self.spec = pytree.tree_flatten(inputs, is_leaf=is_whole)
        every = range(len(self.leaves))
        self.first = self._first_with(batch_dim, every, argument)
        shape = self.leaves[self.first].shape
        batch_dim %= len(shape)
        self.size, self.numbers = shape[batch_dim], list(range(shape[batch_dim]))
        if self.size == 0:
            message = f"axis {batch_dim} is empty: the first input has shape {tuple(shape)}"
            refusal(ArgumentError, "inputs", message, code="verify-batch")
        self.on_their_own = self.padded_alike = frozenset[int]()
        self.lengths: Mapping[int, list[int]] = {}
        self.second: list[Any] | None = None
        self.drawn: dict[Any, Tensor] = {}
        self.flags: int | None = None
        self.seq_dims = [1 - batch_dim if batch_dim < 2 else 1 for _ in every]
        paced: list[int] = []
        for name, axis in by_input("seq_dim", seq_dim, inputs).items():
            places = self.places(name)
            index = self._first_with(axis, places, "seq_dim")
            dim = axis % self.leaves[index].dim()
            if dim == batch_dim and self.first in places:
                message = f"seq_dim and batch_dim are both axis {dim} of the input"
                refusal(ArgumentError, "seq_dim", message, code="verify-axis")
            self.seq_dims = [dim if k in places else self.seq_dims[k] for k in every]
            paced += [index] * (name is not None)
        both = list(zip(self.leaves, self.seq_dims, strict=True))
        self.axes = [_batch_axis(leaf, batch_dim, self.size, seq) for leaf, seq in both]
        self._content = {k for k, (leaf, seq) in enumerate(both) if masks.is_content(leaf, seq)}
        told = by_input("lengths", lengths, inputs)
        longest = max(counts_of(told.get(None)), default=0)
        among = [k for k in sorted(self._content) if self.axes[k] == batch_dim]
        known = {k: n for k in among if (n := self.length(k))}
        fitting = sorted(known, key=lambda k: (known[k] != longest, known[k] < longest))
        self.pace([*paced, *fitting, self.first][0])
        for name, given in told.items():
            places = self.places(name)
            with_steps = (k for k in places if self.length(k))
            index = self.paced if name is None else next(with_steps, places[0])
            counts, steps = counts_of(given), self.length(index) or 0
            wrong = [k for k, n in enumerate(counts) if not 0 < n <= steps]
            if len(counts) != self.size or wrong:
                which = f": lengths[{wrong[0]}] is {counts[wrong[0]]}" if wrong else ""
                axis = f"axis {self.seq_dims[index]} of the input{which}, got {brief(given)}"
                text = f"lengths are {self.size} integers from 1 to {steps}, the size of {axis}"
                fix = ("fix", "of a mask, lengths=mask.sum(1)")
                refusal(ArgumentError, "lengths", text, "", fix, code="verify-lengths")
            self.lengths = {**self.lengths, index: counts}
        self.pace(next(iter(self.lengths), self.paced))

    def take_second(self, other: Sequence[Any]) -> None:
        """Take a second batch: the inputs by position and then, if there are any, by keyword."""
        args, kwargs = self.tree()
        named = [*other[len(args) :], {}][0]
        if isinstance(named, Mapping):
            named = {key: named[key] for key in (*kwargs, *named) if key in named}
        both = Given(tuple(other[: len(args)]), named)
        leaves, spec = pytree.tree_flatten(both, is_leaf=is_whole)
        if spec != self.spec or list(map(shape_of, leaves)) != list(map(shape_of, self.leaves)):
            one, two = (", ".join(str(shape_of(x)) for x in each) for each in (self.leaves, leaves))
            what = "the inputs, and then the kwargs, of a second batch of the same shapes"
            message = f"other has {what}: {one}, got {two}"
            refusal(ArgumentError, "other", message, code="verify-argument")
        self.second = leaves

    def _first_with(self, dim: int, places: Sequence[int], argument: str) -> int:
        """Return the index of the first leaf that has an axis."""
        leaves = [self.leaves[k] for k in places]
        is_packed = any(isinstance(leaf, PackedSequence) for leaf in leaves)
        if is_packed or any(isinstance(leaf, Tensor) and leaf.is_nested for leaf in leaves):
            kind = "a packed input" if is_packed else "a nested input"
            message = f"{kind} has no batch axis to try: pass the padded batch and lengths"
            refusal(ArgumentError, "inputs", message, code="verify-packed")
        # What is empty, as the categories in a data set that has none, comes last.
        for k in sorted(places, key=lambda k: 0 in getattr(self.leaves[k], "shape", ())):
            if isinstance(x := self.leaves[k], Tensor) and -x.dim() <= dim < x.dim():
                return k
        shapes = [tuple(leaf.shape) for leaf in leaves if isinstance(leaf, Tensor)]
        if not shapes:
            message = f"inputs must be tensors, got {', '.join(map(brief, leaves)) or 'nothing'}"
            refusal(ArgumentError, "inputs", message, code="verify-inputs")
        last, usual = max(map(len, shapes)) - 1, 0 if argument == "batch_dim" else 1
        axes = "no axes" if last < 0 else f"axes 0 to {last}"
        message = f"{argument}={dim}, but the input {', '.join(map(str, shapes))} has {axes}"
        rows = [("fix", f"{argument}={usual}, where it mostly is")] * (last >= usual)
        return refusal(ArgumentError, argument, message, "", *rows, code="verify-axis")

    def places(self, name: int | str | None) -> list[int]:
        """Return the indices of the leaves of an input; of all, if it has no name."""
        numbers: Any = self.tree(range(len(self.leaves)))
        if name is not None:
            numbers = numbers.args[name] if isinstance(name, int) else numbers.kwargs[name]
        return pytree.tree_leaves(numbers)

    def pace(self, index: int) -> None:
        """Take the steps of a leaf for the steps that are judged."""
        self.paced, self.steps = index, self.length(index)

    @property
    def seq_dim(self) -> int:
        """The seq axis of the paced leaf."""
        return self.seq_dims[self.paced]

    @property
    def counts(self) -> list[int] | None:
        """Valid steps of each sample; None if they were not given."""
        return self.lengths.get(self.paced)

    @property
    def longest(self) -> int | None:
        """Valid steps of the longest sample."""
        return max(self.counts) if self.counts else self.steps

    def length(self, index: int) -> int | None:
        """Return how long a leaf is along its seq axis; None if it has none."""
        return length(self.leaves[index], self.seq_dims[index])

    def tree(self, leaves: Sequence[Any] | None = None) -> Given:
        """Return the inputs as the model takes them."""
        held = list(self.leaves if leaves is None else leaves)
        given: Given = pytree.tree_unflatten(held, self.spec)
        return given

    def size_of(self, inputs: Given) -> int:
        """Return how many samples some inputs have that are laid out alike."""
        first = pytree.tree_leaves(inputs, is_leaf=is_whole)[self.first]
        return int(first.shape[self.axes[self.first] or 0])

    def with_leaves(self, leaves: list[Any]) -> "Batch":
        """Return the same with other leaves."""
        other = Batch.__new__(Batch)
        other.__dict__ = self.__dict__ | {"leaves": leaves, "drawn": {}}
        return other

    def samples(self, kept: Sequence[int]) -> "Batch":
        """Return the same inputs with some of the samples only."""
        both = zip(self.leaves, self.axes, strict=True)
        fewer = self.with_leaves([_pick(leaf, axis, kept) for leaf, axis in both])
        pairs = zip(self.second or (), self.axes, strict=False)
        fewer.second = self.second and [_pick(leaf, axis, kept) for leaf, axis in pairs]
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
        ranked = sorted(range(self.size), key=told.__getitem__)
        longest = max(range(self.size), key=told.__getitem__)
        return sorted([longest, *[k for k in ranked if k != longest][: most - 1]])

    def may_have_steps(self, index: int) -> bool:
        """Return whether a leaf is as long as the paced one, beside a batch axis."""
        axis, steps = self.axes[index], self.length(index)
        return axis not in (None, self.seq_dims[index]) and steps == self.steps is not None

    def has_steps(self, index: int) -> bool:
        """Return whether a leaf has the steps of the paced one, beside a batch axis."""
        return index not in self.on_their_own and self.may_have_steps(index)

    def is_content(self, index: int) -> bool:
        """Return whether a leaf holds what is read, and not lengths, labels or a mask."""
        return self.axes[index] is not None and index in {self.first, self.paced, *self._content}

    def padding(self, index: int) -> Tensor | None:
        """Return which steps of a leaf are padding, ``(batch, seq)``; None if none are."""
        axis = self.axes[index]
        if axis is None or not self.may_have_steps(index):
            return None
        return masks.padding(self.leaves[index], axis, self.seq_dims[index])

    def tells_lengths(self, index: int) -> bool:
        """Return whether a leaf holds the lengths of the paced one, or a mask of them."""
        leaf, axis, counts = self.leaves[index], self.axes[index], self.counts
        if isinstance(leaf, list):
            return bool(leaf == counts)
        if not isinstance(leaf, Tensor) or axis is None or not counts or self.steps is None:
            return False
        content = index in (self.first, self.paced) and leaf.numel() > self.size
        return not content and masks.tells(leaf, axis, counts, self.steps)

    def knows_lengths(self) -> bool:
        """Return whether the model is told the lengths, or a mask of them."""
        return any(map(self.tells_lengths, range(len(self.leaves))))

    def cut(self, steps: int, *, front: bool) -> "Batch":
        """Return the same inputs with some steps only: the first ones, or the last."""
        followers = filter(self.has_steps, range(len(self.leaves)))
        return self.cut_each(dict.fromkeys(followers, steps), steps, front=front)

    def alone(self, sample: int, *, front: bool) -> "Batch":
        """Return one sample, each input cut to its length if that was given."""
        single, ends = self.samples([sample]), dict[int, int]()
        for k in range(len(self.leaves)):
            source = k
            if k not in self.lengths and (self.has_steps(k) or k in self.padded_alike):
                source = self.paced
            elif k not in self.lengths and not self.is_content(k):
                # A mask of an input that has lengths of its own.
                alike = (i for i in self.lengths if self.length(i) == self.length(k))
                source = next(alike, k)
            if source in self.lengths:
                ends[k] = single.lengths[source][0]
        return single.cut_each(ends, ends.get(self.paced, self.steps or 0), front=front)

    def cut_each(self, ends: Mapping[int, int], steps: int, *, front: bool) -> "Batch":
        """Return the same inputs, some cut to so many steps each: the first ones, or the last."""

        def cut(k: int, leaf: Any) -> Any:
            if k in ends:
                start = 0 if front else leaf.shape[self.seq_dims[k]] - ends[k]
                return leaf.narrow(self.seq_dims[k], start, ends[k])
            told = self.counts if self.counts and self.tells_lengths(k) else None
            return masks.shortened(leaf, told, steps) if told else leaf

        shorter = self.with_leaves([cut(*pair) for pair in enumerate(self.leaves)])
        shorter.second = self.second and [cut(*pair) for pair in enumerate(self.second)]
        shorter.steps = steps if self.paced in ends else self.steps
        each = self.lengths.items()
        shorter.lengths = {k: [min(n, ends.get(k, n)) for n in counts] for k, counts in each}
        return shorter


def length(leaf: Any, axis: int) -> int | None:
    """Return how long a leaf is along an axis; None if it has none."""
    return leaf.shape[axis] if isinstance(leaf, Tensor) and leaf.dim() > axis else None


def _pick(leaf: Any, axis: int | None, samples: Sequence[int]) -> Any:
    if axis is None:
        return leaf
    if isinstance(leaf, list):
        return [leaf[sample] for sample in samples]
    return leaf.index_select(axis, torch.tensor(samples, device=leaf.device))


def _batch_axis(leaf: Any, batch_dim: int, size: int, seq_dim: int) -> int | None:
    """Return the batch axis of a leaf: the usual one, or the only other that is as long."""
    if isinstance(leaf, list):
        return 0 if len(leaf) == size else None
    shape = leaf.shape if isinstance(leaf, Tensor) else ()
    # Of an input whose seq axis was given, that is not its batch.
    fitting = [k for k, n in enumerate(shape) if n == size and not k == seq_dim == batch_dim]
    return batch_dim if batch_dim in fitting else fitting[0] if len(fitting) == 1 else None
