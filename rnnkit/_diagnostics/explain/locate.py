"""Where a leak first shows: between samples, between steps, or between lengths."""

import re
from collections.abc import Collection
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.explain.causes import (
    FIXES_IN_FRONT,
    Cause,
    Location,
    fix_of,
    other_layout,
    other_state,
)
from rnnkit._diagnostics.explain.search import Search, Verdict
from rnnkit._diagnostics.measure.baseline import Baseline
from rnnkit._diagnostics.run.events import Recorder
from rnnkit._diagnostics.run.outputs import Given, is_one_leaf, shape_of
from rnnkit._diagnostics.tell.outcome import Line


def locate_sample(baseline: Baseline, inputs: Given, changed: int, index: int) -> Location:
    """Find where one sample first depends on another, ``changed``, which differs in ``inputs``.

    ``baseline`` is the model, a batch, and the output for it; ``index`` is the output that shows
    the leak. Returns rows of a message, and the name of the module.
    """
    batch = baseline.batch
    rest = [sample for sample in range(batch.size) if sample != baseline.left_out_sample]
    runs = batch.tree(), inputs, batch.samples(rest).tree()
    return _Samples(baseline, runs, index, (batch.size, batch.size - 1), changed).location()


def locate_step(baseline: Baseline, inputs: Given, cut: int, index: int) -> Location:
    """Find where a step first depends on a later one; ``inputs`` are changed from ``cut`` on.

    ``baseline`` is the model, a batch, and the output for it; ``index`` is the output that shows
    the leak. Returns rows of a message, and the name of the module.
    """
    batch = baseline.batch
    steps = batch.steps or 1
    runs = batch.tree(), inputs, batch.cut(steps - 1, front=True).tree()
    return Search(baseline, runs, index, (steps, steps - 1), cut).location()


def locate_valid(
    baseline: Baseline, sample: int, index: int, inputs: Given | None = None
) -> Location:
    """Find where a sample differs from itself alone, cut to its length, or with other padding.

    ``baseline`` is the model, a batch, and the output for it; ``index`` is the output that shows
    it, and ``inputs`` those with other padding, if that is it. First the sample runs by itself with
    its padding; if nothing shows then, in its batch. Returns rows of a message, and a module's
    name.
    """
    batch = baseline.batch
    alone = batch.alone(sample, front=baseline.pads_after)
    other = alone
    sizes = (batch.steps or 1, alone.steps or 1)
    if inputs is not None:
        changed = batch.with_leaves(pytree.tree_leaves(inputs, is_leaf=is_one_leaf))
        other = changed.samples([sample])
    for whole, part in ((batch.samples([sample]), other), (batch, alone)):
        runs = whole.tree(), part.tree(), alone.tree()
        search = _Valid(baseline, runs, index, sizes, whole.size)
        if search.first_event is not None:
            break
    return search.location()


