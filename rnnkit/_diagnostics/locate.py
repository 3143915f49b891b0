"""Where a leak first shows: the first module or function whose output has it, and why."""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from rnnkit._diagnostics.baseline import Baseline
from rnnkit._diagnostics.causes import Location, read_lengths
from rnnkit._diagnostics.outputs import Given, is_whole, shape_of
from rnnkit._diagnostics.report import Line
from rnnkit._diagnostics.search import Search, Verdict, call_of

_ALIKE = "one order for both: repeat_interleave(n, 0), or a transpose before a view"


def locate_sample(baseline: Baseline, inputs: Given, changed: int, index: int) -> Location:
    """Find where one sample first depends on another, which is changed in some inputs."""
    batch = baseline.batch
    runs = batch.tree(), inputs, batch.samples(range(batch.size - 1)).tree()
    return _Samples(baseline, runs, index, (batch.size, batch.size - 1), changed).location()


def locate_step(baseline: Baseline, inputs: Given, cut: int, index: int) -> Location:
    """Find where a step first depends on a later one, from which on some inputs are changed."""
    batch, steps = baseline.batch, baseline.batch.steps or 1
    runs = batch.tree(), inputs, batch.cut(steps - 1, front=True).tree()
    return _Steps(baseline, runs, index, (steps, steps - 1), cut).location()


def locate_valid(
    baseline: Baseline, sample: int, index: int, inputs: Given | None = None
) -> Location:
    """Find where a sample first differs from what it is alone, cut to its length.

    If inputs are given, where it differs with these, which have other padding.
    """
    batch, alone = baseline.batch, baseline.batch.alone(sample, front=baseline.post)
    sizes, padded = (batch.steps or 1, alone.steps or 1), batch.samples([sample]).tree()
    other = single = alone.tree()
    if inputs is not None:
        changed = batch.with_leaves(pytree.tree_leaves(inputs, is_leaf=is_whole))
        other = changed.samples([sample]).tree()
    search = _Valid(baseline, (padded, other, single), index, sizes, 1)
    if inputs is None and search.number is None:
        search = _Valid(baseline, (batch.tree(), single, single), index, sizes, batch.size)
    return search.location()


class _Samples(Search):
    """Each sample by itself, in whichever order; if that is strict, in the order of the input."""

    probe, unit = "batch", "samples"

    def _judged(self, one: Tensor, other: Any, fewer: Any, unit: int | None) -> Verdict:
        found = self._rows(one, other, fewer, unit)
        if not isinstance(found, tuple):
            return "joins" if found else found
        is_strict = self.is_strict or unit is not None
        return found[1] not in ([], [self.about]) if is_strict else len(found[1]) > 1

    def _rows(
        self, one: Tensor, other: Any, fewer: Any, unit: int | None
    ) -> tuple[int, list[int]] | bool | None:
        """Return which rows the sample shows in, and in which view; or whether all of one moves."""
        axes = None if shape_of(one) != shape_of(other) else self._axes(one, fewer, unit)
        if axes is None or len(axes) > 1 or (axes and one.shape[axes[0]] % self.size):
            return None
        moved = self._differs(one, other)
        if not axes:
            moves = bool(moved.any())
            return moves if unit is None else (0, [unit] * moves)
        found = list[tuple[int, list[int]]]()
        for number, (axis, shape) in enumerate(self._views(one, axes[0])):
            rows = moved.reshape(shape).movedim(axis, 0).reshape(self.size, -1).any(1)
            found.append((number, rows.nonzero().flatten().tolist()))
        return min(found, key=lambda pair: len(pair[1]))

    def _why(self, number: int) -> list[Line]:
        """Return that the samples are in different orders in what a function is given."""
        wanted, orders = set(self.events[number].given), list[tuple[int, list[int]]]()
        for at, hits, _ in self._back(number, wanted):
            made = self.events[at].made
            each = (self._rows(*self._tensors(at, made[key])) for key in hits)
            orders += [rows for rows in each if isinstance(rows, tuple) and rows[1]]
            wanted -= hits
        ways = {view for view, _ in orders}
        rows = {row for _, each in orders for row in each} | ({self.about} if wanted else set())
        if not orders or max(len(each) for _, each in orders) > 1 or len(ways) + len(rows) < 3:
            return []
        text = "its inputs have the samples in different orders"
        if len(rows) == 1:
            return [("cause", text), ("fix", _ALIKE)]
        changed = self._first(self.events[number].given, number)
        event = self.events[number if changed is None else changed]
        text += f", one since {event.text or event.label} at {event.place}"
        return [("cause", text), ("fix", "put back what was sorted, too: x[order.argsort()]")]

    def _elsewhere(self) -> Location:
        """Return where rows, each of one sample, leave the order of the input."""
        wanted = {key for event in self.events for key in event.made}
        number = self._first(wanted, len(self.events))
        if number is None:
            return super()._elsewhere()
        cause = ("cause", "the samples change their order here, and the output has it still")
        return self._at(number, [cause, ("fix", "output[order.argsort()], where order sorts them")])


