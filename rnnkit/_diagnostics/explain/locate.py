"""Where a leak first shows: between samples, between steps, or between lengths."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_packed_sequence
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.explain.causes import (
    Location,
    Suspects,
    fix_of,
    other_layout,
    other_state,
)
from rnnkit._diagnostics.explain.search import Search, Seen
from rnnkit._diagnostics.inputs.batch import Batch
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.run.events import Event
from rnnkit._diagnostics.run.outputs import is_packed, shape_of
from rnnkit._diagnostics.tell.outcome import Line


def locate_sample(baseline: Baseline, other: Batch, changed: int, index: int) -> Location:
    """Find where one sample first depends on another, ``changed``, which differs in ``other``.

    ``baseline`` is the model, a batch, and the output for it; ``index`` is the output that shows
    the leak. Returns rows of a message, and the name of the module.
    """
    batch = baseline.batch
    runs = batch.tree(), other.tree(), batch.without(baseline.axes.left_out).tree()
    return _Samples(baseline, runs, index, batch.size, batch.size - 1, changed).location()


def locate_step(baseline: Baseline, other: Batch, cut: int, index: int) -> Location:
    """Find where a step first depends on a later one; ``other`` is changed from ``cut`` on.

    ``baseline`` is the model, a batch, and the output for it; ``index`` is the output that shows
    the leak. Returns rows of a message, and the name of the module.
    """
    batch = baseline.batch
    steps = batch.steps or 1
    runs = batch.tree(), other.tree(), batch.cut(steps - 1, front=True).tree()
    return Search(baseline, runs, index, steps, steps - 1, cut).location()


def locate_valid(
    baseline: Baseline, sample: int, index: int, changed: Batch | None = None
) -> Location:
    """Find where a sample differs from itself alone, cut to its length, or with other padding.

    ``baseline`` is the model, a batch, and the output for it; ``index`` is the output that shows
    it, and ``changed`` the batch with other padding, if that is it. First the sample runs by itself
    with its padding; if nothing shows then, in its batch. Returns rows of a message, and a module's
    name.
    """
    batch = baseline.batch
    alone = batch.alone(sample)
    other = alone if changed is None else changed.samples([sample])
    for whole, part in ((batch.samples([sample]), other), (batch, alone)):
        runs = whole.tree(), part.tree(), alone.tree()
        steps = (batch.steps or 1, alone.steps or 1)
        search = _Valid(baseline, runs, index, *steps, whole.size)
        if search.first_event is not None:
            break
    return search.location()


class _Samples(Search):
    """Compares samples, in any order or, if ``is_strict`` is set, in that of the input."""

    probe = "batch"

    def _shows_leak(self, seen: Seen) -> bool | None:
        """Return whether a tensor moves at other samples than the changed one.

        If the order of the samples is free, moving at one of them only is no leak. None: not known.
        """
        rows = self._rows(seen)
        if rows is None:
            return None
        if self.is_strict or seen.iteration is not None:
            return rows not in ([], [self.changed])
        return len(rows) > 1

    def _rows(self, seen: Seen) -> list[int] | None:
        """Return the samples at which a tensor moves; None if they are not known.

        An axis may have samples and steps in one; seen right, the fewest samples move.
        """
        axes = self._unit_axes(seen)
        if len(axes) > 1 and not isinstance(seen.fewer, Tensor):  # features, say, that are as many
            axes = [self.baseline.batch.batch_dim]
        ways = self._moved_units(seen, axes)
        return None if ways is None else min(ways, key=len)

    def _explanation(self, event: Event, kind: str) -> list[Line]:
        """Return rows that say that samples change their order here, or what else is known.

        ``event`` is a call in the run, and ``kind`` its function or module in words.
        """
        if self.first_event is None:
            cause = ("cause", "the samples are reordered here, and the output still has that order")
            at = ":, " * self.baseline.axes.batch[self.index]
            return [cause, ("fix", f"output[{at}order.argsort()], where order sorts them")]
        if kind == "loop":
            other = "rnnkit.verify(..., batch_dim=) of the samples, if the loop is over seq"
            return [*fix_of(self.probe, kind), ("intended?", f"{other}; else skip=['batch']")]
        return self._different_orders(event) or fix_of(self.probe, kind)

    def _different_orders(self, event: Event) -> list[Line]:
        """Return the cause and the fix if an event's tensors have the samples in several orders.

        The changed sample shows in which row each of them has it. No rows if that is one and the
        same, or if it shows in several rows of one tensor.
        """
        nodes = self.sources[event]
        found = [self._rows(self._seen(node)) or [] for node in nodes]
        rows = {row for each in found for row in each}
        if max(map(len, found), default=0) != 1:
            return []
        if len(nodes) < len(event.consumed):
            rows.add(self.changed)  # the rest is not made in the model: it has the input's order
        if len(rows) == 1:
            return []
        first = self._first_leaking(nodes) or event
        what = "its inputs have the samples in different orders"
        fix = "y[order.argsort()], of each input that is still sorted, or sort all alike"
        if first.name == "flip":
            fix = "flip the steps, as x.flip(1) does of (batch, seq, ...), and not the samples"
        return [("cause", f"{what}, one since {first.text} at {first.place}"), ("fix", fix)]

    def _module_suspects(self, event: Event) -> Suspects:
        """Return causes to try, by module: axes of its input, or of its state, may be exchanged."""
        found: Suspects = {}
        loops = self.fewer_events[event].iteration is not None
        for one in self.events:
            if one.kind == "input" and 0 in one.produced.values():
                seen = self._seen((one, 0))
                axes = self._unit_axes(seen)
                of_samples = [axis for axis in axes if seen.one.shape[axis] == self.size]
                found[one.name] = other_layout(one, of_samples, loops) or other_state(one)
        return found


class Beside(Search):
    """Compares a run with that of a part of its steps, of one of its ``changed`` samples.

    The runs are the whole, the part, perhaps with other values, and the part as it is.
    """

    def _shows_leak(self, seen: Seen) -> bool | None:
        """Return whether a tensor has other numbers than the part has, at the steps of the part.

        The answer is None if they cannot be laid side by side, if a loop is at another step, or if
        numbers moved and nobody knows whose, since samples share an axis.
        """
        one, other, fewer, iteration = seen
        if self._is_elsewhere(iteration) or not _have_one_rank(one, other, fewer):
            return None
        axes = self._unit_axes(seen)
        batch = [axis for axis in axes if self._is_batch(axis, seen)]
        if len(batch) > 1 or any(one.shape[axis] < fewer.shape[axis] for axis in axes):
            return None
        one, other = (self._at_steps_of(fewer, x, {*axes} - {*batch}) for x in (one, other))
        rows = torch.split(one, 1, batch[0]) if batch else [one]
        alike = [row for row in rows if row.shape == other.shape]
        if not all(self._moved_numbers(row, other).any() for row in alike):
            return False
        # Rows of several samples on one axis cannot be told apart.
        are_joined = self.changed > 1 and axes and not batch
        return None if are_joined else True

    def _at_steps_of(self, part: Tensor, tensor: Tensor, axes: Iterable[int]) -> Tensor:
        """Return a tensor at its first, or last, steps along some axes: as many as a part has."""
        for axis in axes:
            size = part.shape[axis]
            tensor = tensor.narrow(axis, 0 if self.keeps_front else -size, size)
        return tensor

    def _is_elsewhere(self, iteration: int | None) -> bool:
        """Return whether a loop is at a step that the part has not; False if there is no loop."""
        if iteration is None:
            return False
        step = iteration if self.keeps_front else self.size - 1 - iteration
        return step >= self.smaller

    def _is_batch(self, axis: int, seen: Seen) -> bool:
        """Return whether an axis has the samples: several in one run, and one in the other."""
        return seen.one.shape[axis] == self.changed > 1 and seen.fewer.shape[axis] == 1


class _Valid(Beside):
    """Compares a sample with itself alone, cut to its length; it is one of ``changed`` samples."""

    probe = "padding"

    def _explanation(self, event: Event, kind: str) -> list[Line]:
        """Return rows of a message for an event: the cause, if lengths are wrong, and the fix.

        ``event`` is a call in the run, and ``kind`` its function or module in words. One number for
        all samples, or a batch without lengths, has the fix of *alone*.
        """
        is_one_number = not any(map(shape_of, event.tensors))  # for all samples
        if is_one_number or self.baseline.batch.counts is None:
            return fix_of("alone", kind)
        rows = fix_of("padding" if self.baseline.batch.pads_after else "padding in front", kind)
        lengths = self._after_a_stride(event)
        if lengths:
            what = (
                f"after a stride the lengths are {lengths}; a convolution makes "
                "(lengths + 2 * padding - kernel_size) // stride + 1 of those of the input"
            )
            rows = [(label, f"{fix}, with {lengths} as lengths") for label, fix in rows]
            return [("cause", what), *rows]
        return [*self._packed_otherwise(event), *rows]

    def _packed_otherwise(self, event: Event) -> list[Line]:
        """Return a row if an event packs the lengths of the samples in another order than theirs.

        Then they were sorted, and the samples were not. No row for any other event.
        """
        counts = self.baseline.batch.counts or []
        for part in filter(is_packed, pytree.tree_leaves(event.tree, is_leaf=is_packed)):
            packed = pad_packed_sequence(part)[1].tolist()
            if packed != counts and sorted(packed) == sorted(counts):
                what = f"the lengths are packed as {packed}, and are {counts} by sample"
                return [("likely", f"{what}: the lengths were sorted, but the samples were not")]
        return []

    def _after_a_stride(self, event: Event) -> str:
        """Return a formula of the lengths if a stride before an event makes the steps fewer.

        It is empty if no stride does. A stride may round up or down.
        """
        whole = (self.size, self.smaller)
        for before in self._back_from(event)[1:]:
            steps = self._steps_of(before)
            if steps == whole:
                return ""  # what comes before has the steps of the input
            stride = self._stride_at(before)
            if stride > 1:
                up = stride - 1
                ways = {0: f"lengths // {stride}", up: f"(lengths + {up}) // {stride}"}
                fitting = [
                    text
                    for more, text in ways.items()
                    if steps == tuple((size + more) // stride for size in whole)
                ]
                return " or ".join(fitting)
        return ""

    def _stride_at(self, event: Event) -> int:
        """Return by how much an event makes the steps of the input fewer; 1 if it does not."""
        sources = {self._steps_of(source) for source, _ in self.sources[event]}
        steps = self._steps_of(event)
        if steps is None or (self.size, self.smaller) not in sources:
            return 1
        return round(self.size / steps[0])

    def _steps_of(self, event: Event) -> tuple[int, int] | None:
        """Return how many steps the first tensor of an event has, in the batch and for one sample.

        None if it has no single seq axis.
        """
        if event.is_packed or "pack" in event.name or not event.tensors:
            return None  # what is packed has the steps of all samples on one axis
        seen = self._seen((event, 0))
        one, _, fewer, iteration = seen
        if iteration is not None or not _have_one_rank(one, fewer):
            return None
        axes = [axis for axis in self._unit_axes(seen) if not self._is_batch(axis, seen)]
        return (one.shape[axes[0]], fewer.shape[axes[0]]) if len(axes) == 1 else None


def _have_one_rank(*given: Any) -> bool:
    """Return whether all of some values are tensors, with equally many axes."""
    ranks = {getattr(x, "ndim", None) for x in given}
    return len(ranks) == 1 and None not in ranks