class _Samples(Search):
    """Compares samples, in any order or, if ``is_strict`` is set, in that of the input."""

    probe = "batch"

    def _shows_leak(self, one: Tensor, other: Any, fewer: Any, iteration: int | None) -> Any:
        """Return whether a tensor moves at other samples than the changed one.

        ``one``, ``other`` and ``fewer`` are the tensor in the run as it is, with the changed
        sample, and with one sample less; ``iteration`` is the sample that a loop over the batch is
        at, if any. If the order of the samples is free, moving at one of them only is no leak.
        """
        found = self._rows(one, other, fewer, iteration)
        if not isinstance(found, tuple):
            return found
        _, *rows = found
        if self.is_strict or iteration is not None:
            return rows not in ([], [self.changed])
        return len(rows) > 1

    def _rows(self, one: Tensor, other: Any, fewer: Any, iteration: int | None) -> Any:
        """Return how a tensor's axis is seen best, 0 or 1, and then the samples at which it moves.

        An axis may have samples and steps in one; seen right, the fewest samples move. None or
        ``"joins"`` if its samples are not known.
        """
        axes = self._unit_axes(one, fewer, iteration)
        if len(axes) > 1 and not isinstance(fewer, Tensor):  # features, say, that are as many
            axes = [self.baseline.batch.axes[self.baseline.batch.first] or 0]
        if len(axes) > 1 or any(one.shape[axis] % self.size for axis in axes):
            return None
        ways = self._moved_units(one, other, axes, iteration)
        if not isinstance(ways, list):
            return ways
        way, rows = min(enumerate(ways), key=lambda pair: len(pair[1]))
        return (way, *rows)

    def _explanation(self, number: int, kind: str) -> list[Line]:
        """Return rows that say that samples change their order here, or what else is known.

        ``number`` is the event (a call in the run), and ``kind`` its function or module in words.
        """
        if self.first_event is None:
            cause = ("cause", "the samples are reordered here, and the output still has that order")
            return [cause, ("fix", "output[order.argsort()], where order sorts them")]
        if kind == "loop":
            other = "rnnkit.verify(..., batch_dim=) of the samples, if the loop is over seq"
            return [*fix_of(self.probe, kind), ("intended?", f"{other}; else skip=['batch']")]
        if self.events[number].is_packed:
            kind = f"packed {kind}"
        return self._different_orders(number) or fix_of(self.probe, kind)

    def _different_orders(self, number: int) -> list[Line]:
        """Return the cause and the fix if an event's tensors have the samples in several orders.

        The changed sample shows in which row each of them has it. No rows if that is one and the
        same.
        """
        event = self.events[number]
        sources = self.sources[number]
        found = {self._rows(*self._tensor_in_runs(*node)) for node in sources}
        shown = {one for one in found if isinstance(one, tuple) and len(one) > 1}
        if not shown or max(map(len, shown)) > 2:
            return []  # the sample shows in none of them, or in several rows of one
        ways = {way for way, _ in shown}
        rows = {row for _, row in shown}
        if len(sources) < len(event.consumed):
            rows.add(self.changed)  # the rest is not made in the model: it has the input's order
        if len(ways) == 1 and len(rows) == 1:
            return []
        text = "its inputs have the samples in different orders"
        if len(rows) == 1:
            fix = "one order for both: repeat_interleave(n, 0), or a transpose before a view"
            return [("cause", text), ("fix", fix)]
        source = self._first_leaking(sources) or number
        first = self.events[source]
        return [
            ("cause", f"{text}, one since {first.text} at {first.place}"),
            ("fix", "y[order.argsort()], of each input that is still sorted, or sort all alike"),
        ]

    def _module_suspects(self, number: int) -> dict[str, Cause | None]:
        """Return causes to try, by module: batch and seq of its input or state may be exchanged."""
        found = dict[str, Cause | None]()
        loops = self.events_of_fewer[number][1] is not None
        for at, event in enumerate(self.events):
            if event.kind == "input" and 0 in event.produced.values():
                one, _, fewer, iteration = self._tensor_in_runs(at, 0)
                axes = self._unit_axes(one, fewer, iteration)
                of_samples = [axis for axis in axes if one.shape[axis] == self.size]
                found[event.name] = other_layout(event, of_samples, loops) or other_state(event)
        return found