class _Steps(Search):
    """What is before the first step that is changed."""

    probe, unit = "causal", "steps"

    def _judged(self, one: Tensor, other: Any, fewer: Any, unit: int | None) -> Verdict:
        axes = None if shape_of(one) != shape_of(other) else self._axes(one, fewer, unit)
        if axes is None:
            return None
        moved = self._differs(one, other)
        if not axes:
            return bool(moved.any()) and (unit < self.about if unit is not None else "joins")
        views = self._views(one, axes[0]) if len(axes) == 1 else [(axes[0], tuple(one.shape))]
        for axis, shape in views:
            early = moved.reshape(shape)
            for at in axes if len(views) == 1 else [axis]:
                # What is shorter than the input may begin later, or have a stride.
                rows, cut = early.shape[at], self.about
                size = min(cut - max(self.size - rows, 0), cut * rows // self.size, rows)
                if size < 1:
                    return None
                early = early.narrow(at, 0, size)
            if not bool(early.any()):
                return False
        return True


class _Valid(Search):
    """What is within the length of a sample, which is alone in the batch, or one of several."""

    probe, unit = "padding", "steps"

    def _judged(self, one: Tensor, other: Any, fewer: Any, unit: int | None) -> Verdict:
        is_left = (
            unit is not None and (unit if self.front else self.size - 1 - unit) >= self.smaller
        )
        if is_left or not isinstance(other, Tensor):
            return None
        ends = fewer if unit is None else other
        if not isinstance(ends, Tensor) or not one.dim() == other.dim() == ends.dim():
            return None
        axes = [k for k, n in enumerate(one.shape) if n != ends.shape[k]]
        batch = [k for k in axes if one.shape[k] == self.about > 1 == ends.shape[k]]
        if len(batch) > 1 or any(one.shape[k] < ends.shape[k] for k in axes):
            return None
        for axis in set(axes) - set(batch):
            one, other = (self._cut(x, axis, ends.shape[axis]) for x in (one, other))
        rows = torch.split(one, 1, batch[0]) if batch else [one]
        if any(row.shape == other.shape and not self._differs(row, other).any() for row in rows):
            return False
        # Rows of several samples on one axis cannot be told apart.
        return None if self.about > 1 and axes and not batch else True

    def _cut(self, one: Tensor, axis: int, size: int) -> Tensor:
        return one.narrow(axis, 0 if self.front else one.shape[axis] - size, size)

    def _probe(self, number: int) -> str:
        pair = [one.tensors if one else [] for one in (self.events[number], self.after[number][0])]
        is_whole = self.about > 1 and [*map(shape_of, pair[0])] == [*map(shape_of, pair[1])]
        return "padding" if self.baseline.batch.counts and not is_whole else "alone"

    def _why(self, number: int) -> list[Line]:
        event = self.events[number]
        begun = [at for at in range(number) if call_of(self.events[at]) == ("input", event.name)]
        pair = [one for at in begun[-1:] for one in (self.events[at], self.after[at][0]) if one]
        return read_lengths(*pair) if len(pair) == 2 and event.kind == "output" else []