class _Valid(Search):
    """Compares a sample with itself alone, cut to its length; it is one of ``changed`` samples."""

    probe = "padding"

    def _shows_leak(self, one: Tensor, other: Any, fewer: Any, iteration: int | None) -> Verdict:
        """Return whether a tensor has other valid steps than that of the sample alone.

        ``one``, ``other`` and ``fewer`` are the tensor in the run of the batch, with other padding
        or the sample alone, and of the sample alone. The answer is None if they cannot be laid side
        by side, or if a loop is at a step of the padding: ``iteration`` is the step that it is at.
        """
        if self._is_padding(iteration):
            return None
        if not isinstance(other, Tensor) or not isinstance(fewer, Tensor):
            return None
        if not one.dim() == other.dim() == fewer.dim():
            return None
        axes = self._unit_axes(one, fewer, iteration)
        batch = [k for k in axes if self._is_batch(k, one, fewer)]
        if len(batch) > 1 or any(one.shape[k] < fewer.shape[k] for k in axes):
            return None
        one, other = (self._cut(x, fewer, set(axes) - set(batch)) for x in (one, other))
        rows = torch.split(one, 1, batch[0]) if batch else [one]
        if any(self._are_equal(row, other) for row in rows):
            return False
        # Rows of several samples on one axis cannot be told apart.
        are_joined = self.changed > 1 and axes and not batch
        return None if are_joined else True

    def _cut(self, tensor: Tensor, like: Tensor, axes: Collection[int]) -> Tensor:
        """Return a tensor with only the first, or last, steps along some axes.

        As many as ``like`` has.
        """
        for axis in axes:
            size = like.shape[axis]
            tensor = tensor.narrow(axis, 0 if self.keeps_front else -size, size)
        return tensor

    def _is_padding(self, iteration: int | None) -> bool:
        """Return whether a loop is at a step beyond the length of the sample.

        None: there is no loop.
        """
        if iteration is None:
            return False
        step = iteration if self.keeps_front else self.size - 1 - iteration
        return step >= self.smaller

    def _are_equal(self, one: Tensor, other: Tensor) -> bool:
        """Return whether two tensors have one shape, and the same numbers but for rounding."""
        return one.shape == other.shape and not self._moved_numbers(one, other).any()

    def _explanation(self, number: int, kind: str) -> list[Line]:
        """Return rows of a message for an event: the cause, if lengths are wrong, and the fix.

        ``number`` is that of the event, and ``kind`` its function or module in words. A sample that
        differs in its batch only, with the same shapes, mixes with others: then the fix is that of
        *alone*.
        """
        event = self.events[number]
        after = self.events_of_changed[number][0]
        shapes = [[*map(shape_of, one.tensors)] for one in (event, after or event)]
        of_batch = self.changed > 1 and shapes[0] == shapes[1]
        if of_batch or self.baseline.batch.counts is None:
            return fix_of("alone", kind)
        if not self.baseline.pads_after and any(
            re.search(key, kind.lower()) for key in FIXES_IN_FRONT
        ):
            return fix_of("padding in front", kind)
        if event.is_packed:
            kind = f"packed {kind}"
        rows = fix_of("padding", kind)
        others = self._packed_otherwise(event)
        if others:
            return [*others, *rows]
        lengths = self._for_stride(number)
        if not lengths:
            return rows
        what = f"after a stride the lengths are {lengths}, not the lengths of the input"
        return [
            ("cause", what),
            *((label, f"{fix}, with {lengths} as lengths") for label, fix in rows),
        ]

    def _packed_otherwise(self, event: Any) -> list[Line]:
        """Return a row if an event packs the lengths of the samples in another order than theirs.

        Then they were sorted, and the samples were not. No row for any other event.
        """
        counts = [*(self.baseline.batch.counts or ())]
        parts = event.tree if isinstance(event.tree, tuple) else (event.tree,)
        for part in parts:
            if not isinstance(part, PackedSequence):
                continue
            packed = pad_packed_sequence(part)[1].tolist()
            if packed != counts and sorted(packed) == sorted(counts):
                what = f"the lengths are packed as {packed}, and are {counts} by sample"
                return [("likely", f"{what}: the lengths were sorted, but the samples were not")]
        return []

    def _for_stride(self, number: int) -> str:
        """Return a formula of the lengths if a stride before an event makes the steps fewer.

        It is empty if no stride does.
        """
        for before in self._back_from(number):
            found = self._steps_of(before)
            if found is None:
                continue
            stride = round(self.size / found.whole)
            if stride > 1:
                return self._lengths_after(stride, before, found)
            if (found.whole, found.alone) == (self.size, self.smaller):
                return ""  # what comes before has the steps of the input
        return ""

    def _lengths_after(self, stride: int, number: int, found: "_Steps") -> str:
        """Return a formula for the lengths after a stride, which rounds up or down.

        ``number`` is the event that has as many steps as ``found`` says. The formula is empty if
        none fits.
        """
        pairs = {(self.size, found.whole), (self.smaller, found.alone)}
        recorder = Recorder(functions=True)
        cut = self.baseline.batch.cut(self.size - 1, front=self.keeps_front)
        self.baseline.session.attempt(cut.tree(), watch=recorder.watch)
        if len(recorder.events) == len(self.events):
            less = recorder.events[number].tensors[found.place]
            pairs.add((self.size - 1, less.shape[found.axis]))
        rounded_up = f"(lengths + {stride - 1}) // {stride}"
        for text, more in ((f"lengths // {stride}", 0), (rounded_up, stride - 1)):
            if all((steps + more) // stride == rows for steps, rows in pairs):
                return text
        return ""

    def _steps_of(self, number: int) -> "_Steps | None":
        """Return how many steps a tensor of an event has, in the batch and for the sample alone.

        ``number`` is that of the event; its first tensor with one seq axis counts. None if it has
        none.
        """
        event = self.events[number]
        if event.is_packed or "pack" in event.name:
            return None  # it has the steps of all samples on one axis
        for place in range(len(event.tensors)):
            one, _, fewer, iteration = self._tensor_in_runs(number, place)
            are_both = isinstance(one, Tensor) and isinstance(fewer, Tensor)
            if iteration is not None or not are_both or one.dim() != fewer.dim():
                continue
            axes = self._unit_axes(one, fewer, None)
            of_steps = [axis for axis in axes if not self._is_batch(axis, one, fewer)]
            if len(of_steps) == 1:
                [axis] = of_steps
                return _Steps(place, axis, one.shape[axis], fewer.shape[axis])
        return None

    def _is_batch(self, axis: int, one: Tensor, fewer: Tensor) -> bool:
        """Return whether an axis has the samples.

        It has several in one run, and one in the other.
        """
        return one.shape[axis] == self.changed > 1 == fewer.shape[axis]


class _Steps(NamedTuple):
    """How many steps a tensor has.

    Attributes:
        place: its index among the tensors of an event.
        axis: the axis of the steps.
        whole, alone: how many it has in the run of the batch, and of the sample alone.
    """

    place: int
    axis: int
    whole: int
    alone: int
